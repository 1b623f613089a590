"""bench/count --tx: instructions of whole transactions, as a client pays for them.

From the message that arrives to the one that says that the server is ready, commit
included, by callgrind, on a server that runs under it.  Of two sessions that do the
same, one does more calls: what it executes more is theirs.
"""

import json
import os
import subprocess
import time

import machine
from load import BENCH, KEYS, PLACE
from results import Results
from server import Server
from wire import Session

WARM = 40  # calls before those that count: plans are made, streaks are seen
FILLED = 10_000  # orders and keys that are there before: enough for an index to be what serves

REQUEST = ("INSERT INTO request (key, fingerprint, response, created_at, expires_at) "
           "SELECT $1, hash_record_extended(ROW($2::bigint, $3::text, $4::text, $5::numeric), 0), {response}, "
           "clock_timestamp(), clock_timestamp() + interval '24 hours' FROM {source}")
PLACE_ORDER = ("INSERT INTO orders AS o (id, customer, status, total) {values} "
               "RETURNING to_jsonb(o.*) AS response")
BOTH = (f"WITH placed AS ({PLACE_ORDER.format(values='VALUES ($2, $3, $4, $5)')}) "
        + REQUEST.format(response="response", source="placed") + " RETURNING response")
STATEMENT = (
    "WITH earlier AS MATERIALIZED (SELECT r.response, r.fingerprint = hash_record_extended("
    "ROW($2::bigint, $3::text, $4::text, $5::numeric), 0) AS same FROM request AS r WHERE r.key = $1), "
    "placed AS (" + PLACE_ORDER.format(values="SELECT $2, $3, $4, $5 WHERE NOT EXISTS (SELECT FROM earlier)")
    + "), kept AS (" + REQUEST.format(response="response", source="placed") + " RETURNING response) "
    "SELECT true AS replayed, same, response FROM earlier UNION ALL SELECT false, true, response FROM kept")
ORDER = ["VINET", "PENDING", "440.00"]


def key(n):
    return KEYS["ordered"].split("'")[1] + str(1000000000000000 + n)


def columns(n):
    return [n, *ORDER]


def document(n):
    return json.dumps({"id": n, **dict(zip(("customer", "status", "total"), [*ORDER[:2], 440.00]))})


WIDE = {"customer": "C7", "product": 8, "status": "PENDING", "total": 440.00,
        **{f"t{i}": f"the text number {i}" for i in range(1, 9)}, **{f"n{i}": i * 1000 for i in range(1, 9)},
        **{f"m{i}": i + 0.25 for i in range(1, 5)}, "d1": "2026-01-01", "d2": "2026-01-02",
        "b1": True, "b2": False}
WIDE_INSERT = (f"INSERT INTO wide (id, {', '.join(WIDE)}) VALUES "
               f"({', '.join(f'${i + 1}' for i in range(len(WIDE) + 1))}) RETURNING *")


def named(call):
    return call + "($1, 'orders', $2)"


NEW, REPLAY = 0, 100  # of 100 calls so many are replays

# name: what it is, files, the statement, its values for order number n, what it is counted for
CONTENDERS = {
    "insert": ("bare INSERT", (), "INSERT INTO orders (id, customer, status, total) VALUES ($1, $2, $3, $4) "
               "RETURNING *", columns, (NEW,)),
    "read": ("SELECT by primary key", (), "SELECT * FROM orders WHERE id = $1", lambda n: [n % FILLED + 1], (REPLAY,)),
    "both": ("both inserts, in one statement", ("statement",), BOTH, lambda n: [key(n), *columns(n)], (NEW,)),
    "statement": ("one statement that looks first", ("statement",), STATEMENT,
                  lambda n: [key(n), *columns(n)], (NEW, REPLAY)),
    "usual": ("plpgsql, as usually written", ("usual",), "SELECT * FROM place_order($1, $2)",
              lambda n: [key(n), document(n)], (NEW, REPLAY)),
    "plpgsql": ("plpgsql, at its best", ("plpgsql",), "SELECT * FROM place_order($1, $2, $3, $4, $5)",
                lambda n: [key(n), *columns(n)], (NEW, REPLAY)),
    "upsert": ("**idem_upsert**", ("idem",), "SELECT * FROM " + named("idem_upsert"),
               lambda n: [key(n), document(n)], (NEW, REPLAY)),
    "result": ("**(idem_upsert(...)).result**", ("idem",), f"SELECT ({named('idem_upsert')}).result",
               lambda n: [key(n), document(n)], (NEW, REPLAY)),
    "unloaded": ("**idem_upsert**, not in shared_preload_libraries", ("idem",), "SELECT * FROM " + named("idem_upsert"),
                 lambda n: [key(n), document(n)], (NEW, REPLAY)),
    "wide-insert": ("bare INSERT, wide table", ("wide",), WIDE_INSERT, lambda n: [n, *WIDE.values()], (NEW,)),
    "wide-upsert": ("**idem_upsert**, wide table", ("idem", "wide"), "SELECT * FROM idem_upsert($1, 'wide', $2)",
                    lambda n: [key(n), json.dumps({"id": n, **WIDE})], (NEW, REPLAY)),
}
# so that they do for each call what they are there for
AT_WORK = {"pg_stat_statements": "pg_stat_statements.track=all", "pgaudit": "pgaudit.log=write"}
MODES = {"prepared": "prepared once", "unprepared": "prepared for each call", "first": "first call of a session"}


