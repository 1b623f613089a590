"""Counters as lines: what was counted a second, from one sample to the next.

The lines are SVG that is stretched to the width there is; ticks and times are HTML beside
it, so that their letters stay as large on a phone.
"""

import time

from .markup import THIN, number, rate, text

WIDTH, HEIGHT, COLOURS = 1000, 300, 8


class Series:
    """The rates of one counter: None where it was reset, or is not in both samples."""

    def __init__(self, name, samples):
        self.name = name
        self.total = samples[-1]["counters"].get(name, 0)
        self.rates = []
        for before, after in zip(samples, samples[1:]):
            old, new = before["counters"].get(name), after["counters"].get(name)
            seconds = after["t"] - before["t"]
            same = before.get("since") == after.get("since")
            known = old is not None and new is not None and new >= old and same and seconds > 0
            self.rates.append((new - old) / seconds if known else None)

    def last(self):
        known = [r for r in self.rates if r is not None]
        return known[-1] if known else 0

    def peak(self):
        return max((r for r in self.rates if r is not None), default=0)


def ticks(highest):
    """Round numbers from zero to one that is not below the highest."""
    if highest <= 0:
        return [0, 1]
    size = 10.0 ** len(str(int(highest))) if highest >= 1 else 1.0
    while size / 10 >= highest:
        size /= 10
    for part in (0.1, 0.2, 0.25, 0.5, 1):
        step = size * part
        count = int(-(-highest // step))
        if count <= 4:
            return [step * i for i in range(max(count, 1) + 1)]
    return [0, size]


def _tick(value):
    return f"{value:,.6g}".replace(",", THIN)


def _lines(rates, x_of, top):
    """A line for each stretch without a gap; a point that stands alone is a short one."""
    stretches, current = [], []
    for place, value in enumerate(rates):
        if value is None:
            stretches.append(current)
            current = []
        else:
            current.append((x_of(place), HEIGHT * (1 - value / top)))
    stretches.append(current)
    for points in filter(None, stretches):
        if len(points) == 1:
            points.append((points[0][0] + 2, points[0][1]))
        yield " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _clock(t, with_day):
    return time.strftime("%d %b %H:%M" if with_day else "%H:%M:%S", time.gmtime(t))


def at_rest(series):
    """Those that counted nothing while the samples were taken."""
    return ", ".join(text(s.name) + (f" ({text(number(s.total))} in all)" if s.total else "") for s in series)


def draw(title, series, samples):
    moving = [s for s in series if s.peak() > 0]
    still = [s for s in series if s.peak() == 0]
    # the largest first, but the colours go by the order of the names
    colour = {s.name: i % COLOURS for i, s in enumerate(series)}
    times = [s["t"] for s in samples[1:]]
    first, last = times[0], times[-1]
    axis = ticks(max((s.peak() for s in moving), default=0))
    top = axis[-1]

    def x_of(place):
        return WIDTH * (times[place] - first) / (last - first) if last > first else WIDTH / 2

    grid = "".join(f'<line x1="0" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
                   for y in (HEIGHT * (1 - t / top) for t in axis))
    lines = "".join(f'<polyline class="c{colour[s.name]}" points="{points}"/>'
                    for s in reversed(moving) for points in _lines(s.rates, x_of, top))
    labels = "".join(f'<span style="top:{100 * (1 - t / top):.2f}%">{text(_tick(t))}</span>' for t in axis)
    with_day = last - first > 86400
    marks = [first, (first + last) / 2, last] if last > first else [last]
    clock = "".join(f"<span>{text(_clock(t, with_day))}</span>" for t in marks)
    legend = "".join(
        f'<tr><th scope="row"><i class="c{colour[s.name]}"></i>{text(s.name)}</th><td>{text(rate(s.last()))}</td>'
        f'<td>{text(rate(s.peak()))}</td><td>{text(number(s.total))}</td></tr>'
        for s in sorted(moving, key=lambda s: -s.peak()))
    legend = '<table class="legend"><thead><tr><th></th><td>now</td><td>peak</td><td>in all</td></tr></thead>' \
        f'<tbody>{legend}</tbody></table>'
    quiet = f'<p class="quiet">At rest: {at_rest(still)}</p>' if still else ""
    return (f'<figure class="card chart"><figcaption>{text(title)}<small>a second</small></figcaption>'
            f'<div class="plot"><div class="ticks">{labels}</div>'
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
            f'aria-label="{text(title)} a second">'
            f'<g class="grid">{grid}</g>{_hover(moving, times, x_of)}{lines}</svg></div>'
            f'<div class="times">{clock}</div>{legend}{quiet}</figure>')


def _hover(moving, times, x_of):
    """A strip a sample, whose title tells its values."""
    strips = []
    for place, t in enumerate(times):
        left = x_of(place) if place == 0 else (x_of(place - 1) + x_of(place)) / 2
        right = x_of(place) if place + 1 == len(times) else (x_of(place) + x_of(place + 1)) / 2
        values = "".join(f"&#10;{text(s.name)}: {text(rate(s.rates[place]))}/s"
                         for s in moving if s.rates[place] is not None)
        width = max(right - left, 1)
        strips.append(f'<rect class="strip" x="{left:.1f}" width="{width:.1f}" y="0" height="{HEIGHT}">'
                      f'<title>{text(_clock(t, False))}{values}</title></rect>')
    return "".join(strips)
