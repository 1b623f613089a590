"""What free-running sessions know for certain, against what is there at the end.

A fact is sure once its transaction has committed; a maybe where the answer to that was
lost.  Kinds of facts:

    first, replay   of a key: its answer, the first time and later
    thing           a row that was inserted, once
    effect, effects rows of the table effect, once for each item, or as many as told
    version         that a row has got: each once, without a gap
    moved           a transition: it is in the history, which is a chain
    claim, ended, released, kept    of a claim, by fence
    offset          that was applied: each once, without a gap
    paid            between accounts: the sum stays
    started, found  a saga: once, and then found; its steps and effects are one
    true            what an answer says by itself
"""

import time
from collections import Counter, defaultdict

import layout


class Ledger:
    def __init__(self):
        self.sure = defaultdict(lambda: defaultdict(list))
        self.maybe = defaultdict(lambda: defaultdict(list))

    def add(self, facts):
        for kind, item, detail in facts:
            self.sure[kind][item].append(detail)

    def add_maybe(self, facts):
        for kind, item, *detail in facts:
            self.maybe[kind][item].append(detail[0] if detail else None)

    def items(self, kind):
        return set(self.sure[kind]) | set(self.maybe[kind])

    def faults(self, server):
        """What is not as it must be."""
        for check in (self.keys, self.effects, self.things, self.versions, self.chains, self.claims, self.offsets,
                      self.outbox, self.barriers, self.accounts, self.sagas, self.answers):
            yield from check(server)

    def keys(self, server):
        for key in self.items("first") | self.items("replay"):
            firsts, maybes = self.sure["first"][key], self.maybe["first"][key]
            replays = set(self.sure["replay"][key])
            if len(firsts) > 1:
                yield f"key {key} was new {len(firsts)} times: {firsts}"
            if replays and not firsts and not maybes:
                yield f"key {key} was replayed, but never new"
            if len(replays) > 1 or (firsts and replays - {firsts[0]}):
                yield f"key {key} was answered {firsts}, then {replays}"
            if not firsts and None not in maybes and replays - set(maybes):
                yield f"key {key} was answered {maybes}, or so, then {replays}"

    def count(self, kind, item, found, once):
        least, most = len(self.sure[kind][item]), len(self.sure[kind][item]) + len(self.maybe[kind][item])
        if not least <= found <= most or (once and found > 1):
            yield f"{kind} {item} is there {found} times, told {least} to {most} times"

    def effects(self, server):
        found = Counter({(what, key): int(n) for what, key, n in server.rows(
            "SELECT what, key, count(*) FROM effect GROUP BY 1, 2")})
        for kind in ("effect", "effects"):
            for item in self.items(kind):
                yield from self.count(kind, item, found.pop(item, 0), kind == "effect")
        for item, n in found.items():
            yield f"effect {item} is there {n} times, and nobody knows of it"

    def things(self, server):
        found = {int(n) for (n,) in server.rows("SELECT id FROM thing")}
        for item in self.items("thing") | found:
            yield from self.count("thing", item, int(item in found), True)

    def versions(self, server):
        for table in ("doc", "job", "ticket"):
            for row, version in server.rows(f"SELECT id, version FROM {table}"):
                item = (table, int(row))
                told = self.sure["version"][item]
                missing = set(range(2, int(version) + 1)) - set(told) - set(self.maybe["version"][item])
                if len(set(told)) < len(told):
                    yield f"version of {item} was told twice: {[v for v, n in Counter(told).items() if n > 1]}"
                if any(not 1 < v <= int(version) for v in told) or len(missing) > self.maybe["version"][item].count(None):
                    yield f"version of {item} is {version}, told {sorted(told)[-5:]}, missing {sorted(missing)}"

    def chains(self, server):
        for table in () if layout.routed() else ("job", "ticket"):
            there = defaultdict(list)
            for row, version, before, to, key, note in server.rows(
                    f"SELECT row_key->>'id', version, from_state, to_state, key, note FROM idem_history"
                    f" WHERE target = '{table}'::regclass ORDER BY row_key, version"):
                there[int(row)].append((int(version), before, to, key, int(note) if note else None))
            for row, status in server.rows(f"SELECT id, status FROM {table}"):
                chain = there[int(row)]
                told = Counter(self.sure["moved"][table, int(row)])
                if any(a[2] != b[1] or a[0] >= b[0] for a, b in zip(chain, chain[1:])):
                    yield f"history of {table} {row} is no chain: {chain}"
                if (chain[-1][2] if chain else "a") != status:
                    yield f"history of {table} {row} ends at {chain[-1:]}, the row at {status}"
                if told - Counter(chain):
                    yield f"history of {table} {row} lacks {told - Counter(chain)}"

    def claims(self, server):
        for key, fence, outcome, ended, its_key in server.rows(
                "SELECT key, fence, outcome, response->>'fence', coalesce(response->>'key', checkpoints->-1->'data'->>'key')"
                " FROM idem_key WHERE key ~ '^(claim|ready) '"):
            told = self.sure["claim"][key] if key.startswith("claim") else [1]
            fences = set(range(1, int(fence) + 1))
            if len(set(told)) < len(told) or set(told) - fences:
                yield f"fences of {key}, at {fence}, were {sorted(told)}"
            if len(fences - set(told) - set(self.maybe["claim"][key])) > self.maybe["claim"][key].count(None):
                yield f"fences of {key}, at {fence}, were only {sorted(told)}"
            ends = self.sure["ended"][key]
            over = outcome in ("completed", "failed")
            if len(ends) > 1 or (ends and (not over or ended != str(ends[0]))) or (
                    over and not ends and not self.maybe["ended"][key]):
                yield f"{key} is {outcome} by {ended}, and was ended by {ends}"
            both = set(self.sure["released"][key]) & set(ends)
            if both or any(n > 1 for n in Counter(self.sure["released"][key]).values()):
                yield f"{key} was released by {self.sure['released'][key]}, and ended by {ends}"
            if its_key not in (None, key):
                yield f"{key} has the answer of {its_key}"
        there = {key for (key,) in server.rows("SELECT key FROM idem_key WHERE key LIKE 'claim %'")}
        for key in set(self.sure["claim"]) - there:
            yield f"{key} was claimed, and is not there"

    def offsets(self, server):
        for part, offsets, at in server.rows(
                'SELECT part, array_to_string(array_agg("offset" ORDER BY "offset"), \' \'),'
                " idem_offset('one', 'log', part) FROM applied GROUP BY part"):
            offsets = [int(o) for o in offsets.split()]
            if offsets != list(range(len(offsets))) or int(at) != len(offsets):
                yield f"partition {part} is at {at}, and applied were {offsets}"
            missing = set(self.sure["offset"][int(part)]) - set(offsets)
            if missing or len(set(self.sure["offset"][int(part)])) < len(self.sure["offset"][int(part)]):
                yield f"partition {part} was told {sorted(self.sure['offset'][int(part)])}"

    def outbox(self, server):
        for _ in range(1000):
            server.rows("INSERT INTO relayed SELECT message_id FROM idem_outbox_read('one', 'free', 100000)")
            if server.rows("SELECT 1 FROM pg_snapshot_xmin(pg_current_snapshot()) AS a, pg_snapshot_xmax(pg_current_snapshot()) AS b"
                           " WHERE a = b AND NOT EXISTS (SELECT id FROM emitted EXCEPT SELECT id FROM relayed)"):
                break
            time.sleep(0.01)
        for (message,) in server.rows("SELECT id FROM emitted EXCEPT SELECT id FROM relayed"):
            yield f"message {message} was passed over"
        for (message,) in server.rows("SELECT id FROM relayed EXCEPT ALL SELECT id FROM emitted"):
            yield f"message {message} was read twice, or never emitted"

    def barriers(self, server):
        for (saga,) in server.rows("SELECT key FROM effect WHERE what = 'barrier undo'"
                                   " EXCEPT SELECT key FROM effect WHERE what = 'barrier do'"):
            yield f"{saga} was undone, and never done"
        for saga, outcome in server.rows(
                "SELECT e.key, k.outcome FROM effect AS e JOIN public.idem_key AS k ON k.scope = 'idem.barrier'"
                " AND k.key = idem_derive_key('', e.key, '1', 'do') WHERE e.what = 'barrier do' AND k.outcome <> 'completed'"):
            yield f"{saga} was done, and its barrier is {outcome}"

    def accounts(self, server):
        balances = {int(i): int(b) for i, b in server.rows("SELECT id, balance FROM account")}
        if sum(balances.values()) != 200:
            yield f"the sum of the accounts was 200, and is {sum(balances.values())}"
        if not self.maybe["paid"]:
            expected = 100 + sum(amount if paid == 2 else -amount
                                 for paids in self.sure["paid"].values() for paid, amount in paids)
            if balances[1] != expected:
                yield f"account 1 has {balances[1]}, by what was told {expected}"

    def sagas(self, server):
        there = {saga for (saga,) in server.rows("SELECT saga FROM idem_saga WHERE scope = 'storm'")}
        for saga in self.items("started") | there:
            yield from self.count("started", saga, int(saga in there), True)
        for saga in self.items("found") - there:
            yield f"{saga} was found, and is not there"
        # what was done in the transaction of its report is there, and nothing else
        for row in server.rows("""
                SELECT k.saga, k.step, k.status, d, u FROM idem_saga_step k LEFT JOIN LATERAL (
                    SELECT count(*) FILTER (WHERE NOT undo) AS d, count(*) FILTER (WHERE undo) AS u
                    FROM saga_effect e WHERE (e.saga, e.step) = (k.saga, k.step)) AS e ON true
                WHERE k.scope = 'storm' AND NOT CASE k.status
                    WHEN 'done' THEN d = 1 AND u = 0 WHEN 'undone' THEN d <= 1 AND u = 1
                    WHEN 'undoing' THEN d <= 1 AND u = 0 WHEN 'stuck' THEN d <= 1 AND u = 0
                    WHEN 'skipped' THEN d <= 1 AND u = 0 ELSE d = 0 AND u = 0 END"""):
            yield f"the effects of a step are not what it says: {row}"
        for row in server.rows("""
                SELECT s.saga, s.status, count(k.due), count(*) FILTER (WHERE k.status = 'stuck') FROM idem_saga s
                JOIN idem_saga_step k USING (saga, scope) WHERE scope = 'storm' GROUP BY 1, 2
                HAVING count(k.due) <> (s.status IN ('running', 'compensating'))::int
                    OR count(*) FILTER (WHERE k.status = 'stuck') <> (s.status = 'stuck')::int
                    OR s.status = 'completed' AND bool_or(k.status NOT IN ('done', 'skipped'))
                    OR s.status = 'compensated' AND bool_or(k.status IN ('pending', 'running', 'undoing'))"""):
            yield f"a saga is not where its steps are: {row}"

    def answers(self, server):
        for what, answers in self.sure["true"].items():
            if set(answers) != {"t"}:
                yield f"an answer was not so: {what}"
        for key, its_key in server.rows(
                "SELECT key, coalesce(response->>'key', response->'result'->0->>'key') FROM idem_key"
                " WHERE key ~ '^(thing|execute|gone|transaction) '"):
            if its_key not in (None, key):
                yield f"{key} has the answer of {its_key}"
