"""Who takes part in which job, and with what.

A contender is set up by SQL files in a database of its own, so that nobody's
keys or dead rows are in another's way.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Contender:
    name: str  # of its database, together with the job's
    label: str
    setup: tuple = ()  # SQL files
    script: tuple = ()  # files for pgbench
    keys: str = ""  # the table of its keys
    core: bool = True  # runs in all cells, or just in those at 4 clients?
    node: str = ""  # what it is in node/contenders.mjs
    redis: str = ""  # its Redis, if it needs one


def order(name, label, setup=None, keys="request", core=True):
    setup = ("orders/orders.sql",) + ((f"orders/{setup}",) if setup else ())
    return Contender(name, label, setup, ("orders/choose.pgbench", f"orders/{name}.pgbench"),
                     keys, core)


ORDERS = [
    order("insert", "bare INSERT", keys=""),
    order("trips", "five round trips", "trips.sql"),
    order("usual", "plpgsql, as usually written", "usual.sql", core=False),
    order("plpgsql", "plpgsql, at its best", "plpgsql.sql"),
    order("upsert", "idem_upsert", "idem.sql", keys="idem_key"),
    order("result", "(idem_upsert(...)).result", "idem.sql", keys="idem_key", core=False),
    order("execute", "idem_execute", "idem.sql", keys="idem_key", core=False),
    order("claim", "idem_claim, five round trips", "idem.sql", keys="idem_key", core=False),
]


def movement(name, label, *setup, script=None):
    files = [f"transitions/{file}" for file in ("orders.sql", *setup, "choose.pgbench",
                                                f"{script or name}.pgbench")]
    return Contender(name, label, tuple(files[:-2]), tuple(files[-2:]))


TRANSITIONS = [
    movement("cas", "compare and set by hand"),
    movement("trigger", "UPDATE, plpgsql trigger", "trigger.sql", script="update"),
    movement("attach", "UPDATE, idem's trigger", "idem.sql", script="update"),
    movement("transition", "order_transition", "idem.sql"),
    movement("move", "plpgsql function and trigger, under a key", "trigger.sql", "move.sql"),
    movement("keyed", "order_transition, under a key", "idem.sql"),
]


def consumer(name, label, setup):
    return Contender(name, label, (setup,), ("orders/choose.pgbench", f"consumers/{name}.pgbench"))


CONSUMERS = [
    consumer("seen", "bare INSERT, one by one", "consumers/seen.sql"),
    consumer("consume", "idem_consume, one by one", "orders/idem.sql"),
    consumer("seen_batch", "bare INSERT, 100 at once", "consumers/seen.sql"),
    consumer("consume_batch", "idem_consume, 100 at once", "orders/idem.sql"),
]
MESSAGES = {"seen_batch": 100, "consume_batch": 100}  # in an operation


def client(name, label, node, *setup, redis=""):
    return Contender(name, label, tuple(f"orders/{file}" for file in ("orders.sql", *setup)),
                     node=node, redis=redis)


NODE = [
    client("insert", "bare INSERT", "floor"),
    client("trips", "five round trips", "trips", "trips.sql"),
    client("plpgsql", "plpgsql, at its best", "plpgsql", "plpgsql.sql"),
    client("upsert", "idem_upsert", "upsert", "idem.sql"),
    client("redis", "node-idempotency, Redis", "nodeIdempotency", redis="snapshots"),
    client("durable", "node-idempotency, Redis that syncs", "nodeIdempotency", redis="synced"),
    client("powertools", "Powertools idempotency, Redis", "powertools", redis="snapshots"),
    client("boss", "pg-boss, singleton keys", "pgBoss"),
]

# Orders whose customer is so many bytes long, and with it what a retry is answered.
LENGTHS = {"small": 200, "large": 4000}
PLACING = ("orders", "far", "hot", "together", *LENGTHS)  # the jobs of ORDERS
PEERS = [c for c in ORDERS if c.name in ("usual", "plpgsql", "upsert")]
FAR_MS = 0.5  # of round trip to a server that is some way off


def begun(contender, preamble):
    """The same with another choice of orders."""
    return replace(contender, script=(f"orders/{preamble}.pgbench", contender.script[1]))


JOBS = {
    "orders": ORDERS,
    "far": [c for c in ORDERS if c.name in ("insert", "trips", "plpgsql", "upsert", "claim")],
    "node": NODE,
    "hot": [begun(c, "hot") for c in ORDERS[:1] + PEERS],
    "together": [begun(c, "together") for c in PEERS],
    "small": PEERS,
    "large": PEERS,
    "transitions": TRANSITIONS,
    "consumers": CONSUMERS,
}


def label(job, name):
    return next(c.label for c in JOBS[job] if c.name == name)
