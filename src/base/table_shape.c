/*
 * table_shape.c
 *	  idem's own tables, as they were made.
 *
 * The tables are read without a statement, by the numbers and the types that
 * their columns were made with.  Their owner can alter them, so they are compared
 * with what was made before they are read.
 */
#include "postgres.h"

#include "access/genam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "utils/rel.h"

#include "base/table_shape.h"
#include "base/unique_index.h"

#define MAX_COLUMNS		24

/* Types of idem's own, where the list below has types. */
#define OUTCOME		((Oid) 1)
#define ROLE		((Oid) 2)
#define SCOPE		((Oid) 3)

/* A column as it was made. */
typedef struct Column
{
	const char *name;
	Oid			type;
	bool		not_null;
	int			key;			/* which column of the primary key, from 1 */
} Column;

/* A table as it was made, whose columns are numbered in this order. */
typedef struct Shape
{
	const char *name;
	Column		columns[MAX_COLUMNS];	/* ends with one that has no name */
} Shape;

static const Shape shapes[] = {
	[IDEM_TABLE_KEY] = {
		.name = "idem_key",
		.columns = {
			{.name = "created_at", .type = TIMESTAMPTZOID, .not_null = true},
			{.name = "expires_at", .type = TIMESTAMPTZOID, .not_null = true},
			{.name = "fence", .type = INT8OID, .not_null = true},
			{.name = "lease_until", .type = TIMESTAMPTZOID},
			{.name = "fingerprint", .type = UUIDOID},
			{.name = "outcome", .type = OUTCOME, .not_null = true},
			{.name = "claimed_by", .type = ROLE, .not_null = true},
			{.name = "scope", .type = SCOPE, .not_null = true, .key = 2},
			{.name = "key", .type = TEXTOID, .not_null = true, .key = 1},
			{.name = "response", .type = JSONBOID},
			{.name = "request", .type = JSONBOID},
			{.name = "sqlstate", .type = TEXTOID},
			{.name = "checkpoints", .type = JSONBOID},
		},
	},
	[IDEM_TABLE_SCOPE] = {
		.name = "idem_scope",
		.columns = {
			{.name = "scope", .type = TEXTOID, .not_null = true, .key = 1},
			{.name = "owner", .type = ROLE, .not_null = true},
		},
	},
	[IDEM_TABLE_MACHINE] = {
		.name = "idem_machine",
		.columns = {
			{.name = "name", .type = TEXTOID, .not_null = true, .key = 1},
			{.name = "initial", .type = TEXTOID, .not_null = true},
			{.name = "states", .type = TEXTARRAYOID, .not_null = true},
			{.name = "owner", .type = ROLE, .not_null = true},
		},
	},
	[IDEM_TABLE_EDGE] = {
		.name = "idem_machine_edge",
		.columns = {
			{.name = "machine", .type = TEXTOID, .not_null = true, .key = 1},
			{.name = "from_state", .type = TEXTOID, .not_null = true, .key = 2},
			{.name = "to_state", .type = TEXTOID, .not_null = true, .key = 3},
			{.name = "guard", .type = TEXTOID},
		},
	},
	/* of which only statements know columns, by name */
	[IDEM_TABLE_HISTORY] = {.name = "idem_history"},
	[IDEM_TABLE_CONSUMER] = {
		.name = "idem_consumer",
		.columns = {
			{.name = "ttl", .type = INTERVALOID},
			{.name = "consumer", .type = TEXTOID, .not_null = true, .key = 1},
			{.name = "late", .type = TEXTOID, .not_null = true},
			{.name = "owner", .type = ROLE, .not_null = true},
		},
	},
	[IDEM_TABLE_MESSAGE] = {
		.name = "idem_message",
		.columns = {
			{.name = "expires_at", .type = TIMESTAMPTZOID, .not_null = true},
			{.name = "consumer", .type = TEXTOID, .not_null = true, .key = 1},
			{.name = "message_id", .type = TEXTOID, .not_null = true, .key = 2},
		},
	},
	[IDEM_TABLE_OFFSET] = {
		.name = "idem_offset",
		.columns = {
			{.name = "next_offset", .type = INT8OID, .not_null = true},
			{.name = "previous_offset", .type = INT8OID, .not_null = true},
			{.name = "first_offset", .type = INT8OID, .not_null = true},
			{.name = "epoch", .type = INT8OID},
			{.name = "updated_at", .type = TIMESTAMPTZOID, .not_null = true},
			{.name = "partition", .type = INT4OID, .not_null = true, .key = 3},
			{.name = "consumer", .type = TEXTOID, .not_null = true, .key = 1},
			{.name = "topic", .type = TEXTOID, .not_null = true, .key = 2},
		},
	},
	[IDEM_TABLE_SAGA] = {
		.name = "idem_saga",
		.columns = {
			{.name = "version", .type = INT8OID, .not_null = true},
			{.name = "started_at", .type = TIMESTAMPTZOID, .not_null = true},
			{.name = "ended_at", .type = TIMESTAMPTZOID},
			{.name = "expires_at", .type = TIMESTAMPTZOID},
			{.name = "deadline", .type = TIMESTAMPTZOID},
			{.name = "ttl", .type = INTERVALOID, .not_null = true},
			{.name = "fingerprint", .type = UUIDOID, .not_null = true},
			{.name = "owner", .type = ROLE, .not_null = true},
			{.name = "compensates", .type = BOOLOID, .not_null = true},
			{.name = "saga", .type = TEXTOID, .not_null = true, .key = 1},
			{.name = "scope", .type = TEXTOID, .not_null = true, .key = 2},
			{.name = "status", .type = TEXTOID, .not_null = true},
			{.name = "input", .type = JSONBOID},
			{.name = "error", .type = JSONBOID},
		},
	},
	[IDEM_TABLE_SAGA_STEP] = {
		.name = "idem_saga_step",
		.columns = {
			{.name = "version", .type = INT8OID, .not_null = true},
			{.name = "next_at", .type = TIMESTAMPTZOID},
			{.name = "backoff", .type = INTERVALOID, .not_null = true},
			{.name = "cap", .type = INTERVALOID, .not_null = true},
			{.name = "step", .type = INT4OID, .not_null = true, .key = 3},
			{.name = "max_attempts", .type = INT4OID, .not_null = true},
			{.name = "attempts", .type = INT4OID, .not_null = true},
			{.name = "start_no", .type = INT4OID},
			{.name = "held_by", .type = ROLE},
			{.name = "pivot", .type = BOOLOID, .not_null = true},
			{.name = "saga", .type = TEXTOID, .not_null = true, .key = 1},
			{.name = "scope", .type = TEXTOID, .not_null = true, .key = 2},
			{.name = "status", .type = TEXTOID, .not_null = true},
			{.name = "work", .type = TEXTOID, .not_null = true},
			{.name = "undo", .type = TEXTOID},
			{.name = "due", .type = TEXTOID},
			{.name = "input", .type = JSONBOID},
			{.name = "output", .type = JSONBOID},
			{.name = "error", .type = JSONBOID},
		},
	},
	[IDEM_TABLE_OUTBOX] = {
		.name = "idem_outbox",
		.columns = {
			{.name = "xid", .type = XID8OID, .not_null = true, .key = 3},
			{.name = "id", .type = INT8OID, .not_null = true, .key = 4},
			{.name = "emitted_at", .type = TIMESTAMPTZOID, .not_null = true},
			{.name = "era", .type = INT4OID, .not_null = true, .key = 2},
			{.name = "topic", .type = TEXTOID, .not_null = true, .key = 1},
			{.name = "key", .type = TEXTOID},
			{.name = "payload", .type = JSONBOID, .not_null = true},
			{.name = "headers", .type = JSONBOID},
		},
	},
	[IDEM_TABLE_OUTBOX_ERA] = {
		.name = "idem_outbox_era",
		.columns = {
			{.name = "system", .type = INT8OID, .not_null = true},
			{.name = "begun_at", .type = TIMESTAMPTZOID, .not_null = true},
			{.name = "era", .type = INT4OID, .not_null = true, .key = 1},
			{.name = "timeline", .type = INT4OID, .not_null = true},
		},
	},
	[IDEM_TABLE_OUTBOX_POSITION] = {
		.name = "idem_outbox_position",
		.columns = {
			{.name = "xid", .type = XID8OID, .not_null = true},
			{.name = "id", .type = INT8OID, .not_null = true},
			{.name = "read_at", .type = TIMESTAMPTZOID, .not_null = true},
			{.name = "era", .type = INT4OID, .not_null = true},
			{.name = "consumer", .type = TEXTOID, .not_null = true, .key = 1},
			{.name = "topic", .type = TEXTOID, .not_null = true, .key = 2},
		},
	},
	[IDEM_TABLE_KEY_RANGE] = {
		.name = "idem_key_range",
		.columns = {
			{.name = "visited_at", .type = TIMESTAMPTZOID, .not_null = true},
			{.name = "purge_at", .type = TIMESTAMPTZOID, .not_null = true},
			{.name = "lease_since", .type = TIMESTAMPTZOID},
			{.name = "lease_until", .type = TIMESTAMPTZOID},
			{.name = "file", .type = OIDOID, .not_null = true},
			{.name = "range", .type = INT4OID, .not_null = true},
			{.name = "blocks", .type = INT4OID, .not_null = true},
		},
	},
};

