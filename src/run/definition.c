/*
 * definition.c
 *	  What is defined of names that calls give, as a session keeps it.
 *
 * A scope of keys or a consumer of messages is a name.  A role may define it, and
 * from then on it is for that role's members only; one that no role has defined is
 * for all.  Definitions are rows of a table, which a session keeps in memory, also
 * that there is none.  Most databases have none at all: that is kept, too, so that
 * calls need not look for their names.
 *
 * Whatever changes the table invalidates what is kept (base/invalidation.c); it is
 * read again at its next use.  Nothing is kept of a table where a change would not.
 *
 * Definitions are read from the table directly and as they are committed now, as
 * catalogs are: a transaction's own snapshot might be older than a change whose
 * invalidation has come and gone.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "base/error.h"
#include "base/invalidation.h"
#include "base/rights.h"
#include "run/committed_row.h"
#include "run/definition.h"

/* Names that no role has defined are the callers' invention: they may be many. */
#define MAX_KEPT		1024

/* So often other sessions may be in the way of a change, or a trigger is. */
#define MAX_TRIES		10

/* Is any name defined, as is committed now? */
static bool
find_any(const IdemDefinitionKind *kind)
{
	Relation	rel = table_open(kind->relid, AccessShareLock);
	HeapTuple	row = idem_committed_row_find(rel, idem_catalog_key_of(rel), 0,
											  NULL);

	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(row);
}

