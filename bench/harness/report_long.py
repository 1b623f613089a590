"""What bench/count, bench/scale, bench/steady and bench/purge have found."""

import plot
from count_tx import CONTENDERS, MODES
from tables import machine_table, spread, table


COUNTED = {"two": "the two bare INSERTs", "usual": "plpgsql, as usually written",
           "plpgsql": "plpgsql, at its best", "upsert": "**idem_upsert**",
           "set": "**idem_upsert_batch**, a row of a thousand", "execute": "**idem_execute**"}


def count(results):
    rows = []
    for name, title in COUNTED.items():
        keys = [("count", name, dup, 1, "") for dup in (0, 100)]
        if results.has(keys[0]):
            rows.append([title] + [f"{one['instructions'] / one['operations']:,.0f}" for key in keys
                                   for one in results.cells.get(key, ())])
    return ("## Instructions\n\nThat a call executes in the server, without protocol and commit, counted "
            "by callgrind. A function in plpgsql pays for the language, too.\n\n"
            + table(["", "new key", "replay"], [(row + [""])[:3] for row in rows]) + "\n"
            + machine_table(results, f"{results.about['calls']:,} calls in one statement"))


def tx(results):
    rows = []
    for name, (title, *_) in CONTENDERS.items():
        cells = [results.cells.get(("tx", name, dup, 1, mode)) for mode in MODES for dup in (0, 100)]
        if any(cells):
            rows.append([title] + [f"{cell[0]['instructions']:,.0f}" if cell else "" for cell in cells])
    preload = f", with {results.about['preload']} loaded" if results.about["preload"] else ""
    return ("## Instructions of a whole transaction\n\nFrom the message of a client to the answer, commit "
            f"included, counted by callgrind{preload}: what a client pays. Parameters are text, JSON among them, as "
            "drivers send them. *Unprepared* calls are parsed and planned each time, as drivers do that "
            "are not told otherwise. The first call of a session, which a pool of connections pays in each "
            "of them, fills the session's caches, and loads the library unless the server has done so.\n\n"
            + table(["", *(f"{mode}, {kind}" for mode in MODES for kind in ("new", "replay"))], rows) + "\n"
            "Both inserts in one statement remember the key and protect from nothing; the one statement that "
            "looks first fails where two retries meet. A row of results that is not asked for costs, too: "
            "`(idem_upsert(...)).result` returns one column. A replay that is not prepared costs more than that of "
            "plpgsql: the server has a call of more arguments to plan.\n\n"
            + machine_table(results, f"{results.about['calls']:,} calls"))


def size(results, key):
    measured = results.cells[key][0]
    return [plot.number(measured[part] / measured["operations"]) for part in ("table", "indexes")]


def scale(results):
    about = results.about
    rows = []
    for job, live, dup, clients, keys in results.cells:
        if job == "scale":
            key = (job, live, dup, clients, keys)
            rows.append(["replays" if dup else "new keys", keys, f"{int(live):,}",
                         spread(results.values(key, "server_cpu"))] + [
                plot.number(results.median(key, metric)) for metric in ("wal", "p50", "p99", "tps")]
                + size(results, ("filled", live, 0, 0, keys)))
    return ("## Few keys and very many\n\n"
            "`idem_upsert`, synchronous_commit off, each measurement right after a checkpoint, so with "
            "the full pages in its WAL. The tables were filled by INSERT ... SELECT in the order of the "
            "keys' numbers, then vacuumed; the largest exceeds `shared_buffers` many times over. Ordered "
            "keys are like UUIDs of version 7, random ones like those of version 4.\n\n"
            + table(["", "keys", "live", "server CPU, µs", "WAL, bytes", "p50, ms", "p99, ms",
                     "a second", "table, bytes a key", "indexes, bytes a key"], rows) + "\n"
            + machine_table(results, f"{about['clients']} clients, {about['rounds']} rounds of "
                                     f"{about['seconds']} s"))


