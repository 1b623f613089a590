"""The calls of free-running sessions, each with what its answer says for certain.

A Request has its SQL, the errors that it may raise, and facts(rows): what is so if its
transaction commits, as (kind, item, detail).  possible: the (kind, item) of which nobody
can tell once the connection is lost before the answer.  ledger.py knows the kinds.
"""

import json

import layout
from calls.base import literal
from calls.machines import EDGES

SCHEMA = """
CREATE TABLE thing (id bigint PRIMARY KEY, key text NOT NULL, n int);
CREATE TABLE effect (what text, key text);
CREATE TABLE applied (part int, "offset" bigint);
CREATE TABLE emitted (id text);
CREATE TABLE relayed (id text);
CREATE TABLE saga_effect (saga text, step int, undo boolean);
GRANT INSERT (topic), SELECT ON idem_outbox TO alice, bob, carol;
"""
READY = 1000                    # claims made in one transaction
RESET = """DELETE FROM thing; DELETE FROM effect; DELETE FROM applied; DELETE FROM emitted; DELETE FROM relayed;
DELETE FROM idem_outbox; DELETE FROM idem_outbox_position;
DELETE FROM saga_effect; DELETE FROM idem_saga_step; DELETE FROM idem_saga;"""
MAKE_READY = f"""
SET ROLE alice;
SELECT count(idem_claim('ready ' || i, lease => '1 day')) FROM generate_series(0, {READY - 1}) AS i;
RESET ROLE;
"""
ROWS = 3
WINDOW = 4                      # keys that all sessions are at


class Request:
    def __init__(self, sql, errors=(), facts=None, possible=(), held=None, alone=True, same=True):
        self.sql, self.errors, self.possible, self.held, self.alone = sql, errors, possible, held, alone
        self.same = same                # is it the same request when it is sent again?
        self.facts = facts or (lambda rows: [])


def number(rng, front):
    """A key that the others are at as well, or one from before."""
    return rng.randrange(front + 1) if rng.random() < 0.15 else front + rng.randrange(WINDOW)


def no_wait(rng):
    return ", wait => false" if rng.random() < 0.2 else ""


def keyed(kind_of, key, rows, more=()):
    """The facts of an answer under a key: columns outcome, replayed, the rest."""
    outcome, replayed, *rest = rows[0]
    if outcome == "in_progress":
        return []
    answer = (outcome, *rest)
    return [("replay" if replayed == "t" else "first", key, answer)] + ([] if replayed == "t" else list(more))


def upsert(rng, front, me):
    n = number(rng, front)
    key = f"thing {n}"
    return Request(
        f"""SELECT outcome, replayed, result->>'id', result->>'key' FROM idem_upsert('{key}', 'thing',
            '{{"id": {n}, "key": "{key}"}}'{no_wait(rng)})""",
        facts=lambda rows: keyed("upsert", key, rows, [("thing", n, rows[0])]),
        possible=[("first", key), ("thing", n)])


def upsert_batch(rng, front, me):
    """Several of these upserts by one call, in any order and perhaps some of them twice: few,
    or more than are run together."""
    numbers = [number(rng, front) for _ in range(rng.choice((1, 2, 4, 50)))]
    keys = ", ".join(f"'thing {n}'" for n in numbers)
    data = ", ".join(f"""'{{"id": {n}, "key": "thing {n}"}}'""" for n in numbers)
    return Request(
        f"""SELECT outcome, replayed, result->>'id', result->>'key' FROM idem_upsert_batch(ARRAY[{keys}], 'thing',
            ARRAY[{data}]::jsonb[]) ORDER BY ordinal""",
        facts=lambda rows: [fact for n, row in zip(numbers, rows)
                            for fact in keyed("upsert", f"thing {n}", [row], [("thing", n, row[0])])],
        possible=[fact for n in numbers for fact in (("first", f"thing {n}"), ("thing", n))])


