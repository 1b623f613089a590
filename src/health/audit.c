/*
 * audit.c
 *	  SQL: idem_audit(), which looks for what should not be.
 *
 * Rows are read by statements of the caller's that run no code but the server's, so
 * nothing is told that the caller could not read, and a table's owner can have nothing
 * run with the caller's rights.
 */
#include "postgres.h"

#include "access/relation.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"
#include "utils/rls.h"
#include "utils/tuplestore.h"

#include "base/catalog.h"
#include "base/error.h"
#include "base/result_tuple.h"
#include "health/audit.h"
#include "machine/attached_tables.h"
#include "run/subtransaction.h"
#include "table/attachment.h"
#include "table/partition_root.h"
#include "table/target_check.h"

PG_FUNCTION_INFO_V1(idem_audit);

#define COLUMNS		5

static void
return_finding(ReturnSetInfo *result, Oid table, const char *finding, Jsonb *id,
			   const char *key, const char *detail)
{
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS] = {false};

	values[0] = ObjectIdGetDatum(table);
	values[1] = CStringGetTextDatum(finding);
	nulls[2] = id == NULL;
	if (id != NULL)
		values[2] = JsonbPGetDatum(id);
	nulls[3] = key == NULL;
	if (key != NULL)
		values[3] = CStringGetTextDatum(key);
	values[4] = CStringGetTextDatum(detail);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Adds a row to the answer; id and key may be NULL. */
void
idem_audit_found(const IdemAudit *audit, const char *finding, Jsonb *id,
				 const char *key, const char *detail)
{
	return_finding(audit->result, RelationGetRelid(audit->rel), finding, id, key,
				   detail);
}

/*
 * Can the triggers of a table work that name machines?  Anybody may make one, and
 * one that cannot is not to keep other tables from being looked at.
 */
static bool
triggers_work(Relation rel)
{
	/* first: the look-up may rebuild the triggers of an open relation */
	Oid			function = idem_catalog()->lifecycle;
	AttrNumber	version = InvalidAttrNumber;

	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		const Trigger *trigger = &rel->trigdesc->triggers[i];
		IdemAttachment attachment;

		if (trigger->tgfoid != function)
			continue;
		if (!idem_attachment_try(&attachment, rel, trigger) ||
			(version != InvalidAttrNumber && version != attachment.version))
			return false;
		version = attachment.version;
	}
	return true;
}

/*
 * Does row security have code of another role run by whoever reads the table?  A
 * policy is its owner's, and may call anything, by a function of the server's too.
 */
static bool
runs_policies(Relation rel)
{
	Oid			owner = rel->rd_rel->relowner;

	return owner != GetUserId() && !superuser_arg(owner) &&
		check_enable_rls(RelationGetRelid(rel), InvalidOid,
						 true) == RLS_ENABLED;
}

/* Looks at a table, which is open.  Raises 42P10 where it has no primary key. */
static void
look_at(Relation rel, ReturnSetInfo *result)
{
	IdemAudit	audit = {.rel = rel, .result = result};

	idem_unique_index_need_primary(&audit.key, rel);
	if (runs_policies(rel))
	{
		idem_audit_found(&audit, "not_looked_at", NULL, NULL,
						 "Row security would run the owner's code with your rights: have the owner call idem_audit(), or a role that bypasses row security.");
		return;
	}
	if (!triggers_work(rel))
	{
		idem_audit_found(&audit, "broken_trigger", NULL, NULL,
						 "A trigger on idem_lifecycle() names no column for states or for the version, so every write fails: call idem_detach() and idem_attach() again.");
		return;
	}
	audit.attachments = idem_attachment_all(rel, false);
	audit.managed = idem_attachment_columns(rel);
	audit.recorded = idem_attachment_records(rel, NULL);
	if (audit.attachments != NIL)
		idem_audit_rows(&audit);
	if (audit.recorded)
		idem_audit_keys(&audit);
}

/*
 * Is an error one of the whole call?  One that says that a table is damaged is what
 * an audit is for.
 */
