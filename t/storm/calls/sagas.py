"""idem_saga_start, idem_saga_claim, idem_saga_done, idem_saga_fail, idem_saga_cancel: of sagas with two
steps, one attempt each, whose leases do not run out.

The row of a saga and the rows of its steps are two items: the second may change alone.
"""

import layout
from model import Busy, Refused

from . import keyed
from .barriers import derived
from .base import Call, literal, pick

RESET = "DELETE FROM idem_saga_step; DELETE FROM idem_saga;"
SAGAS = 2
SCOPE = "saga"
STEPS = (1, 2)


def choose(rng):
    return {"saga": f"s{rng.randint(1, SAGAS)}"}


def work_of(saga, step, undo):
    return f"{'-' if undo else ''}{saga}.{step}"


def key_item(saga, step, what):
    return ("key", "idem.saga", derived(saga, what, SCOPE, str(step)))


def open_saga(view, name, skip=False):
    """Locks a saga: its row and its steps, or None where there is none, or none to be had at once."""
    saga, steps = ("saga", name), ("steps", name)
    row = view.current(saga)
    if row is None:
        return None
    if not keyed.is_ours(view, row["role"]):
        if skip:
            return None
        raise Refused("42501")
    view.touch(saga)
    holders = view.holders(saga)
    if holders:
        if skip:
            return None
        raise Busy(saga, holders)
    view.effect.locks.add(saga)
    if view.is_unseen(saga) or view.is_unseen(steps):
        if skip:
            return None
        raise Refused("40001")
    return row, list(view.current(steps))


def undone_next(steps):
    """The step to undo next: of those that have begun, and are not settled, the last."""
    for number in reversed(STEPS):
        if steps[number - 1] in ("running", "undoing", "stuck", "done"):
            return number
    return None


def settle(view, name, row, before, steps):
    """Writes what has become of the steps, and what that makes of the saga."""
    if row["compensates"]:
        number = undone_next(steps)
        status = ("compensated" if number is None else "stuck" if steps[number - 1] == "stuck" else "compensating")
    else:
        status = "completed" if all(s == "done" for s in steps) else "running"
    new = {**row, "status": status}
    if new != before:
        view.write(("saga", name), new)
    view.write(("steps", name), tuple(steps))
    return status


def compensate(row, steps):
    return {**row, "compensates": True}, ["skipped" if s == "pending" else s for s in steps]


def due(row, steps):
    """What is due now: a step, and whether it is to be undone."""
    if row["status"] == "running":
        for number in STEPS:
            if steps[number - 1] != "done":
                return (number, False) if steps[number - 1] == "pending" else None
    if row["status"] == "compensating":
        number = undone_next(steps)
        return (number, True) if steps[number - 1] == "done" else None
    return None


class SagaStart(Call):
    name = "saga_start"
    weight = 12
    columns = "tt"

    @staticmethod
    def generate(rng):
        return {**choose(rng), "other": rng.random() < 0.08}

    @staticmethod
    def sql(p):
        steps = [{"do": work_of(p["saga"], n, False), "undo": work_of(p["saga"], n, True), "attempts": 1} for n in STEPS]
        of = ", '1'" if p["other"] else ""
        return f"SELECT * FROM idem_saga_start('{p['saga']}', {literal(steps)}{of}, scope => '{SCOPE}')"

    @staticmethod
    def expect(view, p):
        if layout.routed():
            raise Refused("0A000")
        item = ("saga", p["saga"])
        row = view.current(item)
        if row is None:
            view.touch(item)
            writers = view.writers(item)
            if writers:
                raise Busy(item, writers)
            view.write(item, {"role": view.role, "status": "running", "compensates": False, "other": p["other"]})
            view.write(("steps", p["saga"]), ("pending",) * len(STEPS))
            return [["f", "running"]]
        if not keyed.is_ours(view, row["role"]):
            # one that was started meanwhile is met by its key first
            raise Refused("42501", *(("40001",) if view.is_unseen(item) else ()))
        if view.is_unseen(item):
            raise Refused("40001")
        if row["other"] != p["other"]:
            raise Refused("ID001")
        view.replayed = True
        return [["t", row["status"]]]


