"""Reports: how claims end, and what becomes of the claims of workers that died.

Whoever reports shows the lease token. A report whose token is not the current one changes nothing.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Sequence
from typing import Any, Final

from taskcore.core.ends import Outcome
from taskcore.core.text import error_line
from taskcore.store import claims, schema, settle, steps, suspension
from taskcore.store.busy import OF_A_ROW
from taskcore.store.claims import HELD
from taskcore.store.connection import File
from taskcore.store.ids import listed
from taskcore.store.transaction import Transaction
from taskcore.store.transitions import LEFT, by_row, leaving, target

_END: Final = f"""
    UPDATE taskcore_task SET
        phase = {target("succeed")}, label = nullif({{label}}, ''), finished_at = {{now}}, greenfield = NULL,
        result = {{result}}, last_error = NULL, progress = 1.0
    """
_END_OF_ONE: Final = _END.format(label=":label", now=":now", result=":result")
_END_OF_MANY: Final = _END.format(label="done.label", now="?", result="done.result")
# No label is '': a None costs `sqlite3` three times as much as a text, for it looks for an adapter first.
_SUCCEED_ONE: Final = f"""{_END_OF_ONE}
    WHERE id = :id AND token = :token AND {leaving("succeed", phase="+phase")}"""
_SUCCEED_ALONE: Final = f"""{_SUCCEED_ONE} AND parent IS NULL AND serial IS NULL
    AND NOT EXISTS (SELECT 1 FROM taskcore_edge WHERE upstream = :id)
    AND NOT EXISTS (SELECT 1 FROM taskcore_join WHERE upstream = :id)
    AND EXISTS (SELECT 1 FROM taskcore_meta WHERE key = 'format' AND value = '{schema.FORMAT}')"""
_END_ALIKE: Final = _END.format(label="?", now="?", result="?")
_SUCCEED_ALIKE: Final = f"""{_END_ALIKE}
    WHERE id IN (SELECT value FROM json_each(?)) AND {leaving("succeed", phase="+phase")} AND token = ?"""
_MANY_ALIKE: Final = 32
"""Ends that differ in their tasks only, from which on one statement says for all of them what they are."""
_AT_A_TIME: Final = (8, 32, 128)
"""Rows of one settling statement. Few sizes, so that each stays prepared; a batch is filled up with rows of no task."""
_NO_TASK: Final = (0, 0, "", "")


@functools.cache
def _succeed(rows: int) -> str:
    return f"""{_END_OF_MANY}
    FROM (
        WITH d (id, token, result, label) AS (VALUES {", ".join(["(?, ?, ?, ?)"] * rows)}) SELECT * FROM d
    ) AS done
    WHERE taskcore_task.id = done.id AND {leaving("succeed", phase="+taskcore_task.phase")}
        AND taskcore_task.token = done.token"""


def _one(done: Outcome, now: float) -> dict[str, Any]:
    return {"id": done.id, "token": done.token, "result": done.result, "label": done.label or "", "now": now}


class StaleReport(Exception):
    """Some of a batch are no longer held: begin again, and look which."""


def succeed(tx: Transaction, batch: Sequence[Outcome], now: float, *, look_first: bool = False) -> set[tuple[int, int]]:
    """End these as succeeded. → the claims (id, token) that were no longer held: a task that was taken from its worker
    may have been claimed by the same one again, and both bodies return.

    Those that differ in their tasks only are settled together, which costs two thirds. A statement that settles many
    counts them but does not tell which. So this raises `StaleReport` when the count is short, and the caller, whose
    transaction is rolled back by that, comes again with `look_first`.
    """
    stale: set[tuple[int, int]] = set()
    if look_first:
        claims = [done[:2] for done in batch]
        held = set(tx.execute(HELD, (json.dumps(claims),)).fetchall())
        stale = set(claims) - held
        batch = [done for done in batch if done[:2] in held]
    if len(batch) == 1:
        changed = tx.execute(_SUCCEED_ONE, _one(batch[0], now)).rowcount
    else:
        changed = _succeed_some(tx, batch, now)
    if changed != len(batch):
        raise StaleReport
    settle.succeeded(tx, batch, now)
    return stale


def _succeed_some(tx: Transaction, batch: Sequence[Outcome], now: float) -> int:
    """→ how many were held."""
    alike: dict[tuple[Any, ...], list[int]] = {}
    for done in batch:
        alike.setdefault((done.token, done.result, done.label or ""), []).append(done.id)
    changed, others = 0, list[tuple[Any, ...]]()
    for said, tasks in alike.items():
        if len(tasks) < _MANY_ALIKE:
            others += [(task, *said) for task in tasks]
        else:
            token, result, label = said
            changed += tx.execute(_SUCCEED_ALIKE, (label, now, result, listed(tasks), token)).rowcount
    for start in range(0, len(others), _AT_A_TIME[-1]):
        part = others[start : start + _AT_A_TIME[-1]]
        rows = next(rows for rows in _AT_A_TIME if rows >= len(part))
        part += [_NO_TASK] * (rows - len(part))
        changed += tx.execute(_succeed(rows), (now, *[value for end in part for value in end])).rowcount
    return changed


def succeed_alone(file: File, done: Outcome, now: float) -> bool:
    """`succeed` for one on which nothing hangs, in one statement. → False, and nothing changed, if that is not so, it
    is no longer held, or its end cannot be stored."""
    try:
        return file.once(_SUCCEED_ALONE, _one(done, now)) == 1
    except OF_A_ROW:
        return False


_HOLDS: Final = """
    SELECT attempts, worker, started_at, cancel_requested_at IS NOT NULL FROM taskcore_task
    WHERE id = ? AND phase = 'running' AND token = ?"""
_ATTEMPT: Final = """
    INSERT OR REPLACE INTO taskcore_attempt
        (task, number, worker, started_at, finished_at, outcome, error_type, error, traceback)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_HELD_HERE: Final = f"WHERE id = :id AND {leaving('fail')}"  # all of these verbs leave the same phase
