"""A database with any number of keys in it, for the long runs."""

import time

from load import BENCH, KEYS
from server import Psql

CHUNK = 1_000_000
DAY = "clock_timestamp() + interval '24 hours'"

# Rows as idem_upsert writes them: copies of that of one real call, which stays,
# so that the same call with any of their keys is a retry.
FILL = """
INSERT INTO idem_key (created_at, expires_at, fence, fingerprint, outcome, scope, key,
	claimed_by, response)
SELECT clock_timestamp(), {expires}, k.fence, k.fingerprint, k.outcome, k.scope, {key},
	k.claimed_by, k.response
FROM generate_series({first}, {last}) AS n,
	LATERAL (SELECT 1000000000000000 + n AS digits) AS d,
	(SELECT * FROM idem_key WHERE key = 'original') AS k"""


def make(server, database):
    server.create(database, f"{BENCH}/orders/orders.sql", f"{BENCH}/orders/idem.sql",
                  f"{BENCH}/keys/original.sql")


def fill(server, database, count, keys="ordered", expires=DAY):
    """Inserts so many keys, one by one into the indexes as they are, but at
    once and without waiting for the disk."""
    key = KEYS[keys].replace(":digits", "digits").replace(":n", "n")
    began = time.monotonic()
    configure(server, fsync="off", full_page_writes="off")
    with Psql(database) as session:
        for first in range(1, count + 1, CHUNK):
            last = min(count, first + CHUNK - 1)
            session.ask(FILL.format(expires=expires, key=key, first=first, last=last))
            print(f"  {last:,} of {count:,} keys, {time.monotonic() - began:.0f} s", flush=True)
        session.ask("VACUUM ANALYZE idem_key")
    configure(server, fsync="on", full_page_writes="on")
    server.ask("CHECKPOINT")


def configure(server, **settings):
    for name, value in settings.items():
        server.ask(f"ALTER SYSTEM SET {name.replace('__', '.')} = '{value}'")
    server.ask("SELECT pg_reload_conf()")


def sizes(session):
    """Bytes of the table of keys, and of its indexes."""
    return [int(n) for n in session.value(
        "SELECT pg_table_size('idem_key') || ' ' || pg_indexes_size('idem_key')").split()]
