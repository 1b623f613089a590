"""Whole transactions under a key, of free-running sessions: idem_begin().

What a transaction does is made from its key's number, so that several sessions send the
same, also at once, and so that one whose acknowledgement was lost can be sent again.  It
begins with a row that has what never comes twice: equal answers are of one transaction.
"""

import random

from free_calls import CALLS, number, possible
from pq import LOST

# What writes, or is answered alike by what runs again.
KINDS = ("upsert", "upsert_batch", "execute", "refuse", "transfer", "write", "move", "consume", "emit",
         "saga_start", "transition")
MOMENT = ("57014", "55P03", "40001", "40P01")
AGAIN = "writes that did not write in the first transaction"


class Program:
    """The statements of a transaction: SQL as it is, or requests."""

    def __init__(self, seed, n):
        rng = random.Random(f"{seed} keyed {n}")
        self.key = f"keyed {n}"
        self.steps, depth = [], 0
        if rng.random() < 0.3:
            self.steps.append("SAVEPOINT s1")
            depth = 1
            if rng.random() < 0.5:
                self.steps += [self.effect("before"), "ROLLBACK TO s1"]
        self.steps.append(self.effect("keyed"))
        for _ in range(rng.randint(1, 4)):
            dice = rng.random()
            if dice < 0.3:
                depth += 1
                self.steps.append(f"SAVEPOINT s{depth}")
            elif dice < 0.4 and depth > 1:
                self.steps.append(f"ROLLBACK TO s{depth}")
            elif dice < 0.5 and depth > 1:
                self.steps.append(f"RELEASE s{depth}")
                depth -= 1
            request = CALLS[rng.choice([k for k in KINDS if k in possible()])](rng, n // 4, n)
            if "wait => false" not in request.sql:
                self.steps.append(request)
        self.prepared = rng.random() < 0.2

    def effect(self, what):
        return (f"INSERT INTO effect VALUES ('{what}', '{self.key}')"
                " RETURNING key, pg_current_xact_id(), now(), random()")


def send(client, program):
    """Sends a transaction once: "committed", LOST with its acknowledgement, or None."""
    client.isolation = client.rng.choice(("read committed", "repeatable read", "serializable")) \
        if "levels" in client.hurts else "read committed"
    if not (yield from client.command(f"BEGIN ISOLATION LEVEL {client.isolation}")):
        yield from client.rollback()
        return None
    answer = yield from client.ask(f"SELECT idem_begin('{program.key}')")
    if not answer.ok:
        check(client, program, "idem_begin", answer,
              [s for s in MOMENT if s != "40001" or client.isolation != "read committed"])
        yield from client.rollback()
        return None
    replayed = answer.rows[0][0] == "t"
    answers, levels = [], [[]]
    for step in program.steps:
        sql = step if isinstance(step, str) else step.sql
        answer = yield from client.ask(sql)
        # the context of an error is not recorded
        answers.append((answer.state, tuple(answer.rows), answer.tag) if answer.ok else
                       (answer.state, answer.message.split("\nCONTEXT:")[0]))
        if sql.startswith("SAVEPOINT"):
            levels.append([])
        if replayed and answer.state == "ID001" and AGAIN in answer.message:
            # it was a replay of another call's key, whose row has gone since: it ran again, and wrote
            yield from client.rollback()
            return None
        if not answer.ok:
            check(client, program, sql, answer, MOMENT if isinstance(step, str) else MOMENT + tuple(step.errors))
            depth = len(levels) - 1
            # a transaction that keeps nothing of what it wrote leaves no record, and may be new again
            keeps = not any(fact[0] == "effect" for fact in levels[-1])
            if answer.state in MOMENT or depth == 0 or not keeps or \
                    not (yield from client.command(f"ROLLBACK TO s{depth}")):
                yield from client.rollback()
                return None
            levels[-1] = []
        elif sql.startswith("ROLLBACK TO"):
            levels[-1] = []
        elif sql.startswith("RELEASE"):
            inner = levels.pop()
            levels[-1] += inner
        elif sql.startswith("INSERT INTO effect VALUES ('keyed'"):
            levels[-1].append(("effect", ("keyed", program.key), None))
        elif not isinstance(step, str) and not replayed:
            levels[-1] += [under(program.key, fact) for fact in client.facts_of(step, answer)]
    facts = [("replay" if replayed else "first", program.key, tuple(answers))]
    if not replayed:
        facts += [fact for level in levels for fact in level]
    if client.rng.random() < 0.1:
        yield from client.rollback()
        return None
    if program.prepared and client.rng.random() < 0.5:
        client.blocks += 1
        yield from client.prepare(facts)
        return None
    answer = yield "COMMIT"
    if answer.state == LOST:
        client.storm.ledger.add_maybe(facts)
        return LOST
    yield from client.ended(answer, facts)
    return "committed" if answer.tag == "COMMIT" else None


def under(key, fact):
    """History has the key of the transaction where the call has none."""
    kind, item, detail = fact
    if kind == "moved" and detail[3] is None:
        detail = (*detail[:3], key, detail[4])
    return kind, item, detail


def check(client, program, sql, answer, states):
    if answer.state not in states:
        raise RuntimeError(f"session {client.number}, {client.isolation}, {program.key}: {sql}\n  answered {answer}")


def next_program(client):
    """One that others send as well."""
    return Program(client.storm.plan["seed"], number(client.rng, client.made // 40))
