"""Plots as SVG, readable on a light and on a dark page."""

import statistics
from html import escape

WIDTH = 760
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 14px; font-weight: 600 }
.note, .tick { fill: #57606a; font-size: 11px }
.grid { stroke: #d0d7de; stroke-width: 1 }
.range { stroke: #24292f; stroke-width: 1 }
.other { fill: #8c959f } .ours { fill: #0969da }
.line { fill: none; stroke-width: 1.6 }
.l0 { stroke: #0969da; fill: #0969da } .l1 { stroke: #bc4c00; fill: #bc4c00 }
.l2 { stroke: #1a7f37; fill: #1a7f37 } .l3 { stroke: #8250df; fill: #8250df }
.line.l0, .line.l1, .line.l2, .line.l3 { fill: none }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .note, .tick { fill: #9198a1 }
.grid { stroke: #3d444d } .range { stroke: #e6edf3 }
.other { fill: #6e7681 } .ours { fill: #4493f8 }
.l0 { stroke: #4493f8; fill: #4493f8 } .l1 { stroke: #f0883e; fill: #f0883e }
.l2 { stroke: #3fb950; fill: #3fb950 } .l3 { stroke: #ab7df8; fill: #ab7df8 }
}
"""


def number(value):
    """Three significant digits, or all of the integer part."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.01 else "0"


def document(height, body):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}">\n<style>{STYLE}</style>\n'
            + "\n".join(body) + "\n</svg>\n")


def text(x, y, what, kind="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(what)}</text>'


def line(x1, y1, x2, y2, kind):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def bars(title, unit, groups):
    """groups: (heading, [(label, ours, values)]); a bar is the median of its
    values, the line through its end goes from the least to the greatest."""
    left, right, row = 250, 90, 19
    top = max(max(values) for _, rows in groups for _, _, values in rows)
    scale = (WIDTH - left - right) / (top or 1)
    body = [text(10, 22, title, "title"), text(10, 39, unit, "note")]
    y = 50
    for heading, rows in groups:
        y += 18
        body.append(text(10, y, heading, "note"))
        y += 5
        for label, ours, values in rows:
            least, median, most = min(values), statistics.median(values), max(values)
            end = left + median * scale
            body += [
                text(left - 8, y + 13, label, anchor="end"),
                f'<rect x="{left}" y="{y + 3}" width="{max(0.5, median * scale):.1f}" '
                f'height="{row - 6}" class="{"ours" if ours else "other"}"/>',
                line(left + least * scale, y + row / 2, left + most * scale,
                     y + row / 2, "range"),
                text(max(end, left + most * scale) + 6, y + 13, number(median), "tick")]
            y += row
        y += 4
    return document(y + 10, body)


def ticks(top, wanted=5):
    """Round numbers from 0 up to at least top."""
    raw = top / wanted or 1
    magnitude = 10.0 ** (len(str(int(raw))) - 1 if raw >= 1 else -next(
        i for i in range(1, 12) if raw * 10**i >= 1))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= raw)
    count = -int(-top // step)
    return [step * i for i in range(count + 1)]


def lines(title, unit, x_unit, series, height=260):
    """series: (label, [(x, y)]); both axes begin at 0."""
    left, right, top, bottom = 70, 150, 52, 40
    xs = ticks(max(x for _, points in series for x, _ in points), 6)
    ys = ticks(max(y for _, points in series for _, y in points))
    across = (WIDTH - left - right) / xs[-1]
    up = (height - top - bottom) / ys[-1]
    floor = height - bottom
    body = [text(10, 22, title, "title"), text(10, 39, unit, "note")]
    for y in ys:
        body += [line(left, floor - y * up, WIDTH - right, floor - y * up, "grid"),
                 text(left - 8, floor - y * up + 4, number(y), "tick", "end")]
    for x in xs:
        body.append(text(left + x * across, floor + 16, number(x), "tick", "middle"))
    body.append(text(WIDTH - right, floor + 32, x_unit, "note", "end"))
    for i, (label, points) in enumerate(series):
        path = " ".join(f"{left + x * across:.1f},{floor - y * up:.1f}" for x, y in points)
        at = top + 10 + 18 * i
        body += [f'<polyline points="{path}" class="line l{i % 4}"/>',
                 f'<rect x="{WIDTH - right + 14}" y="{at - 9}" width="10" height="10" class="l{i % 4}"/>',
                 text(WIDTH - right + 30, at, label)]
    return document(height, body)
