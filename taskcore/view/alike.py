"""Which tasks are drawn as one: however many there are, a picture has few nodes, and its edges go round in no circle.

There are three ways to tell tasks apart, from the finest to the coarsest, and the finest that gives few enough groups
is taken. In each of them a group is made from nothing but the groups before it, in the order of the edges, so an edge
between two groups can only lead onward. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

BANDS: Final = 16
"""Groups where the distance from the beginning is all that tells tasks apart."""

Above = Sequence[dict[int, Any]]
"""For each task, by its place: the places of those before it → the kind of the edge."""


def in_order(above: Above) -> list[int]:
    """The places, each after those before it. Where edges go round in a circle, as in a damaged file or where one task
    waits for what is below another, those that would lead back are taken out of `above`."""
    left = [len(before) for before in above]
    after: list[list[int]] = [[] for _ in above]
    for place, before in enumerate(above):
        for upstream in before:
            after[upstream].append(place)
    order = [place for place, n in enumerate(left) if not n]
    done, oldest = 0, 0
    while len(order) < len(above) or done < len(order):
        if done == len(order):
            while not left[oldest]:
                oldest += 1
            for upstream in [u for u in above[oldest] if left[u]]:
                del above[oldest][upstream]
                after[upstream].remove(oldest)
            left[oldest] = 0
            order.append(oldest)
        for place in after[order[done]]:
            left[place] -= 1
            if not left[place]:
                order.append(place)
        done += 1
    return order


def groups(names: Sequence[str], jobs: Sequence[bool], above: Above, alone: tuple[int, int], most: int) -> list[int]:
    """For each task the number of its group. If there are at most `alone` of them, in all and equally far from the
    beginning, each is its own; else there are at most `most` groups. Edges that go round in a circle are taken out of
    `above`."""
    order = in_order(above)
    if len(names) <= alone[0]:
        side_by_side = Counter(depths(above, order))
        if max(side_by_side.values(), default=0) <= alone[1]:
            return list(range(len(names)))
    called = _called(names, jobs, alone[1])
    for way in (_by_what_is_before, _by_stage):
        found = way(called, above, order, most)
        if found is not None:
            return found
    return _by_depth(above, order, min(most, BANDS))


def _called(names: Sequence[str], jobs: Sequence[bool], most: int) -> Sequence[str]:
    """The names; but if jobs have more than so many, as one a night, those that few of them have are one."""
    often = Counter(name for name, job in zip(names, jobs, strict=True) if job)
    if len(often) <= most:
        return names
    few = often.total() / most
    return ["" if job and often[name] < few else name for name, job in zip(names, jobs, strict=True)]


def _by_what_is_before(names: Sequence[str], above: Above, order: list[int], most: int) -> list[int] | None:
    """Alike are two of one name that wait in the same way for the same groups: what is before them cannot tell them
    apart."""
    numbers: dict[Any, int] = {}
    found = [0] * len(names)
    for place in order:
        alike = (names[place], frozenset([(found[upstream], kind) for upstream, kind in above[place].items()]))
        found[place] = numbers.setdefault(alike, len(numbers))
        if len(numbers) > most:
            return None
    return found


def _by_stage(names: Sequence[str], above: Above, order: list[int], most: int) -> list[int] | None:
    """Alike are two of one name before which the name changes equally often: a chain of one name is one group. An edge
    between two names raises the stage, and one within a name never lowers it."""
    stages = [0] * len(names)
    numbers: dict[Any, int] = {}
    found = [0] * len(names)
    for place in order:
        name = names[place]
        stages[place] = stage = max((stages[u] + (names[u] != name) for u in above[place]), default=0)
        found[place] = numbers.setdefault((name, stage), len(numbers))
        if len(numbers) > most:
            return None
    return found


def _by_depth(above: Above, order: list[int], most: int) -> list[int]:
    """Alike are those as far from the beginning, whatever they are called; if that is too fine, in bands."""
    found = depths(above, order)
    bands = max(found, default=0) + 1
    return [depth * most // bands if bands > most else depth for depth in found]


def depths(above: Above, order: list[int]) -> list[int]:
    """For each task the most edges that lead to it one after the other."""
    found = [0] * len(above)
    for place in order:
        found[place] = max((found[upstream] + 1 for upstream in above[place]), default=0)
    return found
