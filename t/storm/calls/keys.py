"""idem_upsert, idem_execute, idem_update, idem_lookup, idem_wait, idem_forget, idem_forget_scope."""

import layout
from model import Refused

from . import keyed
from .base import Call, born, literal, named, pick, public, tidy, trimmed
from .keyed import REPLAYED

ROWS = 3
SCHEMA = """
CREATE TABLE doc (id int PRIMARY KEY, n int, tags int[], version bigint NOT NULL DEFAULT 1);
CREATE TRIGGER zz_idem_version BEFORE UPDATE ON doc FOR EACH ROW EXECUTE FUNCTION idem_version('version');
CREATE TABLE plain (id int PRIMARY KEY, n int, s text);
CREATE TABLE named (serial bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code text UNIQUE, n int);
CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL);
"""
RESET = """
DELETE FROM idem_key; DELETE FROM doc; DELETE FROM plain; DELETE FROM named; DELETE FROM account;
INSERT INTO doc VALUES (1, 0), (2, 0);
INSERT INTO plain VALUES (1, 0, 'a'), (2, 0, 'a');
INSERT INTO named (code, n) VALUES ('a', 0);
INSERT INTO account VALUES (1, 100), (2, 100);
"""
ITEMS = {
    ("doc", 1): born({"id": 1, "n": 0, "tags": None, "version": 1}),
    ("doc", 2): born({"id": 2, "n": 0, "tags": None, "version": 1}),
    ("plain", 1): born({"id": 1, "n": 0, "s": "a"}),
    ("plain", 2): born({"id": 2, "n": 0, "s": "a"}),
    ("named", "a"): born({"code": "a", "n": 0}),
    ("account", 1): born({"id": 1, "balance": 100}),
    ("account", 2): born({"id": 2, "balance": 100}),
}
# What a column has that is not given.
DEFAULTS = {
    "doc": {"n": None, "tags": None, "version": 1},
    "plain": {"n": None, "s": None},
    "named": {"n": None},
    "job": {"n": 0, "status": "a", "pay": "x", "version": 1},
    "ticket": {"n": 0, "status": "a", "version": 1},
}
VERSIONED = ("doc", "job", "ticket")
FOLLOWING = ("job", "ticket")


def item_for(table, data):
    return (table, data["code" if table == "named" else "id"])


def row_id(table, number, given=0):
    """A row's primary key, as it is given to functions that take one: there are some ways."""
    value = f"""'{{"id": {number}, "region": {number % 2}}}'""" if table == "ticket" else f"'{number}'"
    if table != "ticket" and given == 0:
        return str(number)
    return value + ("::jsonb", "", "::text")[given]


def as_given(rng):
    """A way to give ids, which is no part of the request."""
    return rng.randrange(3)


def merged(rule, old, new):
    if rule == "max":
        return max((v for v in (old, new) if v is not None), default=None)
    if rule == "min":
        return min((v for v in (old, new) if v is not None), default=None)
    if rule == "keep":
        return new if old is None else old
    if rule == "union":
        if old is None or new is None:
            return new if old is None else old
        return tidy(old + [v for v in new if v not in old])
    return new


def began(view, item, row, key=None, scope=None):
    """A row that is inserted, with the beginning of its history where it keeps one."""
    view.write(item, row)
    if item[0] in FOLLOWING and not layout.routed():
        view.append(("history",) + item, (str(row["version"]), None, row["status"], *view.under(key, scope), None))


