"""What ran when, and what it waited for in between: the material of timelines and lives. Pure."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from taskcore.store.overview import Brief
from taskcore.store.pictures import Edge, Past

NOBODY = "no worker"


class Run(NamedTuple):
    """One attempt at a task."""

    start: float
    end: float
    worker: str
    task: int
    """Its place in the list of nodes."""
    number: int
    phase: str
    """running, succeeded, failed or cancelled."""
    error: str | None
    lapsed: bool


class Gap(NamedTuple):
    """A stretch in which a task did not run."""

    start: float
    end: float
    phase: str
    """waiting: not begun; scheduled: between two attempts; suspended: it gave its thread back."""


def runs_of(nodes: Sequence[Brief], pasts: Iterable[Past], now: float) -> list[list[Run]]:
    """For each task its attempts in order. A job has none."""
    by_id = {node.id: place for place, node in enumerate(nodes)}
    found: list[list[Run]] = [[] for _ in nodes]
    for task, number, worker, start, end, outcome, error in pasts:
        place, lapsed = by_id[task], outcome == "lapsed"
        phase = "failed" if lapsed else outcome
        found[place].append(Run(start, max(start, end), worker or NOBODY, place, number, phase, error, lapsed))
    for place, node in enumerate(nodes):
        begun, before = node.started_at, found[place]
        if node.job or begun is None or not node.attempts or node.phase not in ("running", "succeeded", "failed"):
            continue
        if not before or before[-1].number != node.attempts:
            end = max(begun, now if node.finished_at is None else node.finished_at)
            before.append(Run(begun, end, node.worker or NOBODY, place, node.attempts, node.phase, None, False))
    return found


def gaps_of(node: Brief, runs: Sequence[Run], now: float) -> list[Gap]:
    """When it did not run, from its submit to its end. Stretches that it ran before a suspension are not kept by the
    file, and count as suspended."""
    end = now if node.finished_at is None else node.finished_at
    if node.job:
        return [Gap(node.submitted_at, end, "waiting" if node.phase == "waiting" else "suspended")]
    if node.first_started_at is None:
        return [Gap(node.submitted_at, max(end, node.submitted_at), "waiting")]
    gaps = [Gap(node.submitted_at, node.first_started_at, "waiting")]
    at, why = node.first_started_at, "suspended"
    for run in runs:
        gaps.append(Gap(at, run.start, why))
        at, why = run.end, "scheduled"
    gaps.append(Gap(at, end, "suspended" if node.phase == "suspended" else why))
    return [gap for gap in gaps if gap.end > gap.start]


def packed(runs: Iterable[Run]) -> list[list[Run]]:
    """As few lanes as there were running at a time, each of runs one after the other."""
    lanes: list[list[Run]] = []
    free: list[tuple[float, int]] = []
    for run in sorted(runs):
        if free and free[0][0] <= run.start:
            _, lane = heapq.heappop(free)
        else:
            lane = len(lanes)
            lanes.append([])
        lanes[lane].append(run)
        heapq.heappush(free, (run.end, lane))
    return lanes


def line_up(nodes: Sequence[Brief], by_id: Mapping[int, int], place: int | None) -> Iterator[int]:
    """The place of a task, of its parent, and so on. `by_id`: the places."""
    passed = set[int]()
    while place is not None and place not in passed:  # it ends in a damaged file, too
        passed.add(place)
        yield place
        parent = nodes[place].parent
        place = None if parent is None else by_id.get(parent)


def critical_path(nodes: Sequence[Brief], edges: Iterable[Edge], root: int, now: float) -> list[int]:
    """The places of the tasks that the end of `root` hung on, the first first: before each, what it waited for longest,
    the last of its children or of what it depends on. Tasks that never ran are left out."""
    by_id = {node.id: place for place, node in enumerate(nodes)}
    children, above = defaultdict(list), defaultdict(list)
    for place, node in enumerate(nodes):
        if node.parent in by_id:
            children[by_id[node.parent]].append(place)
    for edge in edges:
        if edge.upstream in by_id and edge.task in by_id:
            above[by_id[edge.task]].append(by_id[edge.upstream])

    def end_of(place: int) -> float:
        node = nodes[place]
        return now if node.finished_at is None else node.finished_at

    def last(places: list[int]) -> int | None:
        ran = [place for place in places if nodes[place].first_started_at is not None and place not in seen]
        return max(ran, key=end_of, default=None)

    seen, path, at = {root}, [root], root
    while True:
        waited_for = [children[at], *(above[place] for place in line_up(nodes, by_id, at))]
        found = next((place for place in map(last, waited_for) if place is not None), None)
        if found is None:
            return [place for place in reversed(path) if not nodes[place].job]
        seen.add(found)
        path.append(found)
        at = found