def upsert_doc(rng, front, me):
    """Several requests are about one row."""
    n, r = number(rng, front), rng.randrange(3)
    key, row = f"doc {n} {r}", 1 + n % ROWS
    return Request(
        f"""SELECT outcome, replayed, result->>'version', result->>'n' FROM idem_upsert('{key}', 'doc',
            '{{"id": {row}, "n": {10 * n + r}}}')""",
        facts=lambda rows: keyed("upsert", key, rows, [("version", ("doc", row), int(rows[0][2]))]
                                 if rows[0][0] == "updated" else ()),
        possible=[("first", key), ("version", ("doc", row))])


def merge(rng, front, me):
    row = 1 + rng.randrange(ROWS)
    return Request(
        f"""SELECT outcome, result->>'version', result->'tags' @> '{me}' FROM idem_upsert(NULL, 'doc',
            '{{"id": {row}, "tags": [{me}]}}', merge => '{{"tags": "union"}}')""",
        facts=lambda rows: [("true", f"merged {me}", rows[0][2])] + (
            [("version", ("doc", row), int(rows[0][1]))] if rows[0][0] == "updated" else []),
        possible=[("version", ("doc", row))])


def update(rng, front, me):
    """An update from the version that the row has."""
    table, row = rng.choice(("doc", "job")), 1 + rng.randrange(ROWS - 1)
    n = rng.randrange(10**9)
    key = f"'update {n}'" if rng.random() < 0.5 else "NULL"
    return Request(
        f"""SELECT u.outcome, v.version, u.version FROM {table} AS v, idem_update('{table}', v.id,
            '{{"n": {n % 10}}}', expected_version => v.version, key => {key}) AS u WHERE v.id = {row}""",
        errors=("ID203",),
        facts=lambda rows: [("version", (table, row), int(rows[0][2])),
                            ("true", "one version on", "t" if int(rows[0][2]) == int(rows[0][1]) + 1 else "f")]
        if rows[0][0] == "updated" else [],
        possible=[("version", (table, row))], same=False)


def write(rng, front, me):
    table, row = rng.choice(("doc", "job")), 1 + rng.randrange(ROWS - 1)
    return Request(f"UPDATE {table} SET n = n + 1 WHERE id = {row} RETURNING version",
                   facts=lambda rows: [("version", (table, row), int(rows[0][0]))],
                   possible=[("version", (table, row))])


def execute(rng, front, me):
    key = f"execute {number(rng, front)}"
    return Request(
        f"""SELECT outcome, replayed, processed, result FROM idem_execute('{key}',
            'INSERT INTO effect VALUES (''execute'', $1) RETURNING key', '["{key}"]'{no_wait(rng)})""",
        facts=lambda rows: keyed("execute", key, rows, [("effect", ("execute", key), None)]),
        possible=[("first", key), ("effect", ("execute", key))])


def refuse(rng, front, me):
    """Every other time the work is refused: what came of it first is what remains."""
    key = f"refuse {number(rng, front)}"
    return Request(
        f"""SELECT outcome, replayed, processed, result->>'sqlstate' FROM idem_execute('{key}',
            'INSERT INTO effect SELECT ''refuse'', $1 WHERE 1 / (random() < 0.5)::int = 1', '["{key}"]',
            remember_errors => '{{{rng.choice(("22", "22012", "23,22012"))}}}'{no_wait(rng)})""",
        facts=lambda rows: keyed("refuse", key, rows, [("effect", ("refuse", key), None)]
                                 if rows[0][0] == "executed" else ()),
        possible=[("first", key), ("effect", ("refuse", key))])


def execute_expiring(rng, front, me):
    """A key that is forgotten at once: an effect each time that it is new."""
    key = f"gone {number(rng, front)}"
    ttl = rng.choice(("1 us", "1 ms", "5 ms"))
    return Request(
        f"""SELECT outcome, replayed, processed, result->0->>'key' FROM idem_execute('{key}',
            'INSERT INTO effect VALUES (''gone'', $1) RETURNING key', '["{key}"]', ttl => '{ttl}')""",
        facts=lambda rows: [("true", "its own answer", "t" if rows[0][3] == key else "f")] + (
            [("effects", ("gone", key), None)] if rows[0][1] == "f" else []),
        possible=[("effects", ("gone", key))])


