"""idem_scope_define, idem_scope_drop, idem_consumer_define, idem_consumer_drop: names that are some
role's own from the commit on.  A call heeds what was defined when it began.
"""

from model import Refused

from . import keyed
from .base import Call, boolean, literal, pick

# bob may use what nobody has defined, and define nothing
SCHEMA = """
GRANT INSERT (scope) ON idem_scope TO alice;
GRANT INSERT (consumer) ON idem_consumer TO alice;
"""
RESET = "DELETE FROM idem_scope; DELETE FROM idem_consumer;"


def check_definer(view):
    if not keyed.is_ours(view, "alice"):
        raise Refused("42501")


def read(view, item):
    """The definition as committed now.  Also whether the snapshot does not see it: where the call
    has waited for it, it may fail."""
    view.touch(item)
    row, unseen = view.current(item), view.is_unseen(item)
    if row is not None and not keyed.is_ours(view, row["owner"]):
        raise Refused("42501", *(("40001",) if unseen else ()))
    if not view.own(item)[0] and view.sees_old(item):
        # one that was dropped since the snapshot may still be met
        view.may_fail = ("40001",)
    return row, unseen


def drop(view, item):
    row, unseen = read(view, item)
    if row is None:
        seq, _ = view.store.latest(item)
        if view.transaction.snapshot is not None and seq > view.transaction.snapshot:
            # who has waited for another that drops it fails
            raise Refused("40001", rows=[["f"]])
        return [["f"]]
    if unseen:
        raise Refused("40001")
    if view.found(item) is None:
        return [["f"]]
    view.write(item, None)
    return [["t"]]


class ScopeDefine(Call):
    name = "scope_define"
    weight = 12

    @staticmethod
    def generate(rng):
        return {"scope": pick(rng, ("z", 12), ("", 1))}

    @staticmethod
    def sql(p):
        return f"SELECT idem_scope_define({literal(p['scope'])})::text"

    @staticmethod
    def expect(view, p):
        check_definer(view)
        item = ("scope", p["scope"])
        row, unseen = read(view, item)
        if row is not None:
            if unseen:
                raise Refused("40001", rows=[[""]])
            return [[""]]
        view.unique(item, writers_only=True)
        view.write(item, {"owner": view.role})
        return [[""]]


class ScopeDrop(ScopeDefine):
    name = "scope_drop"

    @staticmethod
    def sql(p):
        return f"SELECT idem_scope_drop({literal(p['scope'])})"

    @staticmethod
    def expect(view, p):
        check_definer(view)
        return drop(view, ("scope", p["scope"]))


class ConsumerDefine(Call):
    name = "consumer_define"
    weight = 12

    @staticmethod
    def generate(rng):
        return {"consumer": pick(rng, ("one", 4), ("two", 1)), "ttl": pick(rng, ("7 days", 2), (None, 1)),
                "late": pick(rng, ("reject", 2), ("apply", 1))}

    @staticmethod
    def sql(p):
        return (f"SELECT idem_consumer_define({literal(p['consumer'])}, {literal(p['ttl'])},"
                f" {literal(p['late'])})::text")

    @staticmethod
    def expect(view, p):
        check_definer(view)
        item = ("consumer", p["consumer"])
        row, unseen = read(view, item)
        new = {"owner": row["owner"] if row else view.role, "ttl": p["ttl"], "late": p["late"]}
        if row == new and item not in view.waited:
            if unseen:
                raise Refused("40001", rows=[[""]])
            return [[""]]
        view.unique(item)
        view.write(item, new)
        return [[""]]


class ConsumerDrop(ConsumerDefine):
    name = "consumer_drop"
    weight = 8

    @staticmethod
    def sql(p):
        return f"SELECT idem_consumer_drop({literal(p['consumer'])})"

    @staticmethod
    def expect(view, p):
        check_definer(view)
        return drop(view, ("consumer", p["consumer"]))


CALLS = (ScopeDefine, ScopeDrop, ConsumerDefine, ConsumerDrop)
