"""What pictures of an engine, a selection, a task or a pipeline are drawn from: values, read in a few short reads."""

from __future__ import annotations

import re
import reprlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from taskcore.api.context import Context, context_of
from taskcore.codec.json import Codec
from taskcore.core import lifecycle
from taskcore.core.clock import monotonic
from taskcore.core.model import Attempt, Handle, LogLine
from taskcore.core.text import printable
from taskcore.store import capacity, overview, pages, queries, workers
from taskcore.store import rows as read_rows
from taskcore.store import schedules as stored
from taskcore.store.columns import CUT
from taskcore.store.overview import Brief

if TYPE_CHECKING:
    from taskcore.api.engine import Engine
    from taskcore.api.future import TaskFuture
    from taskcore.api.pipeline import Pipeline
    from taskcore.api.selection import Selection

FEW: Final = 5_000
"""So many rows an index finds and sorts in no time."""

Counts = dict[tuple[str, str], int]
"""(phase, status) → number."""


@dataclass
class Name:
    """All tasks of one name."""

    name: str
    counts: Counts = field(default_factory=dict)
    rate: float = 0.0
    """Ends a second, lately; an estimate, and 0 where there is none."""
    held: bool = False
    """Whether `engine.pause` holds it."""

    @property
    def phases(self) -> Counter[str]:
        return phases_of(self.counts)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def left(self) -> int:
        return left_of(self.counts)

    @property
    def seconds_left(self) -> float | None:
        """At this rate, for what is not paused."""
        to_do = self.left - self.phases[lifecycle.PAUSED]
        return to_do / self.rate if self.rate and to_do else None


def phases_of(counts: Counts) -> Counter[str]:
    """Phase → number."""
    found = Counter[str]()
    for (phase, _), n in counts.items():
        found[phase] += n
    return found


def left_of(counts: Counts) -> int:
    """How many have not ended."""
    return sum(n for (phase, _), n in counts.items() if phase not in lifecycle.ENDED)


def summed(names: Iterable[Name]) -> Counts:
    """Of all of them together, in the order of a task's life."""
    total = Counter[tuple[str, str]]()
    for name in names:
        total.update(name.counts)
    return dict(sorted(total.items(), key=lambda item: (lifecycle.PHASES.index(item[0][0]), item[0][1])))


def names_of(context: Context, where: queries.Where = queries.SEEN, *, rated: bool = True) -> list[Name]:
    """What there is of each name, in the order of their first tasks. `rated`: with rates, which are those of the file's
    tasks of a name, whatever `where` asks for."""
    rates = context.look(overview.rates, context.now()) if rated else {}
    held = context.look(capacity.held)
    return [
        Name(name, its, rates.get(name, 0.0), name in held)
        for name, its in context.by_name(where).items()
    ]


def newest(chosen: Selection, total: int, most: int, patience: float = 0.3) -> list[Brief]:
    """Of `total` tasks those with the highest ids, descending; fewer where to find them takes longer than `patience`
    seconds."""
    context, where, until = chosen._context, chosen._where, monotonic() + patience
    if where.indexed and total <= FEW:
        return context.look(overview.newest, where, most)
    ids, below = context.look(pages.newest, where, None, most)
    while len(ids) < min(most, total) and below is not None and monotonic() < until:
        more, below = context.look(pages.newest, where, below, most - len(ids))
        ids += more
    return context.look(overview.briefs, ids)


def engines(context: Context) -> int:
    """How many engines, of processes that live, run tasks of the file."""
    lanes = context.lanes
    return sum(lanes is None or not lanes.is_dead(lane) for _, lane in context.look(workers.alive))


# In all rows here, `args` is what the task calls, and `result` a line of text.


@dataclass(frozen=True)
class Whole:
    """A whole file."""

    path: str
    health: str
    now: float
    names: list[Name]
    """Those with most left to do first, then the largest."""
    counts: Counts
    running: list[Brief]
    failed: list[Brief]


def whole(engine: Engine, most: int) -> Whole:
    """Of rows at most so many; hidden tasks are left out."""
    context = context_of(engine)
    now, found = context.now(), names_of(context)
    return Whole(
        context.path, str(engine.health), now,
        sorted(found, key=lambda each: (-each.left, -each.total, each.name)), summed(found),
        _told(context.codec, context.look(overview.newest, queries.RUNNING, most)),
        _told(context.codec, context.look(overview.last_failed, most)),
    )  # fmt: skip


def some(selection: Selection, most: int) -> tuple[Counts, list[Brief], float]:
    """How many of each status, the newest of them, and when."""
    context = selection._context
    counts = context.by_phase(selection._where)
    rows = context.look(overview.newest, selection._where, most)
    return counts, _told(context.codec, rows), context.now()


