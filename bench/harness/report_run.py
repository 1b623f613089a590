"""What bench/run has found."""

import plot
from contenders import FAR_MS, JOBS, LENGTHS, MESSAGES, label
from results import cell
from tables import machine_table, spread, table

OURS = {"upsert", "result", "execute", "claim", "attach", "transition", "keyed", "consume", "consume_batch"}


def bold(name, text):
    return f"**{text}**" if name in OURS else text


def names(results, job, dup, clients, sync):
    return [c.name for c in JOBS[job] if results.has(cell(job, c.name, dup, clients, sync))]


def throughput(results, dup, syncs):
    """One column for each number of clients."""
    columns = sorted({(sync, clients) for job, _, d, clients, sync in results.cells
                      if job == "orders" and d == dup and sync in syncs},
                     key=lambda column: (column[0] == "off", column[1]))
    header = ["orders a second"] + [
        f"{n} client{'s' * (n > 1)}" + (f", sync {sync}" if len(syncs) > 1 else "")
        for sync, n in columns]
    rows = []
    for contender in JOBS["orders"]:
        keys = [cell("orders", contender.name, dup, clients, sync) for sync, clients in columns]
        if any(results.has(key) for key in keys):
            rows.append([bold(contender.name, contender.label)] + [
                bold(contender.name, spread(results.values(key, "tps"))) if results.has(key) else ""
                for key in keys])
    return table(header, rows)


def details(results, job, dup, clients, sync, unit="an order"):
    """Latency and what an operation uses."""
    redis = any("redis_cpu" in measured[0] for key, measured in results.cells.items()
                if key[0] == job)
    header = ["", "a second", "p50, ms", "p95, ms", "p99, ms", f"server CPU, µs {unit}",
              "client CPU, µs"] + ["Redis CPU, µs"] * redis + ["WAL, bytes"]
    rows = []
    for name in names(results, job, dup, clients, sync):
        key = cell(job, name, dup, clients, sync)
        many = MESSAGES.get(name, 1)
        rows.append([bold(name, label(job, name)),
                     bold(name, spread([tps * many for tps in results.values(key, "tps")]))] + [
            plot.number(results.median(key, metric)) for metric in ("p50", "p95", "p99")] + [
            plot.number(results.median(key, metric) / many) for metric in
            ("server_cpu", "client_cpu") + ("redis_cpu",) * redis + ("wal",)])
    return table(header, rows) if rows else ""


def cells_of(results, job):
    """(dup, clients, sync), in the order in which they are told of."""
    found = {key[2:] for key in results.cells if key[0] == job}
    return sorted(found, key=lambda one: (one[2] == "off", one[0], one[1]))


def workload(dup):
    return {0: "new keys", 100: "replays"}.get(dup, f"{dup}% duplicates")


def heading(dup, clients, sync):
    return f"{workload(dup)}, {clients} client{'s' * (clients > 1)}, `synchronous_commit` {sync}"


def sentence(*one):
    text = heading(*one)
    return text[0].upper() + text[1:]


def orders(results):
    parts = []
    done = cells_of(results, "orders")
    for dup, title in ((0, "New keys"), (100, "Replays")):
        syncs = sorted({sync for d, _, sync in done if d == dup}, reverse=True)
        if syncs:
            parts.append(f"### {title}\n\n{throughput(results, dup, syncs)}")
            parts += [f"{sentence(*one)}:\n\n{details(results, 'orders', *one)}"
                      for one in done if one[0] == dup and one[1] == 4]
    mixed = [one for one in done if 0 < one[0] < 100]
    if mixed:
        parts.append("### Mixed\n")
        parts += [f"{sentence(*one)}:\n\n{details(results, 'orders', *one)}" for one in mixed]
    return "\n".join(parts)


def section(results, job, title, text, unit="an operation"):
    done = cells_of(results, job)
    if not done:
        return ""
    parts = [f"{sentence(*one)}:\n\n{details(results, job, *one, unit)}" for one in done]
    return "\n\n".join(part for part in (f"## {title}", text, "\n".join(parts)) if part)


def sizes(results):
    rows = []
    for contender in JOBS["orders"]:
        for keys in ("ordered", "random"):
            measured = results.cells.get(("size", contender.name, keys, 0, ""))
            if measured:
                one = measured[0]
                rows.append([bold(contender.name, contender.label), keys] + [
                    plot.number(one[part] / one["operations"]) for part in ("table", "indexes")])
    for contender in JOBS["node"]:
        measured = results.cells.get(("size", f"node_{contender.name}", "ordered", 0, ""))
        if measured:
            rows.append([contender.label, "ordered", "",
                         f"{plot.number(measured[0]['table'] / measured[0]['operations'])}, in memory"])
    if not rows:
        return ""
    return ("## Size\n\nOf the table of keys, answers included, after 32,000 new keys, one a "
            "transaction, never vacuumed. Keys have 36 bytes.\n\n"
            + table(["", "keys", "table, bytes a key", "indexes, bytes a key"], rows))


