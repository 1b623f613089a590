"""Orders by psycopg 3."""
import os
import sys
import uuid

import psycopg


def place(connection, reference, customer):
    found = connection.execute("SELECT id FROM customer WHERE name = %s", (customer,)).fetchone()
    if found is None:
        found = connection.execute(
            "INSERT INTO customer (name) VALUES (%s) RETURNING id", (customer,)).fetchone()
    order, = connection.execute(
        "INSERT INTO orders (reference, customer_id) VALUES (%s, %s) RETURNING id",
        (reference, found[0])).fetchone()
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO line (order_id, product, quantity) VALUES (%s, %s, 1)",
            [(order, "bolt"), (order, "nut")])
    stock, = connection.execute(
        "UPDATE product SET stock = stock - 1 WHERE name = 'bolt' RETURNING stock").fetchone()
    return order, stock


def request(key, *arguments):
    for attempt in range(40):
        try:
            # PgBouncer 1.18 keeps no prepared statements
            with psycopg.connect(prepare_threshold=None) as connection:
                connection.execute("SELECT idem_begin(%s)", (key,))
                return place(connection, *arguments)
        except psycopg.OperationalError as error:
            if not (error.sqlstate or "08").startswith("08"):  # a lost connection
                raise
    sys.exit("no answer after 40 attempts")


run = uuid.uuid4()
for number in [*range(int(os.environ.get("REQUESTS", "40"))), 0]:  # the first once more
    order, stock = request(f"{run}/{number}", f"{run}/{number}", f"{run} {number % 4}")
    print("placed", f"{run}/{number}", order, stock)
