"""What pictures of an engine, a selection, a task or a pipeline are drawn from: values, read in a few short reads."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from taskcore.api.context import Context
from taskcore.codec.json import Codec
from taskcore.core import lifecycle
from taskcore.core.model import Attempt, Handle, LogLine
from taskcore.core.text import printable
from taskcore.store import overview, queries, steps
from taskcore.store import schedules as stored
from taskcore.store.overview import CUT, Brief

if TYPE_CHECKING:
    from taskcore.api.engine import Engine
    from taskcore.api.future import TaskFuture
    from taskcore.api.pipeline import Pipeline
    from taskcore.api.selection import Selection

Counts = dict[tuple[str, str], int]
"""(phase, status) → number."""


@dataclass
class Name:
    """All tasks of one name."""

    name: str
    counts: Counts = field(default_factory=dict)
    rate: float = 0.0
    """Ends a second, lately; an estimate."""

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def left(self) -> int:
        return sum(n for (phase, _), n in self.counts.items() if phase not in lifecycle.ENDED)

    def of(self, phase: str) -> int:
        return sum(n for (its, _), n in self.counts.items() if its == phase)


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
    context, names, counts = engine._context, dict[str, Name](), Counts()
    now = context.now()
    for name, found in context.counts_by_name().items():
        names[name] = Name(name, context.by_phase(found))
        for key, n in names[name].counts.items():
            counts[key] = counts.get(key, 0) + n
    for name, rate in context.look(overview.rates, now).items():
        if name in names:
            names[name].rate = rate
    running = queries.where([("phase", (lifecycle.RUNNING,)), ("hidden", (0,))])
    return Whole(
        context.path, str(engine.health), now,
        sorted(names.values(), key=lambda each: (-each.left, -each.total, each.name)), counts,
        _told(context.codec, context.look(overview.newest, running, most)),
        _told(context.codec, context.look(overview.last_ended, lifecycle.FAILED, most)),
    )  # fmt: skip


def some(selection: Selection, most: int) -> tuple[Counts, list[Brief], float]:
    """How many of each status, the newest of them, and when."""
    context = selection._context
    counts = context.counts(selection._where)
    rows = context.look(overview.newest, selection._where, most)
    return context.by_phase(counts), _told(context.codec, rows), context.now()


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
    children = context.counts(queries.where([("parent", (row.id,))]))
    return One(
        _told(context.codec, context.look(overview.briefs, [row.id]))[0], context.now(), future.explain(),
        row.first_started_at, context.look(queries.history, row.id, most)[-most:],
        [(name, value(context.codec, text), *times) for name, text, *times in kept],  # type: ignore[misc]
        known, context.look(steps.log, row.id)[-most:],
        [(wants, verdict, up._replace(args=call(context.codec, up))) for wants, verdict, up in upstreams],
        context.by_phase(children),
    )  # fmt: skip


def subjects(pipeline: Pipeline, most: int) -> tuple[int, list[str], list[Any], dict[str, Name]]:
    """How many subjects there are; the steps; the newest subjects as `overview.subjects` tells them; the counts of each
    step."""
    context, names = pipeline._context, list(pipeline._tasks)
    number, rows = context.look(overview.subjects, pipeline.name, names, most)
    counted = context.counts_by_name(hidden=True)
    steps = {name: Name(name, context.by_phase(counted.get(f"{pipeline.name}.{name}", {}))) for name in names}
    return number, names, rows, steps


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


def call(codec: Codec, row: Brief) -> str:
    """What it calls: "fetch('a.org', depth=2)"."""
    name = printable(row.name, 60)
    if row.job is not None or row.args == queries.NO_ARGUMENTS:
        return f"{name}" if row.job is not None else f"{name}()"
    try:
        if max(len(row.args), len(row.links or "")) >= CUT:
            return f"{name}({printable(row.args, LONGEST)})"
        args, kwargs = queries.arguments(codec, row.args, row.links, Handle)
    except Exception:  # as above
        return f"{name}({printable(row.args, LONGEST)})"
    return f"{name}({called(args, kwargs)})"


def called(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    pieces = [*map(shown, args[:7]), *(f"{printable(str(key), 30)}={shown(kwargs[key])}" for key in list(kwargs)[:7])]
    return printable(", ".join(pieces) + (", …" if len(pieces) < len(args) + len(kwargs) else ""), LONGEST)
