"""The shop by psycopg2."""
import uuid

import psycopg2
from psycopg2.extras import Json, register_uuid

register_uuid()


def expect(right, *what):
    if not right:
        raise SystemExit(f"wrong: {what}")
    print(*what)


def call(sql, parameters, lose=False):
    """Runs a statement in a transaction of its own, and returns its rows."""
    connection = psycopg2.connect("")
    try:
        with connection, connection.cursor() as cursor:  # commits when it is left
            if lose:
                cursor.execute("SET LOCAL idem.lose_ack = 1")
            cursor.execute(sql, parameters)
            return cursor.fetchall()
    finally:
        connection.close()


def place(key, order, lose=False):
    return call(
        "SELECT outcome, replayed, result FROM idem_upsert(%s, 'orders', %s)",
        (key, Json(order)), lose)[0]


key = uuid.uuid4()
order = {"customer": "psycopg2", "total": 440}
try:
    place(key, order, lose=True)
    expect(False, "nothing was lost")
except psycopg2.OperationalError as error:
    print("lost:", type(error).__name__, error.pgcode)
outcome, replayed, row = place(key, order)
expect(outcome == "inserted" and replayed, "placed: inserted, replayed")

[(outcome, came_from, to, version)] = call(
    "SELECT outcome, from_state, to_state, version"
    " FROM order_transition('orders', %s, %s, expected_version => %s, key => %s)",
    (row["id"], "PROCESSING", row["version"], f"{key}/PROCESSING"))
expect((outcome, version) == ("applied", 2),
       f"moved order: {came_from} -> {to}, version {version}")

parcel = uuid.uuid4()
call("INSERT INTO parcels VALUES (%s, %s) RETURNING id", (parcel, "psycopg2"))
[(came_from, to, version)] = call(
    "SELECT from_state, to_state, version FROM order_transition('parcels', %s, %s)",
    (parcel, "PROCESSING"))
expect(version == 2, f"moved parcel: {came_from} -> {to}, version {version}")

messages = [f"{key}/1", f"{key}/2", f"{key}/1"]
counts = [
    len(call("SELECT * FROM idem_consume_batch('psycopg2', %s)", (messages,)))
    for _ in range(2)
]
expect(counts == [2, 0], f"consumed: {counts[0]}, then {counts[1]}")

try:
    call("SELECT * FROM order_transition('orders', %s, %s)", (row["id"], "DELIVERED"))
    expect(False, "not refused")
except psycopg2.Error as error:
    expect(error.pgcode == "ID201", f"refused: {error.pgcode} ({type(error).__name__}.pgcode)")
