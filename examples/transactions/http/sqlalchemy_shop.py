"""Orders over HTTP by WSGI and SQLAlchemy, on 127.0.0.1:PORT: a request's key is its transaction's."""
import json
import os
from contextvars import ContextVar
from wsgiref.simple_server import make_server

from sqlalchemy import create_engine, event, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

request_key = ContextVar("request_key", default=None)


class TransactionKey:
    """Middleware of WSGI: keeps a request's key for the transaction."""

    def __init__(self, application):
        self.application = application

    def __call__(self, environ, start_response):
        key = environ.get("HTTP_IDEMPOTENCY_KEY")
        token = request_key.set(None if key is None else (key, tenant(environ)))
        try:
            return self.application(environ, start_response)
        finally:
            request_key.reset(token)


@event.listens_for(Session, "after_begin")
def name_key(session, transaction, connection):
    if request_key.get() is not None and not transaction.nested:
        connection.execute(select(func.idem_begin(*request_key.get())))


def tenant(environ):
    return environ["HTTP_AUTHORIZATION"]  # here belongs a check of the token


engine = create_engine("postgresql+psycopg2://")  # the rest by PGHOST and so on


def place(environ, start_response):
    wanted = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    try:
        with Session(engine) as session, session.begin():
            customer = session.scalar(text(
                "INSERT INTO customer (name) VALUES (:customer)"
                " ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id"), wanted)
            order = session.scalar(
                text("INSERT INTO orders (reference, customer_id) VALUES (:reference, :id) RETURNING id"),
                {"reference": wanted["reference"], "id": customer})
            with session.begin_nested():
                stock = session.scalar(
                    text("UPDATE product SET stock = stock - 1 WHERE name = 'bolt' RETURNING stock"))
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        start_response("503 Service Unavailable", [])
        return []
    start_response("201 Created", [("Content-Type", "application/json")])
    return [json.dumps({"order": order, "stock": stock}).encode()]


if __name__ == "__main__":
    make_server("127.0.0.1", int(os.environ["PORT"]), TransactionKey(place)).serve_forever()
