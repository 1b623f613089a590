"""Places an order and moves it on, each exactly once, whatever breaks.

usage: psycopg3.py [CONNINFO [KEY]]
"""
import random
import sys
import time
import uuid

import psycopg
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb

# The connection is lost, or the transaction gave way to another one.
TEMPORARY = ("08", "57P01", "57P02", "57P03", "40001", "40P01")


def retry(connect, work, patience=60):
    """Returns work(connection) once it has committed.

    Does all of it again, for so many seconds, where that can help.  So whatever
    work writes must be under a key, which must not be made by work itself.
    """
    deadline = time.monotonic() + patience
    pause = 0.05
    while True:
        try:
            with connect() as connection:  # commits when it is left
                return work(connection)
        except psycopg.OperationalError as error:
            # none: libpq could not connect, or found the connection broken
            sqlstate = error.sqlstate or "08006"
            if not sqlstate.startswith(TEMPORARY) or time.monotonic() > deadline:
                raise
            print(f"sending again after {sqlstate}: {error}", file=sys.stderr)
        time.sleep(random.uniform(0, pause))
        pause = min(2 * pause, 2)


def place(connection, key, order):
    return connection.execute(
        "SELECT * FROM idem_upsert(%s, 'orders', %s)", (key, Jsonb(order))
    ).fetchone()


def move(connection, key, order_id, status, version):
    # to decide the same upon another version is another request: another key
    return connection.execute(
        "SELECT * FROM order_transition('orders', %s, %s,"
        " expected_version => %s, key => %s)",
        (order_id, status, version, f"{key}/{status}/{version}"),
    ).fetchone()


def connect():  # or psycopg_pool.ConnectionPool(...).connection
    return psycopg.connect(*sys.argv[1:2], row_factory=namedtuple_row)


key = sys.argv[2] if len(sys.argv) > 2 else str(uuid.uuid4())
placed = retry(connect, lambda c: place(c, key, {"customer": "VINET", "total": 440}))
order = placed.result
print(placed)

print(retry(connect, lambda c: move(c, key, order["id"], "PROCESSING", order["version"])))
try:
    retry(connect, lambda c: move(c, key, order["id"], "SHIPPED", order["version"]))
except psycopg.Error as error:
    if error.sqlstate != "ID203":
        raise
    print("ID203:", error)  # not what was read: read again, decide anew
    now = retry(connect, lambda c: c.execute(
        "SELECT version FROM orders WHERE id = %s", (order["id"],)).fetchone())
    print(retry(connect, lambda c: move(c, key, order["id"], "SHIPPED", now.version)))
