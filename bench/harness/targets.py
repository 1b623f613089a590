"""What is aimed at, and what has been reached."""

import statistics

from results import cell

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


# what, by which command, at least (else at most), how much, the measurement
TARGETS = [
    ("new keys, throughput: idem_upsert / bare INSERT", "run", True, 0.80, ratio("upsert", "insert")),
    ("new keys, throughput: idem_upsert / plpgsql at its best", "run", True, 1.20,
     ratio("upsert", "plpgsql")),
    ("new keys, throughput: idem_upsert / plpgsql as usual", "run", True, 1.20,
     ratio("upsert", "usual")),
    ("new keys, throughput: idem_upsert / five round trips", "run", True, 2.5,
     ratio("upsert", "trips")),
    ("new keys, throughput from node: idem_upsert / node-idempotency with Redis", "run", True, 3,
     ratio("upsert", "redis", job="node")),
    ("replays, throughput: idem_upsert / SELECT by primary key", "run", True, 0.90,
     ratio("upsert", "insert", REPLAY)),
    ("new keys, WAL: idem_upsert / plpgsql at its best", "run", False, 0.75,
     ratio("upsert", "plpgsql", metric="wal")),
    ("new keys, WAL: idem_upsert / plpgsql as usual", "run", False, 0.75,
     ratio("upsert", "usual", metric="wal")),
    ("new key, time in the server: idem_upsert / the two bare INSERTs", "run", False, 1.25,
     cost("idem, new key", "two bare inserts")),
]


def row(what, command, least, target, measure, found):
    values = measure(found)
    wanted = f"{'at least' if least else 'at most'} {target:,}"
    if not values:
        return [what, wanted, "not measured", f"`bench/{command}`"]
    median = statistics.median(values)
    text = f"{median:,.0f}" if median >= 1000 else f"{median:.2f}"
    if len(values) > 1 and median < 1000:
        text += f" ({min(values):.2f} to {max(values):.2f})"
    reached = median >= target if least else median <= target
    return [what, wanted, text, "yes" if reached else "**no**"]


def section(found):
    from report import table
    rows = [row(*target, found) for target in TARGETS]
    return ("## Targets\n\nWith 4 clients and `synchronous_commit` on, where nothing else is said; "
            "ratios are medians of those within each round.\n\n"
            + table(["", "target", "measured", "reached"], rows))
