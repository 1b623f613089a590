"""docs/benchmarks.md and its plots, from all that has been measured."""

import os

import report_long
import report_run
import targets
from results import DOCS, KEPT, Results

HEAD = """# Benchmarks

What idem costs, next to what one would use instead, each doing the same job: place an order once,
and return it on a retry. Written by the commands in `bench/`, each of which makes its own server and
says with `--help` how to run a part of it:

```
bench/run      # idem and its peers: twelve minutes
bench/count    # instructions a call in the server: two minutes; --tx: of a whole transaction
bench/scale    # few keys and very many: 25 minutes, with 50 million
bench/steady   # size and latency over time: 25 minutes
bench/purge    # purging, alone and beside clients: ten minutes
bench/saga     # steps of sagas, and claiming them: three minutes; prints its figures
```

Contenders run in turn, in rounds. A figure is the median of the rounds, in brackets the least and
the greatest. Throughput of short runs varies, on a machine that has other things to do above all;
CPU and WAL an operation hardly do.
"""


def command(name, results):
    """The part of the page on one command, and its plots."""
    room = report_run if name == "run" else report_long
    return room.TEXTS[name](results), room.PLOTS[name](results)


def conclude(name, results, kept):
    """Shows what a command has found, and writes it if that is to be kept."""
    if kept:
        results.save(name)
        write()
    print("\n".join(["", command(name, results)[0], targets.section({name: results}, False)]))


def pictures(plots):
    """Writes plots, and returns the Markdown that shows them."""
    for name, (_, picture) in plots.items():
        with open(f"{KEPT}/{name}.svg", "w") as file:
            file.write(picture)
    return "\n".join(f"![{title}](benchmarks/{name}.svg)\n" for name, (title, _) in plots.items())


def write():
    """Writes the page of all the commands that have been run."""
    os.makedirs(KEPT, exist_ok=True)
    found = {name: results for name in ("run", "count", "tx", "scale", "steady", "purge")
             if (results := Results.load(name))}
    parts = [HEAD, targets.section(found)]
    for name, results in found.items():
        text, plots = command(name, results)
        parts += [text, pictures(plots)]
    with open(f"{DOCS}/benchmarks.md", "w") as file:
        file.write("\n".join(parts))
    with open(f"{KEPT}/written", "w"):
        pass
