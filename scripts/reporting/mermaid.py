"""Reads the pictures that idem_machine_graph() draws, as Mermaid state diagrams."""

import re

_STATE = re.compile(r'state "(.*)" as (\S+)$')
_EDGE = re.compile(r"(\S+) --> (\S+?)(?: : (.*))?$")


class Machine:
    """States in their order, the initial one, and edges (from, to, guard or None)."""

    def __init__(self, initial, states, edges):
        self.initial, self.states, self.edges = initial, states, edges

    def final(self, state):
        return not any(a == state for a, _, _ in self.edges)


def _text(text):
    """Undoes Mermaid's #34; and its like."""
    return re.sub(r"#(\d+);", lambda found: chr(int(found.group(1))), text)


def read(graph):
    names, states, edges, initial = {}, [], [], None

    def state(alias):
        name = names.get(alias, alias)
        if name not in states:
            states.append(name)
        return name

    for line in map(str.strip, graph.splitlines()):
        found = _STATE.match(line)
        if found:
            names[found.group(2)] = _text(found.group(1))
            continue
        found = _EDGE.match(line)
        if not found:
            continue
        start, end, guard = found.groups()
        if start == "[*]":
            initial = state(end)
        elif end == "[*]":
            state(start)
        else:
            edges.append((state(start), state(end), _text(guard) if guard else None))
    return Machine(initial, states, edges)