/* Makes a place to keep definitions in, unless there is one that is good. */
static void
refresh(IdemDefinitionKind *kind)
{
	uint64		generation = idem_catalog()->generation;
	HASHCTL		info = {0};

	if (kind->valid && kind->generation == generation &&
		hash_get_num_entries(kind->kept) < MAX_KEPT)
		return;

	Assert(kind->size >= sizeof(IdemDefinition));
	kind->valid = false;
	if (kind->memory == NULL)
		kind->memory = AllocSetContextCreate(TopMemoryContext,
											 "idem definitions",
											 ALLOCSET_SMALL_SIZES);
	MemoryContextReset(kind->memory);
	info.keysize = sizeof(((IdemDefinition *) NULL)->name);
	info.entrysize = kind->size;
	info.hcxt = kind->memory;
	kind->kept = hash_create("idem definitions", 32, &info,
							 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	kind->generation = 0;
	kind->relid = idem_catalog_table(kind->table);
	kind->any = true;
	/* a change from here on resets it; what came before it is read below */
	kind->valid = true;
	if (!idem_invalidation_covers(kind->relid))
		kind->valid = false;
	kind->any = find_any(kind);
	/* what is above may end in an error: then it is done again */
	kind->generation = generation;
}

/* Sets the name of a definition, whose length is right. */
void
idem_definition_name(IdemDefinitionKind *kind, IdemDefinition *definition,
					 text *name)
{
	Assert(VARSIZE_ANY_EXHDR(name) <= IDEM_DEFINITION_LENGTH);
	memset(definition, 0, kind->size);
	memcpy(definition->name, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

/* Reads what is defined of a name; a copy of the row, or NULL if nothing is. */
static HeapTuple
read_row(IdemDefinitionKind *kind, IdemDefinition *definition)
{
	Relation	rel = table_open(idem_catalog_table(kind->table), AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	ScanKeyData key;
	HeapTuple	row;
	Datum		owner;
	bool		isnull;

	ScanKeyInit(&key, kind->name_column, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(definition->name));
	/* the index is asked for now that the table is locked: it may be replaced */
	row = idem_committed_row_find(rel, idem_catalog_key_of(rel), 1, &key);
	definition->defined = HeapTupleIsValid(row);
	if (definition->defined)
	{
		owner = heap_getattr(row, kind->owner_column, desc, &isnull);
		definition->owner = isnull ? InvalidOid : DatumGetObjectId(owner);
		if (kind->read != NULL)
			kind->read(row, desc, definition);
	}
	table_close(rel, AccessShareLock);
	return row;
}

/*
 * Raises 42501 unless a name is for the caller to use.  A role that has been
 * dropped since leaves its names to superusers.
 */
static void
check_owner(const IdemDefinitionKind *kind, const IdemDefinition *definition)
{
	if (definition->defined)
		idem_role_check(definition->owner, definition->name, kind->denied);
}

/* Is any name defined?  If not, there is nothing to find. */
bool
idem_definition_any(IdemDefinitionKind *kind)
{
	/* in a transaction under way, a change may not have been heard of yet */
	AcceptInvalidationMessages();
	refresh(kind);
	return kind->any;
}

/*
 * Finds out what is defined of a name; raises 42501 when it is another role's.
 */
void
idem_definition_find(IdemDefinitionKind *kind, IdemDefinition *definition)
{
	IdemDefinition *kept = NULL;

	if (!idem_definition_any(kind))
		return;

	if (kind->valid)
		kept = hash_search(kind->kept, definition->name, HASH_FIND, NULL);
	if (kept != NULL)
		memcpy(definition, kept, kind->size);
	else
	{
		(void) read_row(kind, definition);

		/* not if a change came in meanwhile, which may be of this very one */
		if (kind->valid)
		{
			kept = hash_search(kind->kept, definition->name, HASH_ENTER, NULL);
			memcpy(kept, definition, kind->size);
		}
	}
	check_owner(kind, definition);
}

/*
 * Begins a call that defines a name, its first argument, or takes a definition back,
 * and sets the name of the definition.  Raises 42501 unless the caller may do that,
 * 22004 and 22023 for what is no name, 25006 in a read-only transaction and on a
 * standby.
 */
void
idem_definition_begin(IdemDefinitionKind *kind, FunctionCallInfo fcinfo,
					  const char *function, IdemDefinition *definition)
{
	const char *call = psprintf("%s()", function);
	text	   *name;
	int			length;

	idem_rights_define(fcinfo, function, idem_catalog_table(kind->table),
					   kind->name_column);
	PreventCommandDuringRecovery(call);
	PreventCommandIfReadOnly(call);
	if (PG_ARGISNULL(0))
		idem_error_null(kind->name);
	name = PG_GETARG_TEXT_PP(0);
	length = VARSIZE_ANY_EXHDR(name);
	if (length < kind->least || length > IDEM_DEFINITION_LENGTH)
		idem_error_length(kind->name, length, kind->least, IDEM_DEFINITION_LENGTH);
	idem_definition_name(kind, definition, name);
}

/*
 * Reads what is defined of a name, whatever is kept.  Returns a copy of the row, or
 * NULL if nothing is; raises 42501 when it is another role's.
 */
static HeapTuple
read_now(IdemDefinitionKind *kind, IdemDefinition *definition)
{
	HeapTuple	row;

	AcceptInvalidationMessages();
	row = read_row(kind, definition);
	check_owner(kind, definition);
	return row;
}

/*
 * Defines a name, which becomes the caller's, or changes its definition, to be as
 * wanted; args, of the kind's own from IDEM_DEFINITION_ARGS on, say that to the
 * statement.  Raises 42501 when it is another role's, 27000 when a trigger keeps the
 * row from being written.
 */
void
idem_definition_define(IdemDefinitionKind *kind, const IdemDefinition *wanted,
					   Datum *args, const bool *isnull)
{
	IdemDefinition *found = palloc(kind->size);

	Assert(kind->define.nargs >= IDEM_DEFINITION_ARGS);
	args[0] = CStringGetTextDatum(wanted->name);
	args[1] = ObjectIdGetDatum(GetUserId());
	for (int tries = 0; tries < MAX_TRIES; tries++)
	{
		CHECK_FOR_INTERRUPTS();
		memcpy(found, wanted, kind->size);
		(void) read_now(kind, found);
		if (found->defined && (kind->same == NULL || kind->same(found, wanted)))
			return;

		/*
		 * Waits for another session that writes the row.  One that drops it
		 * leaves a new one to the caller: its owner does not count any more.
		 */
		args[2] = ObjectIdGetDatum(found->defined ? found->owner : GetUserId());
		if (idem_spi_own(&kind->define, args, isnull, 0, NULL, NULL) > 0)
			return;
	}
	idem_error_prevented(kind->table_name);
}

/*
 * Raises 40001 for a row that the transaction's snapshot does not see, and that it
 * cannot write therefore.
 */
static void
check_seen(const IdemDefinitionKind *kind, const IdemDefinition *definition,
		   HeapTuple row)
{
	if (idem_committed_row_is_unseen(HeapTupleHeaderGetXmin(row->t_data)))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent definition of %s \"%s\"",
						kind->name, definition->name),
				 errdetail("It was defined after this transaction's snapshot was taken."),
				 errhint("The transaction might succeed if retried.")));
}

/*
 * Takes a definition back; false if there is none.  Raises 42501 when it is another
 * role's, 40001 when it was made after the transaction's snapshot was taken, 27000
 * when a trigger keeps the row from being deleted.
 */
bool
idem_definition_drop(IdemDefinitionKind *kind, IdemDefinition *definition)
{
	Datum		args[2];

	Assert(kind->drop.nargs == lengthof(args));
	args[1] = CStringGetTextDatum(definition->name);
	for (int tries = 0; tries < MAX_TRIES; tries++)
	{
		HeapTuple	row;

		CHECK_FOR_INTERRUPTS();
		row = read_now(kind, definition);
		if (row == NULL)
			return false;
		/* by its place, and by its name lest the row has been moved */
		args[0] = PointerGetDatum(&row->t_self);
		if (idem_spi_own(&kind->drop, args, NULL, 0, NULL, NULL) > 0)
			return true;

		/* another session has dropped it meanwhile, or the row was moved */
		check_seen(kind, definition, row);
	}
	idem_error_prevented(kind->table_name);
}

/* Registers for changes of the table.  To be called once, from _PG_init. */
void
idem_definition_init(IdemDefinitionKind *kind)
{
	idem_invalidation_watch(&kind->relid, &kind->valid);
}
