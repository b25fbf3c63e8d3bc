"""A layered drawing: where nodes and the bends of edges are put. Sugiyama's method, for some dozens of nodes. Pure."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from taskcore.view.alike import depths, in_order

SWEEPS: Final = 12
BEND: Final = 0.35
"""How much room an edge that passes a layer has, where a node has 1."""


class Layout(NamedTuple):
    """Everything in units of one node and its gap, so that whoever draws decides which way it flows."""

    at: list[tuple[float, float]]
    """Node → its layer, and its place across."""
    routes: dict[tuple[int, int], list[tuple[float, float]]]
    """Edge → the points that it passes, from its node to its other node."""
    layers: int
    breadth: float


def arrange(n: int, edges: Sequence[tuple[int, int]]) -> Layout:
    """Nodes 0…n−1, and edges (upstream, node). No edge goes from a node to itself."""
    above: list[dict[int, None]] = [{} for _ in range(n)]
    for upstream, node in edges:
        above[node][upstream] = None
    layer = _layers(above)
    rows, after, bends = _with_bends(n, edges, layer)
    before: list[list[int]] = [[] for _ in after]
    for place, ends in enumerate(after):
        for end in ends:
            before[end].append(place)
    _untangle(rows, before, after)
    across = _spread(rows, before, after, [1.0 if place < n else BEND for place in range(len(after))])
    level = {place: float(number) for number, row in enumerate(rows) for place in row}
    return Layout(
        [(level[node], across[node]) for node in range(n)],
        {edge: [(level[place], across[place]) for place in path] for edge, path in bends.items()},
        len(rows),
        max(across, default=0.0) + 1.0,
    )


def _layers(above: list[dict[int, None]]) -> list[int]:
    """As early as what is before allows; what has nothing before it, as late as what is after it allows."""
    layer = depths(above, in_order(above))
    first_after: dict[int, int] = {}
    for node, upstreams in enumerate(above):
        for upstream in upstreams:
            first_after[upstream] = min(first_after.get(upstream, layer[node]), layer[node])
    return [its if above[node] else first_after.get(node, 1) - 1 for node, its in enumerate(layer)]


def _with_bends(
    n: int, edges: Sequence[tuple[int, int]], layer: list[int]
) -> tuple[list[list[int]], list[list[int]], dict[tuple[int, int], list[int]]]:
    """→ the places of each layer, for each place those that it is linked to in the next one, and the path of each edge.
    A place is a node, or where a longer edge passes a layer."""
    rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for node, its in enumerate(layer):
        rows[its].append(node)
    links: list[list[int]] = [[] for _ in range(n)]
    paths = {}
    for edge in edges:
        first, last = sorted(edge, key=layer.__getitem__)  # one that was taken out of a circle leads back
        path = [first]
        for between in range(layer[first] + 1, layer[last]):
            path.append(len(links))
            rows[between].append(len(links))
            links.append([])
        path.append(last)
        if layer[first] != layer[last]:
            for one, other in pairwise(path):
                links[one].append(other)
        paths[edge] = path if first == edge[0] else path[::-1]
    return rows, links, paths


def _untangle(rows: list[list[int]], before: list[list[int]], after: list[list[int]]) -> None:
    """Order each layer by the mean place of what its places are linked to, down and up in turn; the order with the
    fewest crossings stays."""
    best, fewest = [list(row) for row in rows], _crossings(rows, after)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        linked = before if down else after
        at = {place: float(number) for row in rows for number, place in enumerate(row)}
        for row in rows if down else reversed(rows):
            mean = {
                place: sum(at[other] for other in linked[place]) / len(linked[place]) if linked[place] else at[place]
                for place in row
            }
            row.sort(key=mean.__getitem__)
            at.update({place: float(number) for number, place in enumerate(row)})
        crossings = _crossings(rows, after)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    rows[:] = best


def _crossings(rows: list[list[int]], after: list[list[int]]) -> int:
    at = {place: number for row in rows for number, place in enumerate(row)}
    found = 0
    for row in rows:
        passed: list[int] = []
        for place in row:
            ends = sorted(at[other] for other in after[place])
            found += sum(len(passed) - bisect_right(passed, end) for end in ends)
            for end in ends:
                insort(passed, end)
    return found


def _spread(rows: list[list[int]], before: list[list[int]], after: list[list[int]], width: list[float]) -> list[float]:
    """Place → where it is across: near what it is linked to, in its layer's order, and with room for each."""
    across = [0.0] * len(width)
    for row in rows:
        _settle(row, [0.0] * len(row), width, across)
    for sweep in range(SWEEPS):
        both = sweep >= SWEEPS - 4
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = []
            for place in row:
                near = before[place] + after[place] if both else before[place] if sweep % 2 == 0 else after[place]
                wanted.append(sum(across[other] for other in near) / len(near) if near else across[place])
            _settle(row, wanted, width, across)
    least = min(across, default=0.0)
    return [its - least for its in across]


def _settle(row: list[int], wanted: list[float], width: list[float], across: list[float]) -> None:
    """As near to what each wants as the order and the room between them allow, in least squares: those that would
    collide become one block, which stands where its members want on the average."""
    offset, offsets = 0.0, []
    for number, place in enumerate(row):
        offset += (width[row[number - 1]] + width[place]) / 2 if number else 0.0
        offsets.append(offset)
    blocks: list[list[float]] = []  # sum of what is wanted, how many
    for want, its in zip(wanted, offsets, strict=True):
        blocks.append([want - its, 1.0])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, many = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += many
    starts = [total / many for total, many in blocks for _ in range(int(many))]
    for place, start, its in zip(row, starts, offsets, strict=True):
        across[place] = start + its
