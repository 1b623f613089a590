/*
 * error.c
 *	  Reporters of the errors that more than one file raises, and what errors are
 *	  about.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_attribute.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "base/error.h"

/* The class of "snapshot too old", which there is no more from 17 on. */
#define SNAPSHOT_FAILURE	MAKE_SQLSTATE('7', '2', '0', '0', '0')

/* How far a name may be from the one that was meant; core takes the same. */
#define MAX_DISTANCE	3

/*
 * Has a function add to the context of errors, until idem_error_pop_context() or
 * an error: it is called with arg.
 */
void
idem_error_push_context(ErrorContextCallback *context, void (*tell) (void *arg),
						const void *arg)
{
	context->callback = tell;
	context->arg = unconstify(void *, arg);
	context->previous = error_context_stack;
	error_context_stack = context;
}

void
idem_error_pop_context(const ErrorContextCallback *context)
{
	Assert(error_context_stack == context);
	error_context_stack = context->previous;
}

/*
 * Is an error about the circumstances, rather than about what was
 * tried?  Then it says nothing about what the same would do at another time.
 */
bool
idem_error_is_circumstance(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_CONNECTION_EXCEPTION:
		case ERRCODE_INVALID_TRANSACTION_STATE:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case SNAPSHOT_FAILURE:
		case ERRCODE_FDW_ERROR:
		case ERRCODE_INTERNAL_ERROR:
			return true;
		default:
			return sqlstate == ERRCODE_LOCK_NOT_AVAILABLE;
	}
}

/* An argument that must not be NULL was. */
void
idem_error_null(const char *argument)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("\"%s\" must not be null", argument)));
}

/* A text has fewer or more bytes than may be. */
void
idem_error_length(const char *argument, int length, int least, int most)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" must have %d to %d bytes", argument, least, most),
			 errdetail("It has %d bytes.", length)));
}

/* There is no relation of that OID, or no longer. */
void
idem_error_no_relation(Oid relid)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("relation with OID %u does not exist", relid),
	/* a table of users', dropped meanwhile, is no slip of the caller's */
			 relid < FirstNormalObjectId ?
			 errhint("A number in the place of a table is its OID: name the table, and give the row's id after it.") : 0));
}

/* Has an error name a table in its fields, as errtable() does. */
int
idem_error_table(Oid relid)
{
	const char *name = get_rel_name(relid);

	if (name != NULL)
	{
		err_generic_string(PG_DIAG_SCHEMA_NAME,
						   get_namespace_name(get_rel_namespace(relid)));
		err_generic_string(PG_DIAG_TABLE_NAME, name);
	}
	return 0;
}

/*
 * The column of a relation whose name is nearest to one that there is not, or NULL
 * if none is near: at most half of the letters change, and three.  That is how
 * scanRTEForColumn() has it.
 */
static const char *
nearest_column(Oid relid, const char *name)
{
	CatCList   *columns = SearchSysCacheList1(ATTNAME, ObjectIdGetDatum(relid));
	int			length = strlen(name);
	int			shown = pg_mbcliplen(name, length, NAMEDATALEN);
	int			least = Min(MAX_DISTANCE, length / 2) + 1;
	const char *nearest = NULL;

	for (int i = 0; i < columns->n_members; i++)
	{
		Form_pg_attribute att =
			(Form_pg_attribute) GETSTRUCT(&columns->members[i]->tuple);
		int			distance;

		if (att->attnum <= 0 || att->attisdropped)
			continue;
		distance = varstr_levenshtein_less_equal(NameStr(att->attname),
												 strlen(NameStr(att->attname)),
												 name, shown,
												 1, 1, 1, least, true);
		if (distance < least)
		{
			least = distance;
			nearest = pstrdup(NameStr(att->attname));
		}
	}
	ReleaseCatCacheList(columns);
	return nearest;
}

/* A relation has no column of that name. */
void
idem_error_no_column(Oid relid, const char *name)
{
	const char *nearest = nearest_column(relid, name);

	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of relation \"%s\" does not exist",
					name, get_rel_name(relid)),
			 nearest != NULL ?
			 errhint("Perhaps you meant the column \"%s\".", nearest) : 0,
			 idem_error_table(relid)));
}

/* There is no row named by id that the caller may see; hint may be NULL. */
void
idem_error_no_row(Oid relid, const char *id, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_ROW_NOT_FOUND),
			 errmsg("row not found in \"%s\"", get_rel_name(relid)),
			 errdetail("No row has the key %s, or it is not visible to you.", id),
			 hint ? errhint("%s", hint) : 0,
			 idem_error_table(relid)));
}

/* Another transaction took the key after this one's snapshot. */
void
idem_error_serialization(const char *key)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent use of a key"),
			 errdetail("Another transaction used the key \"%s\" and committed after this transaction's snapshot was taken.",
					   key),
			 errhint("The transaction might succeed if retried.")));
}

/* A table of idem's own does not take, change or let go of a row. */
void
idem_error_prevented(const char *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("could not write a row of \"%s\"", table),
			 errdetail("A trigger or a rule on the table prevents it."),
			 errhint("Let triggers that are fired before a row is written return the row, and drop rules.")));
}

/*
 * A trigger function of idem's was not called, or its trigger not made, as it has
 * to be: what says how.  hint may be NULL.
 */
void
idem_error_trigger(const char *function, const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			 errmsg("function \"%s\" %s", function, what),
			 hint ? errhint("%s", hint) : 0));
}
