"""What it ran on."""

import json
import os
import platform
import subprocess

from results import BENCH

SETTINGS = ("shared_buffers", "max_wal_size", "checkpoint_timeout", "autovacuum", "fsync",
            "full_page_writes", "wal_level", "wal_compression", "max_connections")


def said(*command):
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def field(file, name):
    with open(file) as lines:
        for line in lines:
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return ""


def packages():
    """Those that bench/node/package.json pins."""
    with open(f"{BENCH}/node/package.json") as file:
        return json.load(file)["dependencies"]


def about(server, with_node=False):
    memory = int(field("/proc/meminfo", "MemTotal").split()[0]) / 2**20
    commit = ""
    if os.path.exists(f"{BENCH}/commit"):
        with open(f"{BENCH}/commit") as file:
            commit = file.read().strip()
    found = {
        "idem": f"{server.value('SELECT default_version FROM pg_available_extensions WHERE name = ' + repr('idem'))}"
                + (f", commit {commit}" if commit else ""),
        "PostgreSQL": server.value("SHOW server_version"),
        "settings": ", ".join(f"{name} {server.value('SHOW ' + name)}" for name in SETTINGS),
        "processor": field("/proc/cpuinfo", "model name") + f", {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "file system": said("stat", "-f", "-c", "%T", os.environ.get("PLACE", "/tmp")),
        "load at the start": f"{os.getloadavg()[0]:.2f}",
    }
    if with_node:
        found["node"] = said("node", "--version")
        found["Redis"] = said("redis-server", "--version").split(" ")[2].partition("=")[2]
        found["npm packages"] = ", ".join(f"{name} {version}" for name, version in packages().items())
    return found
