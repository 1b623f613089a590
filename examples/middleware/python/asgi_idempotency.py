"""Idempotency-Key for FastAPI, Starlette and other ASGI applications: see docs/http.md."""
import logging
from asyncio import Queue
from base64 import b64decode, b64encode
import psycopg
from psycopg.types.json import Jsonb
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

CLAIM = """SELECT outcome, response, greatest(1, ceil(extract(epoch FROM lease_until - now())))::int
    FROM idem_claim(idem_http_key(%(key)s), scope => %(tenant)s, wait => false, request => jsonb_build_object(
        'method', %(method)s::text, 'target', %(target)s::text, 'body', CASE WHEN %(type)s::text ~ 'json'
            THEN nullif(convert_from(%(body)s, 'UTF8'), '')::jsonb ELSE to_jsonb(sha256(%(body)s)) END))"""
KEEP = "SELECT {}(idem_http_key(%(key)s), %(kept)s, scope => %(tenant)s)"

class Idempotency:
    def __init__(self, app, pool, tenant, policy):
        self.app, self.pool, self.tenant, self.policy = app, pool, tenant, policy

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["method"] not in ("POST", "PATCH"):
            return await self.app(scope, receive, send)
        request = Request(scope, receive)
        await request.body()  # before a connection has to wait for it
        try:
            async with self.pool.connection() as db:
                try:
                    async with db.transaction() as transaction:
                        response = await self.once(request, db)
                        if response.status_code >= 500 or response.status_code in (408, 425, 429):
                            raise psycopg.Rollback(transaction)  # and the key is free
                except psycopg.Error as error:
                    response = await self.refusal(db, error)
        except psycopg.Error:
            response = self.problem(503, "The database cannot be reached", 1)
        await response(scope, receive, send)

    async def once(self, request, db):
        body, target = await request.body(), str(request.url.replace(scheme="", netloc=""))
        asked = {"key": ", ".join(request.headers.getlist("idempotency-key")), "tenant": self.tenant(request),
                 "method": request.method, "target": target, "type": request.headers.get("content-type"), "body": body}
        outcome, kept, seconds = await (await db.execute(CLAIM, asked)).fetchone()
        if outcome == "in_progress":
            return self.problem(409, "This Idempotency-Key is in progress", seconds)
        if outcome != "claimed":
            return Response(b64decode(kept["body"]), kept["status"], kept["headers"] | {"Idempotent-Replayed": "true"})
        received, sent = Queue(), Queue()
        received.put_nowait({"type": "http.request", "body": body})
        try:
            async with db.transaction() as savepoint:
                await self.app(request.scope | {"state": {"db": db}}, received.get, sent.put)
                start, *rest = (sent.get_nowait() for _ in range(sent.qsize()))
                response = Response(b"".join(message.get("body", b"") for message in rest), start["status"])
                response.raw_headers = start["headers"]
                if response.status_code >= 400:
                    raise psycopg.Rollback(savepoint)  # what was written, not the claim
        except psycopg.Error as error:
            response = await self.refusal(db, error)
        headers = {name: ", ".join(response.headers.getlist(name)) for name in response.headers.keys()
                   if name not in ("content-length", "set-cookie")}
        kept = {"status": response.status_code, "headers": headers, "body": b64encode(response.body).decode()}
        call = KEEP.format("idem_complete" if response.status_code < 400 else "idem_fail")
        await db.execute(call, asked | {"kept": Jsonb(kept)})
        return response

    async def refusal(self, db, error):
        status, = await (await db.execute("SELECT idem_http_status(%s)", [error.sqlstate or "XX000"])).fetchone()
        if status >= 500:
            logging.getLogger(__name__).error("not executed: %s", error)
        return self.problem(status, error.diag.message_primary if status < 500 else "Not executed", status == 503)

    def problem(self, status, title, seconds=0):
        return JSONResponse({"type": self.policy, "title": title, "status": status}, status,
                            {"Retry-After": str(int(seconds))} if seconds else {}, "application/problem+json")
