"""Tasks that run one at a time: those of one serial value stand in a queue, and only the first may be released."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from taskcore.store import dependencies
from taskcore.store.transaction import Transaction
from taskcore.store.transitions import where_left


def occupied(tx: Transaction, serial: str) -> bool:
    """Whether a task of this value has not ended."""
    return tx.execute("SELECT 1 FROM taskcore_queue WHERE serial = ? LIMIT 1", (serial,)).fetchone() is not None


def enqueue(tx: Transaction, rows: Collection[tuple[str, int, int]]) -> None:
    """(serial, place, task): their `behind` says already whether somebody stands before them."""
    tx.executemany("INSERT INTO taskcore_queue (serial, place, task) VALUES (?, ?, ?)", rows)
    tx.known.has_queues = True


def again(tx: Transaction, tasks: Collection[int]) -> None:
    """Tasks that wait for a new life go to the end of their queues."""
    for task, value in tx.execute(
        """SELECT t.id, t.serial FROM json_each(?) AS anew CROSS JOIN taskcore_task AS t ON t.id = anew.value
           WHERE t.serial IS NOT NULL ORDER BY t.id""",
        (json.dumps(list(tasks)),),
    ).fetchall():
        tx.execute(
            "UPDATE taskcore_task SET behind = :now, blockers = blockers + :now - behind WHERE id = :id",
            {"id": task, "now": int(occupied(tx, value))},
        )
        _to_the_end(tx, value, task)


def _to_the_end(tx: Transaction, value: str, task: int) -> int:
    """→ a place of its own, behind all that are there and before all that come: no later task gets this number."""
    tx.known.last_id = place = tx.known.last_id + 1
    tx.execute("UPDATE taskcore_meta SET value = ? WHERE key = 'last_id'", (place,))
    enqueue(tx, [(value, place, task)])
    return place


# Who cannot end before one of these has (`waits` 1), or not even begin (2): what depends on it; a job that it is a part
# of; the children of a job that must not begin. Of those, who has not begun and is in this queue.
_WAITING: Final = """
    WITH RECURSIVE below (id, waits) AS (
        SELECT value, 2 FROM json_each(:ids)
        UNION
        SELECT t.id, 2 FROM below CROSS JOIN taskcore_edge AS e ON e.upstream = below.id AND e.verdict = 'unmet'
        CROSS JOIN taskcore_task AS t ON t.id = e.task AND t.finished_at IS NULL WHERE below.waits > 0
        UNION
        SELECT p.id, p.job IS NOT NULL FROM below CROSS JOIN taskcore_task AS t ON t.id = below.id
        CROSS JOIN taskcore_task AS p ON p.id = t.parent
        UNION
        SELECT c.id, 2 FROM below CROSS JOIN taskcore_task AS c
        ON c.parent = below.id AND c.gated = 1 AND c.finished_at IS NULL WHERE below.waits = 2
    )
    SELECT DISTINCT q.place, q.task FROM below
    CROSS JOIN taskcore_queue AS q ON q.task = below.id AND q.serial = :serial
    CROSS JOIN taskcore_task AS t ON t.id = q.task AND +t.phase NOT IN ('running', 'suspended')
    WHERE below.waits > 0 AND (t.job IS NULL OR t.waiting_for IS NOT 'children') ORDER BY q.place"""
_STAND_BEHIND: Final = f"""
    UPDATE taskcore_task SET behind = 1, blockers = blockers + 1,
        phase = {where_left("block")}
    WHERE id IN (SELECT value FROM json_each(?)) AND behind = 0"""
_PLACES: Final = """
    SELECT q.serial, q.place, q.task FROM json_each(?) AS one CROSS JOIN taskcore_queue AS q ON q.task = one.value"""
_WRONG: Final = """
    SELECT DISTINCT own.task FROM json_each(?) AS one CROSS JOIN taskcore_queue AS own ON own.task = one.value
    CROSS JOIN taskcore_edge AS e ON e.upstream = own.task AND e.verdict = 'unmet'
    CROSS JOIN taskcore_queue AS q ON q.task = e.task AND q.serial = own.serial AND q.place < own.place"""


def give_way(tx: Transaction, tasks: Collection[int], now: float) -> None:
    """These came to the end of their queues. Who waits for the end of one of them must not stand before it, for both
    would wait for ever: it goes to the end, too."""
    if not (tx.known.has_queues and tx.known.has_edges):
        return
    queues: dict[str, dict[int, int]] = {}
    for value, place, task in tx.execute(_PLACES, (json.dumps(list(tasks)),)).fetchall():
        queues.setdefault(value, {})[task] = place
    for value, places in queues.items():
        if _let_pass(tx, value, places, set(places)):
            _advance(tx, [value], now)
    wrong = tx.execute(_WRONG, (json.dumps(list(tasks)),)).fetchall() if len(tasks) > 1 else []
    for (task,) in wrong:  # that waits for another of these
        give_way(tx, [task], now)


def _let_pass(tx: Transaction, value: str, places: dict[int, int], seen: set[int]) -> bool:
    """→ whether somebody had to. None does twice: what waits for itself, through a job say, nobody can help."""
    last = max(places.values())
    waiting = tx.execute(_WAITING, {"ids": json.dumps(list(places)), "serial": value}).fetchall()
    moved = [task for place, task in waiting if place < last and task not in seen]
    if moved:
        tx.execute(_LEAVE, (json.dumps(moved),))
        tx.uncount(json.dumps(moved))
        tx.execute(_STAND_BEHIND, (json.dumps(moved),))
        seen.update(moved)
        _let_pass(tx, value, {task: _to_the_end(tx, value, task) for task in moved}, seen)
    return bool(moved)


# What a task waits for: what it depends on, its job to open, the end of what is below.
_NEEDED: Final = """
    WITH RECURSIVE above (id, ends) AS (
        VALUES (:task, 1)
        UNION
        SELECT e.upstream, 1 FROM above CROSS JOIN taskcore_edge AS e ON e.task = above.id AND e.verdict = 'unmet'
        UNION
        SELECT t.parent, 0 FROM above CROSS JOIN taskcore_task AS t ON t.id = above.id AND t.gated = 1
        UNION
        SELECT c.id, 1 FROM above
        CROSS JOIN taskcore_task AS c ON c.parent = above.id AND c.finished_at IS NULL WHERE above.ends
    )
    SELECT DISTINCT q.task FROM above CROSS JOIN taskcore_queue AS q ON q.task = above.id ORDER BY q.place"""


def needed(tx: Transaction, task: int, now: float) -> None:
    """Something else waits for this task from now on, and so for all that it waits for itself: it must not stand before
    any of that in its queue."""
    if tx.known.has_queues and tx.known.has_edges:
        for (other,) in tx.execute(_NEEDED, {"task": task}).fetchall():
            give_way(tx, [other], now)


_BACK: Final = """
    SELECT q.task FROM json_each(?) AS back CROSS JOIN taskcore_queue AS q ON q.task = back.value
    CROSS JOIN taskcore_task AS t ON t.id = q.task WHERE t.blockers > t.behind + t.gated"""


def came_back(tx: Transaction, tasks: Collection[int], now: float) -> None:
    """These ran or slept, and wait again. Meanwhile something that they depend on may have come into their queue anew,
    behind them: then they go behind it, for both would wait for ever."""
    if tx.known.has_queues and tx.known.has_edges:
        for (task,) in tx.execute(_BACK, (json.dumps(list(tasks)),)).fetchall():
            needed(tx, task, now)


_LEAVING: Final = """
    SELECT json_group_array(json_array(q.serial, q.place, t.id, t.phase = 'failed'
        AND ifnull(k.options->>'serial_failure', 'clear') = 'clear'))
    FROM json_each(?) AS ended CROSS JOIN taskcore_queue AS q ON q.task = ended.value
    CROSS JOIN taskcore_task AS t ON t.id = q.task CROSS JOIN taskcore_kind AS k ON k.id = t.kind"""
_LEAVE: Final = "DELETE FROM taskcore_queue WHERE task IN (SELECT value FROM json_each(?))"
_BEHIND: Final = """
    SELECT q.task FROM taskcore_queue AS q CROSS JOIN taskcore_task AS t ON t.id = q.task
    WHERE q.serial = ? AND q.place > ? AND t.behind = 1"""
_ADVANCE: Final = """
    UPDATE taskcore_task SET behind = 0, blockers = blockers - 1 WHERE behind = 1 AND id IN (
        SELECT (SELECT q.task FROM taskcore_queue AS q WHERE q.serial = freed.value ORDER BY q.place LIMIT 1)
        FROM json_each(?) AS freed
    ) RETURNING id"""


def ended(tx: Transaction, tasks: Collection[int], now: float) -> None:
    """These ended: the next in their queues may go on, or all behind one that failed are skipped."""
    ids = json.dumps(list(tasks))
    leaving = json.loads(tx.execute(_LEAVING, (ids,)).fetchall()[0][0])
    if not leaving:
        return
    tx.execute(_LEAVE, (ids,))
    for value, place, task, clear in leaving:
        behind = [other for (other,) in tx.execute(_BEHIND, (value, place)).fetchall()] if clear else []
        if behind:
            skipped = dependencies.skip(tx, json.dumps([(other, task) for other in behind]), now)
            dependencies.propagate(tx, skipped, now)
    _advance(tx, {row[0] for row in leaving}, now)


def _advance(tx: Transaction, values: Collection[str], now: float) -> None:
    """The first of each of these queues may go on."""
    first = [task for (task,) in tx.execute(_ADVANCE, (json.dumps(sorted(values)),)).fetchall()]
    if first:
        dependencies.release(tx, first, now)