COUNTING = ["valgrind", "--tool=callgrind", "--toggle-collect=PostgresMain"]


class Serving:
    """A server, perhaps under callgrind, which counts what its backends execute for their clients."""

    def __init__(self, directory, preload, counting):
        self.directory = directory
        settings = ["autovacuum=off", "listen_addresses=", f"unix_socket_directories={directory}",
                    "fsync=off", f"shared_preload_libraries={','.join(preload)}"]
        settings += [setting for library, setting in AT_WORK.items() if library in preload]
        self.log = open(f"{directory}/log", "w")
        wrapper = [*COUNTING, f"--callgrind-out-file={directory}/counted.%p"] if counting else []
        self.process = subprocess.Popen(
            [*wrapper, "postgres", "-D", directory, *(word for setting in settings for word in ("-c", setting))],
            stdout=self.log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 120
        while True:
            try:
                Session(directory).close()
                return
            except (OSError, RuntimeError) as error:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError(f"the server does not start: see {directory}/log") from error
                time.sleep(0.2)

    def total(self, work):
        """What a session executes that does some work and ends."""
        session = Session(self.directory)
        work(session)
        session.close()
        path = f"{self.directory}/counted.{session.pid}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if os.path.exists(path):
                with open(path) as file:
                    for line in file:
                        if line.startswith(("totals:", "summary:")):
                            return int(line.split()[1])
            time.sleep(0.05)
        raise RuntimeError(f"no counts in {path}")

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def caller(name, mode):
    """Calls for some orders, as a function of a session."""
    _, _, sql, values, _ = CONTENDERS[name]

    def calls(session, numbers):
        if mode == "unprepared":
            for n in numbers:
                session.once(sql, values(n))
            return
        session.prepare("call", sql)
        for n in numbers:
            session.execute("call", values(n))
    return calls


def count(server, name, mode, first, number):
    calls = caller(name, mode)
    if mode == "first":
        # of sessions that make one call, and such as make none
        one = [server.total(lambda session: calls(session, [n])) for n in range(first, first + 3)]
        return sum(one) // len(one) - server.total(lambda session: None)
    warm = server.total(lambda session: calls(session, range(first, first + WARM)))
    more = server.total(lambda session: calls(session, range(first + WARM, first + 2 * WARM + number)))
    return (more - warm) // number


def set_up(name, preload):
    directory = f"{PLACE}/tx_{name}"
    subprocess.run(["initdb", "--auth=trust", "--no-sync", "--locale=C", "--username=postgres",
                    f"--pgdata={directory}"], stdout=subprocess.DEVNULL, check=True)
    preload = [*(["idem"] if name != "unloaded" else []), *preload]
    server = Serving(directory, preload, counting=False)
    session = Session(directory)
    for file in ("orders", *CONTENDERS[name][1]):
        with open(f"{BENCH}/orders/{file}.sql") as sql:
            session.simple(sql.read())
    session.simple(f"INSERT INTO orders SELECT n, 'VINET', 'PENDING', 440.00 FROM generate_series(1, {FILLED}) AS n")
    caller(name, "prepared")(session, range(FILLED + 1, 2 * FILLED + 1))
    session.simple("VACUUM ANALYZE")
    session.close()
    server.stop()
    return Serving(directory, preload, counting=True)


def measure(args):
    results = Results({"machine": machine.about(Server()), "calls": args.calls, "preload": ", ".join(args.preload)})
    for name in args.contenders:
        label, *_, kinds = CONTENDERS[name]
        server = set_up(name, args.preload)
        first = 10 * FILLED
        # the first session of all finds nothing in the server's caches
        server.total(lambda session: caller(name, "prepared")(session, range(first - WARM, first)))
        for mode in MODES:
            for dup in kinds:
                # a replay is of what the calls for new keys have made
                found = count(server, name, mode, first, args.calls)
                results.add(("tx", name, dup, 1, mode), {"operations": 1, "instructions": found})
                print(f"{label}, {MODES[mode]}, {'replay' if dup else 'new'}: {found:,}", flush=True)
            first += 10 * (args.calls + 2 * WARM)
        server.stop()
    return results
