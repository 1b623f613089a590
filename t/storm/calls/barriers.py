"""idem_barrier: whether a participant is to do, or to undo, a step of a saga."""

import hashlib

import layout
from model import Busy, Refused

from . import keyed
from .base import Call, literal

SCOPE = "idem.barrier"
SAGAS = 2


def derived(saga, what, scope="", step="1"):
    """The key of a step, as idem_derive_key() makes it."""
    data = b"".join(len(part).to_bytes(4, "big") + part 
                    for part in (p.encode() for p in (scope, saga, step, what)))
    digest = bytearray(hashlib.sha256(data).digest()[:16])
    digest[6] = digest[6] & 0x0f | 0x80
    digest[8] = digest[8] & 0x3f | 0x80
    text = digest.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def item_of(p, what):
    return ("key", SCOPE, derived(p["saga"], what))


def claim(view, item):
    """Claims the key for this transaction: "claimed", or what it has come to."""
    row = keyed.find(view, item)
    if keyed.stands(row) == keyed.LIVE:
        keyed.check_owner(view, row)
        return row["outcome"]
    if view.keys_in_use(item):
        # by an undo that waits for the action: of another role, it may be met
        raise Busy(item, (), ("42501",))
    view.write(item, keyed.new_row(view, row, outcome="completed"))
    return "claimed"


def is_undone(view, item):
    """Is the key of an undo there?  One that is under way counts as none."""
    row = keyed.find(view, item, lambda strange: None)
    if row is None or row["expired"]:
        return False
    keyed.check_owner(view, row)
    return True


def bar(view, item, reason):
    """The action can never begin."""
    view.write(item, {**view.own(item)[1], "outcome": "failed", "response": reason})
    return reason


class Barrier(Call):
    name = "barrier"
    weight = 10

    @staticmethod
    def generate(rng):
        return {"saga": f"s{rng.randint(1, SAGAS)}", "undo": rng.random() < 0.45}

    @staticmethod
    def sql(p):
        return f"SELECT idem_barrier({literal(p['saga'])}, 1, {literal(p['undo'])})"

    @staticmethod
    def expect(view, p):
        keyed.check_scope(view, p)
        if not view.transaction.block:
            raise Refused("25P01")
        if layout.routed():
            raise Refused("0A000")
        do, undo = item_of(p, "do"), item_of(p, "undo")
        if not p["undo"]:
            came = claim(view, do)
            if came == "claimed":
                return [[bar(view, do, "late") if is_undone(view, undo) else "run"]]
            return [["duplicate" if came == "completed" else "late"]]
        if claim(view, undo) != "claimed":
            return [["duplicate"]]
        try:
            came = claim(view, do)
        except Busy as busy:
            # another role's undo, which waits as well, may be met
            raise Busy(busy.item, busy.holders, (*busy.states, "42501"))
        if came == "claimed":
            return [[bar(view, do, "empty")]]
        return [["run" if came == "completed" else "empty"]]


class ExpireBarrier(Call):
    """The time of a barrier is over: of one of its two keys first."""

    name = "expire_barrier"
    weight = 3
    where = "super"

    @staticmethod
    def generate(rng):
        return {"saga": f"s{rng.randint(1, SAGAS)}", "what": rng.choice(("do", "undo"))}

    @staticmethod
    def sql(p):
        return (f"UPDATE public.idem_key SET expires_at = clock_timestamp() - interval '1 hour'"
                f" WHERE scope = '{SCOPE}' AND key = idem_derive_key('', {literal(p['saga'])}, '1', '{p['what']}')"
                " RETURNING key")

    @staticmethod
    def expect(view, p):
        item = item_of(p, p["what"])
        row = view.found(item, plain=True)
        if row is None:
            return []
        view.write(item, {**row, "expired": True})
        return [[item[2]]]


CALLS = (Barrier, ExpireBarrier)
