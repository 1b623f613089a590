"""The shop by asyncpg.

asyncpg asks the server which type a parameter has, and refuses a value of another.
Where a function takes several, that is text; so an id that is none says what it is.
"""
import asyncio
import json
import uuid

import asyncpg


def expect(right, *what):
    if not right:
        raise SystemExit(f"wrong: {what}")
    print(*what)


async def connect():
    connection = await asyncpg.connect()
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    return connection


async def place(key, order, lose=False):
    connection = await connect()
    try:
        async with connection.transaction():
            if lose:
                await connection.execute("SET LOCAL idem.lose_ack = 1")
            return await connection.fetchrow(
                "SELECT * FROM idem_upsert($1, 'orders', $2)", str(key), order)
    finally:
        await connection.close()


async def main():
    key = uuid.uuid4()
    order = {"customer": "asyncpg", "total": 440}
    try:
        await place(key, order, lose=True)
        expect(False, "nothing was lost")
    except (asyncpg.PostgresConnectionError, OSError) as error:
        print("lost:", type(error).__name__, getattr(error, "sqlstate", None))
    placed = await place(key, order)
    expect(placed["outcome"] == "inserted" and placed["replayed"], "placed: inserted, replayed")
    row = placed["result"]

    connection = await connect()
    moved = await connection.fetchrow(
        "SELECT * FROM order_transition('orders', $1::bigint, $2,"
        " expected_version => $3, key => $4)",
        row["id"], "PROCESSING", row["version"], f"{key}/PROCESSING")
    expect((moved["outcome"], moved["version"]) == ("applied", 2),
           "moved order: {from_state} -> {to_state}, version {version}".format(**moved))

    parcel = uuid.uuid4()
    await connection.execute("INSERT INTO parcels VALUES ($1, $2)", parcel, "asyncpg")
    moved = await connection.fetchrow(
        "SELECT * FROM order_transition('parcels', $1::uuid, $2)", parcel, "PROCESSING")
    expect(moved["version"] == 2,
           "moved parcel: {from_state} -> {to_state}, version {version}".format(**moved))

    messages = [f"{key}/1", f"{key}/2", f"{key}/1"]
    counts = [
        len(await connection.fetch("SELECT * FROM idem_consume_batch('asyncpg', $1)", messages))
        for _ in range(2)
    ]
    expect(counts == [2, 0], f"consumed: {counts[0]}, then {counts[1]}")

    try:
        await connection.fetchrow(
            "SELECT * FROM order_transition('orders', $1::bigint, $2)", row["id"], "DELIVERED")
        expect(False, "not refused")
    except asyncpg.PostgresError as error:
        expect(error.sqlstate == "ID201",
               f"refused: {error.sqlstate} ({type(error).__name__}.sqlstate)")
    await connection.close()


asyncio.run(main())
