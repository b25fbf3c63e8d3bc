"""What a graph shows: tasks, or groups of alike ones, and the lines between them."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, Final, NamedTuple

from taskcore.api.pictures import Subject
from taskcore.core.text import counted, duration, number, percent, printable
from taskcore.store import overview, pictures
from taskcore.store.overview import Brief
from taskcore.store.pictures import EDGES, Edge
from taskcore.view import alike
from taskcore.view.colours import COLOURS, SIGNS
from taskcore.view.runs import line_up

ALONE: Final = (40, 12)
"""Up to so many tasks are drawn one by one, where no more than so many are side by side."""
MOST: Final = 60
"""Groups of more."""

PLAIN: Final = ("succeeded", "skip")
CHILD: Final = ("child", "")
JOINED: Final = ("ended", "")
"""What no `on` is: a child is drawn below its parent, and what a suspended task waits for before it."""

_URGENT: Final = (
    "failed", "running", "ready", "suspended", "paused", "scheduled", "waiting", "cancelled", "skipped", "succeeded",
)  # fmt: skip


class Box(NamedTuple):
    """One task, or a group that is drawn as one."""

    name: str
    n: int
    phases: dict[str, int]
    """Phase → how many."""
    job: bool
    line: str
    """What is said below the name."""
    told: str
    """What is said on a closer look."""
    chain: bool
    """Whether some of the group wait for others of it."""

    @property
    def titled(self) -> str:
        return printable(self.name, 60) + self.times

    @property
    def times(self) -> str:
        """How many it stands for."""
        return (" ↻" if self.chain else "") + (f" × {self.n:,}" if self.n > 1 else "")

    @property
    def main(self) -> str:
        """The phase whose colour stands for all where there is but one."""
        return next(phase for phase in _URGENT if phase in self.phases)


class Line(NamedTuple):
    """All edges from one box to another."""

    upstream: int
    box: int
    n: int
    label: str
    """What they want, where it is not plainly success."""
    family: bool
    """Whether they only say whose child it is."""
    verdicts: dict[str, int]
    """met, unmet, dropped or doomed → how many of them."""

    @property
    def verdict(self) -> str:
        """Of most of them."""
        return max(self.verdicts, key=self.verdicts.__getitem__)


def boxed(of: Subject) -> tuple[list[Box], list[Line], bool]:
    """→ the boxes, the lines between two of them, and whether all edges were read."""
    nodes = of.nodes
    place = {node.id: number for number, node in enumerate(nodes)}
    edges = of.context.look(pictures.edges, of.ids, EDGES)
    above, verdicts = _above(of, edges, place)
    group = alike.groups([node.name for node in nodes], [node.job is not None for node in nodes], above, ALONE, MOST)
    number = {key: its for its, key in enumerate(dict.fromkeys(group))}
    group = [number[key] for key in group]
    members: list[list[Brief]] = [[] for _ in number]
    for node, its in zip(nodes, group, strict=True):
        members[its].append(node)
    lines, chains = _lines(above, verdicts, group)
    said = {row.id: row for row in of.context.look(overview.briefs, [its[0].id for its in members if len(its) == 1])}
    now = of.context.now()
    boxes = [
        _group(of_it, its in chains) if len(of_it) > 1 else _single(of_it[0], said.get(of_it[0].id, of_it[0]), now)
        for its, of_it in enumerate(members)
    ]
    return boxes, lines, len(edges) < EDGES


def _above(
    of: Subject, edges: list[Edge], place: dict[int, int]
) -> tuple[list[dict[int, Any]], dict[tuple[int, int], str]]:
    """For each task what is before it, with the kind of edge; and the verdicts of those that are not met."""
    above: list[dict[int, Any]] = [{} for _ in of.nodes]
    verdicts = {}
    for upstream, task, wants, otherwise, verdict in edges:
        one, other = place.get(upstream), place.get(task)
        if one is not None and other is not None:
            above[other][one] = (wants, otherwise)
            if verdict != "met":
                verdicts[one, other] = verdict
    nodes = of.nodes
    for other, node in enumerate(nodes):  # a child that comes after one of its siblings needs no line of its own
        parent = None if node.parent is None else place.get(node.parent)
        if parent is not None and all(nodes[one].parent != node.parent for one in above[other]):
            above[other].setdefault(parent, CHILD)
    suspended = [node.id for node in nodes if node.phase == "suspended"]
    for upstream, task in of.context.look(pictures.joins, suspended, EDGES):
        one, other = place.get(upstream), place.get(task)
        if one is not None and other is not None and other not in line_up(nodes, place, one):
            above[other].setdefault(one, JOINED)
            verdicts[one, other] = "unmet"
    return above, verdicts


def _lines(
    above: list[dict[int, Any]], verdicts: dict[tuple[int, int], str], group: list[int]
) -> tuple[list[Line], set[int]]:
    """→ the lines between boxes, and the boxes that have edges within."""
    kinds: dict[tuple[int, int], Counter[Any]] = defaultdict(Counter)
    found: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    chains = set()
    for other, before in enumerate(above):
        its = group[other]
        for one, kind in before.items():
            if group[one] == its:
                chains.add(its)
            else:
                kinds[group[one], its][kind] += 1
                found[group[one], its][verdicts.get((one, other), "met")] += 1
    lines = []
    for (one, its), of_it in sorted(kinds.items()):
        labels = [_label(kind, n if len(of_it) > 1 else 0) for kind, n in of_it.items() if kind not in (PLAIN, CHILD)]
        lines.append(Line(one, its, of_it.total(), ", ".join(labels), set(of_it) == {CHILD}, dict(found[one, its])))
    return lines, chains


def _label(kind: tuple[str, str], n: int) -> str:
    wants, otherwise = kind
    often = f"{n:,} × " if n else ""
    return f"{often}{printable(wants, 24)}" + (f", else {otherwise}" if otherwise in ("wait", "drop") else "")


def _single(node: Brief, row: Brief, now: float) -> Box:
    """`row`: the same read later, with what it says."""
    line = f"#{node.id} {printable(node.status, 20)}"
    if node.started_at is not None and not node.job:
        if node.finished_at is not None:
            line += f" · {duration(node.finished_at - node.started_at)}"
        elif node.phase == "running":
            done = percent(row.progress) if row.progress is not None else duration(now - node.started_at)
            line += f" · {done}"
    told = [f"{printable(node.name)} #{node.id}: {printable(node.status)}"]
    told += [printable(said, 200) for said in (row.message, row.last_error) if said]
    if node.attempts > 1:
        told.append(f"{node.attempts} attempts")
    return Box(node.name, 1, {node.phase: 1}, node.job is not None, line, "; ".join(told), False)


def _group(nodes: list[Brief], chain: bool) -> Box:
    phases = Counter(node.phase for node in nodes)
    names = list(dict.fromkeys(node.name for node in nodes))
    job = all(node.job for node in nodes)
    name = names[0]
    if len(names) > 1:
        name = f"{len(names):,} {'jobs' if job else 'names'}: {', '.join(sorted(names)[:20])}"
    in_order = [(phase, phases[phase]) for phase in COLOURS if phases[phase]]
    line = "  ".join(f"{SIGNS[phase]} {n:,}" for phase, n in in_order)
    told = f"{printable(name)}: {number(len(nodes))}, {counted(dict(in_order))}"
    told += "; one after the other" if chain else ""
    return Box(name, len(nodes), dict(phases), job, line, told, chain)
