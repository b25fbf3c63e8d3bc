"""Schedules: when each is due next, and the one fire of each due time, whoever looks first and whatever died."""

from __future__ import annotations

import functools
import json
import math
import sqlite3
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

from taskcore.store.columns import OPTIONS, UNSAID
from taskcore.store.kinds import kind_of
from taskcore.store.queries import NO_ARGUMENTS
from taskcore.store.submit import Births, Order
from taskcore.store.transaction import Transaction

GRACE: Final = 60.0
"""Seconds by which a fire may be late without having been missed, where missed ones are skipped."""
AT_ONCE: Final = 500
"""Fires of one schedule in one transaction; the next one goes on."""


class Plan(NamedTuple):
    """What code says of a schedule, to be fired by the engines that have it."""

    order: Order
    """The task, but for when it is submitted."""
    catch_up: str
    overlap: bool


class Row(NamedTuple):
    name: str
    task: str
    options: str
    every: float | None
    cron: str | None
    tz: str | None
    enabled: int
    """1 or 0."""
    next_at: float | None
    last_at: float | None
    last_task: int | None
    given: str
    """What code said the last time, as JSON."""

    def order(self, now: float) -> Order:
        """Its task, for those who do not have the code."""
        said = json.loads(self.given)["said"]
        its = tuple(said.get(name, default) for name, default in zip(OPTIONS, UNSAID, strict=True))
        return Order(self.task, self.options, NO_ARGUMENTS, now, said=its, tags=said["tags"])


_ROW: Final = """
    SELECT name, task, options, every, cron, tz, enabled, next_at, last_at, last_task, given FROM taskcore_schedule"""


@functools.lru_cache(256)
def _cron(expression: str, tz: str | None) -> Callable[[float], float]:
    from taskcore.core.cron import Cron  # slow to import, for those who have schedules

    return Cron(expression, tz).after


def _after(row: Row, moment: float) -> float:
    """The first due time after this one, which is a due time too, or where the counting begins."""
    if row.every is not None:
        return moment + row.every
    return _cron(row.cron or "", row.tz)(moment)


def _latest(row: Row, first: float, now: float) -> float:
    """The last due time up to now, of those from `first` on."""
    if row.every is not None:
        return first + (now - first) // row.every * row.every
    after, back = _cron(row.cron or "", row.tz), 60.0
    while now - back > first and after(now - back) > now:
        back *= 2
    latest = first if now - back <= first else after(now - back)
    while (then := after(latest)) <= now:
        latest = then
    return latest


# -- what code and operators say -----------------------------------------------------------------------------------


_GIVE: Final = """
    INSERT INTO taskcore_schedule (name, task, options, every, cron, tz, enabled, given)
    VALUES (:name, :task, :options, :every, :cron, :tz, :enabled, :given)
    ON CONFLICT (name) DO UPDATE SET task = :task, options = :options, given = :given"""
_GIVE_TIMES: Final = "UPDATE taskcore_schedule SET every = :every, cron = :cron, tz = :tz WHERE name = :name"


def give(tx: Transaction, name: str, plan: Plan, said: Mapping[str, Any], now: float) -> None:
    """What code says: `said` has every, cron, tz and enabled. What it did not say the last time takes effect; the same
    said again leaves an operator's change alone."""
    order = plan.order
    kind_of(tx, order.name, order.kind_options)  # what cannot be submitted is refused here, not when it is due
    its = {**dict(zip(OPTIONS, order.said, strict=True)), "tags": list(order.tags)}
    text = json.dumps({**said, "said": its}, sort_keys=True)
    row = one(tx, name)
    before = said if row is None else json.loads(row.given)
    values = {"name": name, "task": order.name, "options": order.kind_options, "given": text, **said}
    tx.execute(_GIVE, values)
    tx.freed = True
    if row is None or any(before[what] != said[what] for what in ("every", "cron", "tz")):
        tx.execute(_GIVE_TIMES, values)
        _set_next(tx, name, now)
    if before["enabled"] != said["enabled"]:
        enable(tx, name, said["enabled"], now)


def _set_next(tx: Transaction, name: str, now: float) -> None:
    """The times themselves changed: the next follows from the last one that was, if there was one. Of the new ones none
    was missed before now, unless one of the old ones was."""
    row = one(tx, name)
    if row is not None:
        begin = now if row.last_at is None or row.last_at > now else row.last_at
        following = _after(row, begin)
        if following <= now and row.next_at is not None and row.next_at > now:
            following = _after(row, _latest(row, following, now))
        tx.execute("UPDATE taskcore_schedule SET next_at = ? WHERE name = ?", (following, name))
        tx.freed = True


def set_every(tx: Transaction, name: str, every: float, now: float) -> None:
    """What an operator says: it holds until code says something new."""
    tx.execute("UPDATE taskcore_schedule SET every = ? WHERE name = ?", (every, name))
    _set_next(tx, name, now)


