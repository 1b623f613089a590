/*
 * compat.h
 *	  What differs between the supported versions of PostgreSQL, 15 to 19.
 *
 * This is the only place that looks at PG_VERSION_NUM.
 */
#ifndef IDEM_COMPAT_H
#define IDEM_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "idem needs PostgreSQL 15 or newer"
#endif

/* What is in a varlena; in postgres.h before. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#if PG_VERSION_NUM >= 190000
#define IDEM_JUMBLE_STATE	const JumbleState
#else
#define IDEM_JUMBLE_STATE	JumbleState
#endif

#if PG_VERSION_NUM < 180000
#define pg_noreturn			pg_attribute_noreturn()
#endif

#if PG_VERSION_NUM < 160000
#define IDEM_OWNS_RELATION(relid, role)		pg_class_ownercheck(relid, role)
#define IDEM_MAY_EXECUTE(function, role) \
	(pg_proc_aclcheck(function, role, ACL_EXECUTE) == ACLCHECK_OK)
#define IDEM_MAY_USE_SCHEMA(schema, role) \
	(pg_namespace_aclcheck(schema, role, ACL_USAGE) == ACLCHECK_OK)
#else
#define IDEM_OWNS_RELATION(relid, role) \
	object_ownercheck(RelationRelationId, relid, role)
#define IDEM_MAY_EXECUTE(function, role) \
	(object_aclcheck(ProcedureRelationId, function, role, \
					 ACL_EXECUTE) == ACLCHECK_OK)
#define IDEM_MAY_USE_SCHEMA(schema, role) \
	(object_aclcheck(NamespaceRelationId, schema, role, \
					 ACL_USAGE) == ACLCHECK_OK)
#endif

/* A search_path for code that runs with another's rights. */
#if PG_VERSION_NUM >= 170000
#define idem_restrict_search_path()		RestrictSearchPath()
#else
#define idem_restrict_search_path() \
	((void) set_config_option("search_path", "pg_catalog, pg_temp", \
							  PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, \
							  true, 0, false))
#endif

/* What planner_hook and ExecutorCheckPerms_hook are given, and pass on. */
#if PG_VERSION_NUM >= 190000
#define IDEM_PLANNER_ARGS \
	Query *parse, const char *query_string, int cursorOptions, \
	ParamListInfo boundParams, ExplainState *es
#define IDEM_PLANNER_PASS	parse, query_string, cursorOptions, boundParams, es
#else
#define IDEM_PLANNER_ARGS \
	Query *parse, const char *query_string, int cursorOptions, \
	ParamListInfo boundParams
#define IDEM_PLANNER_PASS	parse, query_string, cursorOptions, boundParams
#endif
#if PG_VERSION_NUM >= 160000
#define IDEM_CHECK_PERMS_ARGS \
	List *rangeTable, List *permInfos, bool ereport_on_violation
#define IDEM_CHECK_PERMS_PASS	rangeTable, permInfos, ereport_on_violation
#else
#define IDEM_CHECK_PERMS_ARGS	List *rangeTable, bool ereport_on_violation
#define IDEM_CHECK_PERMS_PASS	rangeTable, ereport_on_violation
#endif

/* What ExecutorRun_hook is given, and passes on. */
#if PG_VERSION_NUM >= 180000
#define IDEM_RUN_ARGS \
	QueryDesc *query, ScanDirection direction, uint64 count
#define IDEM_RUN_PASS	query, direction, count
#define IDEM_RUN_ONCE	true
#else
#define IDEM_RUN_ARGS \
	QueryDesc *query, ScanDirection direction, uint64 count, bool execute_once
#define IDEM_RUN_PASS	query, direction, count, execute_once
#define IDEM_RUN_ONCE	execute_once
#endif

/* Looking functions up by a name as SQL has it. */
#if PG_VERSION_NUM >= 160000
#define IDEM_NAME_LIST(name)	stringToQualifiedNameList(name, NULL)
#else
#define IDEM_NAME_LIST(name)	stringToQualifiedNameList(name)
#endif

#if PG_VERSION_NUM >= 190000
#define IDEM_CANDIDATES(names, nargs) \
	FuncnameGetCandidates(names, nargs, NIL, false, false, false, true, \
						  &(int) {0})
#else
#define IDEM_CANDIDATES(names, nargs) \
	FuncnameGetCandidates(names, nargs, NIL, false, false, false, true)
#endif

#if PG_VERSION_NUM >= 190000
#define IDEM_TUPLE_DELETE(rel, tid, command, snapshot, wait, failure) \
	table_tuple_delete(rel, tid, command, 0, snapshot, InvalidSnapshot, wait, \
					   failure)
