"""Lays out a directed graph in layers, top to bottom.

The usual steps: edges that close a cycle are turned round, each node gets the layer below the
lowest of its predecessors, an edge that spans layers becomes a chain of points, layers are
ordered so that few edges cross, and each layer is moved to where its neighbours are.  A label
is a point of its edge, with a width, so that nothing is drawn over it.
"""

import bisect

GAP = 26                        # between neighbours in a layer
ROUNDS = 24


class Node:
    """A state, or a point of an edge; x and y are those of its middle."""

    def __init__(self, width, height, state=None, label=None):
        self.width, self.height, self.state, self.label = width, height, state, label
        self.layer, self.x, self.y = 0, 0.0, 0.0
        self.up, self.down = [], []


class Edge:
    """From one state to another by way of points, from top to bottom; flipped if it goes up."""

    def __init__(self, chain, flipped):
        self.chain, self.flipped = chain, flipped


class Layout:
    def __init__(self, nodes, edges, width, height):
        self.nodes, self.edges, self.width, self.height = nodes, edges, width, height


def _order_of_visits(root, states, exits):
    """Depth first; yields the states, and the edges that lead back to one under way."""
    back, done, order = set(), set(), []
    for start in [root] + states:
        if start in done:
            continue
        path, stack = {start}, [(start, iter(exits[start]))]
        done.add(start)
        order.append(start)
        while stack:
            state, rest = stack[-1]
            for end in rest:
                if end in path:
                    back.add((state, end))
                elif end not in done:
                    done.add(end)
                    path.add(end)
                    order.append(end)
                    stack.append((end, iter(exits[end])))
                    break
            else:
                path.discard(state)
                stack.pop()
    return order, back


def _layers_of(states, edges):
    """The longest way from above; edges are (top, bottom, length) and have no cycle."""
    layer = {state: 0 for state in states}
    for _ in states:
        moved = False
        for top, bottom, length in edges:
            if layer[bottom] < layer[top] + length:
                layer[bottom] = layer[top] + length
                moved = True
        if not moved:
            break
    # what has no predecessor stands right above what follows it
    for state in states:
        below = [layer[b] - length for t, b, length in edges if t == state]
        if below and not any(b == state for _, b, _ in edges):
            layer[state] = min(below)
    return layer


def _crossings(upper):
    """How often edges cross between a layer and the next: pairs of edges in another order."""
    ends = [below for node in upper for below in sorted(n.place for n in node.down)]
    seen, count = [], 0
    for end in ends:
        count += len(seen) - bisect.bisect_right(seen, end)
        bisect.insort(seen, end)
    return count


def _number(layer):
    for place, node in enumerate(layer):
        node.place = place


def _around(layers, number):
    return sum(_crossings(layers[i]) for i in (number - 1, number) if 0 <= i < len(layers) - 1)


def _swap_neighbours(layers):
    """Swaps two neighbours in a layer wherever that takes crossings away."""
    for number, layer in enumerate(layers):
        count = _around(layers, number)
        for place in range(len(layer) - 1):
            layer[place], layer[place + 1] = layer[place + 1], layer[place]
            _number(layer)
            swapped = _around(layers, number)
            if swapped < count:
                count = swapped
            else:
                layer[place], layer[place + 1] = layer[place + 1], layer[place]
                _number(layer)


def _order(layers):
    """Sorts each layer by the middle of its neighbours, down and up again; keeps the best."""
    for layer in layers:
        _number(layer)
    best, kept = sum(map(_crossings, layers[:-1])), [list(layer) for layer in layers]
    for turn in range(ROUNDS):
        down = turn % 2 == 0
        for layer in layers if down else reversed(layers):
            def middle(node):
                near = node.up if down else node.down
                return sum(n.place for n in near) / len(near) if near else node.place
            # equals change places every other time, or one order would never be tried
            if turn % 4 > 1:
                layer.reverse()
            layer.sort(key=middle)
            _number(layer)
        _swap_neighbours(layers)
        count = sum(map(_crossings, layers[:-1]))
        if count < best:
            best, kept = count, [list(layer) for layer in layers]
    for layer, order in zip(layers, kept):
        layer[:] = order
        _number(layer)


