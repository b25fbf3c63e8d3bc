"""Claims: ready tasks go to a worker, and come back from it unbegun.

A claim is a token: each one of a task has a greater one, and whoever acts on a claim shows its token.
"""

import functools
import json
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from taskcore.store import settle, steps
from taskcore.store.busy import broken
from taskcore.store.capacity import AVOIDED, Rations, Wanted
from taskcore.store.ids import About, listed
from taskcore.store.steps import Step
from taskcore.store.transaction import Transaction
from taskcore.store.transitions import LEFT, by_row, leaving, target

_ORDER: Final = "ORDER BY priority DESC, ahead DESC, id"
FEW: Final = 8
"""Steps of a body that are read with its claim."""
_TOO_MANY: Final = FEW + 1
"""The details count no further."""

# One row with all of it: each row fetched would give the interpreter's lock away and ask for it again.
# A task whose token is 0 has never begun, and so has nothing behind it.
_DETAILS: Final = f"""
    SELECT json_group_array(CASE WHEN token = 0 THEN json_array(id, kind, nullif(args, ''), links) ELSE json_array(
        id, kind, nullif(args, ''), links, token, failures, lapses, attempts, result IS NOT NULL,
        (SELECT count(*) FROM (SELECT 1 FROM taskcore_step WHERE task = one.id LIMIT {_TOO_MANY}))
    ) END) FROM (
        SELECT id, token, kind, args, links, failures, lapses, attempts, result FROM taskcore_task """
_NEXT_OF_ONE: Final = f"{_DETAILS} WHERE kind = :kind AND phase = 'ready' {_ORDER} LIMIT :n) AS one"
_THESE: Final = f"{_DETAILS} WHERE id IN (SELECT value FROM json_each(:ids)) {_ORDER}) AS one"
# One seek a kind, however many tasks of a kind that may not run stand in front.
_NEXT_OF_SOME: Final = f"""
        SELECT -priority AS p, -ahead AS a, id, ? AS place FROM (
            SELECT priority, ahead, id FROM taskcore_task AS t WHERE kind = ? AND phase = 'ready'
            AND (? = '' OR ? NOT IN ({AVOIDED}))
            {_ORDER} LIMIT ?
        )"""
_AT_ONCE: Final = 100
"""Kinds that one statement looks at; SQLite takes no more than 500."""


@functools.cache
def _next_of(kinds: int) -> str:
    return f"SELECT json_group_array(json_array(p, a, id, place)) FROM ({' UNION ALL '.join([_NEXT_OF_SOME] * kinds)})"


