"""Places orders.  The bug: what was lost is sent again, without a key."""
import sys
import uuid

import psycopg


def place(customer):
    for attempt in range(30):
        try:
            with psycopg.connect() as connection:  # commits when it is left
                connection.execute(
                    "INSERT INTO orders (customer, total) VALUES (%s, 440)", (customer,))
            return
        except psycopg.OperationalError as error:
            if error.sqlstate is not None:  # a lost connection has none
                raise
    raise SystemExit("no answer after 30 attempts")


run = str(uuid.uuid4())
for number in range(100):
    place(f"{run}/{number}")

with psycopg.connect() as connection:
    orders, customers = connection.execute(
        "SELECT count(*), count(DISTINCT customer) FROM orders WHERE starts_with(customer, %s)",
        (run,),
    ).fetchone()
if (orders, customers) != (100, 100):
    sys.exit(f"wrong: 100 customers placed an order each, {customers} have {orders}")
print("right: 100 orders")
