"""What goes wrong with the consumers when they are tested; no part of them.

The environment says how soon: DIE_WITHIN and PAUSE_WITHIN are numbers of
batches. Without them nothing goes wrong.
"""
import os
import random
import signal


def some_time(name):
    most = int(os.environ.get(name, 0))
    return random.randint(1, most) if most else 0


left = {name: some_time(name) for name in ("DIE_WITHIN", "PAUSE_WITHIN")}


def strike(name, sign):
    left[name] -= 1
    if left[name] == 0:
        if sign == signal.SIGSTOP:
            print("paused", flush=True)
        os.kill(os.getpid(), sign)


def die_perhaps():
    strike("DIE_WITHIN", signal.SIGKILL)


def pause_perhaps():
    strike("PAUSE_WITHIN", signal.SIGSTOP)  # until it is continued from outside
