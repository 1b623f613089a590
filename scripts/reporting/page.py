"""The page: one HTML file with its styles, and nothing else.  No script runs in it."""

import os
import time

from . import chart, mermaid, tables
from .markup import number, span, text
from .picture import Picture
from .source import SEVERITIES

# What belongs together, by the first word of a counter's name, in the order in which it is
# drawn.  What fits nowhere has a chart too, so that a new counter is seen without a change.
FAMILIES = (
    ("Keys and claims", ("key",)),
    ("Transitions and versions", ("transition", "version")),
    ("Messages", ("message",)),
    ("Purging", ("purge",)),
    ("Sagas", ("saga", "step")),
    ("Outbox", ("outbox",)),
)

MOST_STATES, MOST_EDGES = 40, 60

# Nothing but what the file itself has may be loaded, and nothing may run.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
WORDS = {"ok": "All is well", "warning": "Look at it soon", "critical": "Act now", "unknown": "Health unknown"}


def _style():
    with open(os.path.join(os.path.dirname(__file__), "page.css"), encoding="utf-8") as file:
        return file.read()


def _when(t):
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(t))


def _section(title, note, body):
    small = f"<small>{text(note)}</small>" if note else ""
    return f"<section><h2>{text(title)}{small}</h2>{body}</section>"


def _missing(reason):
    return f'<p class="card empty">Not shown: {text(reason)}</p>'


def worst(checks, sagas):
    """How it is on the whole; a stuck saga waits for somebody, whatever the checks say."""
    if isinstance(sagas, list) and any(saga["status"] == "stuck" for saga in sagas):
        return "critical"
    if isinstance(checks, str) or not checks:
        return "unknown"
    known = [SEVERITIES.index(c["severity"]) for c in checks if c["severity"] in SEVERITIES]
    return SEVERITIES[max(known, default=0)]


def _health(checks):
    if isinstance(checks, str):
        return _missing(checks)
    bad = sorted((c for c in checks if c["severity"] != "ok"),
                 key=lambda c: -SEVERITIES.index(c["severity"]) if c["severity"] in SEVERITIES else 0)
    cards = "".join(
        f'<div class="card check {text(c["severity"])}"><div><b>{text(c["check"])}</b>'
        f'<em>{text(c["severity"])}{_value(c)}</em></div><p>{text(c["hint"] or "")}</p></div>' for c in bad)
    well = "".join(f'<li>{text(c["check"])}{_value(c, "<span>{}</span>")}</li>'
                   for c in checks if c["severity"] == "ok")
    return (f'<div class="health">{cards}</div>' if cards else "") \
        + (f'<ul class="card well">{well}</ul>' if well else "")


def _value(check, form=": {}"):
    return form.format(text(check["value"])) if check["value"] not in (None, "") else ""


def _tiles(counters):
    """What a glance is for: how many retries were saved, and who misuses keys."""
    new, replayed = counters.get("key_new", 0), counters.get("key_replayed", 0)
    share = "calls with a key that was there"
    if replayed:
        share = f"{100 * replayed / (new + replayed):.1f} % of calls with a key"
    shown = ((replayed, "retries saved", share, False),
             (new, "requests", "done, and remembered", False),
             (counters.get("key_mismatch"), "mismatches", "a key used for another request", True),
             (counters.get("key_takeover"), "takeovers", "of claims whose lease ran out", False),
             (counters.get("version_conflict"), "version conflicts", "of transitions and updates", False))
    return '<div class="tiles">' + "".join(
        f'<div class="card tile{" bad" if alarming and value else ""}"><b>{text(number(value))}</b>'
        f'{text(name)}<br><span>{text(note)}</span></div>'
        for value, name, note, alarming in shown if value is not None) + "</div>"