@dataclass(frozen=True)
class One:
    """One task, with what there is around it."""

    task: Brief
    now: float
    explained: str
    first_started_at: float | None
    attempts: list[Attempt]
    steps: list[tuple[str, str, float, float]]
    """The newest: name, result, started_at, finished_at."""
    all_steps: int
    log: list[LogLine]
    upstreams: list[tuple[str, str, Brief]]
    """What is asked, the verdict, and of whom; those that hold it first."""
    children: Counts


def one(future: TaskFuture, most: int) -> One:
    """Of each kind of rows around it at most so many. `TaskNotFound`."""
    context, row = future._context, future.snapshot()
    known, kept = context.look(overview.steps, row.id, most)
    upstreams = context.look(overview.upstreams, row.id, most)
    return One(
        _told(context.codec, context.look(overview.briefs, [row.id]))[0], context.now(), future.explain(),
        row.first_started_at, context.look(read_rows.history, row.id, most)[-most:],
        [(name, value(context.codec, text), *times) for name, text, *times in kept],  # type: ignore[misc]
        known, context.look(read_rows.log, row.id)[-most:],
        [(wants, verdict, up._replace(args=call(context.codec, up))) for wants, verdict, up in upstreams],
        context.by_phase(queries.where([("parent", (row.id,))])),
    )  # fmt: skip


def subjects(pipeline: Pipeline, most: int) -> tuple[int, list[str], list[Any], dict[str, Name]]:
    """How many subjects there are; the steps; the newest subjects as `overview.subjects` tells them; the counts of each
    step."""
    context, steps = pipeline._context, list(pipeline._tasks)
    number, rows = context.look(overview.subjects, pipeline.name, steps, most)
    counted = context.by_name(queries.ALL)
    known = {step: Name(step, counted.get(f"{pipeline.name}.{step}", {})) for step in steps}
    return number, steps, rows, known


def schedules(
    context: Context, most: int, wanted: list[str] | None = None
) -> tuple[int, list[stored.Row], float]:
    """How many there are, or of these; the first by name; and when."""
    names = context.look(stored.names) if wanted is None else wanted
    rows = [context.look(stored.one, name) for name in names[:most]]
    return len(names), [row for row in rows if row is not None], context.now()


# -- values ---------------------------------------------------------------------------------------------------------

LONGEST: Final = 120


class _Repr(reprlib.Repr):
    """With the tasks whose results belong there as "#17"."""

    def repr_Handle(self, handle: Handle, level: int) -> str:
        return f"#{handle.task_id}"


_repr: Final = _Repr()
_repr.maxstring = _repr.maxother = LONGEST
_repr.maxlist = _repr.maxtuple = _repr.maxdict = _repr.maxset = _repr.maxfrozenset = 6


def shown(value: Any) -> str:
    """A value as a line of text, however large it is."""
    return printable(_repr.repr(value), LONGEST)


def _told(codec: Codec, rows: list[Brief]) -> list[Brief]:
    return [row._replace(args=call(codec, row), result=value(codec, row.result)) for row in rows]


def value(codec: Codec, text: str | None) -> str:
    """A stored value as a line of text; as it is stored where that is long, or cannot be read."""
    if text is None:
        return ""
    try:
        return shown(codec.decode(text)) if len(text) < CUT else printable(text, LONGEST)
    except Exception:  # the codec is a user's
        return printable(text, LONGEST)


_LINKED: Final = re.compile(r"\[(\d+), ?\[")


def call(codec: Codec, row: Brief) -> str:
    """What it calls: "fetch('a.org', depth=2)"."""
    name = printable(row.name, 60)
    if row.job is not None or row.args == queries.NO_ARGUMENTS:
        return f"{name}" if row.job is not None else f"{name}()"
    try:
        if row.links is not None and len(row.links) >= CUT:  # it has the results of many: the first of them
            return f"{name}({', '.join(f'#{task}' for task in _LINKED.findall(row.links)[:7])}, …)"
        if len(row.args) >= CUT:
            return f"{name}({printable(row.args, LONGEST)})"
        args, kwargs = queries.arguments(codec, row.args, row.links, Handle)
    except Exception:  # as above
        return f"{name}({printable(row.args, LONGEST)})"
    return f"{name}({called(args, kwargs)})"


def called(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    pieces = [*map(shown, args[:7]), *(f"{printable(str(key), 30)}={shown(kwargs[key])}" for key in list(kwargs)[:7])]
    return printable(", ".join(pieces) + (", …" if len(pieces) < len(args) + len(kwargs) else ""), LONGEST)
