"""bench/run: idem and what one would use instead, in turn."""

import os
import subprocess
import sys
import time

import machine
import options
import report
from contenders import JOBS, LENGTHS, PLACING
from load import BENCH, have_node
from measure import Measure, clock, contenders
from redis import have_redis
from results import Results, cell
from server import Psql, Server

WORKLOADS = ("new-key", "replay", "mix", "far", "hot", "results", "node", "transitions", "consumers",
             "cost", "size")
HOT = 32  # clients that want the same
MIXES = (1, 10, 50)  # of 100 orders, how many are placed again


def parse():
    parser = options.parser(
        "run", "Runs idem and what one would use instead, in turn, in so many rounds.")
    parser.add_argument("--only", metavar="WORKLOAD,...", type=options.name_list,
                        help="of " + ", ".join(WORKLOADS))
    parser.add_argument("--contenders", metavar="NAME,...", type=options.name_list,
                        help="; ".join(f"{job}: " + ", ".join(c.name for c in all_)
                                       for job, all_ in JOBS.items()))
    parser.add_argument("--clients", metavar="N,...",
                        type=options.number_list, help="default 1,4,16")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--seconds", type=int, default=1, help="of each measurement, default 1")
    parser.add_argument("--keys", choices=("ordered", "random"), default="ordered",
                        help="by time, like UUIDs of version 7 (default), or random, like version 4")
    parser.add_argument("--full", action="store_true",
                        help="every contender in every cell: about half an hour")
    args = options.parse(parser)
    args.only = args.only or list(WORKLOADS)
    args.clients = args.clients or [1, 4, 16]
    for name in args.only:
        if name not in WORKLOADS:
            parser.error(f"no workload {name}: choose from {', '.join(WORKLOADS)}")
    known = {c.name for all_ in JOBS.values() for c in all_}
    for name in args.contenders or ():
        if name not in known:
            parser.error(f"no contender {name}")
    if not all(0 < n <= 32 for n in args.clients):
        parser.error("1 to 32 clients")
    return args


def groups(args):
    """The cells, those together that are to be compared: (job, title, dup, clients, sync)."""
    for clients in args.clients:
        for sync in ("on", "off"):
            if "new-key" in args.only:
                yield "orders", "new keys", 0, clients, sync
        if "replay" in args.only:
            yield "orders", "replays", 100, clients, "on"
    middle = 4 if 4 in args.clients else args.clients[0]
    if "mix" in args.only:
        for dup in MIXES:
            for clients in args.clients if args.full else (middle,):
                for sync in ("on", "off") if args.full else ("on",):
                    yield "orders", f"{dup}% duplicates", dup, clients, sync
    if "far" in args.only:
        yield "far", "new keys from afar", 0, middle, "on"
        yield "far", "replays from afar", 100, middle, "on"
    if "hot" in args.only:
        yield "hot", "one order replayed", 100, HOT, "on"
        yield "together", "all the same new orders", 0, HOT, "on"
    if "results" in args.only:
        for job, length in LENGTHS.items():
            yield job, f"new keys with {length} bytes", 0, middle, "on"
            if args.full or job == "large":
                yield job, f"replays of {length} bytes", 100, middle, "on"
    if "node" in args.only:
        yield "node", "new keys from node", 0, middle, "on"
        yield "node", "replays from node", 100, middle, "on"
        if args.full:
            yield "node", "new keys from node", 0, middle, "off"
    for sync in ("on", "off"):
        if "transitions" in args.only:
            yield "transitions", "transitions", 0, middle, sync
        if "consumers" in args.only:
            yield "consumers", "messages", 0, middle, sync


def takes_part(args, job, contender, dup, clients):
    few = job == "orders" and (clients != 4 or dup not in (0, 100))
    return contender.core or not few or args.full or args.contenders


