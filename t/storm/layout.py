"""Where keys, messages and offsets are kept, and how the tables are reached.

    plain   in the extension's own tables
    store   in a store (idem.store): its rows are reached by statements, and the lock of
            a key that has been written lasts to the end of the transaction
    routed  in a store, and an engine is told to keep it and all tables of the storm's
            elsewhere: they are reached by statements too, as on Citus.  It is made up,
            so the rows are here all the same (t/routed.pl)

What the layouts do otherwise, the model says where it happens.
"""

import re

NAMES = ("plain", "store", "routed")
STORE = "kept"
OWN = re.compile(r"(?<![.\w])idem_(?:key|message|offset)\b(?!\()")

_now = {"name": "plain"}


def choose(name):
    assert name in NAMES
    _now["name"] = name


def in_store():
    return _now["name"] != "plain"


def routed():
    return _now["name"] == "routed"


def again():
    """What chooses it, for make storm."""
    return f" LAYOUT={_now['name']}" if in_store() else ""


def placed(sql):
    """SQL with the names of idem's tables that are a store's, where there is one."""
    return OWN.sub(rf"{STORE}.\g<0>", sql) if in_store() else sql


def keys():
    """All rows of keys, as a source of a query: idem's own, of sagas, are in no store."""
    if not in_store():
        return "idem_key"
    columns = "scope, key, outcome, expires_at, fence, claimed_by, lease_until"
    return f"(SELECT {columns} FROM {STORE}.idem_key UNION ALL SELECT {columns} FROM public.idem_key)"


def schema(sql):
    """The schema, with what can be on an engine."""
    return sql.replace(", history => true", "") if routed() else sql


# Citus's table of tables, so far as idem looks at it; a leftover goes.
FORGET = "SET allow_system_table_mods = on; DROP TABLE IF EXISTS pg_catalog.pg_dist_partition;" \
    f"DROP SCHEMA IF EXISTS {STORE} CASCADE; RESET allow_system_table_mods;"

MAKE_STORE = f"""
SELECT idem_store_create('{STORE}');
GRANT USAGE ON SCHEMA {STORE} TO PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {STORE} TO PUBLIC;
"""
# after all tables are there
MAKE_ROUTED = f"""
SET allow_system_table_mods = on;
CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass NOT NULL);
CREATE UNIQUE INDEX pg_dist_partition_logical_relid_index ON pg_catalog.pg_dist_partition (logicalrelid);
RESET allow_system_table_mods;
GRANT SELECT ON pg_catalog.pg_dist_partition TO PUBLIC;
INSERT INTO pg_catalog.pg_dist_partition SELECT oid FROM pg_class WHERE relkind IN ('r', 'p')
    AND (relnamespace = '{STORE}'::regnamespace
         OR (relnamespace = 'public'::regnamespace AND relname NOT LIKE 'idem%'));
"""
