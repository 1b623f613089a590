"""bench/count: instructions a call, by callgrind, on a server of one process.

With --tx those of a whole transaction: count_tx.py.
"""

import os
import subprocess

import count_tx
import machine
import options
import report
from load import BENCH, KEYS, PLACE
from results import Results
from server import Server

ORDER = "jsonb_build_object('id', n, 'customer', 'VINET', 'status', 'PENDING', 'total', 440.00)"
VALUES = "n, 'VINET', 'PENDING', 440.00"
INSERT = "INSERT INTO orders (id, customer, status, total) VALUES ($1, $2, $3, $4) RETURNING *"

# name: files, the call, the function within which to count
CALLS = {
    "two": (("plpgsql", "two"), f"two_inserts(k, {ORDER})", "plpgsql_call_handler"),
    "usual": (("usual",), f"place_order(k, {ORDER})", "plpgsql_call_handler"),
    "plpgsql": (("plpgsql",), f"place_order(k, {VALUES})", "plpgsql_call_handler"),
    "upsert": (("idem",), f"idem_upsert(k, 'orders', {ORDER})", "idem_upsert"),
    "set": (("idem",), None, "idem_upsert_batch"),  # all of them by one call
    "execute": (("idem",), f"idem_execute(k, '{INSERT}', jsonb_build_array({VALUES}))",
                "idem_execute"),
}
PLACED = 300  # orders that are there before


def parse():
    parser = options.parser("count", "Counts the instructions of calls in the server.")
    parser.add_argument("--tx", action="store_true",
                        help="of whole transactions, over the protocol, commit included")
    parser.add_argument("--calls", type=int, help="default 1000; 200 of transactions")
    parser.add_argument("--contenders", metavar="NAME,...", type=options.name_list,
                        help=f"of {', '.join(CALLS)}; of transactions, of {', '.join(count_tx.CONTENDERS)}")
    parser.add_argument("--preload", metavar="NAME,...", type=options.name_list, default=[],
                        help="with --tx: libraries that the server loads, like pg_stat_statements")
    parser.add_argument("--profile", action="store_true",
                        help="show the functions in which they are, callees included")
    args = options.parse(parser)
    # what is written of transactions is written by --tx alone
    args.kept = args.write or (args.calls, args.contenders, args.preload, args.profile) == (None, None, [], False)
    known = count_tx.CONTENDERS if args.tx else CALLS
    args.calls = args.calls or (200 if args.tx else 1000)
    args.contenders = args.contenders or list(known)
    if not set(args.contenders) <= set(known):
        parser.error(f"contenders are {', '.join(known)}")
    if args.preload and not args.tx:
        parser.error("--preload goes with --tx")
    return args


def single(directory, sql, *wrapper):
    """Runs SQL in a server of one process, and returns what it wrote."""
    done = subprocess.run(
        [*wrapper, "postgres", "--single", "-j", "-c", "autovacuum=off", "-D", directory, "postgres"],
        input=sql + ";\n\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={name: value for name, value in os.environ.items() if name != "PGDATABASE"})
    if done.returncode != 0 or "ERROR:" in done.stdout:
        raise RuntimeError(done.stdout[-3000:])
    return done.stdout


def calls(call, first, last):
    """One statement that calls it for each of some numbers, or a set form for all of them."""
    key = KEYS["ordered"].replace(":digits", "(1000000000000000 + n)")
    if call is None:
        return (f"SELECT count(*) FROM (SELECT array_agg({key}) AS keys, array_agg({ORDER}) AS data "
                f"FROM generate_series({first}, {last}) AS n) AS r, idem_upsert_batch(keys, 'orders', data)")
    return (f"SELECT count(answer) FROM (SELECT {call} AS answer FROM (SELECT n, {key} AS k "
            f"FROM generate_series({first}, {last}) AS n OFFSET 0) AS r OFFSET 0) AS a")


def set_up(name):
    files, call, _ = CALLS[name]
    directory = f"{PLACE}/count_{name}"
    subprocess.run(["initdb", "--auth=trust", "--no-sync", "--locale=C", f"--pgdata={directory}"],
                   stdout=subprocess.DEVNULL, check=True)
    for file in ("orders", *files):
        with open(f"{BENCH}/orders/{file}.sql") as sql:
            single(directory, sql.read().strip().rstrip(";"))
    single(directory, calls(call, 1, PLACED))
    return directory


def count(directory, name, first, last, output):
    _, call, function = CALLS[name]
    said = single(directory, calls(call, first, last), "valgrind", "--tool=callgrind",
                  f"--toggle-collect={function}", f"--callgrind-out-file={output}")
    collected = next(line for line in said.splitlines() if "Collected" in line)
    return int(collected.split()[-1])


def profile(output, calls, rows=70):
    """The functions with the most instructions, in instructions a call."""
    said = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", output],
                          stdout=subprocess.PIPE, text=True, check=True).stdout
    for line in said.splitlines():
        fields = line.split(None, 2)
        if len(fields) == 3 and "%)" in line and rows > 0:
            rows -= 1
            instructions = int(fields[0].replace(",", "")) / calls
            function = line.partition("%)")[2].partition(" [")[0].rpartition(":")[2]
            print(f"{instructions:12,.0f}  {function.strip()}")


def main():
    args = parse()
    if args.parse_only:
        return
    if args.tx:
        report.conclude("tx", count_tx.measure(args), args.kept)
        return
    results = Results({"machine": machine.about(Server()), "calls": args.calls})
    for name in args.contenders:
        directory = set_up(name)
        # what is there already is replayed; a bare INSERT cannot be
        output = f"{PLACE}/callgrind.out"
        first = PLACED + 1
        for dup in (0, 100) if name != "two" else (0,):
            found = count(directory, name, first, first + args.calls - 1, output)
            results.add(("count", name, dup, 1, ""), {"operations": args.calls, "instructions": found})
            print(f"{name}, {'replays' if dup else 'new keys'}: {found / args.calls:,.0f} "
                  "instructions a call", flush=True)
            if args.profile:
                profile(output, args.calls)
    report.conclude("count", results, args.kept)


if __name__ == "__main__":
    main()
