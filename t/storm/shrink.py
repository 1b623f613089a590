"""The shortest part of a schedule that still fails."""

import time


def shrink(steps, fails, seconds):
    """Leaves out parts, first long ones, as long as it fails without them.  Also whether
    what is left fails each time."""
    until = time.monotonic() + seconds
    part = max(len(steps) // 2, 1)
    while part >= 1 and time.monotonic() < until:
        start, shorter = 0, False
        while start < len(steps) and time.monotonic() < until:
            rest = steps[:start] + steps[start + part:]
            if rest and fails(rest):
                steps, shorter = rest, True
            else:
                start += part
        if not shorter or part > 1:
            part = part // 2 if part > 1 else (1 if shorter else 0)
    return steps, fails(steps)
