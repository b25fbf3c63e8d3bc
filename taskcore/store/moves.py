"""Claims and reports: the verbs that move tasks into and out of `running`.

Whoever reports shows the lease token. A report whose token is not the current one changes nothing.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from taskcore.store import settle, steps, suspension
from taskcore.store.capacity import AVOIDED, Rations, Wanted
from taskcore.store.suspension import Suspension
from taskcore.store.transaction import Transaction

# -- claiming -------------------------------------------------------------------------------------------------------

_ORDER: Final = "ORDER BY priority DESC, ahead DESC, id"
# One row with all of it: each row fetched would give the interpreter's lock away and ask for it again.
_DETAILS: Final = """
    SELECT json_group_array(json_array(
        id, token, kind, CASE WHEN length(args) < 10000 THEN args END, links, failures, lapses, attempts,
        result IS NOT NULL
    )) FROM (
        SELECT id, token, kind, args, links, failures, lapses, attempts, result FROM taskcore_task """
_NEXT_OF_ONE: Final = f"{_DETAILS} WHERE kind = :kind AND phase = 'ready' {_ORDER} LIMIT :n)"
_THESE: Final = f"{_DETAILS} WHERE id IN (SELECT value FROM json_each(:ids)) {_ORDER})"
# One seek a kind, however many tasks of a kind that may not run stand in front.
_NEXT_OF_SOME: Final = f"""
        SELECT -priority AS p, -ahead AS a, id, ? AS place FROM (
            SELECT priority, ahead, id FROM taskcore_task AS t WHERE kind = ? AND phase = 'ready'
            AND (? IS NULL OR ? NOT IN ({AVOIDED}))
            {_ORDER} LIMIT ?
        )"""
_AT_ONCE: Final = 100
"""Kinds that one statement looks at; SQLite takes no more than 500."""


@functools.cache
def _next_of(kinds: int) -> str:
    return f"SELECT json_group_array(json_array(p, a, id, place)) FROM ({' UNION ALL '.join([_NEXT_OF_SOME] * kinds)})"


def _next(tx: Transaction, kinds: Sequence[Wanted], n: int, rations: Rations | None) -> list[int]:
    """The ids that are next in the order of the queue, over several kinds.

    Of each kind no more is read than its share, twice over. Where a kind has more than that, what comes behind the last
    that was read is not known, and left to the next turn.
    """
    share = max(16, 2 * n // len(kinds))
    found: list[list[int]] = []
    for start in range(0, len(kinds), _AT_ONCE):
        some = kinds[start : start + _AT_ONCE]
        values: list[Any] = []
        for place, (kind, most, avoid) in enumerate(some, start):
            values += (place, kind, avoid, avoid, min(most, share))
        found += json.loads(tx.execute(_next_of(len(some)), values).fetchall()[0][0])
    found.sort()
    seen = [0] * len(kinds)
    chosen = []
    for *_, task, place in found:
        seen[place] += 1
        if rations is None or rations.take(kinds[place][0], task):
            chosen.append(task)
        if len(chosen) == n:
            break
        if seen[place] == share < kinds[place][1]:
            tx.left = True
            break
    return chosen


_CLAIM: Final = """
    UPDATE taskcore_task SET
        phase = 'running', token = token + 1, attempts = attempts + 1, worker = :worker, greenfield = :lease_end,
        started_at = :now, first_started_at = ifnull(first_started_at, :now), progress = NULL
    WHERE id IN (SELECT value FROM json_each(:ids))"""
class Claimed(NamedTuple):
    """A task as its claim found it. `inputs`: upstream id → (verdict, result text) of its links."""

    id: int
    token: int
    kind: int
    args: Any  # text; None only on the way
    links: str | None
    failures: int
    lapses: int
    attempts: int
    saved: Any = False
    """Whether a body saved something before."""
    inputs: dict[int, tuple[str, str | None]] | None = None


def claim(
    tx: Transaction, kinds: Sequence[Wanted], n: int, worker: int, now: float, lease_end: float
) -> list[Claimed]:
    """Take up to `n` ready tasks in the order of the queue, as far as capacities, limits, rates and holds allow.

    `kinds` are those that may be taken: (kind, at most so many of it, a worker: without what failed on that one).
    """
    rations = Rations(tx, now) if tx.known.rationed else None
    if rations is not None:
        kinds = rations.admit(kinds)
    text = _ready(tx, kinds, n, rations) if kinds and n > 0 else "[]"
    rows = json.loads(text) if text != "[]" else []
    if rations is not None:
        rations.claimed([row[2] for row in rows])
        tx.short, tx.until = rations.short, rations.until
    if not rows:
        return []
    ids = json.dumps([row[0] for row in rows])
    tx.execute(_CLAIM, {"ids": ids, "worker": worker, "now": now, "lease_end": lease_end})
    claimed = [_filled(tx, Claimed(i, t + 1, k, a, ln, f, ls, n + 1, s)) for i, t, k, a, ln, f, ls, n, s in rows]
    if tx.known.has_guards:
        settle.moved(tx, [task.id for task in claimed], now)
        claimed = _without_guarded(tx, claimed, ids, now)
    return claimed


def _ready(tx: Transaction, kinds: Sequence[Wanted], n: int, rations: Rations | None) -> str:
    """The details of those that are next."""
    if len(kinds) == 1 and kinds[0][2] is None and (rations is None or rations.simple(kinds[0])):
        kind, most, _ = kinds[0]
        text: str = tx.execute(_NEXT_OF_ONE, {"kind": kind, "n": min(n, most)}).fetchall()[0][0]
        return text
    chosen = _next(tx, kinds, n, rations)
    return tx.execute(_THESE, {"ids": json.dumps(chosen)}).fetchall()[0][0] if chosen else "[]"


def _filled(tx: Transaction, task: Claimed) -> Claimed:
    """With what did not come with the rest: long arguments, and the results that are linked to."""
    if task.args is None:
        (args,) = tx.execute("SELECT args FROM taskcore_task WHERE id = ?", (task.id,)).fetchone()
        task = task._replace(args=args)
    return task if task.links is None else task._replace(inputs=inputs(tx.execute, task.id))


def holding(tx: Transaction, task_id: int, token: int) -> Claimed | None:
    """The claim of this token as it was made, if it is held."""
    if not tx.execute(_HELD, (json.dumps([(task_id, token)]),)).fetchall():
        return None
    (row,) = json.loads(tx.execute(_THESE, {"ids": json.dumps([task_id])}).fetchall()[0][0])
    return _filled(tx, Claimed(*row))


def inputs(execute: Any, task_id: int) -> dict[int, tuple[str, str | None]]:
    """What this task's dependencies gave: upstream id → (verdict, result text)."""
    rows = execute(
        """SELECT e.upstream, CASE WHEN u.job IS NULL THEN e.verdict ELSE e.verdict || ' job' END, u.result
           FROM taskcore_edge AS e
           CROSS JOIN taskcore_task AS u ON u.id = e.upstream WHERE e.task = ?""",
        (task_id,),
    ).fetchall()
    return {upstream: (verdict, result) for upstream, verdict, result in rows}


def _without_guarded(tx: Transaction, claimed: list[Claimed], ids: str, now: float) -> list[Claimed]:
    """One batch may have claimed A and B where B wants A "pending": B goes back, as if it had come a moment later."""
    blocked = tx.execute(
        """SELECT t.id, t.token FROM json_each(?) AS claimed
           CROSS JOIN taskcore_task AS t ON t.id = claimed.value WHERE t.blockers > 0""",
        (ids,),
    ).fetchall()
    if blocked:
        give_back(tx, blocked, now)
    gone = {task for task, _ in blocked}
    return [task for task in claimed if task.id not in gone]


_HELD: Final = """
    SELECT t.id, t.cancel_requested_at IS NOT NULL FROM json_each(?) AS claim
    CROSS JOIN taskcore_task AS t ON t.id = claim.value->>0
    WHERE +t.phase = 'running' AND t.token = claim.value->>1"""


def give_back(tx: Transaction, claims: Collection[tuple[int, int]], now: float) -> list[int]:
    """Claims (id, token) that never began: as if they had not been. → the ids of those that were held."""
    held = tx.execute(_HELD, (json.dumps(list(claims)),)).fetchall()
    tasks = [task for task, _ in held]
    tx.execute(
        """UPDATE taskcore_task SET greenfield = NULL, attempts = attempts - 1, worker = NULL, label = NULL,
               phase = CASE WHEN cancel_requested_at IS NULL THEN 'waiting' ELSE 'cancelled' END,
               finished_at = CASE WHEN cancel_requested_at IS NOT NULL THEN ? END,
               started_at = CASE WHEN attempts > 1 THEN started_at END,
               first_started_at = CASE WHEN attempts > 1 THEN first_started_at END
           WHERE id IN (SELECT value FROM json_each(?))""",
        (now, json.dumps(tasks)),
    )
    cancelled = [task for task, cancel_requested in held if cancel_requested]
    tx.ended.extend(cancelled)
    tx.fresh.extend(cancelled)
    settle.released(tx, tasks, now)
    return tasks


def renew(tx: Transaction, worker: int, before: float, lease_end: float) -> None:
    """Move the end of this worker's leases that end before `before`."""
    tx.execute(
        """UPDATE taskcore_task SET greenfield = ?
           WHERE phase = 'running' AND greenfield < ? AND worker = ? AND phase NOT IN ('ready', 'succeeded')""",
        (lease_end, before, worker),
    )


# -- reports -------------------------------------------------------------------------------------------------------

_AT_A_TIME: Final = (1, 8, 32, 128)
"""Rows of one settling statement. Few sizes, so that each stays prepared; a batch is filled up with rows of no task."""
_NO_TASK: Final = (None, None, None, None)


@functools.cache
def _succeed(rows: int) -> str:
    return f"""
    UPDATE taskcore_task SET
        phase = 'succeeded', label = done.label, finished_at = ?, greenfield = NULL, result = done.result,
        last_error = NULL, progress = 1.0
    FROM (
        WITH d (id, token, result, label) AS (VALUES {", ".join(["(?, ?, ?, ?)"] * rows)}) SELECT * FROM d
    ) AS done
    WHERE taskcore_task.id = done.id AND +taskcore_task.phase = 'running' AND taskcore_task.token = done.token"""


class Success(NamedTuple):
    """A claim's good end: the result as text, and a label of phase succeeded or `None`."""

    id: int
    token: int
    result: str
    label: str | None = None


class StaleReport(Exception):
    """Some of a batch are no longer held: begin again, and look which."""


def succeed(tx: Transaction, batch: Sequence[Success], now: float, *, look_first: bool = False) -> set[int]:
    """End these as succeeded. → the ids that were no longer held.

    A statement that settles many counts them but does not tell which. So this raises `StaleReport` when the count
    is short, and the caller, whose transaction is rolled back by that, comes again with `look_first`.
    """
    stale: set[int] = set()
    if look_first:
        held = {task for task, _ in tx.execute(_HELD, (json.dumps([done[:2] for done in batch]),)).fetchall()}
        stale = {done.id for done in batch if done.id not in held}
        batch = [done for done in batch if done.id in held]
    for start in range(0, len(batch), _AT_A_TIME[-1]):
        part = batch[start : start + _AT_A_TIME[-1]]
        rows = next(rows for rows in _AT_A_TIME if rows >= len(part))
        values: list[Any] = [value for done in part for value in done]
        values += _NO_TASK * (rows - len(part))
        if tx.execute(_succeed(rows), (now, *values)).rowcount != len(part):
            raise StaleReport
    settle.succeeded(tx, [done.id for done in batch], now)
    return stale


class Failure(NamedTuple):
    """A claim's other end. `verb` is fail, retry, snooze, give back, obey or lapse."""

    id: int
    token: int
    verb: str
    error_type: str | None = None
    error: str | None = None
    traceback: str | None = None
    delay: float = 0.0
    label: str | None = None
    result: str | None = None
    ahead: bool = False


_HOLDS: Final = """
    SELECT attempts, worker, started_at, cancel_requested_at IS NOT NULL FROM taskcore_task
    WHERE id = ? AND phase = 'running' AND token = ?"""
_ATTEMPT: Final = """
    INSERT OR REPLACE INTO taskcore_attempt
        (task, number, worker, started_at, finished_at, outcome, error_type, error, traceback)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_OBEY: Final = """
    UPDATE taskcore_task SET phase = 'cancelled', finished_at = :now, greenfield = NULL, label = NULL,
        last_error = ifnull(:error, last_error)
    WHERE id = :id"""
_FAIL: Final = """
    UPDATE taskcore_task SET phase = 'failed', label = :label, finished_at = :now, greenfield = NULL,
        failures = failures + 1, result = ifnull(:result, result), last_error = :error
    WHERE id = :id"""
_RETRY: Final = """
    UPDATE taskcore_task SET phase = 'waiting', greenfield = :at, waiting_for = 'backoff', worker = NULL, label = NULL,
        failures = failures + 1, ahead = :ahead, last_error = :error
    WHERE id = :id"""
_SNOOZE: Final = """
    UPDATE taskcore_task SET phase = 'waiting', greenfield = :at, waiting_for = 'snooze', worker = NULL, label = NULL,
        attempts = attempts - 1
    WHERE id = :id"""


def report(tx: Transaction, end: Failure | Suspension, now: float) -> bool:
    """Any end but success. → False, and nothing changed, if the claim is no longer held.

    A request to cancel wins over all of these but a result that was returned under a label of phase failed.
    """
    row = tx.execute(_HOLDS, (end.id, end.token)).fetchone()
    if row is None:
        return False
    attempts, worker, started_at, cancel_requested = row
    if isinstance(end, Suspension):
        if not cancel_requested:
            suspension.suspend(tx, end, now)
            settle.moved(tx, [end.id], now)
            return True
        end = Failure(end.id, end.token, "obey")
    if end.verb == "lapse":
        lapse(tx, [end.id], now, end.error or "its process died")
        return True
    if end.verb == "give back":
        return bool(give_back(tx, [(end.id, end.token)], now))
    verb = "obey" if cancel_requested and end.result is None else end.verb
    text = end.error if end.error_type is None or end.error is None else f"{end.error_type}: {end.error}"
    values = {
        "id": end.id, "now": now, "at": now + end.delay, "error": text, "label": end.label, "result": end.result,
        "ahead": end.ahead,
    }  # fmt: skip
    if verb == "snooze":
        tx.execute(_SNOOZE, values)
        tx.execute(steps.TRY_AGAIN, {"id": end.id})
    else:
        outcome = "cancelled" if verb == "obey" else "failed"
        tx.execute(
            _ATTEMPT,
            (end.id, attempts, worker, started_at, now, outcome, end.error_type, end.error, end.traceback),
        )
        tx.execute({"obey": _OBEY, "fail": _FAIL, "retry": _RETRY}[verb], values)
    if verb in ("retry", "snooze"):
        settle.released(tx, [end.id], now)
    else:
        tx.ended.append(end.id)
        tx.fresh.append(end.id)
        settle.moved(tx, [end.id], now)
    return True


def extend(tx: Transaction, task_id: int, token: int, until: float) -> float | None:
    """→ the new end of the lease, never earlier than the old one; `None` if it is no longer held."""
    rows = tx.execute(
        """UPDATE taskcore_task SET greenfield = max(greenfield, ?)
           WHERE id = ? AND phase = 'running' AND token = ? RETURNING greenfield""",
        (until, task_id, token),
    ).fetchall()
    return rows[0][0] if rows else None


# -- lapses --------------------------------------------------------------------------------------------------------


_RUNNING: Final = """
    SELECT t.id FROM json_each(?) AS silent
    CROSS JOIN taskcore_task AS t ON t.id = silent.value WHERE +t.phase = 'running'"""


def lapse(tx: Transaction, tasks: Collection[int], now: float, why: str) -> None:
    """Running tasks whose holder died or fell silent: again, or failed for good at the cap. A cancel request wins."""
    tasks = [task for (task,) in tx.execute(_RUNNING, (json.dumps(list(tasks)),)).fetchall()]
    ids = json.dumps(tasks)
    tx.execute(
        """INSERT OR REPLACE INTO taskcore_attempt (task, number, worker, started_at, finished_at, outcome, error)
           SELECT t.id, t.attempts, t.worker, t.started_at, :now, 'lapsed', :why
           FROM json_each(:ids) AS dead CROSS JOIN taskcore_task AS t ON t.id = dead.value""",
        {"ids": ids, "now": now, "why": why},
    )
    tx.execute(
        """UPDATE taskcore_task SET lapses = lapses + 1, label = NULL, last_error = CASE
               WHEN lapses >= (SELECT k.max_lapses FROM taskcore_kind AS k WHERE k.id = kind)
               THEN 'lost: ' || :why || ' (' || (lapses + 1) || ' times)' ELSE :why END,
           phase = CASE WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'
               WHEN lapses >= (SELECT k.max_lapses FROM taskcore_kind AS k WHERE k.id = kind) THEN 'failed'
               ELSE 'waiting' END,
           finished_at = CASE WHEN cancel_requested_at IS NOT NULL
               OR lapses >= (SELECT k.max_lapses FROM taskcore_kind AS k WHERE k.id = kind) THEN :now END,
           greenfield = NULL, worker = NULL
           WHERE id IN (SELECT value FROM json_each(:ids))""",
        {"ids": ids, "now": now, "why": why},
    )
    over = tx.execute(
        """SELECT t.id FROM json_each(?) AS dead
           CROSS JOIN taskcore_task AS t ON t.id = dead.value WHERE t.finished_at IS NOT NULL""",
        (ids,),
    ).fetchall()
    tx.ended.extend(task for (task,) in over)
    tx.fresh.extend(task for (task,) in over)
    settle.released(tx, tasks, now)
