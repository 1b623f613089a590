"""bench/stats: calls with the counters, and with a library without them, at once."""

import argparse
import math
import shutil
import statistics
import subprocess

from load import PLACE, Pgbench
from server import Server

DATABASES = ("calls_1", "calls_2")
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
        "Compares calls with counters to those of a library without, at once on one server."))
    parser.add_argument("--seconds", type=int, default=8, help="of each round; default 8")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
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


def run(database, sql):
    return subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database], check=True,
                          text=True, stdout=subprocess.PIPE, input=sql).stdout


def create(server, database):
    server.create(database)
    run(database, """
        CREATE EXTENSION idem;
        CREATE TABLE orders (id bigint PRIMARY KEY, customer text, status text, total numeric);
    """)
    call = UPSERT.format(key="'old ' || n", id="n::bigint").replace("SELECT * FROM ", "")
    run(database, f"""
        SELECT count(a) FROM (SELECT {call} AS a FROM generate_series(1, {STORED}) AS n OFFSET 0) AS r;
        VACUUM ANALYZE;
        CHECKPOINT;
    """)


def take(database, library):
    """Has sessions that begin from now on load the one library or the other."""
    run(database, f"UPDATE pg_proc SET probin = '{library}' WHERE probin ~ 'idem'")


def counted(database):
    """How many of those calls have been counted so far."""
    take(database, COUNTING)
    return int(run(database, "SELECT sum(value) FROM idem_stats WHERE datname = current_database()"
                             " AND counter IN ('key_new', 'key_replayed')"))


def pair(libraries, case, base, seconds):
    """Both at once, each in a database of its own, so that what else the machine does is
    the same for them.  libraries: what to load in each database.  Returns their rates."""
    clients, script = CASES[case]
    name = f"{PLACE}/stats.pgbench"
    with open(name, "w") as file:
        file.write(script + ";\n")
    before = [counted(database) for database in DATABASES]
    for database, library in zip(DATABASES, libraries):
        take(database, library)
    running = [Pgbench(database, [name], clients // 2, {"i": 0, "base": base}, seconds=seconds,
                       synchronous_commit="off") for database in DATABASES]
    found = [process.finish() for process in running]
    for database, library, one, then in zip(DATABASES, libraries, found, before):
        hits = counted(database) - then
        if hits != (one["operations"] if library == COUNTING else 0):
            raise SystemExit(f"{one['operations']} calls with {library}, {hits} counted")
    return [one["operations"] / one["seconds"] for one in found]


def main():
    args = parse()
    if args.parse_only:
        return
    server = Server()
    without = build_without()
    for database in DATABASES:
        create(server, database)
    base = 10 ** 6
    for case in CASES:
        rates = {"counting": [], "without": []}
        ratios = []
        for _ in range(args.rounds):
            base += 10 ** 9
            one = pair((COUNTING, without), case, base, args.seconds)
            # then the other way round: databases, and who begins first, differ
            other = pair((without, COUNTING), case, base + 10 ** 8, args.seconds)
            rates["counting"] += [one[0], other[1]]
            rates["without"] += [one[1], other[0]]
            ratios.append(math.sqrt(one[0] / one[1] * other[1] / other[0]))
        print(f"{case}: {statistics.median(rates['counting']):.0f} calls/s counting, "
              f"{statistics.median(rates['without']):.0f} without, ratio {statistics.median(ratios):.3f} "
              f"(of {min(ratios):.3f} to {max(ratios):.3f})", flush=True)


main()