class Upsert(Call):
    name = "upsert"
    weight = 30
    columns = "ttj"

    @staticmethod
    def make(rng):
        table = pick(rng, ("doc", 4), ("plain", 2), ("named", 2), ("job", 1), ("ticket", 1))
        data = {"n": rng.randint(0, 3)}
        p = {"table": table, "data": data}
        if table == "named":
            data["code"] = rng.choice("ab")
            p["conflict"] = True
        else:
            data["id"] = rng.randint(1, ROWS)
        if table == "ticket":
            data["region"] = data["id"] % 2
        if table == "plain" and rng.random() < 0.4:
            data["s"] = rng.choice("ab")
        if table == "doc" and rng.random() < 0.4:
            data["tags"] = sorted(rng.sample(range(4), 2))
        if table != "named" and rng.random() < 0.25:
            p["merge"] = {"n": rng.choice(("max", "min", "keep", "set"))}
            if "tags" in data:
                p["merge"]["tags"] = "union"
        elif table in VERSIONED and rng.random() < 0.35:
            p["expected"] = rng.randint(1, 4)
        return p

    @classmethod
    def generate(cls, rng):
        p = keyed.request(rng, keyed.choose_key(rng, "u", {}), cls.make)
        if "merge" in p and rng.random() < 0.4:
            p["key"] = None
        return keyed.options(rng, p, (["ID203"], ["22", "ID203", "ID205"]))

    @classmethod
    def sql(cls, p):
        return f"SELECT outcome, replayed, {trimmed('result')} FROM {cls.call(p)}"

    @staticmethod
    def call(p):
        conflict = ", conflict => '{code}'" if p.get("conflict") else ""
        expected = named({"expected_version": p.get("expected")}, "expected_version")
        return (f"idem_upsert({literal(p['key'])}, '{p['table']}', {literal(p['data'])}{conflict}{expected}"
                f"{named(p, 'scope', 'merge')}{keyed.options_sql(p)})")

    @staticmethod
    def expect(view, p):
        table, data, expected = p["table"], tidy(p["data"]), p.get("expected")
        item = item_for(table, data)

        def work():
            if table == "ticket" and layout.routed():
                # which is partitioned
                raise Refused("0A000")
            if expected is not None and not layout.routed():
                row = view.found(item)
                if row is None:
                    raise Refused("ID205")
            else:
                row = view.unique(item)
            if row is None and expected is not None:
                raise Refused("ID205")
            if row is None:
                row = born({**data, **{k: v for k, v in DEFAULTS[table].items() if k not in data}})
                began(view, item, row, p["key"], (p.get("scope") or "") if p["key"] else None)
                return [["inserted", REPLAYED, public(row)]]
            rules = p.get("merge", {})
            new = {**row, **{k: merged(rules.get(k), row[k], v) for k, v in data.items()}}
            if expected is not None and row["version"] != expected and not (
                    new == row and row["version"] - 1 == expected):
                raise Refused("ID203")
            if new == row:
                return [["unchanged", REPLAYED, public(row)]]
            if table in VERSIONED:
                new["version"] += 1
            view.write(item, new)
            return [["updated", REPLAYED, public(new)]]

        fp = ("upsert", table, repr(sorted(data.items())), p.get("conflict"), expected, repr(p.get("merge")))
        return keyed.once(view, p, fp, work, lambda rows: rows[0][2])


class Execute(Call):
    name = "execute"
    weight = 15
    columns = "ttjt"

    @staticmethod
    def make(rng):
        # one that divides fails at every third balance
        return {"account": rng.randint(1, ROWS), "amount": rng.randint(1, 2), "divides": rng.random() < 0.4}

    @classmethod
    def generate(cls, rng):
        p = keyed.request(rng, keyed.choose_key(rng, "x", {}), cls.make)
        return keyed.options(rng, p, (["22012"], ["22"], ["23"]))

    @staticmethod
    def sql(p):
        more = " + 0 / (balance % 3)" if p["divides"] else ""
        return (f"SELECT outcome, replayed, {trimmed('result')}, processed FROM idem_execute({literal(p['key'])},"
                f" 'UPDATE account SET balance = balance + $1{more} WHERE id = $2 RETURNING id, balance',"
                f" '[{p['amount']}, {p['account']}]'{named(p, 'scope')}{keyed.options_sql(p)})")

    @staticmethod
    def expect(view, p):
        item = ("account", p["account"])

        def work():
            # what is written is reckoned before the row is locked
            row = view.visible(item)
            if p["divides"] and row is not None and row["balance"] % 3 == 0:
                view.touch(item)
                raise Refused("22012")
            row = view.found(item)
            if row is None:
                return [["executed", REPLAYED, [], "0"]]
            row = {**row, "balance": row["balance"] + p["amount"]}
            view.write(item, row)
            return [["executed", REPLAYED, [public(row)], "1"]]

        return keyed.once(view, p, ("execute", p["account"], p["amount"], p["divides"]), work, columns=2)


class Update(Call):
    name = "update"
    weight = 15
    columns = "ttjt"

    @staticmethod
    def make(rng):
        table = pick(rng, ("doc", 3), ("plain", 2), ("job", 1), ("ticket", 1))
        p = {"table": table, "id": rng.randint(1, ROWS), "patch": {"n": rng.randint(0, 3)}}
        if table == "doc" and rng.random() < 0.3:
            p["patch"]["tags"] = rng.choice((None, [1], [2, 3]))
        if table in VERSIONED and rng.random() < 0.5:
            p["expected"] = rng.randint(1, 4)
        return p

    @classmethod
    def generate(cls, rng):
        p = keyed.request(rng, keyed.choose_key(rng, "p", {}), cls.make)
        if rng.random() < 0.3:
            p["key"] = None
        p["given"] = as_given(rng)
        return p

    @staticmethod
    def sql(p):
        expected = named({"expected_version": p.get("expected")}, "expected_version")
        row = row_id(p["table"], p["id"], p.get("given", 0))
        return (f"SELECT outcome, replayed, result, version FROM idem_update('{p['table']}', {row},"
                f" {literal(p['patch'])}{expected}{named(p, 'key', 'scope')})")

    @staticmethod
    def expect(view, p):
        table, patch, expected = p["table"], tidy(p["patch"]), p.get("expected")
        item = (table, p["id"])

        def work():
            row = view.found(item)
            if row is None:
                raise Refused("ID205")
            new = {**row, **patch}
            if expected is not None and row["version"] != expected and not (
                    new == row and row["version"] - 1 == expected):
                raise Refused("ID203")
            outcome = "unchanged"
            if new != row:
                outcome = "updated"
                if table in VERSIONED:
                    new["version"] += 1
                view.write(item, new)
            version = str(new["version"]) if table in VERSIONED else None
            return [[outcome, REPLAYED, public(new), version]]

        return keyed.once(view, p, ("update", table, p["id"], repr(sorted(patch.items())), expected), work)


