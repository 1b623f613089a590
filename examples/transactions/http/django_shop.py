"""Orders over HTTP by Django, on 127.0.0.1:PORT: a request's key is its transaction's."""
import json
import os

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.http import JsonResponse
from django.urls import path


class TransactionKey:
    """Runs a request that has a key as one transaction under it.  Last in MIDDLEWARE."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_view(self, request, view, args, kwargs):
        key = request.headers.get("Idempotency-Key")
        if key is None or request.method in ("GET", "HEAD"):
            return None  # the view runs as it would without
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT idem_begin(%s, %s)", [key, tenant(request)])
            return view(request, *args, **kwargs)


def tenant(request):
    return request.headers["Authorization"]  # here belongs a check of the token


def place(request):
    wanted = json.loads(request.body)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO customer (name) VALUES (%s) ON CONFLICT (name) DO UPDATE SET name = excluded.name"
            " RETURNING id", [wanted["customer"]])
        customer, = cursor.fetchone()
        cursor.execute(
            "INSERT INTO orders (reference, customer_id) VALUES (%s, %s) RETURNING id",
            [wanted["reference"], customer])
        order, = cursor.fetchone()
        cursor.execute("UPDATE product SET stock = stock - 1 WHERE name = 'bolt' RETURNING stock")
        stock, = cursor.fetchone()
    return JsonResponse({"order": order, "stock": stock}, status=201)


urlpatterns = [path("orders", place)]

if __name__ == "__main__":
    settings.configure(
        ALLOWED_HOSTS=["*"], SECRET_KEY="not used", ROOT_URLCONF=__name__, USE_TZ=True,
        MIDDLEWARE=["django_shop.TransactionKey"],
        DATABASES={"default": {
            "ENGINE": "django.db.backends.postgresql", "HOST": os.environ["PGHOST"], "PORT": os.environ["PGPORT"],
            "USER": os.environ["PGUSER"], "NAME": os.environ["PGDATABASE"]}})
    django.setup()
    call_command("runserver", os.environ["PORT"], "--noreload")