def forget(rng, front, me):
    """A key whose effect may be there any number of times."""
    return Request(f"SELECT idem_forget('gone {number(rng, front)}')")


def wait(rng, front, me):
    """What is told of a key is its own, however it stood meanwhile."""
    key = f"{rng.choice(('thing', 'claim', 'execute', 'transaction'))} {number(rng, front)}"
    return Request(
        f"""SELECT coalesce(response->>'key', response->'data'->>'key', response->'result'->0->>'key'), s.keys
            FROM idem_wait('{key}', '{rng.choice(('0', '1 ms', '20 ms'))}'), LATERAL (
            SELECT string_agg(DISTINCT data->>'key', ' ') AS keys FROM idem_checkpoints('{key}')) AS s""",
        errors=("55006",),
        facts=lambda rows: [("true", "its own answer", "t" if {rows[0][0] or key, rows[0][1] or key} == {key} else "f")])


def transfer(rng, front, me):
    """The sum of all accounts stays."""
    n = number(rng, front)
    key, paid, amount = f"transfer {n}", 1 + n % 2, 1 + n % 5
    return Request(
        f"""SELECT outcome, replayed, processed, result FROM idem_execute('{key}',
            'UPDATE account SET balance = CASE id WHEN $1 THEN balance - $2 ELSE balance + $2 END WHERE id IN
            (SELECT id FROM account ORDER BY id FOR UPDATE) RETURNING id', '[{paid}, {amount}]')""",
        facts=lambda rows: keyed("transfer", key, rows, [("paid", key, (paid, amount))]),
        possible=[("first", key), ("paid", key)])


def transition(rng, front, me):
    table, row, to = rng.choice(("job", "ticket")), 1 + rng.randrange(ROWS - 1), rng.choice("abc")
    unique = rng.randrange(10**9)
    key = f"move {unique}" if rng.random() < 0.5 else None
    row_id = row
    if table == "ticket":
        row_id = f"""'{{"id": {row}, "region": {row % 2}}}'{rng.choice(("::jsonb", ""))}"""
    return Request(
        f"""SELECT outcome, replayed, from_state, to_state, version FROM idem_transition('{table}', {row_id}, '{to}'
            {f", key => '{key}'" if key else ''}{note(unique)})""",
        errors=not_moved(table, to),
        facts=lambda rows: moved(table, row, rows[0], key, unique),
        possible=[("version", (table, row)), ("moved", (table, row))])


def not_moved(table, to):
    """The errors of a transition; one from a state to itself has one more where it cannot be."""
    errors = ("ID201", "ID204") if table == "job" else ("ID201",)
    return (*errors, "0A000") if layout.routed() and to in EDGES[table][to] else errors


def note(unique):
    return "" if layout.routed() else f", note => '{unique}'"


def moved(table, row, answer, key, note):
    outcome, replayed, before, to, version = answer
    legal = to in EDGES[table][before] if outcome == "applied" else before == to
    # its key is of this request alone, whose first answer was lost where it is a replay
    fresh = replayed == "f" or key is not None
    facts = [("true", f"{outcome} {before} to {to}", "t" if legal and fresh else "f")]
    if outcome == "applied":
        facts += [("version", (table, row), int(version)),
                  ("moved", (table, row), (int(version), before, to, key, note))]
    return facts


def transition_batch(rng, front, me):
    table, to = rng.choice(("job", "ticket")), rng.choice("abc")
    rows_ = list(range(1, ROWS))
    rng.shuffle(rows_)
    unique = rng.randrange(10**9)
    ids = ", ".join(f"""'{{"id": {i}, "region": {i % 2}}}'""" if table == "ticket" else f"'{i}'" for i in rows_)
    return Request(
        f"""SELECT outcome, replayed, from_state, to_state, version FROM idem_transition_batch('{table}',
            ARRAY[{ids}]{rng.choice(("::jsonb[]", ""))}, '{to}'{note(unique)})""",
        errors=not_moved(table, to),
        facts=lambda rows: [f for i, row in zip(rows_, rows) for f in moved(table, i, row, None, unique)],
        possible=[(kind, (table, i)) for i in rows_ for kind in ("version", "moved")])


