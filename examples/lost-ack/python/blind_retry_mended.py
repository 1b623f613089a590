"""Places orders.  What was lost is sent again, under the key of the first attempt."""
import sys
import uuid

import psycopg
from psycopg.types.json import Jsonb


def place(customer):
    key = uuid.uuid4()
    for attempt in range(30):
        try:
            with psycopg.connect() as connection:  # commits when it is left
                connection.execute(
                    "SELECT * FROM idem_upsert(%s, 'orders', %s)",
                    (key, Jsonb({"customer": customer, "total": 440})))
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
