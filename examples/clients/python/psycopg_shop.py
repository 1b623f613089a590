"""The shop by psycopg 3."""
import uuid

import psycopg
from psycopg.types.json import Jsonb


def expect(right, *what):
    if not right:
        raise SystemExit(f"wrong: {what}")
    print(*what)


def place(key, order, lose=False):
    with psycopg.connect() as connection:  # commits when it is left
        if lose:
            connection.execute("SET LOCAL idem.lose_ack = 1")
        return connection.execute(
            "SELECT outcome, replayed, result FROM idem_upsert(%s, 'orders', %s)",
            (key, Jsonb(order)),
        ).fetchone()


key = uuid.uuid4()
order = {"customer": "psycopg", "total": 440}
try:
    place(key, order, lose=True)
    expect(False, "nothing was lost")
except psycopg.OperationalError as error:
    print("lost:", type(error).__name__, error.sqlstate)
outcome, replayed, row = place(key, order)
expect(outcome == "inserted" and replayed, "placed: inserted, replayed")

with psycopg.connect() as connection:
    outcome, came_from, to, version = connection.execute(
        "SELECT outcome, from_state, to_state, version"
        " FROM order_transition('orders', %s, %s, expected_version => %s, key => %s)",
        (row["id"], "PROCESSING", row["version"], f"{key}/PROCESSING"),
    ).fetchone()
    expect((outcome, version) == ("applied", 2),
           f"moved order: {came_from} -> {to}, version {version}")

    parcel = uuid.uuid4()
    connection.execute("INSERT INTO parcels VALUES (%s, %s)", (parcel, "psycopg"))
    came_from, to, version = connection.execute(
        "SELECT from_state, to_state, version FROM order_transition('parcels', %s, %s)",
        (parcel, "PROCESSING"),
    ).fetchone()
    expect(version == 2, f"moved parcel: {came_from} -> {to}, version {version}")

messages = [f"{key}/1", f"{key}/2", f"{key}/1"]
counts = []
for _ in range(2):
    with psycopg.connect() as connection:
        new = connection.execute(
            "SELECT * FROM idem_consume_batch('psycopg', %s)", (messages,)
        ).fetchall()
        counts.append(len(new))
expect(counts == [2, 0], f"consumed: {counts[0]}, then {counts[1]}")

try:
    with psycopg.connect() as connection:
        connection.execute(
            "SELECT * FROM order_transition('orders', %s, %s)", (row["id"], "DELIVERED"))
    expect(False, "not refused")
except psycopg.Error as error:
    expect(error.sqlstate == "ID201", f"refused: {error.sqlstate} ({type(error).__name__}.sqlstate)")