def move(rng, front, me):
    """Past idem's functions, but not past the machine."""
    table, row, to = rng.choice(("job", "ticket")), 1 + rng.randrange(ROWS - 1), rng.choice("abc")
    return Request(f"UPDATE {table} SET status = '{to}' WHERE id = {row} RETURNING version",
                   errors=("ID201", "ID204") if table == "job" else ("ID201",),
                   facts=lambda rows: [("version", (table, row), int(rows[0][0]))],
                   possible=[("version", (table, row)), ("moved", (table, row))])


def claim(rng, front, me):
    n = number(rng, front)
    key = f"claim {n}"
    lease = rng.choice(("1 us", "2 ms", "20 ms", "1 hour"))

    def facts(rows):
        outcome, fence, its_key, checkpoint = rows[0]
        told = [("true", "its own answer", "t" if (its_key or key) == key and (checkpoint or key) == key else "f")]
        return told + ([("claim", key, int(fence))] if outcome == "claimed" else [])

    return Request(
        f"""SELECT outcome, fence, response->>'key', response->'data'->>'key' FROM idem_claim('{key}',
            '{{"key": "{key}"}}', lease => '{lease}', wait => {rng.choice(('true', 'false'))})""",
        facts=facts, possible=[("claim", key)],
        held=lambda rows: (key, int(rows[0][1])) if rows[0][0] == "claimed" else None)


def hold(rng, key, fence):
    """What the holder of a claim does next."""
    end = rng.choice(("complete", "complete", "fail", "release", "extend", "checkpoint"))
    value = json.dumps({"key": key, "fence": fence})
    sql = {
        "complete": f"idem_complete('{key}', '{value}', {fence})",
        "fail": f"idem_fail('{key}', '{value}', {fence})",
        "release": f"idem_release('{key}', {fence})",
        "extend": f"idem_extend('{key}', {fence}, '5 ms') IS NOT NULL",
        "checkpoint": f"idem_checkpoint('{key}', {fence}, 'step', '{value}')::text = ''",
    }[end]
    # others may have taken it over; where its transaction was undone, there is none
    kind = {"complete": "ended", "fail": "ended", "release": "released"}.get(end, "kept")
    return Request(f"SELECT {sql}", errors=("ID002", "ID003"),
                   facts=lambda rows: [(kind, key, fence)] if rows[0][0] == "t" else [],
                   possible=[(kind, key)])


def ready(rng, front, me):
    """One of many claims, whose rows only their keys tell apart: how far it is, or its end."""
    key = f"ready {rng.randrange(READY)}"
    if rng.random() < 0.8:
        return Request(f"""SELECT idem_checkpoint('{key}', 1, 'step', '{{"key": "{key}"}}')""", errors=("ID002",))
    return Request(f"""SELECT idem_complete('{key}', '{{"key": "{key}", "fence": 1}}', 1)""",
                   facts=lambda rows: [("ended", key, 1)] if rows[0][0] == "t" else [],
                   possible=[("ended", key)])


def claim_transaction(rng, front, me):
    key = f"transaction {number(rng, front)}"
    return Request(
        f"""WITH c AS MATERIALIZED (SELECT * FROM idem_claim('{key}', '{{"key": "{key}"}}')),
            e AS (INSERT INTO effect SELECT 'transaction', '{key}' FROM c WHERE outcome = 'claimed')
            SELECT outcome, response->>'key', outcome = 'claimed' AND idem_complete('{key}',
            '{{"key": "{key}"}}') FROM c""",
        facts=lambda rows: [("effect", ("transaction", key), None)] if rows[0][0] == "claimed" else
        [("true", "its own answer", "t" if rows[0][0] == "completed" and rows[0][1] == key else "f")],
        possible=[("effect", ("transaction", key))], alone=False)


