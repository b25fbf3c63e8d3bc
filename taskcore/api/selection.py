"""`engine.tasks` and `where(…)`: tasks by what they are, to look at or to move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, overload

from taskcore.api.context import Context
from taskcore.body.outcome import storable
from taskcore.core import lifecycle
from taskcore.core.ends import shown
from taskcore.core.errors import TaskcoreError, UnknownStatus
from taskcore.core.options import checked_priority, flag
from taskcore.core.text import number
from taskcore.core.views import shown_by
from taskcore.store import operations, queries
from taskcore.store.busy import Trouble

if TYPE_CHECKING:
    from taskcore.core.model import Task

PAGE: Final = 500
"""Rows a read while iterating."""

_TASKS: Final = frozenset({"id", "ids", "parent", "upstream_of", "downstream_of"})
_TIMES: Final = frozenset({"submitted_after", "submitted_before"})


class Selection:
    """Some of the file's tasks, found anew at each use. Nothing is read before.

    Its verbs move those whose phase allows it, in one transaction, and return how many they moved.
    """

    def __init__(self, context: Context, filters: tuple[tuple[str, tuple[Any, ...] | None], ...] = ()) -> None:
        self._context = context
        self._filters = filters
        self._where = queries.where(self._filters)

    def where(self, **filters: Any) -> Selection:
        """Those of them that match: `id, ids, name, phase, status, key, parent, tag, worker, upstream_of,
        downstream_of, hidden, submitted_after, submitted_before`.

        Tasks are given by handle or id, times as seconds since the epoch or aware datetimes; several names, phases,
        statuses, keys, tags or workers as a list. `None` means "has none". `TypeError` for an unknown filter,
        `ValueError` for an unknown phase. A name or a status that nobody has brought yet finds nothing.
        """
        more = tuple((name, self._accepted(name, value)) for name, value in filters.items())
        return Selection(self._context, self._filters + more)

    def _accepted(self, name: str, value: Any) -> tuple[Any, ...] | None:
        if name not in queries.FILTERS:
            raise TypeError(f"there is no filter {name!r}; there are: {', '.join(queries.FILTERS)}")
        if value is None:
            return None
        if name in _TIMES:
            return (_moment(name, value),)
        if name in _TASKS:
            several = value if name == "ids" else [value]
            if isinstance(several, (str, bytes)) or not isinstance(several, Iterable):
                raise TypeError(f"{name} is a list of handles or ids, not {value!r}")
            return tuple(task if type(task) is int else self._context.id_of(task) for task in several)
        if name == "hidden":
            return (int(flag(name, value)),)
        texts = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
        for text in texts:
            if not isinstance(text, str):
                raise TypeError(f"{name} is a text or a list of texts, not {text!r}")
            if name == "phase" and text not in lifecycle.PHASES:
                raise ValueError(f"there is no phase {text!r}; there are: {', '.join(lifecycle.PHASES)}")
        return texts

    # -- looking ----------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Task]:
        """In id order, a page of rows a read: what changes meanwhile is seen as it is when its page is read."""
        context = self._context
        if self._where.indexed:
            ids = context.look(queries.ids, self._where)
            for start in range(0, len(ids), PAGE):
                yield from context.rows(context.look(queries.rows, ids[start : start + PAGE]))
            return
        beyond = -1
        while rows := context.look(queries.page, self._where, beyond, PAGE):
            yield from context.rows(rows)
            beyond = rows[-1][0][0]

    def __len__(self) -> int:
        return self._context.count(self._where)

    def __bool__(self) -> bool:
        return self.first() is not None

    def first(self) -> Task | None:
        """The one with the lowest id."""
        rows = self._context.look(queries.page, self._where, -1, 1)
        return self._context.row(rows[0]) if rows else None

    def some(self, most: int, *, newest: bool = False) -> list[Task]:
        """At most so many of them (0: all), those with the lowest ids or, the newest first, those with the highest."""
        context = self._context
        ids = context.look(queries.some_ids, self._where, most, newest)
        tasks = list(context.rows(context.look(queries.rows, ids)))
        return tasks[::-1] if newest else tasks

    def counts(self) -> dict[str, int]:
        """Status → number, of the statuses that occur."""
        return self._context.counts(self._where)

    @overload
    def __getitem__(self, place: int) -> Task: ...
    @overload
    def __getitem__(self, place: slice) -> list[Task]: ...
    def __getitem__(self, place: int | slice) -> Task | list[Task]:
        """The task at this place in id order, or a list of those in a slice. `IndexError`."""
        context = self._context
        ids = sorted(context.look(queries.ids, self._where))
        if isinstance(place, slice):
            chosen = ids[place]
            rows = {row[0][0]: row for row in context.look(queries.rows, chosen)}
            return [context.row(rows[task_id]) for task_id in chosen if task_id in rows]
        if not -len(ids) <= place < len(ids):
            raise IndexError(f"there are {len(ids)} tasks, and none at {place}")
        return context.task(ids[place])

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={_said(values)}" for name, values in self._filters)
        try:
            n = len(self)
        except (TaskcoreError, Trouble):  # closed, say
            return f"<Selection {said or 'of all tasks'}>"
        return f"<Selection {said + ': ' if said else ''}{number(n)}>"

    _repr_html_ = shown_by("selection")

    # -- moving -----------------------------------------------------------------------------------------------------

    def cancel(self, reason: str | None = None) -> int:
        """End what is not running as cancelled; ask what is running to stop (not counted)."""
        if reason is not None:
            if not isinstance(reason, str):
                raise TypeError(f"reason is a text, not {reason!r}")
            reason = storable(reason)
        return self._context.operate(self._where, operations.cancel, self._context.now(), reason)

    def pause(self) -> int:
        """Hold them until `resume`; running ones as soon as they come back."""
        return self._context.operate(self._where, operations.pause, self._context.now())

    def resume(self) -> int:
        return self._context.operate(self._where, operations.resume, self._context.now())

    def rerun(self, downstream: bool = False) -> int:
        """Run again what ended, with failures and lapses at 0. `downstream`: every ended task below, too."""
        return self._context.operate(self._where, operations.rerun, self._context.now(), downstream=downstream)

    def set_priority(self, priority: int) -> int:
        """Of tasks that have not ended: −1000…1000, higher first."""
        whole = checked_priority("priority", priority)
        moved = self._context.operate(self._where, operations.set_priority, whole)
        if moved:
            self._context.scheduler.recall()
        return moved

    def hide(self, hidden: bool = True) -> int:
        """Leave them out of pictures and the command line, or show them again."""
        return self._context.operate(self._where, operations.hide, bool(hidden))

    def delete(self) -> int:
        """Remove ended ones, but those that something unfinished depends on. Their ids are not given again."""
        return self._context.operate(self._where, operations.delete)


def matching(tasks: Selection, said: Mapping[str, Sequence[Any]], labels: Iterable[str]) -> Selection:
    """Those that match what a command line or an address says: filters with the values that each accepts.

    `labels`: the user's statuses that there are. `UnknownStatus`; `ValueError` for several of what can be one.
    """
    known = (*lifecycle.PHASES, *labels)
    for name, values in said.items():
        if name == "status" and (unknown := [label for label in values if label not in known]):
            raise UnknownStatus(unknown[0], known)
        alone = name != "id" and name in _TASKS | _TIMES
        if alone and len(values) > 1:
            raise ValueError(f"{name} can be given once")
        tasks = tasks.where(**{"ids" if name == "id" else name: values[0] if alone else list(values)})
    return tasks


def _said(values: tuple[Any, ...] | None) -> str:
    if values is None or len(values) == 1:
        return repr(values if values is None else values[0])
    return repr(list(values[:5]))[:-1] + (", …]" if len(values) > 5 else "]")


def _moment(name: str, value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"{name} is seconds since the epoch, not {shown(value)}") from None
    if hasattr(value, "timestamp") and getattr(value, "tzinfo", None) is not None:
        return float(value.timestamp())
    kinds = "seconds since the epoch or a datetime with a time zone (.astimezone() gives one)"
    raise TypeError(f"{name} is {kinds}, not {value!r}")