class Run:
    def __init__(self, args):
        self.args = args
        self.server = Server()
        self.measure = Measure(self.server, args.seconds, args.keys)
        self.jobs = self.present()
        self.results = Results({
            "machine": machine.about(self.server, "node" in self.jobs),
            "rounds": args.rounds, "seconds": args.seconds, "keys": args.keys})

    def present(self):
        """The jobs, with the contenders that can take part."""
        wanted = {job for job, *_ in groups(self.args)}
        if "size" in self.args.only:
            wanted.add("orders")
        if "node" in wanted and not (have_node() and have_redis()):
            print("There is no node or no Redis: leaving the clients in node out.")
            wanted.discard("node")
        jobs = {job: contenders(job, self.args.contenders) for job in JOBS if job in wanted}
        self.server.create("probe", f"{BENCH}/orders/idem.sql")
        with Psql("probe") as session:
            if session.value("SELECT count(*) FROM pg_proc WHERE proname = 'idem_consume'") == "0":
                jobs.pop("consumers", None)
        self.server.ask("DROP DATABASE probe")
        return jobs

    def prepare(self):
        for job, all_ in self.jobs.items():
            print(f"Setting up: {job}", flush=True)
            for contender in list(all_):
                self.measure.set_up(job, contender)
                if job == "orders" and contender.keys and "size" in self.args.only:
                    self.sizes(contender)
                if job == "node" and not self.place_in_node(contender):
                    all_.remove(contender)
                elif job in PLACING:
                    self.measure.place(job, contender)
                self.measure.analyze(job, contender)

    def sizes(self, contender):
        for keys in ("random", "ordered"):
            self.measure.place("orders", contender, keys)
            self.results.add(("size", contender.name, keys, 0, ""), self.measure.size(contender))
            self.measure.forget(contender)

    def place_in_node(self, contender):
        redis = self.measure.redis.get(contender.redis)
        before = redis.memory() if redis else (0, 0)
        try:
            self.measure.place_in_node(contender)
        except RuntimeError as error:  # a package may ask for a newer node
            print(f"Leaving out {contender.label}: {error}", flush=True)
            return False
        if redis:
            memory, keys = (now - then for now, then in zip(redis.memory(), before))
            self.results.add(("size", f"node_{contender.name}", "ordered", 0, ""),
                             {"operations": keys, "table": memory, "indexes": 0})
        return True

    def rounds(self):
        began = time.monotonic()
        plan = [group for group in groups(self.args) if group[0] in self.jobs]
        for number in range(self.args.rounds):
            for job, title, dup, clients, sync in plan:
                all_ = [c for c in self.jobs[job] if takes_part(self.args, job, c, dup, clients)]
                turn = number % max(1, len(all_))  # everybody has been first
                shown = []
                for contender in all_[turn:] + all_[:turn]:
                    key = cell(job, contender.name, dup, clients, sync)
                    self.results.add(key, self.measure.measure(job, contender, dup, clients, sync))
                    shown.append(f"{contender.name} {self.results.values(key, 'tps')[-1]:.0f}")
                print(f"{clock(time.monotonic() - began)} round {number + 1}/{self.args.rounds}, "
                      f"{title}, {clients} clients, sync {sync}: {', '.join(shown)} /s", flush=True)

    def cost(self):
        """What calls cost inside the server: bench/cost.sql."""
        print("Cost of single calls: bench/cost.sql", flush=True)
        answer = subprocess.run(
            ["psql", "-XqA", "-F", "|", "-v", "loops=5000", "-f", f"{BENCH}/cost.sql"],
            stdout=subprocess.PIPE, text=True, check=True,
            env={**os.environ, "PGDATABASE": "postgres"}).stdout
        for line in answer.splitlines()[1:]:
            fields = line.split("|")
            if fields[0] == "HOT, %":
                self.results.add(("cost", "hot", 0, 1, "on"), {"operations": 1, "percent": float(fields[1])})
            if len(fields) == 5:
                self.results.add(("cost", fields[0], 0, 1, "on"),
                                 {"operations": 1, "us": float(fields[1]), "wal": float(fields[2])})

    def all(self):
        self.prepare()
        self.rounds()
        for job in PLACING:
            for contender in self.jobs.get(job, ()):
                self.measure.verify(job, contender)
        if "cost" in self.args.only:
            self.cost()
        self.measure.close()


def main():
    args = parse()
    if args.parse_only:
        return
    began = time.monotonic()
    run = Run(args)
    run.all()
    run.results.about["minutes"] = round((time.monotonic() - began) / 60, 1)
    report.conclude("run", run.results, args.kept)


if __name__ == "__main__":
    sys.exit(main())