def lookup(rng, front, me):
    key = f"{rng.choice(('thing', 'claim', 'execute', 'transaction'))} {number(rng, front)}"
    return Request(
        f"""SELECT coalesce(response->>'key', response->'data'->>'key', response->'result'->0->>'key')
            FROM idem_lookup('{key}')""",
        facts=lambda rows: [("true", "its own answer", "t" if (rows[0][0] or key) == key else "f")])


def consume(rng, front, me):
    message = f"m {number(rng, front)}"
    return Request(
        f"""WITH new AS MATERIALIZED (SELECT idem_consume('one', '{message}') AS yes)
            INSERT INTO effect SELECT 'one', '{message}' FROM new WHERE yes RETURNING key""",
        facts=lambda rows: [("effect", ("one", message), None) for _ in rows],
        possible=[("effect", ("one", message))])


def consume_batch(rng, front, me):
    messages = [f"m {number(rng, front)}" for _ in range(4)]
    array = ", ".join(f"'{m}'" for m in messages)
    return Request(
        f"INSERT INTO effect SELECT 'batch', id FROM idem_consume_batch('batch', ARRAY[{array}]) AS id RETURNING key",
        facts=lambda rows: [("effect", ("batch", row[0]), None) for row in rows],
        possible=[("effect", ("batch", m)) for m in set(messages)])


def consume_expiring(rng, front, me):
    message = f"m {number(rng, front)}"
    ttl = rng.choice(("1 us", "1 ms"))
    return Request(
        f"""WITH new AS MATERIALIZED (SELECT idem_consume('brief', '{message}', '{ttl}') AS yes)
            INSERT INTO effect SELECT 'brief', '{message}' FROM new WHERE yes RETURNING key""",
        facts=lambda rows: [("effects", ("brief", message), None) for _ in rows],
        possible=[("effects", ("brief", message))])


def advance(rng, front, me):
    part, back, on = rng.randrange(2), rng.randrange(3), rng.randrange(4)
    return Request(
        f"""INSERT INTO applied SELECT {part}, o FROM (SELECT coalesce(idem_offset('one', 'log', {part}), 0) AS at) AS now,
            generate_series(idem_advance('one', 'log', {part}, greatest(at - {back}, 0), at + {on}), at + {on}) AS o
            RETURNING "offset" """,
        facts=lambda rows: [("offset", part, int(row[0])) for row in rows],
        possible=[("offset", part)])


def emit(rng, front, me):
    """Facts are not needed: what is emitted is written down beside it."""
    return Request(f"INSERT INTO emitted SELECT idem_emit('free', to_jsonb(i)) FROM generate_series(1, {rng.randrange(1, 4)}) AS i")


def relay(rng, front, me):
    return Request(f"INSERT INTO relayed SELECT message_id FROM idem_outbox_read('one', 'free', {rng.randrange(1, 9)})")


def barrier(rng, front, me):
    n = number(rng, front)
    what, undo = ("undo", "true") if rng.random() < 0.4 else ("do", "false")
    return Request(
        f"""WITH b AS MATERIALIZED (SELECT idem_barrier('saga {n}', 1, {undo}) AS b)
            INSERT INTO effect SELECT 'barrier {what}', 'saga {n}' FROM b WHERE b = 'run' RETURNING key""",
        facts=lambda rows: [("effect", (f"barrier {what}", row[0]), None) for row in rows],
        possible=[("effect", (f"barrier {what}", f"saga {n}"))])


def history(rng, front, me):
    row = 1 + rng.randrange(ROWS - 1)

    def facts(rows):
        good = all(int(b[0]) > int(a[0]) and a[2] == b[1] for a, b in zip(rows, rows[1:]))
        return [("true", "a chain", "t" if good else "f")]

    return Request(f"SELECT version, from_state, to_state FROM idem_history('job', {row})", facts=facts)