def enable(tx: Transaction, name: str, enabled: bool, now: float) -> None:
    """What was due while it was disabled is not caught up on."""
    row = one(tx, name)
    if row is None or row.enabled == enabled:
        return
    tx.execute("UPDATE taskcore_schedule SET enabled = ? WHERE name = ?", (enabled, name))
    if enabled and row.next_at is not None and row.next_at <= now:
        following = _after(row, _latest(row, row.next_at, now))
        tx.execute("UPDATE taskcore_schedule SET next_at = ? WHERE name = ?", (following, name))
    tx.freed = True


def delete(tx: Transaction, name: str) -> bool:
    """→ whether it was there. Its tasks stay."""
    tx.execute("DELETE FROM taskcore_fire WHERE schedule = ?", (name,))
    return tx.execute("DELETE FROM taskcore_schedule WHERE name = ?", (name,)).rowcount > 0


def one(connection: Any, name: str) -> Row | None:
    found = connection.execute(f"{_ROW} WHERE name = ?", (name,)).fetchone()
    return None if found is None else Row(*found)


def names(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM taskcore_schedule ORDER BY name").fetchall()]


# -- firing --------------------------------------------------------------------------------------------------------


def fire(tx: Transaction, plans: Mapping[str, Plan], now: float) -> tuple[float | None, bool]:
    """Submit a task for each due time of these schedules that has come. → the next due time, and whether there was one.

    The task, the record of the fire and the schedule's next time are one commit.
    """
    births, last_id = Births(tx, now), tx.known.last_id
    for row in _look(tx, plans):
        row = _set_back(tx, row, now)
        if row.next_at is not None and row.next_at <= now:
            _fire(tx, births, row, plans[row.name], now)
    births.flush()
    found: list[float] = [row.next_at for row in _look(tx, plans) if row.next_at is not None]
    return min(found, default=None), tx.known.last_id > last_id


def _look(tx: Transaction, plans: Collection[str]) -> list[Row]:
    rows = tx.execute(
        f"{_ROW} WHERE enabled = 1 AND name IN (SELECT value FROM json_each(?))", (json.dumps(list(plans)),)
    ).fetchall()
    return [Row(*values) for values in rows]


def _set_back(tx: Transaction, row: Row, now: float) -> Row:
    """If the clock was set back behind a time that was due already, or passed by, or to be due: go on from now, but
    fire no due time again."""
    due = row.next_at
    if due is None or due <= now:
        return row
    if row.every is not None:
        # A sum of fractions is a little off: a period and a thousandth of it is one.
        due -= max(0, math.ceil((due - now) / row.every - 1.001)) * row.every
    else:
        due = _after(row, now)
    while due < (row.last_at or 0.0) + (row.every or 0.0) and _fired(tx, row, due):
        due = _after(row, due)
    if due != row.next_at:
        tx.execute("UPDATE taskcore_schedule SET next_at = ? WHERE name = ?", (due, row.name))
    return row._replace(next_at=due)


_FIRED: Final = "SELECT 1 FROM taskcore_fire WHERE schedule = ? AND due_at >= ? AND due_at < ? LIMIT 1"
_UNFINISHED: Final = "SELECT 1 FROM taskcore_task WHERE id = ? AND finished_at IS NULL"


def _fired(tx: Transaction, row: Row, due: float) -> bool:
    """Whether this due time was fired: of a period one that is nearer to it than to the next, for sums of fractions
    are not the same on all ways."""
    half = 0.5 if row.every is None else row.every / 2  # the wall clock's are whole seconds
    return tx.execute(_FIRED, (row.name, due - half, due + half)).fetchone() is not None


def _fire(tx: Transaction, births: Births, row: Row, plan: Plan, now: float) -> None:
    first = row.next_at
    assert first is not None
    dues: list[float] = []
    if plan.catch_up == "all":
        due = first
        while due <= now and len(dues) < AT_ONCE:
            dues.append(due)
            due = _after(row, due)
        latest = dues[-1]
    else:
        latest = _latest(row, first, now)
        if plan.catch_up == "once" or now - latest <= GRACE:
            dues.append(latest)
        if dues and not plan.overlap and tx.execute(_UNFINISHED, (row.last_task,)).fetchone():
            dues.clear()
    order, task_id = plan.order, row.last_task
    kind = tx.known.kind_ids.get((order.name, order.kind_options))
    for due in dues:
        if _fired(tx, row, due):
            continue
        order.submitted_at = now  # of the plan, which is fired by one turn at a time
        task_id, _ = births.add(order, kind)
        tx.execute("INSERT INTO taskcore_fire (schedule, due_at, task) VALUES (?, ?, ?)", (row.name, due, task_id))
    tx.execute(
        "UPDATE taskcore_schedule SET next_at = ?, last_at = ?, last_task = ? WHERE name = ?",
        (_after(row, latest), dues[-1] if dues else row.last_at, task_id, row.name),
    )