def costs(results):
    found = {key[1]: measured[0] for key, measured in results.cells.items() if key[0] == "cost"}
    hot = found.pop("hot", None)
    if not found:
        return ""
    rows = [[f"**{name}**" if name.startswith("idem") else name, plot.number(one["us"]),
             plot.number(one["wal"])] for name, one in found.items()]
    return ("## In the server\n\nOne call within a statement, by `bench/cost.sql`: no client, no "
            "protocol, no commit.\n\n" + table(["", "µs", "WAL, bytes"], rows)
            + (f"\n{plot.number(hot['percent'])} % of the completions left the indexes alone (HOT).\n" if hot else ""))


CONTENDERS = """## Contenders

| | |
|---|---|
| bare INSERT | the order alone, unprotected; it is told which orders are retries, and reads those by primary key: the floor |
| five round trips | BEGIN, insert the key, insert the order, update the key with the answer, COMMIT |
| plpgsql, as usually written | those statements in a function |
| plpgsql, at its best | one for these orders alone: typed arguments, a digest for the request, the key looked for under an advisory lock and inserted once |
| **idem_upsert**, **idem_execute** | one call |
| **(idem_upsert(...)).result** | the same call, of which a client wants one column |
| **idem_claim** | BEGIN, claim, insert the order, complete, COMMIT |
| node-idempotency | `@node-idempotency/core` with its Redis adapter (of its own, none for PostgreSQL is published; its repository has one), in front of the same INSERT |
| Powertools | `@aws-lambda-powertools/idempotency` with its cache layer on Redis, the same |
| pg-boss | `send` with a singleton key in the transaction of the order |

All in SQL by pgbench, with prepared statements over a unix socket. Left out: `express-idempotency`
looks a key up and creates it in two steps, so two requests at once both do the work.
"""

FAR = f"""The same through a socket that hands on what comes in with {FAR_MS} ms of round trip, as a
network between machines does: what a client waits for is messages, not instructions."""
HOT = "Every client asks for the one order that is there."
TOGETHER = """Every client places the same new orders at the same time, as when requests are sent
twice or to several servers: one of them places each, and the others wait for it."""

NODE = """The same job by a client in node, in one process. The peers that remember in Redis, on
the same machine over a unix socket, are two commits in two stores: a crash between them leaves a
key in progress for good, or an order without its answer. Redis runs as it comes, and as one that
syncs each write before it acknowledges it, as PostgreSQL does. In the transaction of pg-boss's job
the order is placed; a replay reads it from the table of orders."""

TRANSITIONS = "Each order is led through its three transitions, each a transaction."
CONSUMERS = """A message a transaction, or a hundred, never seen before. Per message, but the
latency, which is that of a transaction."""


def text(results):
    about = results.about
    placed = orders(results)
    parts = [CONTENDERS, "## What it ran on\n",
             machine_table(results, f"{about['rounds']} rounds of {about['seconds']} s, "
                                    f"{about['keys']} keys"),
             placed and f"## Placing orders\n\n{placed}", costs(results), sizes(results),
             section(results, "far", "From afar", FAR, "an order"),
             section(results, "hot", "One hot key", HOT, "an order"),
             section(results, "together", "The same requests at once", TOGETHER, "an order"),
             *(section(results, job, f"Answers of {length} bytes", "", "an order")
               for job, length in LENGTHS.items()),
             section(results, "node", "Clients in node, and Redis", NODE, "an order"),
             section(results, "transitions", "Transitions", TRANSITIONS, "a transition"),
             section(results, "consumers", "Messages", CONSUMERS, "a message")]
    return "\n".join(part for part in parts if part)


def plotted(results, title, unit, metric, choices, job="orders"):
    groups = []
    for dup, clients, sync in choices:
        rows = [(label(job, name), name in OURS,
                 results.values(cell(job, name, dup, clients, sync), metric))
                for name in names(results, job, dup, clients, sync)]
        if rows:
            groups.append((heading(dup, clients, sync).replace("`", ""), rows))
    return plot.bars(title, unit, groups) if groups else None


CHARTS = {
    "new": ("New keys", "orders a second", "tps",
            [(0, clients, sync) for sync in ("on", "off") for clients in (1, 4, 16)], "orders"),
    "replays": ("Replays", "orders a second", "tps", [(100, n, "on") for n in (1, 4, 16)], "orders"),
    "latency": ("99th percentile of latency", "ms", "p99", [(0, 4, "on"), (100, 4, "on")], "orders"),
    "cpu": ("CPU in the server", "µs an order", "server_cpu", [(0, 4, "off"), (100, 4, "on")],
            "orders"),
    "wal": ("WAL", "bytes an order", "wal", [(0, 4, "on")], "orders"),
    "node": ("Clients in node", "orders a second", "tps", [(0, 4, "on"), (100, 4, "on")], "node"),
    "transitions": ("Transitions", "transitions a second", "tps", [(0, 4, "on"), (0, 4, "off")],
                    "transitions"),
}


def plots(results):
    """By name of the file: (title, SVG)."""
    found = {}
    for name, (title, unit, metric, choices, job) in CHARTS.items():
        if picture := plotted(results, title, unit, metric, choices, job):
            found[name] = (f"{title}: {unit}", picture)
    return found


TEXTS = {"run": text}
PLOTS = {"run": plots}