def _spread(layer, wanted):
    """Places as near to the wanted ones as the widths allow: neighbours that touch become a block."""
    blocks = []                 # [sum of wished starts, members, widths]
    for node, x in zip(layer, wanted):
        blocks.append([x - node.width / 2, 1, node.width + GAP, [node]])
        while len(blocks) > 1:
            left, right = blocks[-2], blocks[-1]
            if left[0] / left[1] + left[2] <= right[0] / right[1]:
                break
            left[0] += right[0] - left[2] * right[1]
            left[1] += right[1]
            left[2] += right[2]
            left[3] += right[3]
            blocks.pop()
    for start, members, _, nodes in blocks:
        x = start / members
        for node in nodes:
            node.x = x + node.width / 2
            x += node.width + GAP


def _place(layers):
    for layer in layers:
        x = 0
        for node in layer:
            node.x = x + node.width / 2
            x += node.width + GAP
    for turn in range(ROUNDS):
        down = turn % 2 == 0
        for layer in layers if down else reversed(layers):
            wanted = []
            for node in layer:
                # the last rounds look both ways
                near = (node.up + node.down) if turn >= ROUNDS - 6 else node.up if down else node.down
                # a chain should be straight: its points weigh more
                weights = [4 if node.state is None and n.state is None else 1 for n in near]
                wanted.append(sum(n.x * w for n, w in zip(near, weights)) / sum(weights)
                              if near else node.x)
            _spread(layer, wanted)


def lay_out(machine, width_of, label_width, row=40, gap=30):
    """Places a machine's states and edges; edges of a state to itself are the caller's."""
    edges = {}
    for start, end, guard in machine.edges:
        if start != end:
            edges[start, end] = guard
    exits = {state: [b for a, b in edges if a == state] for state in machine.states}
    order, back = _order_of_visits(machine.initial, machine.states, exits)
    links = []                  # (top, bottom, guard, flipped)
    for (start, end), guard in edges.items():
        flipped = (start, end) in back
        links.append((end, start, guard, True) if flipped else (start, end, guard, False))
    # a label takes a layer of its own, so every edge spans two where one has a label
    labelled = {(top, bottom) for top, bottom, guard, _ in links if guard}
    spans = [(top, bottom, 2 if labelled else 1) for top, bottom, _, _ in links]
    layer_of = _layers_of(order, spans)
    nodes = {state: Node(width_of(state), row, state=state) for state in order}
    layers = [[] for _ in range(max(layer_of.values()) + 1)]
    for state in order:
        nodes[state].layer = layer_of[state]
        layers[layer_of[state]].append(nodes[state])
    drawn = []
    for top, bottom, guard, flipped in links:
        chain, last = [nodes[top]], layer_of[bottom]
        points = range(layer_of[top] + 1, last)
        # next to where the edge begins, as it is followed
        labelled_at = (points[-1] if flipped else points[0]) if guard and points else None
        for number in points:
            has_label = number == labelled_at
            point = Node(label_width(guard) if has_label else 2, 20 if has_label else 2,
                         label=guard if has_label else None)
            point.layer = number
            layers[number].append(point)
            chain.append(point)
        chain.append(nodes[bottom])
        for upper, lower in zip(chain, chain[1:]):
            upper.down.append(lower)
            lower.up.append(upper)
        drawn.append(Edge(chain, flipped))
    _order(layers)
    _place(layers)
    y = 0
    for layer in layers:
        height = max((node.height for node in layer), default=0)
        for node in layer:
            node.y = y + height / 2
        y += height + (gap if not labelled else gap * 0.75)
    everything = [node for layer in layers for node in layer]
    left = min(node.x - node.width / 2 for node in everything)
    for node in everything:
        node.x -= left
    width = max(node.x + node.width / 2 for node in everything)
    height = max(node.y + node.height / 2 for node in everything)
    return Layout(everything, drawn, width, height)
