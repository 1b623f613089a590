"""Markdown of what was measured."""

import statistics

import plot


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(field) for field in row) + " |" for row in lines) + "\n"


def spread(values):
    """The median, and from where to where."""
    median = plot.number(statistics.median(values))
    if len(values) == 1:
        return median
    return f"{median} ({plot.number(min(values))} to {plot.number(max(values))})"


def machine_table(results, run):
    """What it ran on, and how."""
    minutes = results.about.get("minutes")
    rows = [*results.about["machine"].items(),
            ("run", run + (f", {minutes} minutes" if minutes else ""))]
    return table(["", ""], rows)
