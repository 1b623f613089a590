"""idem_claim, idem_complete, idem_fail, idem_release, idem_extend, idem_checkpoint, idem_checkpoints.

A lease does not run out by itself here: upkeep's `lapse` sets it back.
"""

from model import Busy, Refused

from . import keyed
from .base import Call, boolean, literal, named, pick, tidy


def fence(rng):
    return pick(rng, (1, 12), (2, 6), (3, 2), (None, 2))


class Claim(Call):
    name = "claim"
    weight = 25
    columns = "tjtt"

    @staticmethod
    def generate(rng):
        p = keyed.choose_key(rng, "c", {})
        # of one request most often; without one nothing is compared
        p["request"] = pick(rng, ({"of": p["key"]}, 8), ({"of": "other"}, 1), (None, 2))
        p["lease"] = pick(rng, ("1 hour", 6), (None, 2))
        p["wait"] = pick(rng, (None, 3), (False, 2))
        return p

    @staticmethod
    def sql(p):
        # no function beside it: that would be work of the transaction's own
        return ("SELECT outcome, response, fence, lease_until IS NOT NULL"
                f" FROM idem_claim({literal(p['key'])}{named(p, 'request', 'lease', 'scope', 'wait')})")

    @staticmethod
    def expect(view, p):
        keyed.check_scope(view, p)
        item = keyed.item_of(p)
        if p["lease"] is None and not view.transaction.block:
            raise Refused("25P01")

        if keyed.in_store(item):
            row = keyed.find_in_store(view, item, p["wait"] is not False, live=True)
            if row == "busy":
                return [["in_progress", None, None, "f"]]
        elif p["wait"] is False:
            row = keyed.find(view, item, lambda strange: "strange" if strange else "busy")
            if row == "strange":
                # whose it is depends on which version of the row is met
                raise Refused("42501", rows=[["in_progress", None, None, "f"]])
            if row == "busy" or (keyed.stands(row) != keyed.LIVE and view.keys_in_use(item)):
                return [["in_progress", None, None, "f"]]
        else:
            row = keyed.find(view, item)
        state = keyed.stands(row)
        if state in (keyed.LIVE, keyed.LAPSED):
            keyed.check_owner(view, row)
            if not keyed.is_claim(row) or (
                    row["fp"] is not None and p["request"] is not None and row["fp"] != fingerprint(p)):
                raise Refused("ID001")
        if state == keyed.LIVE:
            response = row["response"]
            if row["leased"] and row["outcome"] in ("completed", "failed"):
                response = None
            held = row["outcome"] == "in_progress"
            return [[row["outcome"], response, None if held else str(row["fence"]),
                     boolean(held and row["leased"])]]

        if p["wait"] is False and row is not None and keyed.in_store(item) and view.holders(item):
            # by who has no need of its lock
            return [["in_progress", None, None, "f"]]
        taken = keyed.new_row(view, row)
        if state == keyed.LAPSED:
            taken.update({k: row[k] for k in ("fp", "response", "request", "leased", "steps")})
            taken["lapsed"] = row["leased"]
        if p["request"] is not None:
            taken["fp"] = fingerprint(p)
        if p["lease"] is not None:
            taken.update(outcome="in_progress", leased=True, lapsed=False)
            if p["request"] is not None:
                taken["request"] = tidy(p["request"])
        else:
            taken["outcome"] = "completed"
        keyed.write(view, item, taken)
        return [["claimed", taken["response"], str(taken["fence"]), boolean(p["lease"])]]


def fingerprint(p):
    return ("claim", repr(p["request"]))


FENCE, TRANSACTION, ENDED = "by its fence", "by its transaction", "ended"


def held(view, p):
    """The row of a claim, and how the caller holds it."""
    keyed.check_scope(view, p)
    item = keyed.item_of(p)
    row = keyed.find(view, item)
    if keyed.stands(row) in (keyed.NOTHING, keyed.EXPIRED):
        raise Refused("ID003")
    keyed.check_owner(view, row)
    if not keyed.is_claim(row):
        raise Refused("55000")
    if p["fence"] is not None and p["fence"] != row["fence"]:
        raise Refused("ID002")
    if row["outcome"] in ("in_progress", "abandoned"):
        if p["fence"] is None:
            raise Refused("22004")
        if row["outcome"] == "abandoned":
            raise Refused("ID002")
        return item, row, FENCE
    if row["outcome"] == "completed" and view.own(item)[0] and (row["response"] is None or row["leased"]):
        return item, row, TRANSACTION
    return item, row, ENDED