StaticAssertDecl(lengthof(shapes) == IDEM_TABLES,
				 "each table needs a shape");

static const Shape *
shape_of(IdemTable table)
{
	Assert(table >= 0 && table < IDEM_TABLES);
	return &shapes[table];
}

/* The name of a table. */
const char *
idem_table_shape_name(IdemTable table)
{
	return shape_of(table)->name;
}

static bool
has_columns(const Shape *shape, TupleDesc desc, const IdemOwnTypes *types)
{
	for (int i = 0; shape->columns[i].name != NULL; i++)
	{
		const Column *column = &shape->columns[i];
		Oid			type = column->type == OUTCOME ? types->outcome :
			column->type == ROLE ? types->role :
			column->type == SCOPE ? types->scope : column->type;
		Form_pg_attribute att;

		if (i >= desc->natts)
			return false;
		att = TupleDescAttr(desc, i);
		if (att->attisdropped || att->atttypid != type ||
			(column->not_null && !att->attnotnull))
			return false;
	}
	return true;
}

/* Is a relation a table whose columns are what they were made? */
bool
idem_table_shape_fits(IdemTable table, Relation rel, const IdemOwnTypes *types)
{
	return rel->rd_rel->relkind == RELKIND_RELATION &&
		has_columns(shape_of(table), RelationGetDescr(rel), types);
}