def _next(tx: Transaction, kinds: Sequence[Wanted], n: int, rations: Rations | None) -> tuple[list[int], bool]:
    """The ids that are next in the order of the queue, over several kinds, and whether more may follow at once.

    Of each kind no more is read than its share, twice over. Where a kind has more than that, what comes behind the last
    that was read is not known, and left to the next turn.
    """
    share = max(16, 2 * n // len(kinds))
    found: list[list[int]] = []
    for start in range(0, len(kinds), _AT_ONCE):
        some = kinds[start : start + _AT_ONCE]
        values: list[Any] = []
        for place, (kind, most, avoid) in enumerate(some, start):
            values += (place, kind, avoid or "", avoid or "", min(most, share))
        found += json.loads(tx.execute(_next_of(len(some)), values).fetchall()[0][0])
    found.sort()
    seen = [0] * len(kinds)
    chosen = []
    for p, a, task, place in found:
        seen[place] += 1
        if rations is None or rations.take(kinds[place][0], (p, a, task)):
            chosen.append(task)
        if len(chosen) == n:
            break
        if seen[place] == share < kinds[place][1]:
            return chosen, True
    return chosen, False


_CLAIM: Final = About(f"""
    UPDATE taskcore_task SET
        phase = {target("claim")}, token = token + 1, attempts = attempts + 1, worker = :worker,
        greenfield = :lease_end, started_at = :now, first_started_at = ifnull(first_started_at, :now), progress = NULL
    WHERE id IN (SELECT value FROM json_each(:ids)) AND {leaving("claim", phase="+phase")}""")


class Claimed(NamedTuple):
    """A task as its claim found it. `inputs`: upstream id → (verdict, result text) of its links."""

    id: int
    kind: int
    args: str
    links: str | None = None
    inputs: dict[int, tuple[str, str | None]] | None = None
    token: int = 1
    failures: int = 0
    lapses: int = 0
    attempts: int = 1
    saved: Any = False
    """Whether a body saved something before."""
    behind: Sequence[Step] | None = ()
    """What its body has behind it; `None` for so much that the body reads it when it asks for it."""


class Taken(NamedTuple):
    """What a claim got, and what it learnt of the rest of the queue."""

    tasks: list[Claimed]
    more: bool = False
    """Whether there may be more to be claimed at once."""
    short: bool = False
    """Whether something was left that only lacks a capacity."""
    until: float | None = None
    """When a rate lets more begin."""


def claim(tx: Transaction, kinds: Sequence[Wanted], n: int, worker: int, now: float, lease_end: float) -> Taken:
    """Take up to `n` ready tasks in the order of the queue, as far as capacities, limits, rates and holds allow.

    `kinds` are those that may be taken: (kind, at most so many of it, a worker: without what failed on that one).
    """
    rations = Rations(tx, now) if tx.known.rationed else None
    if rations is not None:
        kinds = rations.admit(kinds)
    text, more = _ready(tx, kinds, n, rations) if kinds and n > 0 else ("[]", False)
    rows = json.loads(text) if text != "[]" else []
    short, until = False, None
    if rations is not None:
        rations.claimed([row[1] for row in rows])
        short, until = rations.short, rations.until
    if not rows:
        return Taken([], more, short, until)
    ids = [row[0] for row in rows]
    tx.uncount(listed(ids))
    _CLAIM.run(tx.execute, ids, worker=worker, now=now, lease_end=lease_end)
    claimed = _filled(tx, rows, begun=1)
    if tx.known.has_guards:
        settle.moved(tx, [task.id for task in claimed], now)
        claimed = _without_guarded(tx, claimed, listed(ids), now)
    return Taken(claimed, more, short, until)


def _ready(tx: Transaction, kinds: Sequence[Wanted], n: int, rations: Rations | None) -> tuple[str, bool]:
    """The details of those that are next, and whether others may be behind them that were not looked at."""
    if len(kinds) == 1 and kinds[0][2] is None and (rations is None or rations.simple(kinds[0])):
        kind, most, _ = kinds[0]
        return tx.execute(_NEXT_OF_ONE, {"kind": kind, "n": min(n, most)}).fetchall()[0][0], False
    chosen, more = _next(tx, kinds, n, rations)
    return tx.execute(_THESE, {"ids": listed(chosen)}).fetchall()[0][0] if chosen else "[]", more


def _filled(tx: Transaction, rows: list[list[Any]], begun: int) -> list[Claimed]:
    """With what did not come with the details: what a body has behind it, long arguments, and the results that are
    linked to. `begun` is 1 where the rows were read before they were claimed."""
    some = [row[0] for row in rows if len(row) > 4 and 0 < row[-1] <= FEW]
    behind = _behind(tx, some) if some else {}
    claimed = []
    for i, kind, args, links, *past in rows:
        if args is None:
            row = tx.execute("SELECT args FROM taskcore_text WHERE task = ?", (i,)).fetchone()
            args = "" if row is None else row[0]  # lost, in a damaged file: nothing can read that
        given = None if links is None else inputs(tx.execute, i)
        if past:
            token, failures, lapses, attempts, saved, kept = past
            steps_of_it = None if kept > FEW or behind is None else behind.get(i, [])
            counts = token + begun, failures, lapses, attempts + begun
            claimed.append(Claimed(i, kind, args, links, given, *counts, saved, steps_of_it))
        else:
            claimed.append(Claimed(i, kind, args, links, given))
    return claimed


def _behind(tx: Transaction, tasks: Collection[int]) -> dict[int, list[Step]] | None:
    """`None` where a damaged row is among it: each body reads its own then, and one of them finds what is wrong."""
    try:
        return steps.load(tx, tasks)
    except (sqlite3.DatabaseError, UnicodeDecodeError, TypeError) as error:
        if isinstance(error, sqlite3.DatabaseError) and not broken(error):
            raise
        return None


def holding(tx: Transaction, task_id: int, token: int) -> Claimed | None:
    """The claim of this token as it was made, if it is held."""
    if not tx.execute(HELD, (json.dumps([(task_id, token)]),)).fetchall():
        return None
    rows = json.loads(tx.execute(_THESE, {"ids": json.dumps([task_id])}).fetchall()[0][0])
    return _filled(tx, rows, begun=0)[0]


def inputs(execute: Any, task_id: int) -> dict[int, tuple[str, str | None]]:
    """What this task's dependencies gave: upstream id → (verdict, result text)."""
    rows = execute(
        """SELECT e.upstream, CASE WHEN u.job IS NULL THEN e.verdict ELSE e.verdict || ' job' END, u.result
           FROM taskcore_edge AS e
           CROSS JOIN taskcore_task AS u ON u.id = e.upstream WHERE e.task = ?""",
        (task_id,),
    ).fetchall()
    return {upstream: (verdict, result) for upstream, verdict, result in rows}


_NEEDED: Final = """
    SELECT substr(k.name, length(j.name) + 2), CASE WHEN e.verdict = 'met' THEN u.result END FROM taskcore_task AS t
    CROSS JOIN taskcore_task AS p ON p.id = t.parent
    CROSS JOIN taskcore_kind AS j ON j.id = p.kind
    CROSS JOIN taskcore_edge AS e ON e.task = t.id
    CROSS JOIN taskcore_task AS u ON u.id = e.upstream AND u.parent = p.id AND u.key = t.key
    CROSS JOIN taskcore_kind AS k ON k.id = u.kind AND substr(k.name, 1, length(j.name) + 1) = j.name || '.'
    WHERE t.id = ?"""


def needed(connection: Any, task_id: int) -> dict[str, str | None]:
    """Of a pipeline's task: the steps of its subject that it depends on, and the text of what each returned."""
    return dict(connection.execute(_NEEDED, (task_id,)).fetchall())


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


HELD: Final = """
    SELECT t.id, t.token FROM json_each(?) AS claim CROSS JOIN taskcore_task AS t ON t.id = claim.value->>0
    WHERE +t.phase = 'running' AND t.token = claim.value->>1"""
"""Of claims (id, token), those that are held."""
_GIVE_BACK: Final = f"""
    UPDATE taskcore_task SET greenfield = NULL, attempts = attempts - 1, worker = NULL, label = NULL,
        phase = {by_row("come back unbegun", obey="cancel_requested_at IS NOT NULL")},
        finished_at = CASE WHEN cancel_requested_at IS NOT NULL THEN ? END,
        started_at = CASE WHEN attempts > 1 THEN started_at END,
        first_started_at = CASE WHEN attempts > 1 THEN first_started_at END
    FROM (SELECT value->>0 AS task, value->>1 AS token FROM json_each(?)) AS claim
    WHERE id = claim.task AND taskcore_task.token = claim.token AND {LEFT["come back unbegun"]}
    RETURNING id, finished_at IS NOT NULL"""


def give_back(tx: Transaction, claims: Collection[tuple[int, int]], now: float) -> list[int]:
    """Claims (id, token) that never began: as if they had not been. → the ids of those that were held."""
    given = tx.execute(_GIVE_BACK, (now, json.dumps(list(claims)))).fetchall()
    tasks = [task for task, _ in given]
    tx.end([task for task, cancelled in given if cancelled])
    settle.released(tx, tasks, now)
    return tasks


def renew(tx: Transaction, worker: int, before: float, lease_end: float) -> None:
    """Move the end of this worker's leases that end before `before`."""
    tx.execute(
        """UPDATE taskcore_task SET greenfield = ?
           WHERE phase = 'running' AND greenfield < ? AND worker = ? AND phase NOT IN ('ready', 'succeeded')""",
        (lease_end, before, worker),
    )


def extend(tx: Transaction, task_id: int, token: int, until: float) -> float | None:
    """→ the new end of the lease, never earlier than the old one; `None` if it is no longer held."""
    rows = tx.execute(
        """UPDATE taskcore_task SET greenfield = max(greenfield, ?)
           WHERE id = ? AND phase = 'running' AND token = ? RETURNING greenfield""",
        (until, task_id, token),
    ).fetchall()
    return rows[0][0] if rows else None
