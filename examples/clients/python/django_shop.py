"""The shop by Django: raw SQL for the calls, models for the rows."""
import json
import os
import uuid

import django
from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, models, transaction

settings.configure(
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ.get("PGHOST", ""),
        "PORT": os.environ.get("PGPORT", ""),
        "USER": os.environ.get("PGUSER", ""),
        "NAME": os.environ.get("PGDATABASE", "shop"),
    }},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()


class Order(models.Model):
    customer = models.TextField()
    total = models.DecimalField(max_digits=10, decimal_places=2)
    status = models.TextField()
    version = models.BigIntegerField()

    class Meta:
        app_label = "shop"
        db_table = "orders"
        managed = False  # the table is the database's


class Parcel(models.Model):
    id = models.UUIDField(primary_key=True)
    customer = models.TextField()
    status = models.TextField(default="PENDING")
    version = models.BigIntegerField(default=1)

    class Meta:
        app_label = "shop"
        db_table = "parcels"
        managed = False


def expect(right, *what):
    if not right:
        raise SystemExit(f"wrong: {what}")
    print(*what)


def call(sql, parameters, lose=False):
    """Runs a statement, and returns its rows."""
    with transaction.atomic(), connection.cursor() as cursor:
        if lose:
            cursor.execute("SET LOCAL idem.lose_ack = 1")
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def place(key, order, lose=False):
    return call(
        "SELECT outcome, replayed, result FROM idem_upsert(%s, 'orders', %s)",
        [key, json.dumps(order)], lose)[0]


key = uuid.uuid4()
order = {"customer": "django", "total": 440}
try:
    place(key, order, lose=True)
    expect(False, "nothing was lost")
except OperationalError as error:
    print("lost:", type(error).__name__, error.__cause__.pgcode)
    connection.close()  # Django opens another one at the next query
outcome, replayed, row = place(key, order)
row = json.loads(row)  # a cursor of Django's gives jsonb as text
expect(outcome == "inserted" and replayed, "placed: inserted, replayed")

mine = Order.objects.get(id=row["id"])
[(outcome, came_from, to, version)] = call(
    "SELECT outcome, from_state, to_state, version"
    " FROM order_transition('orders', %s, %s, expected_version => %s, key => %s)",
    [mine.id, "PROCESSING", mine.version, f"{key}/PROCESSING"])
expect((outcome, version) == ("applied", 2),
       f"moved order: {came_from} -> {to}, version {version}")
mine.refresh_from_db()  # it was read before the call
expect((mine.status, mine.version) == ("PROCESSING", 2),
       f"refreshed: {mine.status}, version {mine.version}")
mine.total = 450
mine.save(update_fields=["total"])  # not the status and the version that it was read with
mine.refresh_from_db()
expect(mine.version == 3, f"updated: version {mine.version}")

parcel = Parcel.objects.create(id=uuid.uuid4(), customer="django")
[(came_from, to, version)] = call(
    "SELECT from_state, to_state, version FROM order_transition('parcels', %s, %s)",
    [parcel.id, "PROCESSING"])
expect(version == 2, f"moved parcel: {came_from} -> {to}, version {version}")

messages = [f"{key}/1", f"{key}/2", f"{key}/1"]
counts = [
    len(call("SELECT * FROM idem_consume_batch('django', %s)", [messages])) for _ in range(2)
]
expect(counts == [2, 0], f"consumed: {counts[0]}, then {counts[1]}")

try:
    call("SELECT * FROM order_transition('orders', %s, %s)", [mine.id, "DELIVERED"])
    expect(False, "not refused")
except DatabaseError as error:
    sqlstate = error.__cause__.pgcode
    expect(sqlstate == "ID201", f"refused: {sqlstate} ({type(error).__name__}.__cause__.pgcode)")
