"""Sleeping bodies: who gave its thread back, what it waits for, and the one wake of each suspension."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from taskcore.core.ends import Sleep
from taskcore.store import dependencies, serial
from taskcore.store.ids import listed
from taskcore.store.steps import put
from taskcore.store.transaction import Transaction
from taskcore.store.transitions import leaving, target

_SUSPEND: Final = f"""
    UPDATE taskcore_task SET phase = {target("suspend")}, greenfield = :until, waiting_for = :why, worker = NULL,
        label = NULL, attempts = attempts - 1
    WHERE id = :id AND {leaving("suspend")}"""
_JOIN: Final = """
    INSERT OR IGNORE INTO taskcore_join (upstream, task)
    SELECT u.id, :id FROM json_each(:upstreams) AS wanted CROSS JOIN taskcore_task AS u ON u.id = wanted.value
    WHERE u.finished_at IS NULL"""
_WAIT_HERE: Final = """
    DELETE FROM taskcore_step WHERE task = ? AND kind = 'signal' AND name = ? AND state = 'waiting'"""
"""A body waits at one place only. It may have left another by an error, and must not be given the signal there too."""


def suspend(tx: Transaction, task: int, sleep: Sleep, now: float) -> None:
    """Put a running task to sleep whose claim is known to be held; or not, if what it waits for is there already."""
    tx.execute(_SUSPEND, {"id": task, "until": sleep.until, "why": sleep.waiting_for})
    if sleep.signal is not None:
        tx.execute(_WAIT_HERE, (task, sleep.signal))
    for step in sleep.steps:
        put(tx, task, step)
    there = sleep.until is not None and sleep.until <= now
    if sleep.upstreams:
        joined = tx.execute(_JOIN, {"id": task, "upstreams": json.dumps(list(sleep.upstreams))}).rowcount
        tx.known.has_joins = tx.known.has_joins or joined > 0
        there = there or not joined
    if sleep.signal is not None:
        there = there or _signalled(tx, task, sleep.signal)
    tx.freed = tx.timed = True
    if there:
        wake(tx, [task], now)


_ASLEEP: Final = """
    SELECT json_group_array(t.id) FROM json_each(?) AS sleeper CROSS JOIN taskcore_task AS t ON t.id = sleeper.value
    WHERE +t.phase = 'suspended' AND t.job IS NULL"""
_WOKEN: Final = f"UPDATE taskcore_task SET phase = {dependencies.WOKEN}, greenfield = NULL, waiting_for = NULL"
_WAKE: Final = f"""{_WOKEN} WHERE id IN (SELECT value FROM json_each(?)) AND {leaving("wake", phase="+phase")}"""
_FORGET: Final = "DELETE FROM taskcore_join WHERE task IN (SELECT value FROM json_each(?))"


def wake(tx: Transaction, tasks: Collection[int], now: float) -> list[int]:
    """Let those of them go on that sleep. → their ids."""
    ids = tx.execute(_ASLEEP, (json.dumps(list(tasks)),)).fetchall()[0][0]
    woken: list[int] = json.loads(ids)
    if woken:
        tx.execute(_WAKE, (ids,))
        _woken(tx, woken, ids, now)
    return woken


def _woken(tx: Transaction, sleepers: list[int], ids: str, now: float) -> None:
    if tx.known.has_joins:
        tx.execute(_FORGET, (ids,))
    dependencies.released(tx, sleepers, ids, now)
    serial.came_back(tx, sleepers, now)
    dependencies.propagate(tx, sleepers, now)


_WAITERS: Final = """
    SELECT json_group_array(DISTINCT j.task) FROM json_each(?) AS ended
    CROSS JOIN taskcore_join AS j ON j.upstream = ended.value"""
_MET: Final = "DELETE FROM taskcore_join WHERE upstream IN (SELECT value FROM json_each(?))"
_FREE: Final = """
    SELECT value FROM json_each(?) AS waiter
    WHERE NOT EXISTS (SELECT 1 FROM taskcore_join AS j WHERE j.task = waiter.value)"""


def ended(tx: Transaction, tasks: Collection[int], now: float) -> None:
    """These ended, in whatever way: wake whom nothing else keeps asleep."""
    ids = json.dumps(list(tasks))
    waiters = tx.execute(_WAITERS, (ids,)).fetchall()[0][0]
    if waiters != "[]":
        tx.execute(_MET, (ids,))
        wake(tx, [task for (task,) in tx.execute(_FREE, (waiters,)).fetchall()], now)


def forget(tx: Transaction, tasks: Collection[int]) -> None:
    """These wait for nothing any more: they were cancelled asleep."""
    tx.execute(_FORGET, (json.dumps(list(tasks)),))


def born(tx: Transaction, parent: int, children: Collection[int]) -> None:
    """If this parent is a body that waits for its children, it waits for these too."""
    waits = tx.execute(
        "SELECT 1 FROM taskcore_task WHERE id = ? AND phase = 'suspended' AND waiting_for = 'children' AND job IS NULL",
        (parent,),
    ).fetchone()
    if waits:
        tx.execute(_JOIN, {"id": parent, "upstreams": json.dumps(list(children))})


# -- signals -------------------------------------------------------------------------------------------------------


_WAKE_FOR: Final = f"""{_WOKEN} WHERE id = ? AND {leaving("wake")} AND waiting_for = ?"""
_RECEIVE: Final = """
    UPDATE taskcore_step SET state = 'kept', result = ?, finished_at = ?
    WHERE task = ? AND kind = 'signal' AND name = ? AND state = 'waiting'"""
_SEND: Final = "INSERT INTO taskcore_signal (task, name, payload, sent_at) VALUES (?, ?, ?, ?)"
_SLEEPS_FOR: Final = f"""
    SELECT {leaving("wake")} AND waiting_for IS ? FROM taskcore_task WHERE id = ? AND finished_at IS NULL"""


def signal(tx: Transaction, task: int, name: str, payload: str, now: float) -> bool:
    """Store a signal to a task that has not ended, and wake it if it sleeps for that: then it is the result of the call
    that waits, which the body need not take any more. → whether it was stored."""
    woken = tx.execute(_WAKE_FOR, (task, waiting_for(name))).rowcount
    if woken:
        _woken(tx, [task], f"[{task}]", now)
        if tx.execute(_RECEIVE, (payload, now, task, name)).rowcount:
            return True  # else the row of the call is lost, in a file that was saved from damage
    elif tx.execute("SELECT 1 FROM taskcore_task WHERE id = ? AND finished_at IS NULL", (task,)).fetchone() is None:
        return False
    tx.execute(_SEND, (task, name, payload, now))
    return True


class Signals:
    """Those that one transaction sends, until they are written, with a few statements for all. Whatever else may move a
    task comes after that."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._received: dict[int, tuple[str, float, int, str]] = {}  # by task, the one that wakes it
        self._others: list[tuple[int, str, str, float]] = []

    def __len__(self) -> int:
        return len(self._received) + len(self._others)

    def send(self, task: int, name: str, payload: str, now: float) -> bool:
        """As `signal`."""
        found = self._tx.execute(_SLEEPS_FOR, (waiting_for(name), task)).fetchall()
        if not found:
            return False
        if found[0][0] and task not in self._received:
            self._received[task] = (payload, now, task, name)
        else:
            self._others.append((task, name, payload, now))
        return True

    def write(self, now: float) -> None:
        """Wake who sleeps for one, and store them all."""
        tx, received, lost = self._tx, self._received, list[tuple[int, str, str, float]]()
        if received:
            ids = listed(received)
            tx.execute(_WAKE, (ids,))
            _woken(tx, list(received), ids, now)
            for payload, sent_at, task, name in received.values():
                if not tx.execute(_RECEIVE, (payload, sent_at, task, name)).rowcount:
                    lost.append((task, name, payload, sent_at))  # as in `signal`
        if lost or self._others:
            tx.executemany(_SEND, lost + self._others)
        self._received, self._others = {}, []


def waiting_for(name: str) -> str:
    """What the row of a task says that waits for this signal."""
    return f"signal {name}"


def _signalled(tx: Transaction, task: int, name: str) -> bool:
    return tx.execute("SELECT 1 FROM taskcore_signal WHERE task = ? AND name = ?", (task, name)).fetchone() is not None
