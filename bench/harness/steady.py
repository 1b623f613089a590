"""bench/steady: do size and latency stay as they are while keys come and go?"""

import time

import keys as store
import machine
import options
import report
from load import Pgbench, summary
from measure import clock
from results import Results
from server import Psql, Server

SCRIPT = ("keys/choose.pgbench", "keys/brief.pgbench")
HELD = (0.3, 0.7)  # the part of the time in which a transaction is held open


def parse():
    parser = options.parser(
        "steady", "Calls idem_upsert for new keys at a fixed rate while the "
        "worker purges them, once as it is and once with a transaction held open for a while in the "
        "middle.")
    parser.add_argument("--minutes", type=float, default=12, help="of each of the two, default 12")
    parser.add_argument("--rate", type=int, default=2000, help="new keys a second, default 2000")
    parser.add_argument("--ttl", type=int, default=60, help="seconds that they are kept, default 60")
    parser.add_argument("--clients", type=int, default=4, help="default 4")
    parser.add_argument("--every", type=int, default=10, help="seconds between samples, default 10")
    return options.parse(parser)


def sample(session, at):
    table, indexes = store.sizes(session)
    keys, expired, oldest = session.value(
        "SELECT count(*), count(*) FILTER (WHERE expires_at <= clock_timestamp()), "
        "coalesce(extract(epoch FROM clock_timestamp() - min(expires_at)), 0) "
        "FROM idem_key WHERE key <> 'original'").split("|")
    return {"at": at, "table": table, "indexes": indexes, "keys": int(keys),
            "expired": int(expired), "lag": max(0, float(oldest))}


class Holder:
    """A transaction that is held open, with a snapshot, for part of the time."""

    def __init__(self, database, from_, until):
        self.database, self.from_, self.until = database, from_, until
        self.session = None

    def at(self, elapsed):
        if not self.session and self.from_ <= elapsed < self.until:
            self.session = Psql(self.database)
            self.session.ask("BEGIN ISOLATION LEVEL REPEATABLE READ")
            self.session.ask("SELECT FROM idem_key LIMIT 1")
            print("  a transaction is held open", flush=True)
        elif self.session and elapsed >= self.until:
            self.session.ask("COMMIT")
            self.session.close()
            self.session = None
            self.until = -1
            print("  it has ended", flush=True)


def latencies(samples, log, began, every):
    """Puts those of the transactions of each interval into its sample."""
    intervals = {}
    for end, latency in log:
        intervals.setdefault(int((end - began) // every), []).append(latency)
    for one in samples:
        found = intervals.get(int(one["at"] // every) - 1)
        if found:
            one.update(summary(found), operations=len(found))


def run(server, args, name, held):
    store.make(server, name)
    seconds = int(args.minutes * 60)
    holder = Holder(name, *(part * seconds if held else -1 for part in HELD))
    samples = []
    load = Pgbench(name, SCRIPT, args.clients,
                   {"base": 10**9, "i": 0, "dup": 0, "live": 0, "ttl": args.ttl},
                   seconds, rate=args.rate)
    began = time.time()
    with Psql(name) as session:
        while load.running() and len(samples) * args.every < seconds:
            at = (len(samples) + 1) * args.every
            time.sleep(max(0, began + at - time.time()))
            holder.at(at)
            samples.append(sample(session, at))
            if at % (6 * args.every) == 0:
                one = samples[-1]
                print(f"{clock(at)} of {clock(seconds)}: {one['keys']:,} keys, {one['expired']:,} "
                      f"expired, table {one['table'] / 2**20:.0f} MB, indexes "
                      f"{one['indexes'] / 2**20:.0f} MB", flush=True)
        holder.at(float("inf"))
    load.wait()
    latencies(samples, load.log(), began, args.every)
    server.ask(f"DROP DATABASE {name} WITH (FORCE)")
    return samples


def main():
    args = parse()
    if args.parse_only:
        return
    server = Server()
    results = Results({"machine": machine.about(server), "rate": args.rate, "ttl": args.ttl,
                       "clients": args.clients, "minutes": args.minutes, "every": args.every,
                       "held": [part * args.minutes for part in HELD]})
    for name, held in (("steady", False), ("held", True)):
        print("A steady stream of keys" + (", a transaction held open in the middle" * held),
              flush=True)
        results.cells[("steady", name, 0, args.clients, "on")] = run(server, args, name, held)
    report.conclude("steady", results, args.kept)


if __name__ == "__main__":
    main()