_OBEY: Final = f"""
    UPDATE taskcore_task SET phase = {target("obey")}, finished_at = :now, greenfield = NULL, label = NULL,
        result = ifnull(:result, result), last_error = ifnull(:error, last_error)
    {_HELD_HERE}"""
_FAIL: Final = f"""
    UPDATE taskcore_task SET phase = {target("fail")}, label = :label, finished_at = :now, greenfield = NULL,
        failures = failures + 1, result = ifnull(:result, result), last_error = :error
    {_HELD_HERE}"""
_RETRY: Final = f"""
    UPDATE taskcore_task SET phase = {target("retry")}, greenfield = :at, waiting_for = 'backoff', worker = NULL,
        label = NULL, failures = failures + 1, ahead = :ahead, result = ifnull(:result, result), last_error = :error
    {_HELD_HERE}"""
_SNOOZE: Final = f"""
    UPDATE taskcore_task SET phase = {target("snooze")}, greenfield = :at, waiting_for = 'snooze', worker = NULL,
        label = NULL, attempts = attempts - 1
    {_HELD_HERE}"""


def report(tx: Transaction, end: Outcome, now: float) -> bool:
    """Any end but success. → False, and nothing changed, if the claim is no longer held.

    A request to cancel wins over all of these but a result that was returned under a label of phase failed.
    """
    row = tx.execute(_HOLDS, (end.id, end.token)).fetchone()
    if row is None:
        return False
    attempts, worker, started_at, cancel_requested = row
    if end.sleep is not None:
        if not cancel_requested:
            suspension.suspend(tx, end.id, end.sleep, now)
            settle.moved(tx, [end.id], now)
            return True
        end = Outcome(end.id, end.token, verb="obey")
    if end.verb == "lapse":
        lapse(tx, [end.id], now, end.error or DIED)
        return True
    if end.verb == "give back":
        return bool(claims.give_back(tx, [(end.id, end.token)], now))
    returned = end.result is not None and end.error is None  # else it is a part of what should have been
    verb = "obey" if cancel_requested and not returned else end.verb
    text = error_line(end.error_type, end.error)
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
        tx.end([end.id], end._replace(verb=verb))
        settle.moved(tx, [end.id], now)
    return True


DIED: Final = "its process died"
LEFT_IT: Final = "its process died while it ended"
SPARED: Final = 20
"""So often may a process die under a task while it ends anyway: who kills it there each time shall not do so for
ever."""
_TOO_OFTEN: Final = """(SELECT CASE WHEN :spared THEN k.max_lapses = 0 OR :most <= (
        SELECT count(*) FROM taskcore_attempt AS a WHERE a.task = taskcore_task.id AND a.outcome = 'lapsed')
    ELSE lapses >= k.max_lapses END FROM taskcore_kind AS k WHERE k.id = kind)"""
_LAPSE: Final = f"""
    UPDATE taskcore_task SET lapses = lapses + (NOT :spared), label = NULL, greenfield = NULL, worker = NULL,
        last_error = CASE WHEN {_TOO_OFTEN} THEN
            'lost: ' || :why || ' (' || CASE WHEN :spared THEN '' ELSE (lapses + 1) || ' times' END || :way || ')'
            ELSE :why END,
        phase = {by_row("lose its worker", obey="cancel_requested_at IS NOT NULL", lose=_TOO_OFTEN)},
        finished_at = CASE WHEN cancel_requested_at IS NOT NULL OR {_TOO_OFTEN} THEN :now END
    WHERE id IN (SELECT value FROM json_each(:ids)) AND {LEFT["lose its worker"]}
    RETURNING id, finished_at IS NOT NULL"""


def lapse(tx: Transaction, tasks: Collection[int], now: float, why: str, *, spared: bool = False) -> None:
    """Running tasks whose holder died or fell silent: again, or failed for good at the cap. A cancel request wins.
    `spared`: it costs none of the lapses that a task may have."""
    way = {DIED: "; rerun() runs it again, max_lapses allows more", LEFT_IT: "rerun() runs it again"}.get(why, "")
    values = {
        "ids": json.dumps(list(tasks)), "now": now, "why": why, "spared": spared, "most": SPARED, "way": way,
    }  # fmt: skip
    tx.execute(
        """INSERT OR REPLACE INTO taskcore_attempt (task, number, worker, started_at, finished_at, outcome, error)
           SELECT t.id, t.attempts, t.worker, t.started_at, :now, 'lapsed', :why FROM json_each(:ids) AS dead
           CROSS JOIN taskcore_task AS t ON t.id = dead.value WHERE +t.phase = 'running'""",
        values,
    )
    lapsed = tx.execute(_LAPSE, values).fetchall()
    tx.end([task for task, over in lapsed if over])
    settle.released(tx, [task for task, _ in lapsed], now)
