"""Keys, as all calls under a key find and remember them."""

import random

import layout
from model import Busy, Refused

from .base import born

NOTHING, EXPIRED, LAPSED, LIVE = "nothing", "expired", "lapsed", "live"
CLAIMS = ("in_progress", "abandoned", "completed", "failed")
SUPER = "postgres"
MEMBERS = {"carol": ("alice",)}         # roles, and those whose members they are


def item_of(p):
    return ("key", p.get("scope") or "", p["key"])


def choose_key(rng, letter, p):
    """Gives p a key out of few, mostly one of the kind's own."""
    if rng.random() < 0.04:
        letter = rng.choice("uxc")
    p["key"] = f"{letter}{rng.randint(1, 3)}"
    if rng.random() < 0.12:
        p["scope"] = "z"
    return p


def request(rng, p, make):
    """Adds the request of a key, which most often is the same for each key."""
    source = random.Random(f"{p['key']} {p.get('scope')} {make.__qualname__}")
    p.update(make(source if rng.random() < 0.88 else rng))
    return p


def stands(row):
    """How a key stands."""
    if row is None:
        return NOTHING
    if row["expired"]:
        return EXPIRED
    if row["outcome"] == "abandoned" or (row["outcome"] == "in_progress" and row["lapsed"]):
        return LAPSED
    return LIVE


def is_claim(row):
    """Work that was refused has the outcome of a claim that failed."""
    return row["outcome"] in CLAIMS and not row["refused"]


def is_ours(view, role):
    return view.role in (SUPER, role) or role in MEMBERS.get(view.role, ())


def check_scope(view, p):
    """A scope that a role has defined is for its members, before anything else is looked at."""
    defined = view.defined(("scope", p.get("scope") or ""))
    if defined is not None and not is_ours(view, defined["owner"]):
        raise Refused("42501")


def check_owner(view, row):
    if not is_ours(view, row["role"]):
        raise Refused("42501")


def in_store(item):
    """Is a key in a store, whose rows are reached by statements?"""
    return layout.in_store() and not item[1].startswith("idem.")


def lock_of(item):
    """What stands for the lock of a key in a store, which the transaction keeps that has written it."""
    return ("lock",) + item[1:]


def seen(view, item):
    """The row of a key in a store as a statement finds it."""
    own, row = view.own(item)
    if own:
        return row
    if layout.routed():
        # what is elsewhere cannot be asked for: there it is the primary key that tells
        return view.visible(item)
    if view.is_unseen(item):
        raise Refused("40001")
    # one that was deleted since is still there
    return view.store.latest(item)[1] or view.visible(item)


def find_in_store(view, item, wait=True, live=False):
    """The row of a key, or "busy" where its lock is not waited for.  live: a row that is live
    stands for itself, whoever has the lock.  Nobody knows whose a busy key will be."""
    view.touch(item)
    row = seen(view, item)
    # who has written it past idem's functions has not got its lock
    if view.own(lock_of(item))[0] or (live and stands(row) == LIVE):
        return row
    holders = view.writers(lock_of(item))
    if holders and wait:
        raise Busy(item, holders)
    return "busy" if holders or (not wait and view.keys_in_use(item)) else row


def write(view, item, row, inserts=False):
    """Writes the row of a key, whose lock the caller has.  inserts: where the row that it sees is
    gone, it makes one, instead of failing."""
    if in_store(item):
        if not view.own(item)[0]:
            seq, there = view.store.latest(item)
            # who has no need of the lock may be at it: then it is looked at once more
            place = ("row",) + item[1:]
            if view.holders(item):
                view.touch(place)
                raise Busy(place, view.holders(item), ("40001",) if view.is_unseen(item) else ())
            snapshot = view.transaction.snapshot
            if snapshot is not None and seq > snapshot and (there is not None or (not inserts and view.visible(item))):
                raise Refused("40001")
        view.write(lock_of(item), None)
    view.write(item, row)


def claimer(view, item, writers):
    """The roles that a row which others write may tell of, None for one that has expired."""
    before = view.store.latest(item)[1]
    roles = [w.own(item)[1]["role"] if w.own(item)[1] else w.role for w in writers
             # what is deleted is the row of before
             if w.own(item)[1] or before is None]
    if before is not None:
        # the old row or the new one may be met first
        roles.append(None if before["expired"] else before["role"])
    return roles


