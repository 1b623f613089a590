"""An orders service whose requests can be sent again: see README.md.

    ORDERS_DATABASE='dbname=shop user=shop' uvicorn --app-dir examples/orders-service service:app
"""

import json
import os
import re
from pathlib import Path

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, ValidationError, conint, constr
from starlette.exceptions import HTTPException

from database import POLICY, Answer, Problem, once, pool, request_of, retries, sign_in, transaction
from payments import pay

BODY_LIMIT = 64 * 1024
PAGE = Path(__file__).parent / "page"

app = FastAPI(title="Orders", docs_url=None, redoc_url=None, openapi_url=None)


class Strict(BaseModel):
    class Config:
        extra = "forbid"


Text = constr(strict=True, max_length=500)
Name = constr(strict=True, min_length=1, max_length=64)


class Item(Strict):
    sku: Name
    quantity: conint(strict=True, ge=1, le=1000)


class Order(Strict):
    items: list[Item]
    address: Text = ""
    note: Text = ""


class Details(Strict):
    address: Text
    note: Text


class Patch(Strict):
    address: Text = None
    note: Text = None


class Transition(Strict):
    to: Name


class Payment(Strict):
    order_id: conint(strict=True, ge=1, le=2**63 - 1)
    card: Name


# What requests are made of

async def body(request: Request):
    return await request.body()


def parsed(model, raw):
    """The body as a model, or a problem that says what is wrong with it."""
    try:
        text = raw.decode()
        value = json.loads(text)
        if not isinstance(value, dict):
            raise Problem(400, "The body must be a JSON object")
        json.dumps(value, ensure_ascii=False).encode()     # no halves of characters
        return model(**value), text
    except ValidationError as error:
        raise Problem(400, "The body is not as it should be",
                      errors=[{"field": ".".join(map(str, e["loc"])), "problem": e["msg"]} for e in error.errors()])
    except (ValueError, RecursionError):
        raise Problem(400, "The body must be JSON, in UTF-8")


def token(request):
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip().encode("latin-1") if kind.lower() == "bearer" else b""


def header(request, name):
    """The value of a header; of several, with commas between them, as HTTP has it."""
    values = request.headers.getlist(name)
    return ", ".join(values) if values else None


def key_of(request):
    key = header(request, "idempotency-key")
    if key is None:
        raise Problem(400, "The Idempotency-Key is missing", about="required",
                      detail="Send a key that is new for each request, and the same again with each retry of it.")
    return key


def version_of(request):
    """The version that If-Match names; None where it names any."""
    tag = (header(request, "if-match") or "").strip()
    if tag == "*":
        return None
    match = re.fullmatch(r'"(\d{1,18})"', tag, re.ASCII)
    if not match:       # another's tag, a weak one, or several: no version of ours
        raise Problem(412, "If-Match must be the ETag of the order, or *")
    return int(match[1])


def required_version(request):
    if header(request, "if-match") is None:
        raise Problem(428, "If-Match is missing", "Read the order, and send its ETag.")
    return version_of(request)


def number(order_id):
    if not re.fullmatch(r"[1-9]\d{0,17}", order_id, re.ASCII):
        raise Problem(404, "There is no such order")
    return int(order_id)


# What answers are made of

def tag(version):
    return {"ETag": f'"{version}"'}


def response(answer, replayed=False, count=None):
    headers = dict(answer.headers)
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    headers["Cache-Control"] = "no-store"
    # about this attempt, not about the answer
    headers["Server-Timing"] = f'process;desc="{os.getpid()}", retries;desc="{retries.count if count is None else count}"'
    return Response(answer.body, answer.status, headers)


def answered(request, work):
    """Runs work(connection, tenant) in a transaction of the tenant's."""
    retries.count = 0

    def signed_in(connection):
        return work(connection, sign_in(connection, token(request)))
    result = transaction(signed_in)
    return response(*result) if isinstance(result, tuple) else response(result)


