"""What a body has behind it, kept so that it need not be done again: steps, submits, sleeps and signals taken.

All of it is written under the lease token of the running task: a body that lost its lease leaves no trace.
"""

import json
import operator
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from taskcore.core.errors import LeaseLost
from taskcore.store.together import Together
from taskcore.store.transaction import Transaction


class Step(NamedTuple):
    """One row: the `n`-th call of this kind and name in the step `within`."""

    kind: str
    """step, submit, gather, sleep, signal or track."""
    place: int
    within: str
    name: str
    n: int
    attempt: int
    """Of the task, when it was done last."""
    started_at: float
    state: str
    """kept, waiting (its result is the deadline), failed or loose."""
    finished_at: float | None = None
    result: str | None = None
    child: int | None = None
    child_phase: str | None = None
    """As it was when the steps were read; `None` for a child that is no longer there."""


_PLACE: Final = operator.itemgetter(0, 2)
_LOAD: Final = """
    SELECT s.task, s.kind, s.place, s.within, s.name, s.n, s.attempt, s.started_at, s.state, s.finished_at, s.result,
        s.child, c.phase
    FROM json_each(?) AS one CROSS JOIN taskcore_step AS s ON s.task = one.value
    LEFT JOIN taskcore_task AS c ON c.id = s.child"""


def load(connection: Any, tasks: Collection[int]) -> dict[int, list[Step]]:
    """Task → all that is kept of it, in order; without those of which nothing is."""
    found = dict[int, list[Step]]()
    for row in sorted(connection.execute(_LOAD, (json.dumps(list(tasks)),)).fetchall(), key=_PLACE):
        found.setdefault(row[0], []).append(Step._make(row[1:]))
    return found


def child_began_anew(connection: sqlite3.Connection, task: int) -> bool:
    """Whether somebody gave a child of this body another life, so that it may have ended otherwise than the body knows:
    of all its attempts, only a life's last does not end by failing or lapsing."""
    row = connection.execute(
        "SELECT 1 FROM taskcore_task WHERE parent = ? AND attempts > failures + lapses + 1 LIMIT 1", (task,)
    ).fetchone()
    return row is not None


def shown(connection: sqlite3.Connection, task: int) -> list[tuple[str, str, float, float]]:
    """(name, result text, started_at, finished_at) of the steps proper."""
    return connection.execute(
        """SELECT name, result, started_at, finished_at FROM taskcore_step
           WHERE task = ? AND kind = 'step' AND (state = 'kept' OR state = 'loose') ORDER BY place""",
        (task,),
    ).fetchall()


_INTO: Final = """
    INTO taskcore_step (task, kind, place, within, name, n, attempt, started_at, state, finished_at, result, child)"""
_ROW: Final = f"{_INTO} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT: Final = f"INSERT OR REPLACE {_ROW}"
_KEEP: Final = """
    INSERT OR REPLACE INTO taskcore_step (task, kind, place, within, name, n, attempt, started_at, state, finished_at,
        result)
    SELECT id, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM taskcore_task WHERE id = ? AND phase = 'running' AND token = ?"""
"""The columns of a step that has no child, the task and its token → one row, or none if the claim is no longer held."""
_KEEP_NEW: Final = """
    INSERT INTO taskcore_step (task, kind, place, within, name, n, attempt, started_at, state, finished_at, result)
    VALUES ((SELECT id FROM taskcore_task WHERE id = ? AND phase = 'running' AND token = ?),
        'step', ?, ?, ?, ?, ?, ?, 'kept', ?, ?)"""
"""The same, the claim first, of a step proper that was done, a fifth cheaper. Breaks a constraint if something has its
place, or the claim is no longer held."""


def keep_alone(together: Together, step: Step, claim: tuple[int, int]) -> None:
    """Write a step that has no child, and with it nothing else, for whoever holds this claim of a task. `LeaseLost`."""
    if not together.run(_KEEP, step[:10] + claim):
        raise LeaseLost(*claim)


