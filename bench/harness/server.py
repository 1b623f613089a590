"""The server under test: questions to it, and what it has used.

It was started by bench/start.sh, and libpq's environment variables lead to it.
"""

import os
import subprocess
import time

QUIET = {**os.environ, "PGOPTIONS": "-c client_min_messages=warning"}
TICK = os.sysconf("SC_CLK_TCK")


class Psql:
    """A session that stays open, so that asking costs next to nothing."""

    END = "-- end of answer --"

    def __init__(self, database="postgres"):
        self.process = subprocess.Popen(
            ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database], env=QUIET,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, sql):
        """The answer as lines, columns separated by |."""
        print(f"{sql};\n\\echo {self.END}", file=self.process.stdin, flush=True)
        lines = []
        for line in self.process.stdout:
            line = line.rstrip("\n")
            if line == self.END:
                return lines
            lines.append(line)
        raise RuntimeError(f"failed: {sql}")

    def value(self, sql):
        return self.ask(sql)[0]

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def psql(database, *arguments):
    subprocess.run(["psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", database, *arguments],
                   env=QUIET, stdout=subprocess.DEVNULL, check=True)


def process_stat(pid):
    """Parent, own CPU and that of children that have ended, in seconds."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    own, ended = (sum(map(int, fields[at:at + 2])) / TICK for at in (11, 13))
    return int(fields[1]), own, ended


def children_cpu(root):
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parent, own, _ = process_stat(name)
            except OSError:
                continue  # has ended since
            if parent == root:
                total += own
    return total


def tree_cpu(root):
    """CPU used by a process and all its children, past and present."""
    while True:
        _, _, before = process_stat(root)
        present = children_cpu(root)
        _, own, ended = process_stat(root)
        if ended == before:  # else one that has ended may have been missed
            return own + ended + present


class Server:
    def __init__(self):
        self.control = Psql()
        directory = self.control.value("SHOW data_directory")
        with open(f"{directory}/postmaster.pid") as file:
            self.pid = int(file.readline())

    def ask(self, sql):
        return self.control.ask(sql)

    def value(self, sql):
        return self.control.value(sql)

    def settle(self):
        """Waits until the clients' backends have ended and are counted."""
        for _ in range(200):
            if self.value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = "
                          "'client backend' AND pid <> pg_backend_pid()") == "0":
                return
            time.sleep(0.005)

    def cpu(self):
        return tree_cpu(self.pid)

    def wal(self):
        """Bytes of WAL written so far."""
        return int(self.value("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))

    def create(self, database, *files):
        self.ask(f"DROP DATABASE IF EXISTS {database}")
        self.ask(f"CREATE DATABASE {database}")
        psql(database, *(f"--file={file}" for file in files))


class Use:
    """What a server, and others beside it, use while the block is run."""

    def __init__(self, server, settle=True, **others):
        self.server = server
        self.settle = settle
        self.others = others  # root processes by name

    def read(self):
        return {"wal": self.server.wal(), "server_cpu": self.server.cpu(),
                **{name: tree_cpu(pid) for name, pid in self.others.items()}}

    def __enter__(self):
        self.before = self.read()
        return self

    def __exit__(self, *_):
        if self.settle:
            self.server.settle()
        self.used = {name: value - self.before[name] for name, value in self.read().items()}
