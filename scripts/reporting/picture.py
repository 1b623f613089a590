"""A state machine as an SVG picture."""

import unicodedata

from . import layers
from .markup import short, text

ROW, PADDING, LOOP = 36, 10, 30


def _width(string, size):
    """About how wide a text is, in a font that need not be there."""
    width = 0.0
    for c in string:
        wide = unicodedata.east_asian_width(c) in "WF"
        width += 1.0 if wide else 0.7 if c.isupper() or c in "mwMW_@%" else 0.3 if c in "iljft.,:;'| " else 0.57
    return width * size


class Picture:
    def __init__(self, machine):
        self.machine = machine
        self.loops = {a: guard for a, b, guard in machine.edges if a == b}
        self.layout = layers.lay_out(machine, self._room, self._label_width, row=ROW)

    def _box(self, state):
        return max(64, _width(short(state, 28), 13) + 26)

    def _label_width(self, guard):
        return _width(short(guard, 30), 11) + 12

    def _room(self, state):
        """The box, and on either side what a loop at its right needs."""
        loop = 0
        if state in self.loops:
            loop = LOOP + (self._label_width(self.loops[state]) if self.loops[state] else 0)
        return self._box(state) + 2 * loop

    def svg(self, title):
        top = 26                # for the arrow into the initial state
        width = self.layout.width + 2 * PADDING
        height = self.layout.height + top + 2 * PADDING
        states = [node for node in self.layout.nodes if node.state is not None]
        parts = [self._edge(edge) for edge in self.layout.edges]
        parts += [self._loop(node) for node in states if node.state in self.loops]
        parts += [self._label(node) for node in self.layout.nodes if node.label is not None]
        parts += [self._state(node) for node in states]
        return (f'<svg class="machine" role="img" aria-label="{text(title)}" width="{width:.0f}" '
                f'height="{height:.0f}" viewBox="0 0 {width:.1f} {height:.1f}">'
                f'<g transform="translate({PADDING} {PADDING + top})">{"".join(parts)}</g></svg>')

    def _state(self, node):
        box, state = self._box(node.state), node.state
        left, top = node.x - box / 2, node.y - ROW / 2
        kind = "state" + (" initial" if state == self.machine.initial else "") \
            + (" final" if self.machine.final(state) else "")
        parts = [f'<g class="{kind}"><title>{text(state)}</title>']
        if state == self.machine.initial:
            parts.append(f'<circle cx="{node.x:.1f}" cy="{top - 24:.1f}" r="4"/>'
                         + _arrow(f"M{node.x:.1f} {top - 20:.1f}V{top - 6:.1f}", node.x, top, 1))
        parts.append(f'<rect x="{left:.1f}" y="{top:.1f}" width="{box:.1f}" height="{ROW}" rx="9"/>')
        if self.machine.final(state):
            parts.append(f'<rect class="inner" x="{left + 3:.1f}" y="{top + 3:.1f}" '
                         f'width="{box - 6:.1f}" height="{ROW - 6}" rx="6.5"/>')
        parts.append(f'<text x="{node.x:.1f}" y="{node.y + 4.5:.1f}">{text(short(state, 28))}</text></g>')
        return "".join(parts)

    def _ports(self, node, at_bottom):
        """Where the edges at one side of a state begin or end, from left to right."""
        ends = []
        for edge in self.layout.edges:
            chain = edge.chain
            if at_bottom and chain[0] is node:
                ends.append((chain[1].x, edge))
            elif not at_bottom and chain[-1] is node:
                ends.append((chain[-2].x, edge))
        ends.sort(key=lambda end: end[0])
        span = min(self._box(node.state) - 24, 22 * (len(ends) - 1))
        step = span / (len(ends) - 1) if len(ends) > 1 else 0
        for place, (_, edge) in enumerate(ends):
            yield edge, node.x - span / 2 + step * place

    def _edge(self, edge):
        first, last = edge.chain[0], edge.chain[-1]
        points = [(dict(self._ports(first, True))[edge], first.y + ROW / 2)]
        points += [(node.x, node.y) for node in edge.chain[1:-1]]
        points += [(dict(self._ports(last, False))[edge], last.y - ROW / 2)]
        # the arrow's head stands at the end, in the direction of the edge
        if edge.flipped:
            points.reverse()
        direction = -1 if edge.flipped else 1
        x, y = points[-1]
        points[-1] = (x, y - 6 * direction)
        path = _curve(points)
        return f'<g class="edge{" back" if edge.flipped else ""}">{_arrow(path, x, y, direction)}</g>'

    def _label(self, node):
        return self._guard(node.label, node.x, node.y)

    def _guard(self, guard, x, y):
        width = self._label_width(guard)
        return (f'<g class="guard"><title>{text(guard)}</title><rect x="{x - width / 2:.1f}" y="{y - 10:.1f}" '
                f'width="{width:.1f}" height="20" rx="10"/>'
                f'<text x="{x:.1f}" y="{y + 4:.1f}">{text(short(guard, 30))}</text></g>')

    def _loop(self, node):
        right = node.x + self._box(node.state) / 2
        guard = self.loops[node.state]
        path = f"M{right:.1f} {node.y - 8:.1f}C{right + LOOP:.1f} {node.y - 18:.1f} " \
               f"{right + LOOP:.1f} {node.y + 18:.1f} {right + 6:.1f} {node.y + 8:.1f}"
        head = f'<path class="head" d="M{right:.1f} {node.y + 7:.1f}l7.5 -2.5l-1 8z"/>'
        label = ""
        if guard:
            label = self._guard(guard, right + LOOP - 4 + self._label_width(guard) / 2, node.y)
        return f'<g class="edge"><path d="{path}"/>{head}</g>{label}'


def _arrow(path, x, y, direction):
    back = -7 * direction
    return f'<path d="{path}"/><path class="head" d="M{x:.1f} {y:.1f}l-4 {back}h8z"/>'


def _curve(points):
    """A smooth way through all points that begins and ends upright."""
    last = len(points) - 1
    slopes = []
    for i, (x, y) in enumerate(points):
        if i in (0, last):
            slopes.append((0, 1.5 * (points[1][1] - points[0][1] if i == 0 else y - points[i - 1][1])))
        else:
            slopes.append(((points[i + 1][0] - points[i - 1][0]) / 2, (points[i + 1][1] - points[i - 1][1]) / 2))
    path = "M{:.1f} {:.1f}".format(*points[0])
    for ((x1, y1), (u1, v1)), ((x2, y2), (u2, v2)) in zip(zip(points, slopes), list(zip(points, slopes))[1:]):
        path += f"C{x1 + u1 / 3:.1f} {y1 + v1 / 3:.1f} {x2 - u2 / 3:.1f} {y2 - v2 / 3:.1f} {x2:.1f} {y2:.1f}"
    return path
