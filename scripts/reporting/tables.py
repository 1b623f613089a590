"""Open claims and sagas as tables, with bars for their age."""

import hashlib

from .markup import number, short, span, text


def _name(value, options):
    """A key, scope or saga; by its hash where it is to stay hidden."""
    if value in (None, ""):
        return '<span class="none">none</span>'
    if options.hide_keys:
        return f"<bdi>#{hashlib.sha256(value.encode()).hexdigest()[:12]}</bdi>"
    return f'<bdi title="{text(value)}">{text(short(value, 60))}</bdi>'


def _checkpoint(step, options):
    """The name of a claim's last step; the data that came with it where the pointer rests."""
    if step is None:
        return '<span class="none">none</span>'
    if options.hide_keys:
        return '<span class="none">hidden</span>'
    return f'<bdi title="{text(step.get("data"))}">{text(short(step.get("name"), 60))}</bdi>'


def _cell(label, content, kind=""):
    return f'<td data-label="{text(label)}"{f" class={kind}" if kind else ""}>{content}</td>'


def _bar(share, tone, words, mark):
    """A bar that is full at a share of one; the mark is at its half."""
    return (f'<div class="age {tone}"><div class="bar"><i style="width:{100 * min(max(share, 0.01), 1):.1f}%"></i>'
            f'{"<u></u>" if mark else ""}</div><span>{text(words)}</span></div>')


def _table(heads, rows):
    head = "".join(f'<th{" class=n" if name in ("Fence",) else ""}>{text(name)}</th>' for name in heads)
    return f'<div class="card scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _cut(rows, limit):
    more = '<p class="more">More than these are there.</p>' if len(rows) > limit else ""
    return rows[:limit], more


def lease_bar(since, until, now):
    """How old a claim is, where the mark is the end of its lease; full at twice the lease."""
    age = now - since
    if until is None:
        return _bar(1, "warning", f"{span(age)} old, held by nobody", False)
    lease = max(until - since, 0.001)
    if now <= until:
        return _bar(age / lease / 2, "ok", f"{span(age)} old, {span(until - now)} left of the lease", True)
    tone = "critical" if age > 2 * lease else "warning"
    return _bar(age / lease / 2, tone, f"{span(age)} old, the lease ended {span(now - until)} ago", True)


def claims(found, now, options):
    if not found:
        return '<p class="card empty">No claim is open that this role may see.</p>'
    shown, more = _cut(found, options.rows)
    rows = []
    for claim in shown:
        rows.append("<tr>"
                    + _cell("Key", _name(claim["key"], options))
                    + _cell("Scope", _name(claim["scope"], options))
                    + _cell("Role", f'<bdi>{text(claim["role"] or "")}</bdi>')
                    + _cell("Age", lease_bar(claim["since"], claim["until"], now))
                    + _cell("Fence", text(number(claim["fence"])), "n")
                    + _cell("Checkpoint", _checkpoint(claim["checkpoint"], options))
                    + "</tr>")
    return _table(("Key", "Scope", "Role", "Age", "Fence", "Checkpoint"), rows) + more


def saga_bar(saga, now, oldest):
    age = now - saga["started"]
    stuck = saga["status"] == "stuck"
    if saga["deadline"] is not None:
        left = saga["deadline"] - now
        words = f"{span(age)} old, {span(abs(left))} {'to' if left >= 0 else 'past'} its deadline"
        share = age / max(saga["deadline"] - saga["started"], 0.001) / 2
        return _bar(share, "critical" if stuck else "ok" if left >= 0 else "warning", words, True)
    return _bar(age / max(oldest, 0.001), "critical" if stuck else "ok", f"{span(age)} old", False)


def _error(error, options):
    if error is None:
        return '<span class="none">none</span>'
    if options.hide_keys:
        return '<span class="none">hidden</span>'
    return f'<bdi title="{text(error)}">{text(short(error, 80))}</bdi>'


def _progress(saga):
    words = f'{saga["done"]} of {saga["steps"]} done'
    if saga["undone"]:
        words += f', {saga["undone"]} undone'
    if saga["stuck"] is not None:
        words += f', step {saga["stuck"]} is stuck'
    return words


def sagas(found, now, options):
    if not found:
        return '<p class="card empty">No saga is under way that this role may see.</p>'
    shown, more = _cut(found, options.rows)
    oldest = max(now - saga["started"] for saga in shown)
    tones = {"stuck": "critical", "compensating": "warning"}
    rows = []
    for saga in shown:
        error, tone = saga["error"], tones.get(saga["status"], "ok")
        rows.append("<tr>"
                    + _cell("Saga", _name(saga["saga"], options))
                    + _cell("Scope", _name(saga["scope"], options))
                    + _cell("Status", f'<span class="pill {tone}">{text(saga["status"])}</span>')
                    + _cell("Steps", text(_progress(saga)))
                    + _cell("Age", saga_bar(saga, now, oldest))
                    + _cell("Error", _error(error, options))
                    + "</tr>")
    return _table(("Saga", "Scope", "Status", "Steps", "Age", "Error"), rows) + more