class Complete(Call):
    name = "complete"
    weight = 15
    function, outcome = "idem_complete", "completed"

    @staticmethod
    def generate(rng):
        p = keyed.choose_key(rng, "c", {})
        p["response"], p["fence"] = {"r": rng.randint(1, 9)}, fence(rng)
        return p

    @classmethod
    def sql(cls, p):
        return f"SELECT {cls.function}({literal(p['key'])}, {literal(p['response'])}{named(p, 'fence', 'scope')})"

    @classmethod
    def expect(cls, view, p):
        item, row, how = held(view, p)
        if how == ENDED:
            return [["f"]]
        keyed.write(view, item, {**row, "outcome": cls.outcome, "response": tidy(p["response"]), "leased": False,
                                "lapsed": False})
        return [["t"]]


class Fail(Complete):
    name = "fail"
    weight = 5
    function, outcome = "idem_fail", "failed"


class Release(Call):
    name = "release"
    weight = 10

    @staticmethod
    def generate(rng):
        p = keyed.choose_key(rng, "c", {})
        p["fence"], p["forget"] = fence(rng), rng.random() < 0.3
        return p

    @staticmethod
    def sql(p):
        return f"SELECT idem_release({literal(p['key'])}{named(p, 'fence', 'scope', 'forget')})"

    @staticmethod
    def expect(view, p):
        item, row, how = held(view, p)
        if how == ENDED:
            return [["f"]]
        if how == FENCE or row["leased"]:
            row = {**row, "outcome": "abandoned", "leased": True, "lapsed": True}
            if p["forget"]:
                row.update(fp=None, response=None, request=None, steps=[])
            keyed.write(view, item, row)
        elif row["fence"] > 1:
            keyed.write(view, item, {**row, "expired": True})
        else:
            keyed.write(view, item, None)
        return [["t"]]


class Extend(Call):
    name = "extend"
    weight = 5

    @staticmethod
    def generate(rng):
        p = keyed.choose_key(rng, "c", {})
        p["fence"] = fence(rng)
        return p

    @staticmethod
    def sql(p):
        scope = named(p, "scope")
        return f"SELECT idem_extend({literal(p['key'])}, {literal(p['fence'])}, '1 hour'{scope}) > clock_timestamp()"

    @staticmethod
    def expect(view, p):
        keyed.check_scope(view, p)
        if p["fence"] is None:
            raise Refused("22004")
        item, row, how = held(view, p)
        if how != FENCE:
            raise Refused("ID002")
        keyed.write(view, item, {**row, "lapsed": False})
        return [["t"]]


class Checkpoint(Call):
    name = "checkpoint"
    weight = 5

    @staticmethod
    def generate(rng):
        p = keyed.choose_key(rng, "c", {})
        p["fence"], p["step"], p["name"] = fence(rng), rng.randint(1, 9), rng.choice(("half", "more"))
        return p

    @staticmethod
    def sql(p):
        return (f"SELECT idem_checkpoint({literal(p['key'])}, {literal(p['fence'])},"
                f" '{p['name']}', '{p['step']}'{named(p, 'scope')})::text")

    @staticmethod
    def expect(view, p):
        keyed.check_scope(view, p)
        if p["fence"] is None:
            raise Refused("22004")
        item, row, how = held(view, p)
        if how != FENCE:
            raise Refused("ID002")
        # one of the same name before it is gone
        steps = [step for step in row["steps"] if step[0] != p["name"]] + [[p["name"], p["step"]]]
        keyed.write(view, item, {**row, "response": {"name": p["name"], "data": p["step"]}, "steps": steps})
        return [[""]]


class Checkpoints(Call):
    name = "checkpoints"
    weight = 4
    columns = "tj"

    @staticmethod
    def generate(rng):
        return keyed.choose_key(rng, "c", {})

    @staticmethod
    def sql(p):
        return f"SELECT name, data FROM idem_checkpoints({literal(p['key'])}{named(p, 'scope')})"

    @staticmethod
    def expect(view, p):
        keyed.check_scope(view, p)
        item = keyed.item_of(p)
        if keyed.in_store(item):
            row = keyed.seen(view, item)
        elif view.is_unseen(item):
            raise Refused("40001")
        else:
            row = view.current(item)
        if keyed.stands(row) in (keyed.NOTHING, keyed.EXPIRED):
            return []
        keyed.check_owner(view, row)
        return row["steps"]


CALLS = (Claim, Complete, Fail, Release, Extend, Checkpoint, Checkpoints)