def done_alone(together: Together, step: Step, now: float, text: str, claim: tuple[int, int]) -> None:
    """The same of a step proper that was done `now`, with this result."""
    try:
        together.run(_KEEP_NEW, claim + step[1:7] + (now, text))
        return
    except sqlite3.IntegrityError:  # it has its place from an earlier run, or the claim is gone
        pass
    keep_alone(together, step._replace(state="kept", finished_at=now, result=text), claim)


# What a body has pending may be on its way into the file when the body itself writes what came of it.
_PUT_UNLESS_KEPT: Final = f"""INSERT {_ROW}
    ON CONFLICT (task, place) DO UPDATE
    SET state = excluded.state, attempt = excluded.attempt, finished_at = excluded.finished_at, result = excluded.result
    WHERE taskcore_step.state <> 'kept' AND taskcore_step.state <> 'loose'
    OR (excluded.state = 'kept' AND CAST(excluded.result AS INTEGER) > CAST(taskcore_step.result AS INTEGER))"""


def existing(connection: sqlite3.Connection, tasks: Collection[int]) -> set[int]:
    """Those of the tasks that are in the file."""
    return {
        task
        for (task,) in connection.execute(
            "SELECT t.id FROM json_each(?) AS one CROSS JOIN taskcore_task AS t ON t.id = one.value",
            (json.dumps(list(tasks)),),
        ).fetchall()
    }


def put(tx: Transaction, task: int, step: Step) -> None:
    """Write this step, for whoever holds the task's claim. A failure never replaces what was kept, nor an earlier count
    of tracked items a later one."""
    behind = step.state == "failed" or step.kind == "track"
    tx.execute(_PUT_UNLESS_KEPT if behind else _PUT, (task, *step[:11]))


_HOLDS: Final = "SELECT 1 FROM taskcore_task WHERE id = ? AND phase = 'running' AND token = ?"


def holds(connection: sqlite3.Connection, task: int, token: int) -> bool:
    """Whether the claim is still held."""
    return bool(connection.execute(_HOLDS, (task, token)).fetchall())


def must_hold(tx: Transaction, task: int, token: int) -> None:
    """`LeaseLost` if the claim is no longer held: nothing may be written for it."""
    if tx.execute(_HOLDS, (task, token)).fetchone() is None:
        raise LeaseLost(task, token)


def keep(
    tx: Transaction, task: int, token: int, steps: Sequence[Step], drop: str | None = None, saved: str | None = None
) -> None:
    """Write these steps, and what was `saved` in them; forget what was kept in the scope `drop`. `LeaseLost`."""
    must_hold(tx, task, token)
    if saved is not None:
        tx.execute(_SHOW["result"], (saved, task))
    for step in steps:
        put(tx, task, step)
    if drop is not None:
        tx.execute("DELETE FROM taskcore_step WHERE task = ? AND substr(within, 1, ?) = ?", (task, len(drop), drop))


def is_kept(tx: Transaction, task: int, token: int, step: Step) -> bool:
    """Whether this step was done meanwhile, under this very claim: an executor may run a call twice. `LeaseLost`."""
    must_hold(tx, task, token)
    rows = tx.execute(
        "SELECT 1 FROM taskcore_step WHERE task = ? AND place = ? AND state = 'kept'", (task, step.place)
    ).fetchall()
    return bool(rows)


def loosen(tx: Transaction, task: int, token: int, places: Collection[int]) -> None:
    """Another course was taken: these steps need not come in their order any more; failed ones are forgotten."""
    must_hold(tx, task, token)
    ids = json.dumps(list(places))
    tx.execute(
        """DELETE FROM taskcore_step
           WHERE task = ? AND state <> 'kept' AND place IN (SELECT value FROM json_each(?))""",
        (task, ids),
    )
    tx.execute(
        """UPDATE taskcore_step SET state = 'loose'
           WHERE task = ? AND state = 'kept' AND place IN (SELECT value FROM json_each(?))""",
        (task, ids),
    )


def move(tx: Transaction, task: int, token: int, before: int, steps: Sequence[Step]) -> None:
    """A loose step was come to after all: the last of these, it takes its new place."""
    keep(tx, task, token, steps)
    tx.execute("DELETE FROM taskcore_step WHERE task = ? AND place = ?", (task, before))