#else
#define IDEM_TUPLE_DELETE(rel, tid, command, snapshot, wait, failure) \
	table_tuple_delete(rel, tid, command, snapshot, InvalidSnapshot, wait, \
					   failure, false)
#endif

/* Begins a scan of an index, whose keys come with each rescan. */
#if PG_VERSION_NUM >= 190000
#define IDEM_BEGIN_INDEX_SCAN(rel, index, snapshot, nkeys) \
	index_beginscan(rel, index, snapshot, NULL, nkeys, 0, SO_NONE)
#elif PG_VERSION_NUM >= 180000
#define IDEM_BEGIN_INDEX_SCAN(rel, index, snapshot, nkeys) \
	index_beginscan(rel, index, snapshot, NULL, nkeys, 0)
#else
#define IDEM_BEGIN_INDEX_SCAN(rel, index, snapshot, nkeys) \
	index_beginscan(rel, index, snapshot, nkeys, 0)
#endif

/* Finds a row by an index, whatever is in its other columns, and locks it. */
#if PG_VERSION_NUM >= 190000
#define IDEM_FIND_BY_KEY(rel, index, mode, sought, row) \
	RelationFindReplTupleByIndex(rel, index, true, mode, sought, row)
#else
#define IDEM_FIND_BY_KEY(rel, index, mode, sought, row) \
	RelationFindReplTupleByIndex(rel, index, mode, sought, row)
#endif

/* What an INSERT ... ON CONFLICT does to a row, arbiter by arbiter. */
#if PG_VERSION_NUM >= 180000
#define IDEM_CHECK_ARBITERS(result, slot, estate, found, own, arbiters) \
	ExecCheckIndexConstraints(result, slot, estate, found, own, arbiters)
#else
#define IDEM_CHECK_ARBITERS(result, slot, estate, found, own, arbiters) \
	ExecCheckIndexConstraints(result, slot, estate, found, arbiters)
#endif
#if PG_VERSION_NUM >= 190000
#define IDEM_INSERT_INDEX_TUPLES(result, slot, estate, conflict, arbiters) \
	ExecInsertIndexTuples(result, estate, EIIT_NO_DUPE_ERROR, slot, arbiters, \
						  conflict)
#elif PG_VERSION_NUM >= 160000
#define IDEM_INSERT_INDEX_TUPLES(result, slot, estate, conflict, arbiters) \
	ExecInsertIndexTuples(result, slot, estate, false, true, conflict, arbiters, \
						  false)
#else
#define IDEM_INSERT_INDEX_TUPLES(result, slot, estate, conflict, arbiters) \
	ExecInsertIndexTuples(result, slot, estate, false, true, conflict, arbiters)
#endif

#if PG_VERSION_NUM >= 160000
#define IDEM_CHECK_STATEMENT_PERMS(statement) \
	ExecCheckPermissions((statement)->rtable, (statement)->permInfos, true)
#else
#define IDEM_CHECK_STATEMENT_PERMS(statement) \
	ExecCheckRTPerms((statement)->rtable, true)
#endif

/* Makes a description of rows, whose columns are filled in, ready for use. */
#if PG_VERSION_NUM >= 190000
#define IDEM_FINISH_DESC(desc)		TupleDescFinalize(desc)
#else
#define IDEM_FINISH_DESC(desc)		((void) (desc))
#endif

/* Reads the rows between two places. */
#if PG_VERSION_NUM >= 190000
#define IDEM_BEGIN_TID_RANGE(rel, snapshot, first, last) \
	table_beginscan_tidrange(rel, snapshot, first, last, SO_NONE)
#else
#define IDEM_BEGIN_TID_RANGE(rel, snapshot, first, last) \
	table_beginscan_tidrange(rel, snapshot, first, last)
#endif

/* Do we hold a heavyweight lock, in this very mode? */
#if PG_VERSION_NUM >= 170000
#define IDEM_LOCK_HELD(tag, mode)	LockHeldByMe(tag, mode, false)
#else
#define IDEM_LOCK_HELD(tag, mode)	LockHeldByMe(tag, mode)
#endif

/* The process that began a virtual transaction, or NULL; and does it run that still? */
#if PG_VERSION_NUM >= 170000
#define IDEM_VXID_PROCESS(vxid)		ProcNumberGetProc((vxid).procNumber)
#define IDEM_RUNS_VXID(process, id) \
	((process)->vxid.lxid == (id).localTransactionId)
