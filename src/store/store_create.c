/*
 * store_create.c
 *	  SQL: idem_store_create(), which makes the tables of a store.
 *
 * They are made by commands that a person could send, with the caller's rights, and
 * are the caller's: to grant, to distribute, to drop.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "base/catalog.h"
#include "base/error.h"
#include "run/spi.h"
#include "store/store.h"

PG_FUNCTION_INFO_V1(idem_store_create);

/*
 * The commands.  "@" stands for the extension's schema, "#" for the store's, "~" for
 * the type of the scope.  Columns are in the order of idem's own tables, and none has
 * a default.
 */
static const char *const commands[] = {
	"CREATE TABLE #.idem_key ("
	"created_at pg_catalog.timestamptz NOT NULL,"
	" expires_at pg_catalog.timestamptz NOT NULL,"
	" fence pg_catalog.int8 NOT NULL,"
	" lease_until pg_catalog.timestamptz,"
	" fingerprint pg_catalog.uuid,"
	" outcome @.idem_outcome NOT NULL,"
	" claimed_by @.idem_role NOT NULL,"
	" scope ~ NOT NULL,"
	" key pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
	" response pg_catalog.jsonb,"
	" request pg_catalog.jsonb,"
	" sqlstate pg_catalog.text COLLATE pg_catalog.\"C\","
	" checkpoints pg_catalog.jsonb,"
	" CONSTRAINT idem_key_pkey PRIMARY KEY (key, scope))"
	" WITH (autovacuum_vacuum_scale_factor = 0.02,"
	" autovacuum_analyze_scale_factor = 0.05)",
	"CREATE INDEX idem_key_expires_at_idx ON #.idem_key (expires_at)",
	"COMMENT ON TABLE #.idem_key IS"
	" 'idempotency keys of a store, and what the calls that used them came to'",
	"CREATE TABLE #.idem_message ("
	"expires_at pg_catalog.timestamptz NOT NULL,"
	" consumer pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
	" message_id pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
	" CONSTRAINT idem_message_pkey PRIMARY KEY (consumer, message_id))"
	" WITH (autovacuum_vacuum_scale_factor = 0.02,"
	" autovacuum_analyze_scale_factor = 0.05)",
	"CREATE INDEX idem_message_expires_at_idx ON #.idem_message (expires_at)",
	"COMMENT ON TABLE #.idem_message IS 'messages of a store that have been consumed'",
	"CREATE TABLE #.idem_offset ("
	"next_offset pg_catalog.int8 NOT NULL,"
	" previous_offset pg_catalog.int8 NOT NULL,"
	" first_offset pg_catalog.int8 NOT NULL,"
	" epoch pg_catalog.int8,"
	" updated_at pg_catalog.timestamptz NOT NULL,"
	" \"partition\" pg_catalog.int4 NOT NULL,"
	" consumer pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
	" topic pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
	" CONSTRAINT idem_offset_pkey PRIMARY KEY (consumer, topic, \"partition\"))"
	" WITH (fillfactor = 50)",
	"COMMENT ON TABLE #.idem_offset IS 'how far the consumers of a store have come in ordered logs'"
};

static void
run(const char *command, const char *schema, Oid scope_type)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (const char *c = command; *c; c++)
	{
		if (*c == '@')
			appendStringInfoString(&buf, idem_catalog()->schema);
		else if (*c == '#')
			appendStringInfoString(&buf, schema);
		else if (*c == '~')
			appendStringInfo(&buf, "%s%s",
							 format_type_extended(scope_type, -1,
												  FORMAT_TYPE_FORCE_QUALIFY),
							 scope_type == TEXTOID ? " COLLATE pg_catalog.\"C\"" : "");
		else
			appendStringInfoChar(&buf, *c);
	}
	idem_spi_command(buf.data);
	pfree(buf.data);
}

/*
 * idem_store_create(schema name, scope_type regtype) -> void
 *
 * Makes the tables idem_key, idem_message and idem_offset in a schema, and the schema
 * if there is none.  Raises 22004 for nulls, 22023 for a type that scopes cannot have,
 * and what the commands raise.
 */
Datum
idem_store_create(PG_FUNCTION_ARGS)
{
	const char *schema;
	Oid			scope_type;

	if (PG_ARGISNULL(0))
		idem_error_null("schema");
	if (PG_ARGISNULL(1))
		idem_error_null("scope_type");
	scope_type = PG_GETARG_OID(1);
	if (!idem_store_takes(scope_type))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the scope of keys cannot be of type %s",
						format_type_extended(scope_type, -1,
											 FORMAT_TYPE_ALLOW_INVALID)),
				 errhint("It can be text, bigint, integer or uuid.")));
	schema = quote_identifier(NameStr(*PG_GETARG_NAME(0)));
	if (!OidIsValid(get_namespace_oid(NameStr(*PG_GETARG_NAME(0)), true)))
		run("CREATE SCHEMA #", schema, scope_type);
	for (int i = 0; i < lengthof(commands); i++)
		run(commands[i], schema, scope_type);
	PG_RETURN_VOID();
}
