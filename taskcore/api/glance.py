"""What there is of each name, and values as text: for whoever shows a file, whole or in part."""

from __future__ import annotations

import re
import reprlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from taskcore.api.context import Context
from taskcore.codec.json import Codec
from taskcore.core import lifecycle
from taskcore.core.clock import monotonic
from taskcore.core.model import Handle
from taskcore.core.text import printable
from taskcore.store import capacity, overview, pages, queries, workers
from taskcore.store.columns import CUT
from taskcore.store.overview import Brief

if TYPE_CHECKING:
    from taskcore.api.selection import Selection

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
        """At this rate, for what is neither paused nor waits for its time; `None` if that is nothing, or unknown."""
        due = self.left - self.phases[lifecycle.PAUSED] - self.phases[lifecycle.SCHEDULED]
        return due / self.rate if self.rate and due else None


def longest(names: Iterable[Name]) -> float | None:
    """How many seconds are left for all of them: as many as for the one that needs longest, of those that say so."""
    return max((name.seconds_left for name in names if name.seconds_left), default=None)


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
    """Of all of them together, in the order of a task's life; what a damaged file has beyond that comes last."""
    place = {phase: place for place, phase in enumerate(lifecycle.PHASES)}
    total = Counter[tuple[str, str]]()
    for name in names:
        total.update(name.counts)
    return dict(sorted(total.items(), key=lambda item: (place.get(item[0][0], len(place)), item[0][1])))


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
    ids, below = context.look(pages.newest, where, None, most)
    while len(ids) < min(most, total) and below is not None and monotonic() < until:
        more, below = context.look(pages.newest, where, below, most - len(ids))
        ids += more
    return context.look(overview.briefs, ids)


def engines(context: Context) -> int:
    """How many engines, of processes that live, run tasks of the file."""
    lanes = context.lanes
    return sum(lanes is None or not lanes.is_dead(lane) for _, lane in context.look(workers.alive))


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


def told(context: Context, rows: Iterable[Brief]) -> list[Brief]:
    """The rows with `args` as what the task calls, and `result` as a line of text."""
    codec = context.codec
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
