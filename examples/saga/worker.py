#!/usr/bin/env python3
"""A worker that charges, refunds and ships, by psycopg 3.

    worker.py LEDGER PAYMENT CARRIER_URL

LEDGER and PAYMENT say where to connect to ("dbname=shop").  It stops when its standard
input ends.  With IDEM_CRASH=0.1 it dies in one of ten places at random, as a test.
"""

import json
import os
import random
import select
import sys
import urllib.error
import urllib.request

import psycopg
from psycopg.types.json import Jsonb

LEASE = os.environ.get("IDEM_LEASE", "1 minute")
CRASH = float(os.environ.get("IDEM_CRASH", "0"))


def may_crash():
    if random.random() < CRASH:
        os._exit(9)


class Refused(Exception):
    """The work is refused for good, and has had no effect."""


def behind_barrier(payment, claim, work):
    """Runs work in the participant's database, if it is to run; whether it is there."""
    with payment.transaction():
        answer = payment.execute("SELECT idem_barrier(%s, %s, %s)",
                                 (claim["saga"], claim["step"], claim["undo"])).fetchone()[0]
        if answer == "run":
            work()
        may_crash()
    if answer == "late":
        # its undo came first, or an attempt before this one has closed it
        raise Refused("it can never begin")
    return {"barrier": answer}


def book(payment, claim, amount):
    def work():
        payment.execute("UPDATE account SET balance = balance - %s WHERE id = 1", (amount,))
        payment.execute("INSERT INTO booking (saga, amount) VALUES (%s, %s)", (claim["saga"], amount))
    return work


def close_action(payment, claim):
    """Sees to it that an action which is to be refused does not happen later.

    An attempt before this one may only be slow.  Whether it has happened after all.
    """
    with payment.transaction() as transaction:
        answer = payment.execute("SELECT idem_barrier(%s, %s, true)",
                                 (claim["saga"], claim["step"])).fetchone()[0]
        if answer == "run":
            raise psycopg.Rollback(transaction)
    return answer == "run"


def charge(payment, claim):
    amount = claim["input"]["amount"]
    try:
        return behind_barrier(payment, claim, book(payment, claim, amount))
    except psycopg.errors.CheckViolation:
        if close_action(payment, claim):
            return {"barrier": "duplicate"}
        raise Refused("there is not enough money")


def refund(payment, claim):
    return behind_barrier(payment, claim, book(payment, claim, -claim["input"]["amount"]))


def ship(carrier, claim):
    request = urllib.request.Request(
        carrier, json.dumps({"order": claim["input"]["order"]}).encode(),
        {"Content-Type": "application/json", "Idempotency-Key": claim["key"]})
    with urllib.request.urlopen(request, timeout=5) as answer:
        may_crash()
        return json.load(answer)


def report(ledger, claim, how, *values):
    """Reports in a transaction of its own; a lost lease is another worker's business."""
    may_crash()
    try:
        ledger.execute(f"SELECT {how}(%s, %s, {', '.join(['%s'] * len(values))})",
                       (claim["key"], claim["fence"], *values))
    except psycopg.Error as error:
        if error.sqlstate != "ID002":
            raise
    may_crash()


def do(claim, ledger, payment, carrier):
    try:
        if claim["work"] == "ship":
            result = ship(carrier, claim)
        else:
            result = {"charge": charge, "refund": refund}[claim["work"]](payment, claim)
    except Refused as error:
        report(ledger, claim, "idem_saga_fail", Jsonb(str(error)), False)
    except (OSError, urllib.error.URLError, psycopg.OperationalError) as error:
        if payment.closed:
            raise  # to be started again: going on would use up the attempts of all sagas
        report(ledger, claim, "idem_saga_fail", Jsonb(str(error)))
    else:
        report(ledger, claim, "idem_saga_done", Jsonb(result))


def main():
    with psycopg.connect(sys.argv[1], autocommit=True) as ledger, \
            psycopg.connect(sys.argv[2], autocommit=True) as payment:
        cursor = ledger.cursor(row_factory=psycopg.rows.dict_row)
        while True:
            # the claim commits before the work begins
            claim = cursor.execute("SELECT * FROM idem_saga_claim(%s, %s::interval)",
                                   (["charge", "refund", "ship"], LEASE)).fetchone()
            may_crash()
            if claim is not None:
                do(claim, ledger, payment, sys.argv[3])
            ready, _, _ = select.select([sys.stdin], [], [], 0.02 if claim is None else 0)
            if ready and not sys.stdin.read(1):
                return


main()
