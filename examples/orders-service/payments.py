"""Payments: work that leaves the database, under a claim with a lease."""

import json
import os
import random
import time
import urllib.error
import urllib.request

from database import Answer, Problem, in_progress, log, request_of, retries, sign_in, transaction

PROVIDER = os.environ.get("ORDERS_PROVIDER", "http://127.0.0.1:8100")
LEASE = os.environ.get("ORDERS_LEASE", "30 seconds")
ATTEMPTS = 4            # to reach the provider
TIMEOUT = 5             # seconds, of each

# not by way of a proxy that the environment names
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Unreachable(Exception):
    pass


def charge(key, amount, card):
    """Asks the provider, as often as it takes: it honours keys.  The charge, or a Problem that is final."""
    for attempt in range(1, ATTEMPTS + 1):
        request = urllib.request.Request(
            f"{PROVIDER}/charges", json.dumps({"amount": amount, "card": card}).encode(),
            {"Content-Type": "application/json", "Idempotency-Key": f'"{key}"'}, method="POST")
        try:
            with opener.open(request, timeout=TIMEOUT) as answer:
                return json.load(answer)["charge"]
        except urllib.error.HTTPError as error:
            if error.code == 402:
                raise Problem(402, "The card was declined") from error
            problem = error
        except (OSError, ValueError) as error:
            problem = error
        if attempt == ATTEMPTS:
            raise Unreachable(problem)
        retries.count += 1
        time.sleep(random.uniform(0.5, 1) * 0.05 * 2 ** attempt)


def begin(connection, token, header, wanted, text):
    """Claims the key, and commits: what comes back is an Answer, or what to do."""
    tenant = sign_in(connection, token)
    outcome, stored, fence, seconds, key = connection.execute(
        "SELECT outcome, response, fence, ceil(extract(epoch FROM lease_until - clock_timestamp()))::int, "
        "idem_http_key(%(header)s) FROM idem_claim(idem_http_key(%(header)s), %(request)s::jsonb, "
        "lease => %(lease)s::interval, scope => %(tenant)s)",
        {"header": header, "request": request_of("POST /payments", text), "lease": LEASE, "tenant": tenant}).fetchone()
    if outcome in ("completed", "failed"):
        return Answer.restored(stored), None
    if outcome != "claimed":
        raise in_progress(seconds or 1)

    claim = {"key": key, "fence": fence, "tenant": tenant, "order": wanted.order_id}
    row = connection.execute("SELECT total::text FROM orders WHERE id = %(order)s", claim).fetchone()
    if row is None:
        return refuse(connection, claim, Problem(404, "There is no such order")), claim
    claim["amount"] = row[0]
    # the order is this key's to pay, or another's
    connection.execute("INSERT INTO payment (order_id, tenant, key, amount) "
                       "VALUES (%(order)s, %(tenant)s, %(key)s, %(amount)s) ON CONFLICT DO NOTHING", claim)
    owner = connection.execute("SELECT key FROM payment WHERE order_id = %(order)s", claim).fetchone()
    if owner is None or owner[0] != key:
        return refuse(connection, claim, Problem(409, "The order is paid, or being paid, under another key")), claim
    claim["charge_key"] = connection.execute("SELECT idem_derive_key('charge', %(tenant)s, %(key)s)", claim).fetchone()[0]
    return None, claim


def refuse(connection, claim, problem):
    """Ends the claim with a refusal that is final."""
    answer = problem.answer()
    connection.execute("SELECT idem_fail(%(key)s, %(answer)s::jsonb, %(fence)s, scope => %(tenant)s)",
                       {**claim, "answer": answer.stored()})
    return answer


def finish(connection, token, claim, charged):
    """Writes what came of it and ends the claim, in one transaction: a fence that is stale undoes both."""
    sign_in(connection, token)
    if isinstance(charged, Problem):
        connection.execute("DELETE FROM payment WHERE order_id = %(order)s AND key = %(key)s", claim)
        return refuse(connection, claim, charged)
    connection.execute("UPDATE payment SET charge = %(charge)s, paid_at = coalesce(paid_at, clock_timestamp()) "
                       "WHERE order_id = %(order)s AND key = %(key)s", {**claim, "charge": charged})
    answer = Answer(201, {"order_id": claim["order"], "amount": claim["amount"], "charge": charged},
                    {"Location": f"/orders/{claim['order']}"})
    connection.execute("SELECT idem_complete(%(key)s, %(answer)s::jsonb, %(fence)s, scope => %(tenant)s)",
                       {**claim, "answer": answer.stored()})
    return answer


def release(connection, claim):
    """Frees the key for a retry of the same request."""
    connection.execute("SELECT idem_release(%(key)s, %(fence)s, scope => %(tenant)s)", claim)


def pay(token, header, wanted, text):
    """The Answer to a payment, and whether it is a replay."""
    answer, claim = transaction(begin, token, header, wanted, text)
    if answer is not None:
        return answer, claim is None
    try:
        charged = charge(claim["charge_key"], claim["amount"], wanted.card)
    except Problem as problem:
        charged = problem
    except Unreachable as error:
        log.warning("no answer from the provider: %s", error)
        transaction(release, claim)
        raise Problem(503, "The payment provider does not answer", headers={"Retry-After": "2"}) from error
    return transaction(finish, token, claim, charged), False