_SENT: Final = """
    SELECT EXISTS (SELECT 1 FROM taskcore_signal AS s WHERE s.task = t.id AND s.name = ?) FROM taskcore_task AS t
    WHERE t.id = ? AND t.phase = 'running' AND t.token = ?"""


def is_signalled(connection: sqlite3.Connection, task: int, token: int, name: str) -> bool:
    """Whether there is a signal of this name to take. `LeaseLost`."""
    rows = connection.execute(_SENT, (name, task, token)).fetchall()
    if not rows:
        raise LeaseLost(task, token)
    return bool(rows[0][0])


def take_signal(tx: Transaction, task: int, token: int, name: str, steps: Sequence[Step]) -> str | None:
    """The oldest signal of this name, taken: it is the last step's result from now on, and nobody else's. → its
    payload, or `None`, and nothing is written."""
    must_hold(tx, task, token)
    row = tx.execute(
        "SELECT id, payload FROM taskcore_signal WHERE task = ? AND name = ? ORDER BY id LIMIT 1", (task, name)
    ).fetchone()
    if row is None:
        return None
    tx.execute("DELETE FROM taskcore_signal WHERE id = ?", (row[0],))
    for step in (*steps[:-1], steps[-1]._replace(result=row[1])):
        put(tx, task, step)
    payload: str = row[1]
    return payload


TRY_AGAIN: Final = "UPDATE taskcore_step SET attempt = 0 WHERE task = :id AND (kind <> 'step' OR state <> 'kept')"
"""A body that asked to come back later: as after a failure, what failed in it is done again."""

FORGET: Final = (
    "DELETE FROM taskcore_step WHERE task IN (SELECT value FROM json_each(:ids))",
    "DELETE FROM taskcore_signal WHERE task IN (SELECT value FROM json_each(:ids))",
)
"""What a task forgets that runs again after it succeeded."""

WAIT_ANEW: Final = """
    UPDATE taskcore_step SET state = 'failed', attempt = 0
    WHERE state = 'waiting' AND result IS NOT NULL AND task IN (SELECT value FROM json_each(:ids))"""
"""Whoever cancelled a task that waited for a signal gives it the whole time again with another life."""


# -- what is shown of a running body -------------------------------------------------------------------------------

LINES: Final = 200
"""Lines of a task's log that are kept, the newest."""

Line = tuple[float, str, str]
"""(at, level, text)"""


class Notes(NamedTuple):
    """What one running body has to show since the last time."""

    id: int
    token: int
    columns: dict[str, Any]
    """progress, message, label, step: column → new value; result → it, or a function that gives the newest one, so that
    an older one never comes after it."""
    lines: list[Line]
    steps: list[Step]


_SHOW: Final = {
    column: f"UPDATE taskcore_task SET {column} = ? WHERE id = ?"
    for column in ("progress", "message", "label", "step", "result")
}


def note(tx: Transaction, notes: Sequence[Notes]) -> list[int]:
    """Write them, but for those whose claim is no longer held. → the tasks whose label changed."""
    relabelled = []
    for each in notes:
        if tx.execute(_HOLDS, (each.id, each.token)).fetchone() is None:
            continue
        for column, value in each.columns.items():
            tx.execute(_SHOW[column], (value() if callable(value) else value, each.id))
        if "label" in each.columns:
            relabelled.append(each.id)
        for line in each.lines:
            tx.execute(
                """INSERT INTO taskcore_log (task, line, at, level, text)
                   SELECT :task, ifnull(max(line), 0) + 1, :at, :level, :text FROM taskcore_log WHERE task = :task""",
                {"task": each.id, "at": line[0], "level": line[1], "text": line[2]},
            )
        if each.lines:
            tx.execute(
                """DELETE FROM taskcore_log WHERE task = :task
                   AND line <= (SELECT max(line) FROM taskcore_log WHERE task = :task) - :lines""",
                {"task": each.id, "lines": LINES},
            )
        for step in each.steps:
            put(tx, each.id, step)
    return relabelled


def saved(connection: sqlite3.Connection, task: int) -> str | None:
    """What the body saved before, as text."""
    row = connection.execute("SELECT result FROM taskcore_task WHERE id = ?", (task,)).fetchone()
    return None if row is None else row[0]


