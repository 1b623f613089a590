"""The generators of load: pgbench, and clients in node for what is no SQL.

Each returns a dict: operations, seconds, the latencies in microseconds at
three percentiles, and the client's own CPU in seconds.
"""

import glob
import json
import os
import re
import resource
import select
import subprocess
import tempfile

PLACE = os.environ.get("PLACE", "/tmp")
BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


# Keys for order number n, for which :digits has 16: like UUIDs of version 7,
# and of version 4.
KEYS = {"ordered": "('0190a1b2-7c3d-7e4f-8' || :digits::text)",
        "random": "md5(:n::text)::uuid::text"}


def percentile(ordered, percent):
    """The least value that so many percent of them do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def summary(latencies):
    latencies.sort()
    return {f"p{percent}": percentile(latencies, percent) for percent in (50, 95, 99)}


def environment(synchronous_commit, host=None):
    """The host is that of libpq, unless the server is to be reached by another way."""
    return {**os.environ, **({"PGHOST": host} if host else {}),
            "PGOPTIONS": f"-c synchronous_commit={synchronous_commit}"}


def script_of(files, keys, replaced):
    text = ""
    for name in files:
        with open(os.path.join(BENCH, name)) as file:
            text += file.read()
    for what, by in {":key": KEYS[keys], **replaced}.items():
        text = text.replace(what, by)
    return text


class Pgbench:
    """pgbench at work, on the files as one script, in which some things are
    replaced."""

    def __init__(self, database, files, clients, variables, seconds=None, transactions=None,
                 synchronous_commit="on", keys="ordered", replaced={}, rate=None, host=None):
        self.files = files
        self.directory = tempfile.TemporaryDirectory(dir=PLACE)
        script = f"{self.directory.name}/script"
        with open(script, "w") as file:
            file.write(script_of(files, keys, replaced))
        command = ["pgbench", "-n", "-M", "prepared", "-f", script,
                   "-c", str(clients), "-j", str(min(clients, 2)),
                   "-l", f"--log-prefix={self.directory.name}/log"]
        command += ["-T", str(seconds)] if seconds else ["-t", str(transactions)]
        command += ["-R", str(rate)] if rate else []
        for name, value in variables.items():
            command += ["-D", f"{name}={value}"]
        self.before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.process = subprocess.Popen(
            [*command, database], env=environment(synchronous_commit, host),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def log(self):
        """When each transaction ended and how long it took, from lines of
        client, number, time, script, end in seconds, and microseconds."""
        for name in glob.glob(f"{self.directory.name}/log.*"):
            with open(name) as file:
                for line in file:
                    _, _, latency, _, second, micros, *_ = line.split()
                    yield int(second) + int(micros) / 1e6, int(latency)

    def wait(self):
        """What it printed."""
        out, error = self.process.communicate()
        if self.process.returncode != 0:
            raise RuntimeError(f"pgbench failed: {' '.join(self.files)}\n{error[-2000:]}")
        return out

    def running(self):
        return self.process.poll() is None

    def finish(self):
        rate = float(re.search(r"^tps = ([0-9.]+)", self.wait(), re.M).group(1))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = [use.ru_utime + use.ru_stime for use in (self.before, after)]
        latencies = [latency for _, latency in self.log()]
        self.directory.cleanup()
        return {"operations": len(latencies), "seconds": len(latencies) / rate,
                **summary(latencies), "client_cpu": cpu[1] - cpu[0]}


def pgbench(*args, **options):
    return Pgbench(*args, **options).finish()


def have_node():
    return os.path.isdir(f"{BENCH}/node/node_modules")


class Node:
    """A process of clients in node, ready to begin."""

    def __init__(self, synchronous_commit="on", **options):
        self.process = subprocess.Popen(
            ["node", f"{BENCH}/node/load.mjs", json.dumps(options)],
            env=environment(synchronous_commit), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        self.line("ready")

    def line(self, expected=None):
        if not select.select([self.process.stdout], [], [], 120)[0]:
            self.process.kill()
            raise RuntimeError("node hangs")
        line = self.process.stdout.readline().strip()
        if not line or expected not in (None, line):
            raise RuntimeError(f"node failed: {line}")
        return line

    def run(self):
        """Runs until the time is over, and leaves the connections open."""
        print("go", file=self.process.stdin, flush=True)
        return json.loads(self.line())

    def end(self, measured):
        self.process.stdin.close()
        self.process.stdout.close()
        if self.process.wait() != 0:
            raise RuntimeError("node failed at the end")
        latencies = measured.pop("latencies")
        return {"operations": len(latencies), "seconds": measured["seconds"],
                **summary(latencies),
                "client_cpu": (measured["user"] + measured["system"]) / 1e6}
