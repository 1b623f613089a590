#!/usr/bin/env python3
"""Random schedules of idem's calls, compared with a model; see README.md."""

import argparse
import json
import os
import random
import sys
import time
from collections import Counter

import free
import layout
import stepped
from server import Server
from shrink import shrink
from stepped import Disturbed, Pool, Run, Step, Violation


def say(text):
    print(text, flush=True)


def attempt(server, pool, users, steps, log=None):
    """Runs a schedule; what was wrong, or None."""
    run = Run(server, users, log)
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
    answers = Counter()
    while time.monotonic() < until and (options.schedules is None or number < options.schedules):
        seed = f"{options.seed}.{number}" if options.only is None else options.only
        users, schedule = stepped.generate(seed, options.crashes)
        run, violation = attempt(server, pool, users, schedule)
        number, calls, waits, steps = number + 1, calls + run.calls, waits + run.waits, steps + len(schedule)
        answers += run.answers
        if violation is not None:
            say(f"VIOLATION after {time.monotonic() - began:.1f} s, in schedule {seed}\n{violation}\n")
            if options.shrink:
                report(server, pool, users, schedule, seed, options)
            return False
        if options.only is not None:
            break
    say(f"{number} schedules, {steps} steps, {calls} calls, {waits} waits: all as the model has it")
    if options.tally:
        for what in sorted({what for what, _ in answers}):
            say(f"  {what}: " + ", ".join(f"{n} {state}" for (w, state), n in answers.most_common() if w == what))
    return True


def report(server, pool, users, schedule, seed, options):
    """Shrinks a schedule that fails, and shows the shortest."""
    def fails(steps):
        return attempt(server, pool, users, steps)[1] is not None

    shortest, sure = shrink(schedule, fails, options.shrink)
    say(f"the shortest schedule that fails, {len(shortest)} of {len(schedule)} steps"
        + ("" if sure else " (not always)") + ":")
    lines = []
    violation = attempt(server, pool, users, shortest, lines.append)[1]
    say("\n".join("  " + line for line in lines))
    say(violation or "(it passed this time)")
    with open(options.failed, "w") as file:
        json.dump([users, [s.dump() for s in shortest]], file)
    say(f"\nagain: make storm MODE=stepped{layout.again()} ONLY={seed}, or the shortest: ONLY={options.failed}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    environment = os.environ.get
    parser.add_argument("mode", choices=("stepped", "free"))
    parser.add_argument("--conninfo", default="dbname=postgres")
    parser.add_argument("--seed", default=environment("IDEM_STORM_SEED") or str(random.randrange(10**9)))
    parser.add_argument("--duration", type=float, default=float(environment("IDEM_STORM_SECONDS") or 60))
    parser.add_argument("--layout", choices=layout.NAMES, default=environment("IDEM_STORM_LAYOUT") or "plain",
                        help="where keys are kept, and how tables are reached")
    parser.add_argument("--only", default=environment("IDEM_STORM_ONLY") or None,
                        help="one schedule, by its seed or from the file that is left of one that failed")
    parser.add_argument("--schedules", type=int, help="so many at most")
    parser.add_argument("--shrink", type=float, default=60, help="seconds to shrink for; 0: only say that it failed")
    parser.add_argument("--no-crashes", dest="crashes", action="store_false")
    parser.add_argument("--tally", action="store_true", help="also say how often each call was answered what")
    parser.add_argument("--failed", default="storm.stepped.json")
    options = parser.parse_args()

    layout.choose(options.layout)
    server = Server(options.conninfo)
    server.install()
    if options.only and os.path.exists(options.only):
        with open(options.only) as file:
            users, steps = json.load(file)
        lines = []
        violation = attempt(server, Pool(server), users, [Step(*s) for s in steps], lines.append)[1]
        say("\n".join(lines))
        say(violation or "as the model has it")
        return 1 if violation else 0
    say(f"{options.mode}{', ' + options.layout if options.layout != 'plain' else ''}, " + (f"only {options.only}" if options.only else
                               f"seed {options.seed}, for {options.duration:g} s"))
    if options.mode == "stepped":
        return 0 if step_storm(server, options) else 1
    return 0 if free.storm(server, options, say) else 1


if __name__ == "__main__":
    sys.exit(main())
