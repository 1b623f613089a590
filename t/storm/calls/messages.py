"""idem_consume, idem_consume_batch, idem_seen, idem_advance, idem_offset."""

import layout
from model import Busy, Refused

from . import keyed
from .base import Call, boolean, literal, pick

RESET = "DELETE FROM idem_message; DELETE FROM idem_offset;"


OLD = "clock_timestamp() - interval '2 days'"          # a day is how long messages are remembered


def check_consumer(view, consumer):
    defined = view.defined(("consumer", consumer))
    if defined is not None and not keyed.is_ours(view, defined["owner"]):
        raise Refused("42501")


def is_late(view, consumer):
    """Is what is OLD too late for this consumer, unless it is known?"""
    defined = view.defined(("consumer", consumer))
    return defined is None or (defined["late"] == "reject" and defined["ttl"] is None)


def met(view, item, late):
    """The row of a message that a call meets outside of stores."""
    own, row = view.own(item)
    if late and not own and view.waited and item not in view.waited:
        # it was looked for before what the call has waited for
        return view.sent.get(item)
    if not own:
        view.touch(item)
        writers = view.writers(item)
        if writers:
            raise Busy(item, writers)
        row = view.store.latest(item)[1]
        # one that came too late is not written, and so need not be seen
        if view.is_unseen(item) and not (late and row["expired"]):
            raise Refused("40001")
    return row


def consume(view, consumer, message, late=False):
    """Is the message new?"""
    item = ("message", consumer, message)
    if layout.in_store():
        # one statement, which locks the row of what is known, too; what came late it only reads
        looked_before = late and view.waited and not view.own(item)[0] and view.transaction.snapshot is None
        row = view.sent.get(item) if looked_before else view.visible(item) if late else view.unique(item)
    else:
        row = met(view, item, late)
    if row is not None and not row["expired"]:
        return False
    if late:
        raise Refused("ID301")
    view.write(item, {"expired": False})
    return True


class Consume(Call):
    name = "consume"
    weight = 12

    @staticmethod
    def generate(rng):
        return {"consumer": pick(rng, ("one", 4), ("two", 1)), "message": f"m{rng.randint(1, 4)}",
                "old": rng.random() < 0.15}

    @staticmethod
    def sql(p):
        sent_at = f", sent_at => {OLD}" if p.get("old") else ""
        return f"SELECT idem_consume('{p['consumer']}', '{p['message']}'{sent_at})"

    @staticmethod
    def expect(view, p):
        check_consumer(view, p["consumer"])
        late = bool(p.get("old")) and is_late(view, p["consumer"])
        return [[boolean(consume(view, p["consumer"], p["message"], late))]]


class ConsumeBatch(Call):
    name = "consume_batch"
    weight = 10

    @staticmethod
    def generate(rng):
        return {"consumer": pick(rng, ("one", 4), ("two", 1)),
                "messages": [f"m{rng.randint(1, 4)}" for _ in range(rng.randint(2, 3))],
                "old": pick(rng, (None, 5), (0, 1), (1, 1))}

    @staticmethod
    def sql(p):
        messages = ", ".join(literal(m) for m in p["messages"])
        sent_at = ""
        if p["old"] is not None:
            times = ", ".join(OLD if i == p["old"] else "NULL" for i in range(len(p["messages"])))
            sent_at = f", sent_at => ARRAY[{times}]"
        return f"SELECT * FROM idem_consume_batch('{p['consumer']}', ARRAY[{messages}]{sent_at})"

    @staticmethod
    def expect(view, p):
        check_consumer(view, p["consumer"])
        messages, late = p["messages"], None
        # of equal ones the first counts; late ones are looked for before any is added
        if p["old"] is not None and is_late(view, p["consumer"]) and p["old"] == messages.index(messages[p["old"]]):
            late = messages[p["old"]]
            consume(view, p["consumer"], late, late=True)
        new = {m for m in sorted(set(messages) - {late}) if consume(view, p["consumer"], m)}
        return [[m] for m in dict.fromkeys(p["messages"]) if m in new]


class Seen(Call):
    name = "seen"
    weight = 3
    reads = True

    @staticmethod
    def generate(rng):
        return Consume.generate(rng)

    @staticmethod
    def sql(p):
        return f"SELECT idem_seen('{p['consumer']}', '{p['message']}')"

    @staticmethod
    def expect(view, p):
        check_consumer(view, p["consumer"])
        item = ("message", p["consumer"], p["message"])
        row = view.visible(item) if layout.in_store() else view.current(item)
        return [[boolean(row is not None and not row["expired"])]]


class Advance(Call):
    name = "advance"
    weight = 10

    @staticmethod
    def generate(rng):
        first = rng.randint(0, 6)
        return {"part": rng.randint(0, 1), "first": first, "last": first + rng.randint(0, 4),
                "gaps": rng.random() < 0.3, "epoch": pick(rng, (None, 4), (1, 2), (2, 1), (3, 1))}

    @staticmethod
    def sql(p):
        return (f"SELECT idem_advance('one', 'log', {p['part']}, {p['first']}, {p['last']},"
                f" {literal(p['gaps'])}, {literal(p['epoch'])})")

    @staticmethod
    def expect(view, p):
        check_consumer(view, "one")
        item = ("offset", p["part"])
        row = view.unique(item)
        if row is None:
            view.write(item, {"next": p["last"] + 1, "first": p["first"], "epoch": p["epoch"]})
            return [[str(p["first"])]]
        epoch = p["epoch"]
        if epoch is not None and row["epoch"] is not None and epoch < row["epoch"]:
            raise Refused("ID002")
        if not p["gaps"] and (p["first"] > row["next"] or p["first"] < row["first"]):
            raise Refused("ID302")
        if p["last"] >= row["next"] or (epoch is not None and epoch != row["epoch"]):
            view.write(item, {**row, "next": max(row["next"], p["last"] + 1),
                              "epoch": row["epoch"] if epoch is None else epoch})
        start = max(p["first"], row["next"])
        return [[str(start) if start <= p["last"] else None]]


class Offset(Call):
    name = "offset"
    weight = 3
    reads = True

    @staticmethod
    def generate(rng):
        return {"part": rng.randint(0, 1)}

    @staticmethod
    def sql(p):
        return f"SELECT idem_offset('one', 'log', {p['part']})"

    @staticmethod
    def expect(view, p):
        check_consumer(view, "one")
        item = ("offset", p["part"])
        row = view.visible(item) if layout.in_store() else view.current(item)
        return [[str(row["next"]) if row else None]]


CALLS = (Consume, ConsumeBatch, Seen, Advance, Offset)