WORKS = "ARRAY['do', 'undo'], scope => 'storm'"


def saga_start(rng, front, me):
    """Two of three steps can be undone; every third saga has a pivot."""
    n = number(rng, front)
    steps = [{"do": "do", "undo": "undo", "attempts": 3, "backoff": "1ms", "cap": "5ms"},
             {"do": "do", "attempts": 3, "backoff": "1ms", "cap": "5ms", "pivot": n % 3 == 0},
             {"do": "do", "undo": "undo", "attempts": 3, "backoff": "1ms", "cap": "5ms"}]
    return Request(
        f"SELECT replayed FROM idem_saga_start('saga {n}', {literal(json.dumps(steps))}, scope => 'storm')",
        facts=lambda rows: [("started" if rows[0][0] == "f" else "found", f"saga {n}", None)],
        possible=[("started", f"saga {n}")])


def saga_work(rng, front, me):
    """A step and its record are one transaction."""
    return Request(
        f"""WITH c AS MATERIALIZED (SELECT * FROM idem_saga_claim({WORKS}, max => {rng.randrange(1, 4)})),
            d AS MATERIALIZED (SELECT saga, step, undo, idem_saga_done(key, fence, '1') FROM c)
            INSERT INTO saga_effect SELECT saga, step, undo FROM d RETURNING saga""", same=False)


def saga_fail(rng, front, me):
    retry = rng.choice(("true", "false"))
    return Request(f"""SELECT idem_saga_fail(key, fence, '"no"', {retry}, '1 ms') IS NOT NULL
                       FROM idem_saga_claim({WORKS}) WHERE NOT undo OR {retry}""",
                   facts=lambda rows: [("true", "a status", row[0]) for row in rows], same=False)


def saga_leave(rng, front, me):
    """A worker that does not come back."""
    return Request(f"SELECT count(*) FROM idem_saga_claim({WORKS}, lease => '1 ms')", same=False)


def saga_cancel(rng, front, me):
    return Request(f"SELECT idem_saga_cancel('saga {number(rng, front)}', '\"storm\"', 'storm')",
                   errors=("ID201", "ID205"))


def saga_resolve(rng, front, me):
    verdict = rng.choice(("retry", "retry", "skip"))
    return Request(f"SELECT idem_saga_resolve(saga, step, '{verdict}', NULL, scope) FROM idem_saga_work"
                   " WHERE status = 'stuck' LIMIT 1", errors=("ID201", "ID205", "55006"), same=False)


def check(rng, front, me):
    """Runs a call twice, and leaves nothing behind."""
    n = number(rng, front)
    command = rng.choice((f"SELECT outcome FROM idem_upsert('thing {n}', 'thing', '{{\"id\": {n}, \"key\": \"thing {n}\"}}')",
                          "UPDATE account SET balance = 0 WHERE id = 1"))
    return Request(f"SELECT idempotent FROM idem_check({literal(command)})",
                   facts=lambda rows: [("true", "idempotent", rows[0][0])])


def purge(rng, front, me):
    return Request(f"SELECT idem_purge({rng.randrange(1, 50)})")


CALLS = {f.__name__: f for f in (
    upsert, upsert_batch, upsert_doc, merge, update, write, execute, refuse, execute_expiring, transfer, transition,
    transition_batch, move, claim, ready, claim_transaction, lookup, wait, forget, consume, consume_batch, consume_expiring, advance, emit,
    relay, barrier, history, check, saga_start, saga_work, saga_fail, saga_leave, saga_cancel, saga_resolve)}

# What an engine's tables cannot have, and what is for one node.
NOT_ROUTED = ("emit", "relay", "barrier", "history", "check", "saga_start", "saga_work", "saga_fail", "saga_leave",
              "saga_cancel", "saga_resolve")


def possible():
    """The calls by their names that can be made where the tables are."""
    return {name: call for name, call in CALLS.items() if not (layout.routed() and name in NOT_ROUTED)}