def details_of(connection, order_id):
    """An order as the API shows it, and its version."""
    row = connection.execute("""
        SELECT version, to_json(shown)::text FROM (
            SELECT id, status, version, total, address, note, placed_at,
                (SELECT json_agg(item) FROM (SELECT sku, quantity, price FROM order_item
                    WHERE order_id = o.id ORDER BY line) AS item) AS items,
                (SELECT charge FROM payment WHERE order_id = o.id) AS charge,
                ARRAY(SELECT idem_allowed('orders', o.id)) AS next
            FROM orders AS o WHERE id = %s) AS shown""", [order_id]).fetchone()
    if row is None:
        raise Problem(404, "There is no such order")
    return row


def order_answer(connection, order_id, status=200, headers=None):
    version, text = details_of(connection, order_id)
    return Answer(status, text, {**tag(version), **(headers or {})})


# The API

@app.post("/orders")
def place(request: Request, raw: bytes = Depends(body)):
    order, text = parsed(Order, raw)
    if not 1 <= len(order.items) <= 50:
        raise Problem(400, "An order has 1 to 50 items")
    key = key_of(request)

    def work(connection):
        prices = {}
        # in one order, so that two orders of the same things do not deadlock
        for line, item in sorted(enumerate(order.items), key=lambda entry: entry[1].sku):
            row = connection.execute(
                "UPDATE product SET stock = stock - %(quantity)s WHERE sku = %(sku)s AND stock >= %(quantity)s "
                "RETURNING price", item.dict()).fetchone()
            if row is None:
                raise Problem(409, "There is not enough of it", sku=item.sku)
            prices[line] = row[0]
        order_id = connection.execute(
            "INSERT INTO orders (tenant, total, address, note) "
            "VALUES (current_setting('shop.tenant'), %s, %s, %s) RETURNING id",
            [sum(item.quantity * prices[line] for line, item in enumerate(order.items)), order.address, order.note]
        ).fetchone()[0]
        for line, item in enumerate(order.items):
            connection.execute("INSERT INTO order_item VALUES (%s, %s, %s, %s, %s)",
                               [order_id, line + 1, item.sku, item.quantity, prices[line]])
        return order_answer(connection, order_id, 201, {"Location": f"/orders/{order_id}"})

    return answered(request, lambda connection, tenant: once(
        connection, tenant, key, request_of("POST /orders", text), work))


@app.get("/orders")
def newest(request: Request):
    def work(connection, tenant):
        count = connection.execute("SELECT count(*) FROM orders").fetchone()[0]
        ids = connection.execute("SELECT id FROM orders ORDER BY id DESC LIMIT 12").fetchall()
        shown = ",".join(details_of(connection, order_id)[1] for order_id, in ids)
        return Answer(200, f'{{"count":{count},"orders":[{shown}]}}')

    return answered(request, work)


@app.get("/orders/{order_id}")
def read(request: Request, order_id: str):
    return answered(request, lambda connection, tenant: order_answer(connection, number(order_id)))


@app.put("/orders/{order_id}")
def replace(request: Request, order_id: str, raw: bytes = Depends(body)):
    """Idempotent by itself: what it sets, it sets as often as one likes."""
    details, _ = parsed(Details, raw)
    version = required_version(request)

    def work(connection, tenant):
        data = {"id": number(order_id), **details.dict()}
        # a version always: without one it could insert an order
        row = connection.execute("SELECT version FROM orders WHERE id = %s FOR NO KEY UPDATE", [data["id"]]).fetchone()
        if row is None:
            raise Problem(404, "There is no such order")
        connection.execute(
            """SELECT FROM idem_upsert(NULL, 'orders', %s::jsonb, expected_version => %s::bigint,
                merge => '{"address": "set", "note": "set"}')""",
            [json.dumps(data), row[0] if version is None else version])
        return order_answer(connection, data["id"])

    return answered(request, work)


@app.patch("/orders/{order_id}")
def change(request: Request, order_id: str, raw: bytes = Depends(body)):
    patch, _ = parsed(Patch, raw)
    version = required_version(request)

    def work(connection, tenant):
        connection.execute("SELECT FROM idem_update('orders', %s::bigint, %s::jsonb, expected_version => %s::bigint)",
                           [number(order_id), json.dumps(patch.dict(exclude_unset=True)), version])
        return order_answer(connection, number(order_id))

    return answered(request, work)