class SagaClaim(Call):
    name = "saga_claim"
    weight = 25
    columns = "ttt"

    @staticmethod
    def generate(rng):
        return choose(rng)

    @staticmethod
    def sql(p):
        works = ", ".join(literal(work_of(p["saga"], n, undo)) for n in STEPS for undo in (False, True))
        return f"SELECT step, work, fence FROM idem_saga_claim(ARRAY[{works}], '1 hour', scope => '{SCOPE}')"

    @staticmethod
    def expect(view, p):
        name = p["saga"]
        row, steps = view.current(("saga", name)), view.current(("steps", name))
        if row is None or due(row, steps) is None:
            return []
        opened = open_saga(view, name, skip=True)
        if opened is None:
            return []
        row, steps = opened
        step, undo = due(row, steps)
        item = key_item(name, step, "undo" if undo else "do")
        before = view.current(item)
        view.write(item, {**keyed.new_row(view, before, outcome="in_progress", leased=True, fp=("saga",)),
                          "role": row["role"]})
        steps[step - 1] = "undoing" if undo else "running"
        view.write(("steps", name), tuple(steps))
        return [[str(step), work_of(name, step, undo), "1"]]


class Report(Call):
    weight = 15

    @staticmethod
    def generate(rng):
        return {**choose(rng), "step": pick(rng, (1, 5), (2, 2)), "what": pick(rng, ("do", 4), ("undo", 1)),
                "fence": pick(rng, (1, 8), (2, 2))}

    @classmethod
    def sql(cls, p):
        key = f"idem_derive_key('{SCOPE}', '{p['saga']}', '{p['step']}', '{p['what']}')"
        return f"SELECT idem_{cls.name}({key}, {p['fence']}{cls.more})"

    @classmethod
    def expect(cls, view, p):
        name, number, undo = p["saga"], p["step"], p["what"] == "undo"
        item = key_item(name, number, p["what"])
        key = view.current(item)
        if key is None:
            raise Refused("ID003")
        if not keyed.is_ours(view, key["role"]):
            raise Refused("42501")
        row, steps = open_saga(view, name)
        if p["fence"] != key["fence"]:
            raise Refused("ID002")
        done = cls is SagaDone
        if key["outcome"] == "abandoned":
            # an undo that has failed
            if done:
                raise Refused("ID002")
            return [[row["status"]]]
        if key["outcome"] != "in_progress":
            if done != (key["outcome"] == "completed"):
                raise Refused("ID401")
            # again, which locks the row of the saga, so there is something to lose
            return [[key["response"]]]
        before = row
        if done:
            steps[number - 1] = "undone" if undo else "done"
        else:
            steps[number - 1] = "stuck" if undo else "failed"
            if not row["compensates"]:
                row, steps = compensate(row, steps)
        status = settle(view, name, row, before, steps)
        if not done and undo:
            view.write(item, {**key, "outcome": "abandoned", "lapsed": True})
        else:
            view.write(item, {**key, "outcome": "completed" if done else "failed", "leased": False, "response": status})
        return [[status]]


class SagaDone(Report):
    name = "saga_done"
    more = ""


class SagaFail(Report):
    name = "saga_fail"
    weight = 8
    more = """, '"no"', false"""


class SagaCancel(Call):
    name = "saga_cancel"
    weight = 6

    @staticmethod
    def generate(rng):
        return choose(rng)

    @staticmethod
    def sql(p):
        return f"""SELECT idem_saga_cancel('{p['saga']}', '"enough"', '{SCOPE}')"""

    @staticmethod
    def expect(view, p):
        opened = open_saga(view, p["saga"])
        if opened is None:
            raise Refused("ID205")
        row, steps = opened
        if row["compensates"]:
            return [[row["status"]]]
        if row["status"] != "running":
            raise Refused("ID201")
        new, steps = compensate(row, steps)
        return [[settle(view, p["saga"], new, row, steps)]]


CALLS = (SagaStart, SagaClaim, SagaDone, SagaFail, SagaCancel)
