"""The database: its pool of connections, retries, and what its errors mean over HTTP."""

import json
import logging
import os
import random
import threading
import time
from functools import lru_cache
from http import HTTPStatus

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

ATTEMPTS = 6            # of one transaction
PATIENCE = 5.0          # seconds, after which there is no further one
POLICY = "/.well-known/idempotency"

log = logging.getLogger("uvicorn.error")
retries = threading.local()     # of the request that this thread answers

pool = ConnectionPool(
    os.environ.get("ORDERS_DATABASE", "dbname=shop user=shop"),
    min_size=1, max_size=8, timeout=1, reconnect_timeout=5, open=False,
    kwargs={"options": "-c lock_timeout=8s -c statement_timeout=20s -c idle_in_transaction_session_timeout=20s"})


class Answer:
    """What a client gets, and what its key remembers: a replay is the same, byte for byte."""

    def __init__(self, status, body, headers=None):
        self.status = status
        self.headers = {"Content-Type": "application/json", **(headers or {})}
        # a string, not JSON: jsonb would give its fields another order
        self.body = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, default=lambda value: value.isoformat())

    def stored(self):
        return json.dumps({"status": self.status, "headers": self.headers, "body": self.body})

    @classmethod
    def restored(cls, stored):
        return cls(stored["status"], stored["body"], stored["headers"])


class Problem(Exception):
    """An answer that is an error: RFC 9457."""

    def __init__(self, status, title=None, detail=None, about=None, headers=None, **more):
        super().__init__(title)
        self.status = int(status)
        self.retries = getattr(retries, "count", 0)
        self.headers = headers or {}
        self.body = {"type": f"{POLICY}#{about}" if about else "about:blank",
                     "title": title or HTTPStatus(status).phrase, "status": self.status}
        if detail:
            self.body["detail"] = detail
        self.body.update(more)

    def answer(self):
        return Answer(self.status, self.body, {"Content-Type": "application/problem+json", **self.headers})


def sqlstate(error):
    """The SQLSTATE of an error, also of one that the client library makes."""
    if getattr(error, "sqlstate", None):
        return error.sqlstate
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return "08006"
    return "22023" if isinstance(error, psycopg.DataError) else "XX000"


def may_pass(state):
    """Whether the same transaction may succeed when it is run again."""
    return state.startswith(("08", "57P0")) or state in ("40001", "40P01")


@lru_cache(maxsize=1024)
def status_of(state):
    """The HTTP status of a SQLSTATE: the extension knows it, for services in all languages."""
    with pool.connection() as connection:
        return connection.execute("SELECT idem_http_status(%s)", [state]).fetchone()[0]


def problem_of(error):
    """An error of the database as its client may see it: without DETAIL, which may name a role."""
    state = sqlstate(error)
    try:
        status = 503 if may_pass(state) else status_of(state)
    except psycopg.Error:
        status = 503
    if status >= 500:
        log.error("%s: %s", state, error)
        return Problem(status, headers={"Retry-After": "1"} if status == 503 else None)
    titles = {
        "ID001": ("The key was used for another request", "reused"),
        "ID002": ("Another process has taken the request over", "concurrent"),
        "ID201": ("The order cannot go there from here", None),
        "ID203": ("The order has another version", None),
        "ID205": ("There is no such order", None),
    }
    title, about = titles.get(state, (None, None))
    said = getattr(error, "diag", None) and error.diag.message_primary
    if said and "Idempotency-Key" in said:
        title, about, said = "The Idempotency-Key is malformed", "syntax", error.diag.message_detail
    return Problem(status, title, said if state[:2] in ("ID", "22") else None, about,
                   headers={"Retry-After": "1"} if about == "concurrent" else None)


def transaction(work, *arguments):
    """Runs work(connection, ...) in a transaction, and once more where that may help.

    A transaction whose COMMIT was not acknowledged may have committed.  It is run again all
    the same: what it has written is under a key, or harmless when it is written twice.
    """
    deadline = time.monotonic() + PATIENCE
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with pool.connection() as connection:
                return work(connection, *arguments)
        except psycopg.Error as error:
            state = sqlstate(error)
            if not may_pass(state):
                raise problem_of(error) from error
            if attempt == ATTEMPTS or time.monotonic() > deadline:
                log.warning("%s after %d attempts", state, attempt)
                raise Problem(503, headers={"Retry-After": "1"}) from error
            retries.count += 1
            if not state.startswith("40") and not isinstance(error, PoolTimeout):
                pool.check()    # others of its connections will be broken, too
            time.sleep(random.uniform(0.5, 1) * 0.02 * 2 ** attempt)


def sign_in(connection, token):
    """The tenant of a token, whose rows alone this transaction can see from here on."""
    row = connection.execute(
        "SELECT name, set_config('shop.tenant', name, true) FROM tenant WHERE digest = sha256(%s)",
        [token]).fetchone()
    if row is None:
        raise Problem(401, "Who are you?", headers={"WWW-Authenticate": 'Bearer realm="orders"'})
    return row[0]


def request_of(operation, text):
    """What a key is used for, as JSON: the same key with another request is an error."""
    return f'{{"operation": "{operation}", "body": {text}}}'


def once(connection, tenant, header, request, work):
    """Runs work(connection) once under the key of a request; the Answer, and whether it is a replay.

    What work refuses with a 4xx is final, and is remembered as well; anything else that it
    raises frees the key with the transaction.
    """
    outcome, stored = connection.execute(
        "SELECT outcome, response FROM idem_claim(idem_http_key(%s), %s::jsonb, scope => %s, wait => false)",
        [header, request, tenant]).fetchone()
    if outcome == "in_progress":
        raise in_progress(1)
    if outcome == "completed":
        return Answer.restored(stored), True
    try:
        with connection.transaction():      # a savepoint
            answer = work(connection)
    except Problem as problem:
        if problem.status >= 500:
            raise
        answer = problem.answer()
    except psycopg.Error as error:
        state = sqlstate(error)
        if may_pass(state) or connection.broken:
            raise
        problem = problem_of(error)
        if problem.status >= 500:
            raise problem from error
        answer = problem.answer()
    connection.execute("SELECT idem_complete(idem_http_key(%s), %s::jsonb, scope => %s)",
                       [header, answer.stored(), tenant])
    return answer, False


def in_progress(seconds):
    return Problem(409, "The first request with this key is being processed", about="concurrent",
                   headers={"Retry-After": str(max(1, seconds))})