/*
 * Have the columns of such a table the names that they were made with, and do their
 * strings compare by bytes?  Where the table is reached by statements, a name of
 * another column would give a value of another type.
 */
bool
idem_table_shape_named(IdemTable table, Relation rel)
{
	const Shape *shape = shape_of(table);

	for (int i = 0; shape->columns[i].name != NULL; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);

		if (strcmp(NameStr(att->attname), shape->columns[i].name) != 0 ||
			(OidIsValid(att->attcollation) &&
			 att->attcollation != C_COLLATION_OID))
			return false;
	}
	return true;
}

/* Does an index have just the columns of a table's primary key, in its order? */
static bool
is_key(const Shape *shape, Form_pg_index index)
{
	int			count = 0;

	for (int i = 0; shape->columns[i].name != NULL; i++)
	{
		int			key = shape->columns[i].key;

		if (key == 0)
			continue;
		count++;
		if (key > index->indnkeyatts || index->indkey.values[key - 1] != i + 1)
			return false;
	}
	Assert(count > 0);
	return index->indnkeyatts == count && index->indimmediate &&
		index->indisvalid;
}

/*
 * The index of the primary key that a table was made with, by whatever name, or
 * InvalidOid.  The table is to be open and locked.
 */
Oid
idem_table_shape_key(IdemTable table, Relation rel)
{
	Relation	index = idem_unique_index_open_primary(rel);
	Oid			found = InvalidOid;

	if (index == NULL)
		return InvalidOid;
	if (is_key(shape_of(table), index->rd_index))
		found = RelationGetRelid(index);
	index_close(index, AccessShareLock);
	return found;
}
