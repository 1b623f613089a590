"""bench/purge: how fast expired keys go, and what clients notice of it."""

import time

import keys as store
import machine
import options
import report
from load import pgbench
from measure import STRIDE
from results import Results
from server import Psql, Server

SCRIPT = ("keys/choose.pgbench", "keys/upsert.pgbench")
EXPIRED = "clock_timestamp() - interval '1 hour'"
# of two keys that follow one another one has expired, the other lives for a month
MIXED = f"CASE WHEN n % 2 = 0 THEN {EXPIRED} ELSE clock_timestamp() + interval '30 days' END"
LIVE = "clock_timestamp() + CASE WHEN n % 2 = 0 THEN interval '1 hour' ELSE interval '30 days' END"
DEFAULTS = {"idem__purge_batch_size": 1000, "idem__purge_delay": "10ms"}
UNTHROTTLED = {"idem__purge_batch_size": 10000, "idem__purge_delay": 0}


def parse():
    parser = options.parser(
        "purge", "Purges expired keys, unthrottled, with an old snapshot held "
        "open, at the defaults, and from among live ones, looks in vain for any; then at the defaults beside clients at a fixed rate, who have it "
        "on and off in turn.")
    parser.add_argument("--keys", type=int, default=10_000_000, help="default 10000000")
    parser.add_argument("--rate", type=int, default=2000, help="calls of clients a second, default 2000")
    parser.add_argument("--clients", type=int, default=4, help="default 4")
    parser.add_argument("--rounds", type=int, default=5, help="with and without purging, default 5")
    parser.add_argument("--seconds", type=int, default=10, help="of each of them, default 10")
    return options.parse(parser)


def purged(session):
    return int(session.value("SELECT n_tup_del FROM pg_stat_user_tables "
                             "WHERE relname = 'idem_key'"))


def fill(server, name, count, expires=EXPIRED):
    print(f"Filling a table with {count:,} keys for {name}", flush=True)
    store.make(server, name)
    store.fill(server, name, count, expires=expires)


def worker(server, on, **settings):
    store.configure(server, idem__worker="on" if on else "off", **settings)


def purge_all(server, name, count, settings):
    """From the first batch that shows until the last; rows and seconds."""
    with Psql(name) as session:
        worker(server, True, **settings)
        deadline = time.monotonic() + 1800
        first = start = None
        while (gone := purged(session)) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{gone} of {count} keys were purged in half an hour")
            if first is None and gone > 0:
                first, start = gone, time.monotonic()
            time.sleep(0.02)
        seconds = time.monotonic() - (start or time.monotonic())
        worker(server, False)
        left = int(session.value("SELECT count(*) FROM idem_key WHERE key <> 'original' "
                                 "AND expires_at <= clock_timestamp()"))
    if left:
        raise RuntimeError(f"{left} expired keys are left")
    return {"operations": count - (first or 0), "seconds": seconds}


def alone(server, results, name, count, settings, held=False, expires=EXPIRED, expired=None):
    fill(server, name, count, expires)
    if held:
        holder = Psql(name)
        holder.ask("BEGIN ISOLATION LEVEL REPEATABLE READ")
        holder.ask("SELECT FROM idem_key LIMIT 1")
    key = ("purge", name, 0, 0, "")
    results.add(key, purge_all(server, name, expired or count, settings))
    if held:
        holder.close()
    print(f"  {name}: {results.values(key, 'tps')[0]:,.0f} rows a second", flush=True)
    server.ask(f"DROP DATABASE {name} WITH (FORCE)")


def idle(server, results, count):
    """Passes over keys of which none has expired."""
    fill(server, "idle", count, LIVE)
    with Psql("idle") as session:
        session.ask("SELECT idem_purge()")
        for _ in range(11):
            began = time.monotonic()
            if session.value("SELECT idem_purge()") != "0":
                raise RuntimeError("a key has expired")
            results.add(("purge", "idle", 0, 0, ""), {"operations": 1, "seconds": time.monotonic() - began})
    server.ask("DROP DATABASE idle WITH (FORCE)")


def beside_clients(server, results, args):
    name = "foreground"
    fill(server, name, args.keys)
    base = STRIDE
    with Psql(name) as session:
        for number in range(args.rounds):
            for on in (False, True):
                base += STRIDE
                worker(server, on, **DEFAULTS)
                before = purged(session)
                began = time.monotonic()
                measured = pgbench(name, SCRIPT, args.clients,
                                   {"base": base, "i": 0, "dup": 0, "live": 0}, args.seconds,
                                   rate=args.rate)
                gone = purged(session) - before
                measured["purged"] = gone / (time.monotonic() - began)
                results.add(("purge", "with" if on else "without", 0, args.clients, "on"), measured)
                print(f"  round {number + 1}/{args.rounds}, {'with' if on else 'without'} purging: "
                      f"p99 {measured['p99'] / 1000:.2f} ms, {measured['purged']:,.0f} rows a second",
                      flush=True)
        worker(server, False)
        left = int(session.value("SELECT count(*) FROM idem_key WHERE expires_at <= "
                                 "clock_timestamp()"))
    if left == 0:
        print("  NOTE: the expired keys did not last: run it with more --keys", flush=True)
    results.about["left"] = left


def main():
    args = parse()
    if args.parse_only:
        return
    server = Server()
    results = Results({"machine": machine.about(server), "keys": args.keys, "rate": args.rate,
                       "clients": args.clients, "rounds": args.rounds, "seconds": args.seconds})
    worker(server, False)
    alone(server, results, "unthrottled", args.keys, UNTHROTTLED)
    alone(server, results, "snapshot", args.keys, UNTHROTTLED, held=True)
    alone(server, results, "defaults", args.keys, DEFAULTS)
    alone(server, results, "mixed", args.keys, UNTHROTTLED, expires=MIXED, expired=args.keys // 2)
    idle(server, results, args.keys)
    beside_clients(server, results, args)
    report.conclude("purge", results, args.kept)


if __name__ == "__main__":
    main()
