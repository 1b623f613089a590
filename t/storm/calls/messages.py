"""idem_consume, idem_consume_batch, idem_seen, idem_advance, idem_offset."""

from model import Busy, Refused

from .base import Call, boolean, literal, pick

RESET = "DELETE FROM idem_message; DELETE FROM idem_offset;"


def consume(view, consumer, message):
    """Is the message new?"""
    item = ("message", consumer, message)
    own, row = view.own(item)
    if not own:
        view.touch(item)
        writers = view.writers(item)
        if writers:
            raise Busy(item, writers)
        row = view.store.latest(item)[1]
        if view.is_unseen(item):
            raise Refused("40001")
    if row is not None and not row["expired"]:
        return False
    view.write(item, {"expired": False})
    return True


class Consume(Call):
    name = "consume"
    weight = 12

    @staticmethod
    def generate(rng):
        return {"consumer": pick(rng, ("one", 4), ("two", 1)), "message": f"m{rng.randint(1, 4)}"}

    @staticmethod
    def sql(p):
        return f"SELECT idem_consume('{p['consumer']}', '{p['message']}')"

    @staticmethod
    def expect(view, p):
        return [[boolean(consume(view, p["consumer"], p["message"]))]]


class ConsumeBatch(Call):
    name = "consume_batch"
    weight = 10

    @staticmethod
    def generate(rng):
        return {"consumer": pick(rng, ("one", 4), ("two", 1)),
                "messages": [f"m{rng.randint(1, 4)}" for _ in range(rng.randint(2, 3))]}

    @staticmethod
    def sql(p):
        messages = ", ".join(literal(m) for m in p["messages"])
        return f"SELECT * FROM idem_consume_batch('{p['consumer']}', ARRAY[{messages}])"

    @staticmethod
    def expect(view, p):
        new = {m for m in sorted(set(p["messages"])) if consume(view, p["consumer"], m)}
        return [[m] for m in dict.fromkeys(p["messages"]) if m in new]


class Seen(Call):
    name = "seen"
    weight = 3

    @staticmethod
    def generate(rng):
        return Consume.generate(rng)

    @staticmethod
    def sql(p):
        return f"SELECT idem_seen('{p['consumer']}', '{p['message']}')"

    @staticmethod
    def expect(view, p):
        row = view.current(("message", p["consumer"], p["message"]))
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

    @staticmethod
    def generate(rng):
        return {"part": rng.randint(0, 1)}

    @staticmethod
    def sql(p):
        return f"SELECT idem_offset('one', 'log', {p['part']})"

    @staticmethod
    def expect(view, p):
        row = view.current(("offset", p["part"]))
        return [[str(row["next"]) if row else None]]


CALLS = (Consume, ConsumeBatch, Seen, Advance, Offset)
