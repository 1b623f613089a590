"""Orders by Django: nested atomic blocks, get_or_create, auto_now.

The time of auto_now is the client's, another one at each attempt: so the database, or the
role, has idem.key_match = clock.
"""
import os
import sys
import uuid

import django
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, models, transaction
from django.db.models import F

settings.configure(
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ.get("PGHOST", ""),
        "PORT": os.environ.get("PGPORT", ""),
        "USER": os.environ.get("PGUSER", ""),
        "NAME": os.environ.get("PGDATABASE", ""),
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)
django.setup()


class Customer(models.Model):
    name = models.TextField(unique=True)

    class Meta:
        app_label = "shop"
        db_table = "customer"


class Product(models.Model):
    name = models.TextField(primary_key=True)
    stock = models.IntegerField()

    class Meta:
        app_label = "shop"
        db_table = "product"


class Order(models.Model):
    reference = models.TextField()
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "shop"
        db_table = "orders"


class Line(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE)
    product = models.ForeignKey(Product, on_delete=models.CASCADE, db_column="product")
    quantity = models.IntegerField()

    class Meta:
        app_label = "shop"
        db_table = "line"


def place(reference, name):
    customer, _ = Customer.objects.get_or_create(name=name)
    order = Order.objects.create(reference=reference, customer=customer)
    try:
        with transaction.atomic():
            Line.objects.create(order=order, product_id="bolt", quantity=1)
            raise ValueError("one bolt is not sold alone")
    except ValueError:
        with transaction.atomic():
            Line.objects.bulk_create(
                Line(order=order, product_id=product, quantity=1) for product in ("bolt", "nut"))
    bolt = Product.objects.select_for_update().get(name="bolt")
    bolt.stock -= 1
    bolt.save()
    Product.objects.filter(name="nut").update(stock=F("stock") - 1)
    order.save()  # and so updated_at
    return order.id, bolt.stock


def request(key, *arguments):
    for attempt in range(40):
        try:
            with transaction.atomic():
                connection.cursor().execute("SELECT idem_begin(%s)", [key])
                return place(*arguments)
        except (OperationalError, InterfaceError):
            connection.close()  # Django opens another one at the next query
    sys.exit("no answer after 40 attempts")


run = uuid.uuid4()
for number in [*range(int(os.environ.get("REQUESTS", "40"))), 0]:  # the first once more
    order, stock = request(f"{run}/{number}", f"{run}/{number}", f"{run} {number % 4}")
    print("placed", f"{run}/{number}", order, stock)