#else
#define IDEM_VXID_PROCESS(vxid)		BackendIdGetProc((vxid).backendId)
#define IDEM_RUNS_VXID(process, id) \
	((process)->lxid == (id).localTransactionId)
#endif

/*
 * What has come in from the client beyond the message that is being dealt with.
 * Declared here since libpq/libpq.h includes headers of GSSAPI and OpenSSL, which
 * need not be there where extensions are built.
 */
extern void pq_startmsgread(void);
extern void pq_endmsgread(void);
extern int	pq_peekbyte(void);
#if PG_VERSION_NUM >= 170000
extern ssize_t pq_buffer_remaining_data(void);
#define IDEM_MORE_RECEIVED()		(pq_buffer_remaining_data() > 0)
#else
extern bool pq_buffer_has_data(void);
#define IDEM_MORE_RECEIVED()		pq_buffer_has_data()
#endif

/* Making a jsonb of its pieces; JsonbValueToJsonb() takes the state's result. */
#if PG_VERSION_NUM >= 190000
#define IdemJsonbState		JsonbInState
#define idem_jsonb_push(state, token, value) \
	pushJsonbValue(state, token, value)
#else
typedef struct IdemJsonbState
{
	struct JsonbValue *result;
	struct JsonbParseState *pieces;
} IdemJsonbState;
#define idem_jsonb_push(state, token, value) \
	((state)->result = pushJsonbValue(&(state)->pieces, token, value))
#endif

/* What the server knows of the sessions: the number-th of them, from 1. */
#if PG_VERSION_NUM >= 160000
#define IDEM_SESSION_STATUS(number)	pgstat_get_local_beentry_by_index(number)
#else
#define IDEM_SESSION_STATUS(number)	pgstat_fetch_stat_local_beentry(number)
#endif

/* Are backslashes in strings no escapes?  That is no longer a question. */
#if PG_VERSION_NUM >= 190000
#define IDEM_STANDARD_STRINGS	true
#define IDEM_HAVE_SCANNER_QUIET(extra)	((void) (extra))
#else
#define IDEM_STANDARD_STRINGS	standard_conforming_strings
#define IDEM_HAVE_SCANNER_QUIET(extra)	((extra)->escape_string_warning = false)
#endif

/* A column whose values are nowhere stored: there was none before. */
#if PG_VERSION_NUM < 180000
#define ATTRIBUTE_GENERATED_VIRTUAL	'v'
#define IDEM_HAS_VIRTUAL(constr)		false
#else
#define IDEM_HAS_VIRTUAL(constr)		((constr)->has_generated_virtual)
#endif

/* A wait event of one's own, by the name that pg_stat_activity shows. */
#if PG_VERSION_NUM >= 170000
#define IDEM_WAIT_EVENT(name)	WaitEventExtensionNew(name)
#else
#define IDEM_WAIT_EVENT(name)	PG_WAIT_EXTENSION
#endif

/*
 * Shared memory that has a name, whether or not the library is preloaded: before,
 * the server has none.
 */
#if PG_VERSION_NUM >= 190000
#include "storage/dsm_registry.h"
#define IDEM_NAMED_SEGMENT(name, size, init, found) \
	GetNamedDSMSegment(name, size, init, found, NULL)
#define IDEM_NAMED_SEGMENT_ARGS		void *ptr, void *arg
#elif PG_VERSION_NUM >= 170000
#include "storage/dsm_registry.h"
#define IDEM_NAMED_SEGMENT(name, size, init, found) \
	GetNamedDSMSegment(name, size, init, found)
#define IDEM_NAMED_SEGMENT_ARGS		void *ptr
#endif

/* The number of this process among those that there may be. */
#if PG_VERSION_NUM >= 170000
#define IDEM_PROCESS_NUMBER		MyProcNumber
#else
#define IDEM_PROCESS_NUMBER		MyProc->pgprocno
#endif

/* How a list of settings switches off the limit on a transaction's time. */
#if PG_VERSION_NUM >= 170000
#define IDEM_TRANSACTION_TIMEOUT	{"transaction_timeout", "0"},
#else
#define IDEM_TRANSACTION_TIMEOUT
#endif

/* Lets DROP DATABASE and its like end a worker that is in their way. */
#if PG_VERSION_NUM >= 190000
#define IDEM_BGWORKER_INTERRUPTIBLE	BGWORKER_INTERRUPTIBLE
#else
#define IDEM_BGWORKER_INTERRUPTIBLE	0
#endif

#endif							/* IDEM_COMPAT_H */