@app.post("/orders/{order_id}/transition")
def move(request: Request, order_id: str, raw: bytes = Depends(body)):
    wanted, _ = parsed(Transition, raw)
    key = header(request, "idempotency-key")
    version = version_of(request) if header(request, "if-match") is not None else None

    def work(connection, tenant):
        outcome, replayed, came_from, to, new_version = connection.execute(
            "SELECT * FROM order_transition('orders', %s::bigint, %s::text, expected_version => %s::bigint, "
            "key => CASE WHEN %s THEN idem_http_key(%s) END, scope => %s)",
            [number(order_id), wanted.to, version, key is not None, key, tenant]).fetchone()
        return Answer(200, {"id": number(order_id), "from": came_from, "to": to, "version": new_version,
                            "outcome": outcome}, tag(new_version)), replayed

    try:
        return answered(request, work)
    except Problem as problem:
        if problem.status == 409:
            problem.body["allowed"] = transaction(lambda connection: sign_in(connection, token(request)) and [
                state for state, in connection.execute("SELECT idem_allowed('orders', %s::bigint)", [number(order_id)])])
        raise


@app.get("/orders/{order_id}/history")
def history(request: Request, order_id: str):
    def work(connection, tenant):
        version, _ = details_of(connection, number(order_id))
        rows = connection.execute("SELECT version, from_state, to_state, changed_at, key "
                                  "FROM idem_history('orders', %s::bigint)", [number(order_id)]).fetchall()
        return Answer(200, [dict(zip(("version", "from", "to", "at", "key"), row)) for row in rows], tag(version))

    return answered(request, work)


@app.post("/payments")
def payment(request: Request, raw: bytes = Depends(body)):
    wanted, text = parsed(Payment, raw)
    retries.count = 0
    return response(*pay(token(request), key_of(request), wanted, text))


@app.get(POLICY)
def policy():
    retries.count = 0
    lifetime = transaction(lambda connection: connection.execute(
        "SELECT extract(epoch FROM current_setting('idem.ttl')::interval)::bigint FROM idem_new_key()").fetchone()[0])
    return response(Answer(200, {
        "header": "Idempotency-Key",
        "syntax": {"structured-field": "sf-string", "also": "a bare token", "bytes": [1, 255],
                   "example": 'Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324"'},
        "required": ["POST /orders", "POST /payments"],
        "optional": ["POST /orders/{id}/transition"],
        "scope": "the authenticated tenant",
        "same-request": "operation and JSON body, however it is spelled",
        "lifetime-seconds": lifetime,
        "final": "2xx and 4xx are answered again, with Idempotent-Replayed: true; a 5xx frees the key",
        "problems": {"required": 400, "syntax": 400, "concurrent": 409, "reused": 422}}))


@app.get("/")
def page():
    return file("index.html", "text/html; charset=utf-8")


@app.get("/page.css")
def css():
    return file("page.css", "text/css; charset=utf-8")


@app.get("/page.js")
def script():
    return file("page.js", "text/javascript; charset=utf-8")


def file(name, kind):
    return FileResponse(PAGE / name, media_type=kind, headers={
        "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"})


# Errors, all of them as problems

@app.exception_handler(Problem)
async def problem_response(request, problem):
    return response(problem.answer(), count=problem.retries)


@app.exception_handler(HTTPException)
async def http_problem(request, error):
    return await problem_response(request, Problem(error.status_code, headers=getattr(error, "headers", None)))


@app.exception_handler(RequestValidationError)
async def validation_problem(request, error):
    return await problem_response(request, Problem(400))


@app.exception_handler(Exception)
async def unforeseen_problem(request, error):
    return await problem_response(request, Problem(500))


class LimitBody:
    """Refuses a body that is too long, before it is read into memory."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        left = BODY_LIMIT
        too_long = Problem(413, "The body is too long", limit=BODY_LIMIT, headers={"Connection": "close"})
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > BODY_LIMIT:
            return await response(too_long.answer(), count=0)(scope, receive, send)

        async def counted():
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise too_long
            return message

        await self.app(scope, counted, send)


app.add_middleware(LimitBody)


@app.on_event("startup")
def start():
    # whether or not the database is there yet
    pool.open()


@app.on_event("shutdown")
def stop():
    pool.close()