def steady(results):
    about = results.about
    rows = []
    for (_, name, *_), samples in results.cells.items():
        # the first keys expire after ttl seconds: from then on it is steady
        settled = [one for one in samples if one["at"] > 2 * about["ttl"]] or samples
        for title, part in (("its first third", settled[:len(settled) // 3]),
                            ("its last third", settled[-(len(settled) // 3):])):
            part = [one for one in part if "p99" in one] or [one for one in samples if "p99" in one]
            rows.append([{"steady": "as it is", "held": "a transaction held open"}[name], title] + [
                spread([one[metric] * factor for one in part]) for metric, factor in
                (("keys", 1), ("expired", 1), ("table", 2**-20), ("indexes", 2**-20),
                 ("p50", 1e-3), ("p99", 1e-3))])
    return (f"## Steady state\n\n{about['rate']:,} new keys a second, kept for {about['ttl']} s, for "
            f"{about['minutes']:g} minutes; the worker and autovacuum as they come, but looking every "
            f"second and every five. Then the same with a transaction held open from minute "
            f"{about['held'][0]:.1f} to {about['held'][1]:.1f}: what it may still see cannot be "
            "removed, so the table grows until it ends, and its room is used again after that. "
            "Latency counts from when a call was due.\n\n"
            + table(["", "of the time", "keys", "of them expired", "table, MB", "indexes, MB",
                     "p50, ms", "p99, ms"], rows) + "\n"
            + machine_table(results, f"{about['clients']} clients"))


def purge(results):
    about = results.about
    alone = [[title, f"{results.values(key, 'tps')[0]:,.0f}"] for title, key in (
        ("unthrottled: batches of 10,000, no pause", ("purge", "unthrottled", 0, 0, "")),
        ("the same, with an old snapshot held open", ("purge", "snapshot", 0, 0, "")),
        ("at the defaults: batches of 1,000, 10 ms between", ("purge", "defaults", 0, 0, "")),
        ("unthrottled, every second key lives for a month", ("purge", "mixed", 0, 0, "")))
        if results.has(key)]
    beside = []
    for name in ("without", "with"):
        key = ("purge", name, 0, about["clients"], "on")
        beside.append([f"{name} purging"] + [spread(results.values(key, metric))
                                             for metric in ("p50", "p95", "p99")]
                      + [spread([one["purged"] for one in results.cells[key]])])
    return (f"## Purging\n\nOne worker, {about['keys']:,} expired keys.\n\n"
            + table(["", "rows a second"], alone) + idle_pass(results)
            + f"\nBeside {about['clients']} clients with {about['rate']:,} calls of `idem_upsert` a second "
            "in all, each with a new key; latency counts from when a call was due:\n\n"
            + table(["", "p50, ms", "p95, ms", "p99, ms", "rows purged a second"], beside) + "\n"
            + machine_table(results, f"{about['rounds']} rounds of {about['seconds']} s"))


def idle_pass(results):
    key = ("purge", "idle", 0, 0, "")
    if not results.has(key):
        return ""
    passes = [one["seconds"] * 1000 for one in results.cells[key]]
    return (f"\nA pass over {results.about['keys']:,} live keys, of which half expire within the hour and "
            f"the others within a month, takes {spread(passes)} ms.\n")


def steady_plots(results):
    series = {name: samples for (_, name, *_), samples in results.cells.items()}
    labels = {"steady": "as it is", "held": "held open"}
    found = {}
    for file, title, unit, metric, factor in (
            ("steady-size", "Size of the table of keys and its indexes", "MB", None, 2**-20),
            ("steady-latency", "99th percentile of latency", "ms", "p99", 1e-3)):
        lines = [(labels[name], [(one["at"] / 60, factor * (
            one[metric] if metric else one["table"] + one["indexes"]))
            for one in samples if metric is None or metric in one])
            for name, samples in series.items()]
        if all(points for _, points in lines):
            found[file] = (f"{title}: {unit}", plot.lines(title, unit, "minutes", lines))
    return found


def scale_plots(results):
    groups = []
    for dup, title in ((0, "new keys"), (100, "replays")):
        rows = [(f"{keys}, {int(live):,} live", keys == "ordered",
                 results.values((job, live, dup, clients, keys), "server_cpu"))
                for job, live, d, clients, keys in results.cells if job == "scale" and d == dup]
        groups.append((title, rows))
    title = "CPU in the server, by number of live keys"
    return {"scale": (title, plot.bars(title, "µs a call", groups))}


def purge_plots(results):
    key = [("purge", name, 0, results.about["clients"], "on") for name in ("without", "with")]
    title = "Clients beside the purge"
    groups = [(percent, [(f"{name} purging", name == "with", results.values(one, percent))
                         for name, one in zip(("without", "with"), key)])
              for percent in ("p50", "p95", "p99")]
    return {"purge": (f"{title}: ms", plot.bars(title, "ms", groups))}


TEXTS = {"count": count, "tx": tx, "scale": scale, "steady": steady, "purge": purge}
PLOTS = {"count": lambda results: {}, "tx": lambda results: {},
         "scale": scale_plots, "steady": steady_plots, "purge": purge_plots}
