"""What is aimed at, and what has been reached."""

import statistics

from results import cell
from tables import table

NEW, REPLAY = 0, 100


def ratio(one, to, dup=NEW, metric="tps", job="orders"):
    """Of two contenders, with 4 clients and synchronous_commit on."""
    def measured(found):
        results = found.get("run")
        keys = [cell(job, name, dup) for name in (one, to)]
        return results and results.has(*keys) and results.ratios(*keys, metric)
    return measured


def cost(one, to):
    def measured(found):
        results = found.get("run")
        keys = [("cost", name, 0, 1, "on") for name in (one, to)]
        if not results or not results.has(*keys):
            return None
        ours, theirs = (results.cells[key][0]["us"] for key in keys)
        return [ours / theirs]
    return measured


def claimed(found):
    """Bytes of WAL of a claim and its completion."""
    results = found.get("run")
    key = ("cost", "idem, claim and completion", 0, 1, "on")
    return results and results.has(key) and [results.cells[key][0]["wal"]]


def hot(found):
    results = found.get("run")
    key = ("cost", "hot", 0, 1, "on")
    return results and results.has(key) and [results.cells[key][0]["percent"]]


def counted(one, to):
    def measured(found):
        results = found.get("count")
        keys = [("count", name, NEW, 1, "") for name in (one, to)]
        if not results or not results.has(*keys):
            return None
        ours, theirs = (results.cells[key][0]["instructions"] for key in keys)
        return [ours / theirs]
    return measured


def scaled(live, to):
    """CPU in the server for a new, time-ordered key."""
    def measured(found):
        results = found.get("scale")
        if not results:
            return None
        keys = [("scale", str(n), 0, results.about["clients"], "ordered") for n in (live, to)]
        return results.has(*keys) and results.ratios(*keys, "server_cpu")
    return measured


def purged(name):
    def measured(found):
        results = found.get("purge")
        key = ("purge", name, 0, 0, "")
        return results and results.has(key) and results.values(key, "tps")
    return measured


def idle(found):
    results = found.get("purge")
    cells = results and results.cells.get(("purge", "idle", 0, 0, ""))
    return cells and [one["seconds"] * 1000 for one in cells]


def transaction(one, other):
    """Of whole transactions of two contenders, prepared and for new keys."""
    def measure(found):
        results = found.get("tx")
        keys = [("tx", name, 0, 1, "prepared") for name in (one, other)]
        return results and results.has(*keys) and [
            results.cells[keys[0]][0]["instructions"] / results.cells[keys[1]][0]["instructions"]]
    return measure


def disturbed(found):
    results = found.get("purge")
    if not results:
        return None
    clients = results.about["clients"]
    keys = [("purge", name, 0, clients, "on") for name in ("with", "without")]
    return results.has(*keys) and results.ratios(*keys, "p99")


COMMANDS = {"tx": "count --tx"}

# what, by which command, at least (else at most), how much, the measurement
TARGETS = [
    ("new keys, throughput: idem_upsert / bare INSERT", "run", True, 0.80, ratio("upsert", "insert")),
    ("new keys, throughput: idem_upsert / plpgsql at its best", "run", True, 1.15,
     ratio("upsert", "plpgsql")),
    ("new keys, throughput: idem_upsert / plpgsql as usual", "run", True, 1.20,
     ratio("upsert", "usual")),
    ("new keys, throughput: idem_upsert / five round trips", "run", True, 2.5,
     ratio("upsert", "trips")),
    ("new keys, throughput from node: idem_upsert / node-idempotency with Redis", "run", True, 2.2,
     ratio("upsert", "redis", job="node")),
    ("replays, throughput: idem_upsert / SELECT by primary key", "run", True, 0.72,
     ratio("upsert", "insert", REPLAY)),
    ("the same, of (idem_upsert(...)).result", "run", True, 0.78,
     ratio("result", "insert", REPLAY)),
    ("new keys from 0.5 ms afar, throughput: idem_upsert / bare INSERT", "run", True, 0.90,
     ratio("upsert", "insert", job="far")),
    ("new keys from 0.5 ms afar, throughput: idem_upsert / five round trips", "run", True, 3,
     ratio("upsert", "trips", job="far")),
    ("new keys, WAL: idem_upsert / plpgsql at its best", "run", False, 1.02,
     ratio("upsert", "plpgsql", metric="wal")),
    ("new keys, WAL: idem_upsert / plpgsql as usual", "run", False, 0.73,
     ratio("upsert", "usual", metric="wal")),
    ("a claim and its completion, bytes of WAL", "run", False, 700, claimed),
    ("completions of claims that leave the indexes alone (HOT), %", "run", True, 95, hot),
    ("new key, time in the server: idem_upsert / the two bare INSERTs", "run", False, 1.25,
     cost("idem, new key", "two bare inserts")),
    ("new key, instructions in the server: idem_upsert / the two bare INSERTs", "count", False, 0.90,
     counted("upsert", "two")),
    ("new key, instructions: a row of idem_upsert_batch / idem_upsert", "count", False, 0.65,
     counted("set", "upsert")),
    ("new key, whole transaction, instructions: idem_upsert / one statement of both inserts", "tx", False, 1.25,
     transaction("upsert", "both")),
    ("new key, CPU in the server: among 50 million ordered keys / among 1 million", "scale", False,
     1.10, scaled(50_000_000, 1_000_000)),
    ("purge, unthrottled, rows a second", "purge", True, 400_000, purged("unthrottled")),
    ("the same with an old snapshot held open", "purge", True, 400_000, purged("snapshot")),
    ("purge, unthrottled, among as many live keys, rows a second", "purge", True, 400_000, purged("mixed")),
    ("a pass that purges nothing, over the live keys, ms", "purge", False, 50, idle),
    ("purge at the defaults, rows a second", "purge", True, 80_000, purged("defaults")),
    ("clients' p99 while purging at the defaults / without", "purge", False, 1.25, disturbed),
]


def row(what, command, least, target, measure, found):
    values = measure(found)
    wanted = f"{'at least' if least else 'at most'} {target:,}"
    if not values:
        return [what, wanted, "not measured", f"`bench/{COMMANDS.get(command, command)}`"]
    median = statistics.median(values)
    text = f"{median:,.0f}" if median >= 1000 else f"{median:.2f}"
    if len(values) > 1 and median < 1000:
        text += f" ({min(values):.2f} to {max(values):.2f})"
    reached = median >= target if least else median <= target
    return [what, wanted, text, "yes" if reached else "**no**"]


def section(found, missing=True):
    """The table, with or without what was not measured."""
    rows = [row(*target, found) for target in TARGETS if missing or target[-1](found)]
    if not rows:
        return ""
    return ("## Targets\n\nWith 4 clients and `synchronous_commit` on, where nothing else is said; "
            "ratios are medians of those within each round.\n\n"
            + table(["", "target", "measured", "reached"], rows))