def find(view, item, busy=None):
    """The row of a key.  Raises Busy where others are at it, unless busy(roles) tells
    something else to do: then that is returned."""
    if in_store(item):
        return find_in_store(view, item)
    own, row = view.own(item)
    if not own:
        view.touch(item)
        writers = view.writers(item)
        if writers:
            known = claimer(view, item, writers)
            strange = [r for r in known if r is not None and not is_ours(view, r)]
            if strange and len(strange) == len(known):
                raise Refused("42501")
            if busy is None:
                raise Busy(item, writers, ("42501",) if strange else ())
            return busy(bool(strange))
        row = view.store.latest(item)[1]
        if view.is_unseen(item):
            # another role's may have been met just before it was committed
            raise Refused("40001", *(() if is_ours(view, row["role"]) else ("42501",)))
    return row


def new_row(view, before, **values):
    """A row that is inserted, or, where there was one before, put in its place."""
    row = {"outcome": None, "fp": None, "response": None, "fence": before["fence"] + 1 if before else 1,
           "role": view.role, "expired": False, "leased": False, "lapsed": False, "request": None, "answer": None,
           "refused": False, "steps": []}
    row.update(values)
    return {**row, "_life": before["_life"]} if before else born(row)


def options(rng, p, refusals):
    """How the work is to be done, which is no part of the request."""
    if rng.random() < 0.4 and p["key"] is not None:
        p["remember_errors"] = rng.choice(refusals)
    if rng.random() < 0.2:
        p["wait"] = False
    if rng.random() < 0.1:
        p["store_response"] = False
    return p


def options_sql(p):
    errors = p.get("remember_errors")
    return (f", remember_errors => '{{{','.join(errors)}}}'" if errors else "") + "".join(
        f", {name} => false" for name in ("wait", "store_response") if p.get(name) is False)


def begin(view, item, fp, wait, columns):
    """None: the work is to be done.  Else the answer of the first call, or that it is in progress."""
    progress = [["in_progress", "f", *[None] * columns]]
    if in_store(item):
        row = find_in_store(view, item, wait, live=True)
        if row == "busy":
            return progress
    elif wait:
        row = find(view, item)
    else:
        row = find(view, item, lambda strange: "strange" if strange else "busy")
        if row == "strange":
            # whose it is depends on which version of the row is met
            raise Refused("42501", rows=progress)
        if row == "busy" or (stands(row) != LIVE and view.keys_in_use(item)):
            return progress
    state = stands(row)
    if state in (NOTHING, EXPIRED):
        return None
    check_owner(view, row)
    if state == LAPSED or row["fp"] != fp:
        raise Refused("ID001")
    view.replayed = True
    return row["answer"]


def finish(view, item, fp, outcome, answer, response=None, refused=False):
    row = new_row(view, view.current(item), outcome=outcome, fp=fp, answer=answer, response=response, refused=refused)
    write(view, item, row, inserts=True)


def once(view, p, fp, work, response=None, columns=1):
    """Runs the work of a call that may have a key, whose rows have REPLAYED where it is
    to say whether they are a replay.  response(rows): what idem_lookup() gives of them.
    columns: how many there are after that, for an answer that has none of them."""
    if p.get("key") is None:
        return fill_in(work(), "f")
    check_scope(view, p)
    item = item_of(p)
    rows = begin(view, item, fp, p.get("wait") is not False, columns)
    if rows is not None:
        return fill_in(rows, "t")
    refused = False
    try:
        rows = work()
        if p.get("remember_errors"):
            view.effect.nest()
    except Refused as error:
        if not is_remembered(p, error):
            raise
        # its locks go with it
        view.undo()
        refused = True
        rows = [["failed", REPLAYED, {"sqlstate": error.states[0]}, *[None] * (columns - 1)]]
    told, kept = rows, response(rows) if response else rows[0][2] if refused else None
    if p.get("store_response") is False:
        rows, kept = [[rows[0][0], REPLAYED, *[None] * columns]], None
    finish(view, item, fp, outcome_of(rows), rows, kept, refused)
    return fill_in(told, "f")


def is_remembered(p, error):
    return error.rows is None and len(error.states) == 1 and any(
        error.states[0].startswith(name) for name in p.get("remember_errors") or ())


def fill_in(rows, replayed):
    return [[replayed if v is REPLAYED else v for v in row] for row in rows]


class _Replayed:
    def __repr__(self):
        return "REPLAYED"

    def __deepcopy__(self, memo):
        return self


REPLAYED = _Replayed()          # stands in an answer for whether it is a replay


def outcome_of(rows):
    """The outcome that a key keeps of an answer."""
    outcomes = {v for row in rows for v in row if v in ("inserted", "updated", "unchanged", "executed", "applied", "noop",
                                                           "failed")}
    return "applied" if "applied" in outcomes else outcomes.pop() if outcomes else None
