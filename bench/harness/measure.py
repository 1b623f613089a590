"""One cell: a contender at its job for a moment, and what that took."""

import hashlib
import time

from contenders import FAR_MS, JOBS, LENGTHS, begun
from delay import Delay
from load import BENCH, Node, pgbench
from redis import Redis
from server import Psql, Use

STRIDE = 10**9  # of order numbers between cells: nobody meets another's
PLACED = 2000  # orders that each of so many clients has placed for the replays
PLACERS = 16
NODE_PLACERS = 4  # in node, where fewer are enough
MOVES = 90000  # transitions a second that there are rows for


def database(job, contender):
    return f"{job}_{contender.name}"


def replaced(job):
    """In the scripts of a job."""
    length = LENGTHS.get(job)
    return {"VINET": hashed(length)} if length else {}


def hashed(length):
    """Text that does not compress to nothing."""
    text = ""
    while len(text) < length:
        text += hashlib.sha256(text.encode()).hexdigest()
    return text[:length]


class Measure:
    def __init__(self, server, seconds, keys="ordered"):
        self.server = server
        self.seconds = seconds
        self.keys = keys
        self.base = 0
        self.redis = {}
        self.far = None  # the way to a server that is some way off

    def next_base(self):
        self.base += STRIDE
        return self.base

    def set_up(self, job, contender):
        self.server.create(database(job, contender),
                           *(f"{BENCH}/{file}" for file in contender.setup))
        if contender.redis and contender.redis not in self.redis:
            self.redis[contender.redis] = Redis(contender.redis)

    def place(self, job, contender, keys=None, placers=PLACERS, count=PLACED):
        """Places the orders that replays ask for."""
        if job in ("hot", "together"):
            placers = count = 1
            contender = begun(contender, "choose")
        return pgbench(database(job, contender), contender.script, placers,
                       {"base": 0, "i": 0, "dup": 0}, transactions=count,
                       synchronous_commit="off", keys=keys or self.keys, replaced=replaced(job))

    def analyze(self, job, contender):
        """What autovacuum would have done by and by."""
        with Psql(database(job, contender)) as session:
            session.ask("ANALYZE")

    def place_in_node(self, contender):
        node = self.node(contender, NODE_PLACERS, "off", 0, 0, 0, count=PLACED)
        node.end(node.run())

    def node(self, contender, clients, sync, base, dup, placed, **amount):
        redis = self.redis.get(contender.redis)
        return Node(contender=contender.node, clients=clients, database=database("node", contender),
                    redis=redis.socket if redis else "", base=base, dup=dup, placed=placed,
                    synchronous_commit=sync, **amount)

    def measure(self, job, contender, dup, clients, sync):
        how = {"transitions": self.transitions, "node": self.in_node}.get(job, self.orders)
        return how(job, contender, dup, clients, sync)

    def orders(self, job, contender, dup, clients, sync):
        replay = dup == 100
        return self.pgbench(job, contender, clients, sync, {
            "base": 0 if replay else self.next_base(), "i": PLACED if replay else 0, "dup": dup})

    def transitions(self, job, contender, dup, clients, sync):
        name = database(job, contender)
        with Psql(name) as session:
            session.ask("TRUNCATE orders")
            session.ask("INSERT INTO orders (id, customer) SELECT i, 'VINET' FROM "
                        f"generate_series(0, {MOVES * self.seconds // 3 + 100}) AS i")
            session.ask("ANALYZE orders")
            measured = self.pgbench(job, contender, clients, sync,
                                    {"base": self.next_base(), "i": -1, "clients": clients})
            moved = int(session.value("SELECT sum(version - 1) FROM orders"))
        if moved != measured["operations"]:
            raise RuntimeError(f"{contender.label} made {moved} transitions, "
                               f"not {measured['operations']}")
        return measured

    def host(self, job):
        if job != "far":
            return None
        self.far = self.far or Delay(FAR_MS)
        return self.far.host

    def pgbench(self, job, contender, clients, sync, variables):
        host = self.host(job)
        with Use(self.server) as use:
            measured = pgbench(database(job, contender), contender.script, clients, variables,
                               self.seconds, synchronous_commit=sync, keys=self.keys,
                               replaced=replaced(job), host=host)
        return {**measured, **use.used}

    def in_node(self, job, contender, dup, clients, sync):
        replay = dup == 100
        redis = self.redis.get(contender.redis)
        node = self.node(contender, clients, sync, 0 if replay else self.next_base(), dup,
                         PLACED if replay else 0, seconds=self.seconds, unused=self.next_base())
        with Use(self.server, settle=False, **({"redis_cpu": redis.pid} if redis else {})) as use:
            measured = node.run()
        return {"redis_cpu": 0, **node.end(measured), **use.used}

    def verify(self, job, contender):
        """Each key has its order, each order its key."""
        if not contender.keys:
            return
        with Psql(database(job, contender)) as session:
            orders, keys = session.value(
                f"SELECT (SELECT count(*) FROM orders) || ' ' || count(*) FROM {contender.keys}").split()
        if orders != keys:
            raise RuntimeError(f"{contender.label}: {orders} orders, {keys} keys")

    def size(self, contender):
        """Bytes of table, and of its indexes, for each key."""
        with Psql(database("orders", contender)) as session:
            keys, table, indexes = session.value(
                f"SELECT count(*) || ' ' || pg_table_size('{contender.keys}') || ' ' || "
                f"pg_indexes_size('{contender.keys}') FROM {contender.keys}").split()
        return {"operations": int(keys), "table": int(table), "indexes": int(indexes)}

    def forget(self, contender):
        with Psql(database("orders", contender)) as session:
            session.ask(f"TRUNCATE orders{', ' + contender.keys if contender.keys else ''}")

    def close(self):
        if self.far:
            self.far.stop()
        for redis in self.redis.values():
            redis.stop()


def contenders(job, wanted=None):
    return [c for c in JOBS[job] if not wanted or c.name in wanted]


def clock(seconds):
    return time.strftime("%M:%S", time.gmtime(seconds))
