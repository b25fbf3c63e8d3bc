"""Schedules: `@engine.every(60)`, `@engine.cron("0 3 * * *")`, and `engine.schedules` for whoever looks after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from taskcore.api import arguments
from taskcore.api.function import TaskFunction, register
from taskcore.api.function import define as define_task
from taskcore.api.future import TaskFuture
from taskcore.api.submission import Submissions
from taskcore.core.options import Options, checked_text, flag, one_of
from taskcore.core.text import printable
from taskcore.core.views import shown_by
from taskcore.store import schedules

_NOT_OF_A_SCHEDULE: Final = ("delay", "at", "after", "before", "key", "key_scope", "parent")


class Schedule:
    """One schedule, as its row was read. Times are seconds since the epoch, UTC."""

    def __init__(self, submissions: Submissions, row: schedules.Row) -> None:
        self._context = submissions.context
        self._submissions = submissions
        self._row = row
        self.name = row.name
        self.every = row.every
        """Seconds from one due time to the next, or `None`."""
        self.cron = row.cron
        self.tz = row.tz
        self.enabled = bool(row.enabled)
        self.next_at = row.next_at
        self.last_at = row.last_at
        """The due time of the last fire."""

    def enable(self) -> None:
        """Fire from its next due time on; what was due meanwhile is not caught up on."""
        self._write(schedules.enable, True, self._context.now())

    def disable(self) -> None:
        self._write(schedules.enable, False, self._context.now())

    def set_every(self, seconds: float | str) -> None:
        """Another period, until code says something new. `ValueError` for a schedule that goes by the wall clock."""
        from taskcore.core.cron import period

        if self.cron is not None:
            raise ValueError(f"schedule {self.name!r} goes by {self.cron!r}, not by a period")
        self._write(schedules.set_every, period(seconds), self._context.now())

    def trigger(self) -> TaskFuture:
        """Submit its task now, beside its due times, enabled or not. In a body it is a step, and the task a child of
        the body's, as with any submit there."""
        return self._submissions.trigger(self._row.order(self._context.now()))

    def delete(self) -> bool:
        """It fires no more, until code defines it again, and then as a new one. Its tasks stay. → False if it was gone
        already."""
        gone: bool = self._write(schedules.delete)
        return gone

    def _write(self, verb: Callable[..., Any], *args: Any) -> Any:
        return self._context.write(verb, self.name, *args)

    _repr_html_ = shown_by("schedule")

    def __repr__(self) -> str:
        when = self.cron if self.every is None else f"every {self.every:g} s"
        return f"<Schedule {self.name!r} {when}{'' if self.enabled else ' disabled'}>"


class Schedules(Mapping[str, Schedule]):
    """Name → schedule, of all in the file, whoever defined them; each is read anew."""

    def __init__(self, submissions: Submissions) -> None:
        self._context = submissions.context
        self._submissions = submissions

    def __getitem__(self, name: str) -> Schedule:
        row = self._context.read(schedules.one, name) if isinstance(name, str) else None
        if row is None:
            raise KeyError(name)
        return Schedule(self._submissions, row)

    def __iter__(self) -> Iterator[str]:
        return iter(self._context.read(schedules.names))

    def __len__(self) -> int:
        return len(self._context.read(schedules.names))

    def __repr__(self) -> str:
        names = self._context.peek(schedules.names)
        listed = "" if names is None else ", ".join(printable(name, 40) for name in names[:20]) or "none"
        return f"<Schedules{listed and ': '}{listed}{', …' if names and len(names) > 20 else ''}>"

    _repr_html_ = shown_by("schedule")


def _refuse_arguments(fn: Any) -> None:
    """`TypeError` for a function that cannot be called without any."""
    signature = arguments.signature_of(fn) if callable(fn) else None
    wanted = [] if signature is None else [
        word
        for word, its in signature.parameters.items()
        if its.default is its.empty and its.kind not in (its.VAR_POSITIONAL, its.VAR_KEYWORD)
    ]  # fmt: skip
    if wanted:
        what = getattr(fn, "__name__", fn)
        raise TypeError(f"a schedule calls its function without arguments, and {what!r} needs {', '.join(wanted)}")


def define(
    submissions: Submissions, fn: Any, when: dict[str, Any], name: str | None, enabled: bool, catch_up: str,
    overlap: bool, options: dict[str, Any],
) -> TaskFunction:  # fmt: skip
    """Make this function a task that is submitted when it is due."""
    one_of("once", "skip", "all")("catch_up", catch_up)
    flag("enabled", enabled)
    flag("overlap", overlap)
    for option in _NOT_OF_A_SCHEDULE:
        said = isinstance(fn, TaskFunction) and getattr(fn._options, option) != getattr(Options, option)
        if said or option in options:
            raise TypeError(f"a schedule says when its tasks run, and has no {option}")
    if not (isinstance(fn, str) or callable(fn)):
        raise TypeError(f"a schedule is of a task, and that is a function, not {fn!r}")
    _refuse_arguments(fn._fn if isinstance(fn, TaskFunction) else fn)
    function: TaskFunction
    if not isinstance(fn, TaskFunction):
        function = define_task(submissions, fn, name, options)
    else:  # what is said of it goes for the schedule too
        function = fn
        if name is not None and fn._fn is not None:
            function = register(submissions, checked_text("name", name), fn._fn, fn._options)
        if options:
            function = function.options(**options)
    chosen = function._options
    if catch_up == "all" and not overlap and chosen.serial is None:  # one after the other, whatever becomes of each
        chosen = chosen.replaced({"serial": f"schedule {function.name}", "serial_failure": "continue"})
    context = submissions.context
    plan = schedules.Plan(arguments.order(context, function.name, chosen.kind(), chosen), catch_up, overlap)
    context.write(schedules.give, function.name, plan, {**when, "enabled": enabled}, context.now())
    context.scheduler.plan(function.name, plan)
    return function
