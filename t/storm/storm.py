#!/usr/bin/env python3
"""Random schedules of idem's calls, compared with a model; see README.md."""

import argparse
import json
import os
import random
import sys
import time

import free
import stepped
from server import Server
from shrink import shrink
from stepped import Disturbed, Pool, Run, Step, Violation


def say(text):
    print(text, flush=True)


def attempt(server, pool, sessions, steps, log=None):
    """Runs a schedule; what was wrong, or None."""
    run = Run(server, sessions, log)
    try:
        run.run(steps, pool)
    except Disturbed:
        pool.clear()
    except (Violation, RuntimeError) as violation:
        # what is left of it is no business of the next
        pool.clear()
        server.reach()
        server.rows("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
        return run, str(violation)
    return run, None


def step_storm(server, options):
    began = time.monotonic()
    until = began + options.duration
    pool = Pool(server)
    number = calls = waits = steps = 0
    while time.monotonic() < until and (options.schedules is None or number < options.schedules):
        seed = f"{options.seed}.{number}" if options.only is None else options.only
        sessions, schedule = stepped.generate(seed, options.crashes)
        run, violation = attempt(server, pool, sessions, schedule)
        number, calls, waits, steps = number + 1, calls + run.calls, waits + run.waits, steps + len(schedule)
        if violation is not None:
            say(f"VIOLATION after {time.monotonic() - began:.1f} s, in schedule {seed}\n{violation}\n")
            if options.shrink:
                report(server, pool, sessions, schedule, seed, options)
            return False
        if options.only is not None:
            break
    say(f"{number} schedules, {steps} steps, {calls} calls, {waits} waits: all as the model has it")
    return True


def report(server, pool, sessions, schedule, seed, options):
    """Shrinks a schedule that fails, and shows the shortest."""
    def fails(steps):
        return attempt(server, pool, sessions, steps)[1] is not None

    shortest, sure = shrink(schedule, fails, options.shrink)
    say(f"the shortest schedule that fails, {len(shortest)} of {len(schedule)} steps"
        + ("" if sure else " (not always)") + ":")
    lines = []
    violation = attempt(server, pool, sessions, shortest, lines.append)[1]
    say("\n".join("  " + line for line in lines))
    say(violation or "(it passed this time)")
    say(f"\nagain: IDEM_STORM_SEED={options.seed} IDEM_STORM_ONLY={seed}")
    with open(options.failed, "w") as file:
        json.dump([sessions, [s.dump() for s in shortest]], file)
    say(f"or: --schedule {options.failed}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    environment = os.environ.get
    parser.add_argument("mode", choices=("stepped", "free"))
    parser.add_argument("--conninfo", default="dbname=postgres")
    parser.add_argument("--seed", default=environment("IDEM_STORM_SEED") or str(random.randrange(10**9)))
    parser.add_argument("--duration", type=float, default=float(environment("IDEM_STORM_SECONDS") or 60))
    parser.add_argument("--only", default=environment("IDEM_STORM_ONLY") or None, help="one schedule, by its seed")
    parser.add_argument("--schedules", type=int, help="so many at most")
    parser.add_argument("--schedule", help="one that failed, from its file")
    parser.add_argument("--shrink", type=float, default=60, help="seconds to shrink for; 0: only say that it failed")
    parser.add_argument("--no-crashes", dest="crashes", action="store_false")
    parser.add_argument("--failed", default="storm.failed.json")
    options = parser.parse_args()

    server = Server(options.conninfo)
    server.install()
    if options.schedule:
        sessions, steps = json.load(open(options.schedule))
        lines = []
        violation = attempt(server, Pool(server), sessions, [Step(*s) for s in steps], lines.append)[1]
        say("\n".join(lines))
        say(violation or "as the model has it")
        return 1 if violation else 0
    say(f"IDEM_STORM_SEED={options.seed}, for {options.duration:g} s, {options.mode}")
    if options.mode == "stepped":
        return 0 if step_storm(server, options) else 1
    return 0 if free.storm(server, options, say) else 1


if __name__ == "__main__":
    sys.exit(main())