class Lookup(Call):
    name = "lookup"
    weight = 8
    reads = True
    columns = "tjtj"

    @staticmethod
    def generate(rng):
        return keyed.choose_key(rng, rng.choice("uxcptb"), {})

    @staticmethod
    def sql(p):
        return ("SELECT outcome, CASE WHEN outcome NOT IN ('executed', 'applied', 'noop') AND NOT coalesce(response ?"
                " 'version' AND response ? 'result', false)"
                f" THEN {trimmed('response')} END,"
                f" fence, request FROM idem_lookup({literal(p['key'])}{named(p, 'scope')})")

    @staticmethod
    def expect(view, p):
        keyed.check_scope(view, p)
        item = keyed.item_of(p)

        def busy(strange):
            # what is expired and about to go is as good as gone
            writer = view.writers(item)[0]
            before = view.store.latest(item)[1]
            if before is not None and before["expired"]:
                if writer.own(item)[1] is None:
                    return "gone"
                if strange:
                    raise Refused("42501", rows=[["in_progress", None, None, None]])
            return "busy"

        if keyed.in_store(item):
            row = keyed.seen(view, item)
            if keyed.stands(row) in (keyed.NOTHING, keyed.EXPIRED) and view.writers(keyed.lock_of(item)):
                row = "busy"
        else:
            row = keyed.find(view, item, busy)
        if row == "busy" or ((row is None or (keyed.in_store(item) and row["expired"])) and view.keys_in_use(item)):
            return [["in_progress", None, None, None]]
        if row == "gone" or keyed.stands(row) in (keyed.NOTHING, keyed.EXPIRED):
            return [[None, None, None, None]]
        keyed.check_owner(view, row)
        return [told(row)]


def told(row):
    """What idem_lookup tells of a row."""
    outcome = "abandoned" if keyed.stands(row) == keyed.LAPSED else row["outcome"]
    response = row["response"]
    if row["leased"] and outcome in ("completed", "failed"):
        response = None         # a checkpoint, which is the next holder's
    return [outcome, response, str(row["fence"]), row["request"]]


class Wait(Lookup):
    """What is in progress stays so: no time passes here."""

    name = "wait"
    weight = 4

    @staticmethod
    def sql(p):
        return Lookup.sql(p).replace(f"idem_lookup({literal(p['key'])}", f"idem_wait({literal(p['key'])}, '1 ms'")

    @staticmethod
    def expect(view, p):
        keyed.check_scope(view, p)
        own, row = view.own(keyed.item_of(p))
        if own and keyed.stands(row) == keyed.LIVE and row["outcome"] == "in_progress":
            keyed.check_owner(view, row)
            raise Refused("55006")
        return Lookup.expect(view, p)


class Forget(Call):
    name = "forget"
    weight = 6

    @staticmethod
    def generate(rng):
        return keyed.choose_key(rng, rng.choice("uxccptb"), {})

    @staticmethod
    def sql(p):
        return f"SELECT idem_forget({literal(p['key'])}{named(p, 'scope')})"

    @staticmethod
    def expect(view, p):
        item = keyed.item_of(p)
        # who may delete from the table may forget any key: all may, from that of the store
        any_role = keyed.in_store(item)
        if not any_role:
            keyed.check_scope(view, p)
        row = keyed.find(view, item)
        state = keyed.stands(row)
        if state == keyed.NOTHING or (state == keyed.EXPIRED and not (any_role or keyed.is_ours(view, row["role"]))):
            return [["f"]]
        if not any_role:
            keyed.check_owner(view, row)
        if state == keyed.LIVE and row["outcome"] == "in_progress":
            raise Refused("55006")
        keyed.write(view, item, None)
        return [["t"]]


class ForgetScope(Call):
    name = "forget_scope"
    weight = 2
    columns = "tt"

    @staticmethod
    def generate(rng):
        return {"scope": pick(rng, ("z", 3), ("", 1))}

    @staticmethod
    def sql(p):
        return f"SELECT forgotten, in_use FROM idem_forget_scope({literal(p['scope'])})"

    @staticmethod
    def expect(view, p):
        keyed.check_scope(view, p)
        if layout.in_store():
            raise Refused("0A000")
        forgotten = in_use = 0
        for item in view.items("key", p["scope"]):
            row = view.visible(item)
            if row is None or not keyed.is_ours(view, row["role"]):
                continue
            own = view.own(item)[0]
            changed = not own and (view.holders(item) or row is not view.store.latest(item)[1])
            if changed or (row["outcome"] == "in_progress" and not row["lapsed"]):
                in_use += 1
            else:
                view.write(item, None)
                forgotten += 1
        return [[str(forgotten), str(in_use)]]


CALLS = (Upsert, Execute, Update, Lookup, Wait, Forget, ForgetScope)
