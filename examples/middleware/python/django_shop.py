"""A shop by Django, on 127.0.0.1:PORT and the database that libpq's variables name."""
import json
import os
import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.http import JsonResponse
from django.urls import path


def tenant(request):  # here belongs a check of the token
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


def place(request):
    items = json.loads(request.body)["items"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, sold_out FROM place_order(%s, %s)", [tenant(request), json.dumps(items)])
        number, sold_out = cursor.fetchone()
    if sold_out:
        return JsonResponse({"error": f"{sold_out} is sold out"}, status=409)
    return JsonResponse({"order": number, "items": items}, status=201, headers={"Location": f"/orders/{number}"})


def policy(request):
    with connection.cursor() as cursor:
        cursor.execute("SELECT idempotency_policy()")
        return JsonResponse(json.loads(cursor.fetchone()[0]))


urlpatterns = [path("orders", place), path(".well-known/idempotency", policy)]

if __name__ == "__main__":
    settings.configure(
        ALLOWED_HOSTS=["*"], SECRET_KEY="not used", ROOT_URLCONF=__name__, USE_TZ=True,
        MIDDLEWARE=["django_idempotency.Idempotency"],
        IDEMPOTENCY={"tenant": tenant, "policy": "/.well-known/idempotency"},
        DATABASES={"default": {
            "ENGINE": "django.db.backends.postgresql", "HOST": os.environ["PGHOST"], "PORT": os.environ["PGPORT"],
            "USER": os.environ["PGUSER"], "NAME": os.environ["PGDATABASE"]}})
    django.setup()
    call_command("runserver", os.environ["PORT"], "--noreload")
