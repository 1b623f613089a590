"""What was measured, round by round, and what is said of it."""

import json
import os
import statistics

BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DOCS = f"{os.path.dirname(BENCH)}/docs"
KEPT = f"{DOCS}/benchmarks"


def rate(measured):
    return measured["operations"] / measured["seconds"]


def each(name, scale=1):
    """A metric that is counted per operation."""
    return lambda measured: measured[name] * scale / measured["operations"]


METRICS = {
    "tps": rate,
    "p50": lambda measured: measured["p50"] / 1000,
    "p95": lambda measured: measured["p95"] / 1000,
    "p99": lambda measured: measured["p99"] / 1000,
    "server_cpu": each("server_cpu", 1e6),
    "client_cpu": each("client_cpu", 1e6),
    "redis_cpu": each("redis_cpu", 1e6),
    "wal": each("wal"),
}


def cell(job, contender, dup=0, clients=4, sync="on"):
    return job, contender, dup, clients, sync


class Results:
    """The cells of a run: for each, what was measured in each round."""

    def __init__(self, about=None, cells=None):
        self.about = about or {}
        self.cells = cells or {}

    def add(self, key, measured):
        self.cells.setdefault(key, []).append(
            {name: round(value, 6) for name, value in measured.items()})

    def has(self, *keys):
        return all(key in self.cells for key in keys)

    def values(self, key, metric):
        return [METRICS[metric](measured) for measured in self.cells[key]]

    def median(self, key, metric):
        return statistics.median(self.values(key, metric))

    def ratios(self, key, to, metric):
        """Of one contender to another, round by round: they ran side by side."""
        pairs = zip(self.values(key, metric), self.values(to, metric))
        return [one / other for one, other in pairs]

    def save(self, name):
        os.makedirs(KEPT, exist_ok=True)
        with open(f"{KEPT}/{name}.json", "w") as file:
            print("{", file=file)
            print(f'"about": {json.dumps(self.about, indent=1)},', file=file)
            print('"cells": [', file=file)
            print(",\n".join(json.dumps([key, rounds]) for key, rounds in self.cells.items()),
                  file=file)
            print("]}", file=file)

    @classmethod
    def load(cls, name):
        """None if it was not run."""
        try:
            with open(f"{KEPT}/{name}.json") as file:
                read = json.load(file)
        except FileNotFoundError:
            return None
        return cls(read["about"], {tuple(key): rounds for key, rounds in read["cells"]})
