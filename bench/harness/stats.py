"""bench/stats: calls with the counters, and with a library without them, in turn."""

import argparse
import os
import shutil
import statistics
import subprocess

from load import PLACE, pgbench
from server import Server, Use

DATABASE = "calls"
COUNTING = "$libdir/idem"
STORED = 10000  # keys that there are before

UPSERT = ("SELECT * FROM idem_upsert({key}, 'orders', jsonb_build_object("
          "'id', {id}, 'customer', 'VINET', 'status', 'PENDING', 'total', 440.00))")
# name: clients, what each of them sends
CASES = {
    "new keys": (8, r"\set i :i + 1" "\n" r"\set n :base + 100 * :i + :client_id" "\n"
                 + UPSERT.format(key="'new ' || :n::text", id=":n::bigint")),
    "replays": (8, rf"\set n random(1, {STORED})" "\n"
                + UPSERT.format(key="'old ' || :n::text", id=":n::bigint")),
    "replays of one key, 32 clients": (32, UPSERT.format(key="'old 1'", id="1")),
}


def parse():
    parser = argparse.ArgumentParser(prog="bench/stats", description=(
        "Compares calls with counters to those of a library without, in turn on one server."))
    parser.add_argument("--seconds", type=int, default=4, help="of each turn; default 4")
    parser.add_argument("--rounds", type=int, default=10, help="default 10")
    parser.add_argument("--parse-only", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def build_without():
    """A library from which the counters are compiled out; its path."""
    directory = f"{PLACE}/without"
    shutil.copytree(f"{PLACE}/src", directory)
    subprocess.run(["make", "-s", "clean"], cwd=directory, stdout=subprocess.DEVNULL, check=True)
    subprocess.run(["make", "-s", "-j2", "with_llvm=no", "COPT=-O2 -DIDEM_WITHOUT_STATS", "idem.so"],
                   cwd=directory, check=True)
    return f"{directory}/idem.so"


def run(sql):
    return subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", DATABASE], check=True,
                          text=True, stdout=subprocess.PIPE, input=sql).stdout


def create(server):
    server.create(DATABASE)
    run("""
        CREATE EXTENSION idem;
        CREATE TABLE orders (id bigint PRIMARY KEY, customer text, status text, total numeric);
    """)
    call = UPSERT.format(key="'old ' || n", id="n::bigint").replace("SELECT * FROM ", "")
    run(f"""
        SELECT count(a) FROM (SELECT {call} AS a FROM generate_series(1, {STORED}) AS n OFFSET 0) AS r;
        VACUUM ANALYZE;
        CHECKPOINT;
    """)


def take(library):
    """Has sessions that begin from now on load the one library or the other."""
    run(f"UPDATE pg_proc SET probin = '{library}' WHERE probin ~ 'idem'")


def turn(server, library, case, base, seconds):
    clients, script = CASES[case]
    name = f"{PLACE}/stats.pgbench"
    with open(name, "w") as file:
        file.write(script + ";\n")
    before = counted()
    take(library)
    with Use(server) as use:
        found = pgbench(DATABASE, [name], clients, {"i": 0, "base": base}, seconds=seconds,
                        synchronous_commit="off")
    took = found["operations"] / found["seconds"], use.used["server_cpu"] / found["operations"]
    return *took, counted() - before, found["operations"]


def counted():
    """How many of those calls have been counted so far."""
    take(COUNTING)
    return int(run("SELECT sum(value) FROM idem_stats WHERE datname = current_database()"
                   " AND counter IN ('key_new', 'key_replayed')"))


def main():
    args = parse()
    if args.parse_only:
        return
    server = Server()
    libraries = {"counting": COUNTING, "without": build_without()}
    create(server)
    base = 10 ** 6
    for case in CASES:
        rates, costs = ({name: [] for name in libraries} for _ in range(2))
        for number in range(args.rounds):
            # one first, then the other
            for name in list(libraries)[::1 if number % 2 == 0 else -1]:
                base += 10 ** 8
                rate, cost, hits, operations = turn(server, libraries[name], case, base, args.seconds)
                # it is what it is called
                if hits != (operations if name == "counting" else 0):
                    raise SystemExit(f"{operations} calls {name}, {hits} counted")
                rates[name].append(rate)
                costs[name].append(cost)
        rate = statistics.median(a / b for a, b in zip(rates["counting"], rates["without"]))
        cost = statistics.median(b / a for a, b in zip(costs["counting"], costs["without"]))
        print(f"{case}: {statistics.median(rates['counting']):.0f} calls/s counting, "
              f"{statistics.median(rates['without']):.0f} without, ratio {rate:.3f}; "
              f"by CPU of the server {cost:.3f}", flush=True)


main()
