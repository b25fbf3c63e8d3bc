"""Schedules: `@engine.every(60)`, `@engine.cron("0 3 * * *")`, and `engine.schedules` for whoever looks after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from taskcore import submission
from taskcore.function import TaskFunction
from taskcore.future import TaskFuture
from taskcore.options import text as checked_text
from taskcore.store import births, schedules
from taskcore.store.births import Order
from taskcore.store.look import NO_ARGUMENTS

if TYPE_CHECKING:
    from taskcore.engine import Engine

CATCH_UP: Final = ("once", "skip", "all")
_NOT_OF_A_SCHEDULE: Final = ("delay", "at", "after", "before", "key", "key_scope", "parent")


class Schedule:
    """One schedule, as its row was read. Times are seconds since the epoch, UTC."""

    def __init__(self, engine: Engine, row: schedules.Row) -> None:
        self._engine = engine
        self._row = row
        self.name = row.name
        self.every = row.every
        """Seconds from one due time to the next, or `None`."""
        self.cron = row.cron
        self.tz = row.tz
        self.enabled = row.enabled
        self.next_at = row.next_at
        self.last_at = row.last_at
        """The due time of the last fire."""

    def enable(self) -> None:
        """Fire from its next due time on; what was due meanwhile is not caught up on."""
        self._write(schedules.enable, True, self._engine._now())

    def disable(self) -> None:
        self._write(schedules.enable, False, self._engine._now())

    def set_every(self, seconds: float | str) -> None:
        """Another period, until code says something new. `ValueError` for a schedule that goes by the wall clock."""
        from taskcore.cron import period

        if self.cron is not None:
            raise ValueError(f"schedule {self.name!r} goes by {self.cron!r}, not by a period")
        self._write(schedules.set_every, period(seconds), self._engine._now())

    def trigger(self) -> TaskFuture:
        """Submit its task now, beside its due times, enabled or not."""
        now = self._engine._now()
        order = Order(self._row.task, self._row.options, NO_ARGUMENTS, now)
        task_id, _ = self._engine._write(births.submit, order, now)
        return self._engine._started(task_id)

    def _write(self, verb: Callable[..., None], *args: Any) -> None:
        self._engine._write(verb, self.name, *args)

    def __repr__(self) -> str:
        when = self.cron if self.every is None else f"every {self.every:g} s"
        return f"<Schedule {self.name!r} {when}{'' if self.enabled else ' disabled'}>"


class Schedules(Mapping[str, Schedule]):
    """Name → schedule, of all in the file, whoever defined them; each is read anew."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getitem__(self, name: str) -> Schedule:
        row = self._engine._read(schedules.one, name)
        if row is None:
            raise KeyError(name)
        return Schedule(self._engine, row)

    def __iter__(self) -> Iterator[str]:
        return iter(self._engine._read(schedules.names))

    def __len__(self) -> int:
        return len(self._engine._read(schedules.names))


def define(
    engine: Engine, fn: Any, when: dict[str, Any], name: str | None, enabled: bool, catch_up: str, overlap: bool,
    options: dict[str, Any],
) -> TaskFunction:  # fmt: skip
    """Make this function a task that is submitted when it is due."""
    if catch_up not in CATCH_UP:
        raise ValueError(f"catch_up is one of {', '.join(map(repr, CATCH_UP))}, not {catch_up!r}")
    for flag, value in (("enabled", enabled), ("overlap", overlap)):
        if not isinstance(value, bool):
            raise TypeError(f"{flag} is True or False, not {value!r}")
    for option in _NOT_OF_A_SCHEDULE:
        if option in options:
            raise TypeError(f"a schedule says when its tasks run, and has no {option}")
    if isinstance(fn, TaskFunction) and not options and name is None and fn._fn is not None:
        function = fn
    else:
        function = engine.task(fn, name=name, **options)
    called = checked_text("name", function.name)
    order = submission.order(
        called, function._kind, function._options, NO_ARGUMENTS, [], engine._now(), engine._id_of, engine._codec
    )
    plan = schedules.Plan(order, catch_up, overlap)
    engine._write(schedules.give, called, plan, {**when, "enabled": enabled}, engine._now())
    engine._scheduler.plans[called] = plan
    engine._scheduler.look_again()
    return function