def _charts(samples):
    if len(samples) < 2:
        return '<p class="card empty">Two samples make the first line: let it run longer, or again with ' \
            'the same file.</p>'
    names = list(dict.fromkeys(name for s in samples for name in s["counters"]))
    drawn, known, resting = [], set(), []
    for title, words in FAMILIES + (("Others", None),):
        series = [chart.Series(name, samples) for name in names
                  if (name.split("_")[0] in words if words else name not in known)]
        known.update(s.name for s in series)
        if any(s.peak() > 0 for s in series):
            drawn.append(chart.draw(title, series, samples))
        else:
            resting += series
    columns = 3 if len(drawn) in (3, 5, 6) else 2
    charts = f'<div class="charts in{columns}">{"".join(drawn)}</div>' if drawn else ""
    rest = f'<p class="card quiet rest">At rest: {chart.at_rest(resting)}</p>' if resting else ""
    return charts + rest


def _drawing(name, machine):
    """A picture, or a list where there would be more lines than one can follow."""
    if len(machine.states) <= MOST_STATES and len(machine.edges) <= MOST_EDGES:
        return f'<div class="drawing">{Picture(machine).svg("State machine " + name)}</div>'
    lines = []
    for state in machine.states:
        exits = [(b, guard) for a, b, guard in machine.edges if a == state]
        ends = ", ".join(text(b) + (f" <i>if {text(guard)}</i>" if guard else "") for b, guard in exits)
        if not any(guard for _, guard in exits) and {b for b, _ in exits} == set(machine.states) - {state}:
            ends = "every other"
        lines.append(f"<li><b>{text(state)}</b> → {ends or 'an end'}</li>")
    return f'<ul class="edges">{"".join(lines)}</ul>'


def _machines(machines):
    if isinstance(machines, str):
        return _missing(machines)
    figures = []
    for machine in machines:
        columns = ", ".join(f"<code>{text(c)}</code>" for c in machine["columns"] or [])
        figures.append(f'<figure class="card"><figcaption>{text(machine["name"])}</figcaption>'
                       f'<p>{"Followed by " + columns if columns else "Followed by no table"}</p>'
                       f'{_drawing(machine["name"], mermaid.read(machine["graph"]))}</figure>')
    return f'<div class="machines">{"".join(figures)}</div>'


def compose(facts, samples, options):
    server, checks = facts["server"], facts["health"]
    state = worst(checks, facts["sagas"])
    now = server["now"]
    sections = [_section("Health", "", _health(checks))]
    if samples:
        length = samples[-1]["t"] - samples[0]["t"]
        note = f"{len(samples)} samples over {span(length)}" if len(samples) > 1 else "one sample"
        sections.append(_section("Counters", note, _charts(samples)))
    else:
        sections.append(_section("Counters", "", _missing(facts["counters"])))
    claims = facts["claims"]
    sections.append(_section("Open claims", "those whose lease ended first",
                             _missing(claims) if isinstance(claims, str) else tables.claims(claims, now, options)))
    if facts["sagas"] is not None:
        sagas = facts["sagas"]
        sections.append(_section("Sagas under way", "those that are stuck first",
                                 _missing(sagas) if isinstance(sagas, str) else tables.sagas(sagas, now, options)))
    sections.append(_section("State machines", "a double frame is an end, a dashed arrow leads back, a pill is a guard",
                             _machines(facts["machines"])))
    standby = ", a standby" if server["standby"] else ""
    since = samples[-1].get("since") if samples else None
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>idem: {text(server["database"])}</title>
<style>
{_style()}</style>
</head>
<body>
<main>
<header><div><h1>idem in {text(server["database"])}</h1>
<p>{text(_when(now))} · idem {text(facts["version"])} on PostgreSQL {text(server["postgres"])}{standby}{
    " · counted since " + text(_when(since)) if since else ""}</p></div>
<span class="pill {state}">{text(WORDS[state])}</span></header>
{_tiles(samples[-1]["counters"]) if samples else ""}
{"".join(sections)}
<footer>Seen by the role {text(server["role"])}. Made by scripts/report; times are in UTC.</footer>
</main>
</body>
</html>
"""
