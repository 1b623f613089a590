"""Redis servers for the contenders that need one."""

import os
import shutil
import socket
import subprocess
import time

from load import PLACE

# As it comes, Redis writes its keys to disk now and then, and loses the newest
# in a crash; with appendfsync always it keeps what it has acknowledged, as
# PostgreSQL does.
KINDS = {"snapshots": [], "synced": ["--appendonly", "yes", "--appendfsync", "always"]}


def have_redis():
    return shutil.which("redis-server") is not None


class Redis:
    def __init__(self, kind):
        directory = f"{PLACE}/redis-{kind}"
        os.mkdir(directory)
        self.socket = f"{directory}/socket"
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--dir", directory,
             *KINDS[kind]], stdout=subprocess.DEVNULL)
        self.pid = self.process.pid
        for _ in range(200):
            try:
                self.ask("PING")
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("redis-server does not start")

    def ask(self, command):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.socket)
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(65536).decode()

    def memory(self):
        """Bytes in use, and keys."""
        info = dict(line.split(":", 1) for line in self.ask("INFO").split("\r\n") if ":" in line)
        keys = info.get("db0", "keys=0,").split("=")[1].split(",")[0]
        return int(info["used_memory"]), int(keys)

    def stop(self):
        self.process.terminate()
        self.process.wait()