static bool
is_of_all(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
			return true;
		default:
			return false;
	}
}

/* A table that is looked at, and where to report. */
typedef struct Look
{
	Relation	rel;
	ReturnSetInfo *result;
} Look;

static bool
take_look(void *arg)
{
	const Look *look = arg;

	look_at(look->rel, look->result);
	return true;
}

/*
 * The same for one table of many: what one cannot be read for, a key of its that has
 * another type by now say, does not keep the others from being looked at.
 */
static void
try_to_look_at(Relation rel, ReturnSetInfo *result)
{
	Look		look = {rel, result};
	ErrorData  *error = idem_subtransaction_try(take_look, &look);

	if (error == NULL)
		return;
	if (is_of_all(error->sqlerrcode))
		ReThrowError(error);
	return_finding(result, RelationGetRelid(rel), "not_looked_at", NULL, NULL,
				   psprintf("An error came in between: %s", error->message));
}

/* May the caller read the table, if there still is one? */
static bool
may_read(Oid table)
{
	bool		is_missing = false;

	return pg_class_aclcheck_ext(table, GetUserId(), ACL_SELECT,
								 &is_missing) == ACLCHECK_OK && !is_missing;
}

/* The same for a table that there may be no more, or that others have locked. */
static void
look_at_one(Oid table, ReturnSetInfo *result)
{
	Relation	rel;
	IdemUniqueIndex key;

	if (!may_read(table))
		return;
	if (!ConditionalLockRelationOid(table, AccessShareLock))
	{
		return_finding(result, table, "not_looked_at", NULL, NULL,
					   "Another session has locked the table: call idem_audit() for it later.");
		return;
	}
	rel = try_relation_open(table, NoLock);
	if (rel == NULL)
	{
		UnlockRelationOid(table, AccessShareLock);
		return;
	}
	if (may_read(RelationGetRelid(rel)) && !RELATION_IS_OTHER_TEMP(rel) &&
		idem_unique_index_primary(&key, rel))
		try_to_look_at(rel, result);
	relation_close(rel, AccessShareLock);
}

/*
 * Looks at all tables that follow a machine and that the caller may read.  None is
 * waited for: anybody may lock a table of its own for good.
 */
static void
look_at_all(ReturnSetInfo *result)
{
	List	   *tables = idem_attached_tables_all();
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext,
												 "idem audit of a table",
												 ALLOCSET_DEFAULT_SIZES);
	MemoryContext former = MemoryContextSwitchTo(memory);
	ListCell   *lc;

	foreach(lc, tables)
	{
		CHECK_FOR_INTERRUPTS();
		look_at_one(lfirst_oid(lc), result);
		MemoryContextReset(memory);
	}
	MemoryContextSwitchTo(former);
	MemoryContextDelete(memory);
}

/*
 * idem_audit(target regclass)
 *		-> setof (target regclass, finding text, id jsonb, key text, detail text)
 *
 * What should not be in a table, or in all tables that follow a machine and that the
 * caller may read.  Raises 42501 where the caller may not read the table, 42P01 and
 * 42809 for what is no table, 42P10 for want of a primary key.
 */
Datum
idem_audit(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Relation	rel;

	idem_result_tuple_begin_set(fcinfo, COLUMNS);
	if (PG_ARGISNULL(0))
	{
		look_at_all(result);
		return (Datum) 0;
	}

	rel = try_relation_open(PG_GETARG_OID(0), AccessShareLock);
	if (rel == NULL)
		idem_error_no_relation(PG_GETARG_OID(0));
	if (rel->rd_rel->relispartition)
	{
		Oid			root = idem_partition_root(RelationGetRelid(rel));

		relation_close(rel, AccessShareLock);
		rel = relation_open(root, AccessShareLock);
	}
	idem_target_check_kind(rel, IDEM_TARGET_HISTORY);
	if (!may_read(RelationGetRelid(rel)))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE,
					   RelationGetRelationName(rel));
	look_at(rel, result);
	relation_close(rel, AccessShareLock);
	return (Datum) 0;
}
