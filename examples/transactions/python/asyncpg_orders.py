"""Orders by asyncpg."""
import asyncio
import os
import sys
import uuid

import asyncpg


async def place(connection, reference, name):
    customer = await connection.fetchval("SELECT id FROM customer WHERE name = $1", name)
    if customer is None:
        customer = await connection.fetchval(
            "INSERT INTO customer (name) VALUES ($1) RETURNING id", name)
    order = await connection.fetchval(
        "INSERT INTO orders (reference, customer_id) VALUES ($1, $2) RETURNING id", reference, customer)
    await connection.executemany(
        "INSERT INTO line (order_id, product, quantity) VALUES ($1, $2, 1)",
        [(order, "bolt"), (order, "nut")])
    await connection.execute("UPDATE product SET stock = stock - 1 WHERE name = 'bolt'")
    bolt = await connection.fetchrow("SELECT stock FROM product WHERE name = 'bolt'")
    return order, bolt["stock"]


async def request(key, *arguments):
    for attempt in range(40):
        try:
            # PgBouncer 1.18 keeps no prepared statements
            connection = await asyncpg.connect(statement_cache_size=0)
            try:
                async with connection.transaction():
                    await connection.execute("SELECT idem_begin($1)", key)
                    return await place(connection, *arguments)
            finally:
                connection.terminate()
        except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError):
            pass  # a lost connection
    sys.exit("no answer after 40 attempts")


async def main():
    run = uuid.uuid4()
    for number in [*range(int(os.environ.get("REQUESTS", "40"))), 0]:  # the first once more
        order, stock = await request(f"{run}/{number}", f"{run}/{number}", f"{run} {number % 4}")
        print("placed", f"{run}/{number}", order, stock)


asyncio.run(main())
