"""bench/scale: what a key costs among few and among very many."""

import time

import keys as store
import machine
import options
import report
from load import pgbench
from measure import STRIDE, clock
from results import Results
from server import Psql, Server, Use

SCRIPT = ("keys/choose.pgbench", "keys/upsert.pgbench")


def parse():
    parser = options.parser(
        "scale", "Fills tables of keys, calls idem_upsert for new keys and "
        "for replays in each in turn.")
    parser.add_argument("--live", metavar="N,...", default=[10_000, 1_000_000, 50_000_000],
                        type=options.number_list,
                        help="keys in the tables, default 10000,1000000,50000000")
    parser.add_argument("--keys", metavar="KIND,...", default=["ordered", "random"],
                        type=options.name_list, help="ordered, random, or both (default)")
    parser.add_argument("--clients", type=int, default=4, help="default 4")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement, default 5")
    args = options.parse(parser)
    if not set(args.keys) <= {"ordered", "random"}:
        parser.error("keys are ordered or random")
    return args


def database(live):
    return f"keys_{live}"


def measure(server, args, kind, live, dup, base):
    # what follows a checkpoint pays for it in WAL, so let all be right after one
    server.ask("CHECKPOINT")
    with Use(server) as use:
        measured = pgbench(database(live), SCRIPT, args.clients,
                           {"base": base, "i": 0, "dup": dup, "live": live}, args.seconds,
                           keys=kind, synchronous_commit="off")
    return {**measured, **use.used}


def measure_kind(server, results, args, kind, began):
    for live in args.live:
        print(f"Filling a table with {live:,} keys, {kind}", flush=True)
        store.make(server, database(live))
        store.fill(server, database(live), live, kind)
        with Psql(database(live)) as session:
            table, indexes = store.sizes(session)
        results.add(("filled", str(live), 0, 0, kind),
                    {"operations": live, "table": table, "indexes": indexes})
    base = STRIDE
    for number in range(args.rounds):
        for dup in (0, 1):
            shown = []
            for live in args.live:
                base += STRIDE
                key = ("scale", str(live), 100 * dup, args.clients, kind)
                results.add(key, measure(server, args, kind, live, dup, base))
                shown.append(f"{live:,}: {results.values(key, 'server_cpu')[-1]:.1f} µs")
            print(f"{clock(time.monotonic() - began)} round {number + 1}/{args.rounds}, {kind} keys, "
                  f"{'replays' if dup else 'new keys'}: {', '.join(shown)} CPU each", flush=True)
    for live in args.live:
        server.ask(f"DROP DATABASE {database(live)}")


def main():
    args = parse()
    if args.parse_only:
        return
    server = Server()
    results = Results({"machine": machine.about(server), "clients": args.clients,
                       "rounds": args.rounds, "seconds": args.seconds})
    began = time.monotonic()
    for kind in args.keys:
        measure_kind(server, results, args, kind, began)
    results.about["minutes"] = round((time.monotonic() - began) / 60, 1)
    report.conclude("scale", results, args.kept)


if __name__ == "__main__":
    main()
