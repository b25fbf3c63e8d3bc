"""Parents: what is counted of the tasks below one, and how a job, which has no body, opens, ends and is opened again.

A subtree is finished when its root has ended and nothing below it is unfinished. `open` counts a task's direct children
whose subtrees are not: every end and every new life changes the counts of those above it, as far up as one of them
becomes finished, or ceases to be.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Final

from taskcore.store import dependencies
from taskcore.store.transaction import Transaction
from taskcore.store.transitions import LEFT, by_row

# -- down ----------------------------------------------------------------------------------------------------------

_BELOW: Final = """
    WITH RECURSIVE below (id, goes_on) AS (
        SELECT t.id, :first OR t.job IS NOT NULL
        FROM json_each(:ids) AS root CROSS JOIN taskcore_task AS t ON t.id = root.value
        UNION
        SELECT c.id, :deeper OR c.job IS NOT NULL FROM below CROSS JOIN taskcore_task AS c ON c.parent = below.id
        WHERE below.goes_on
    )
    SELECT json_group_array(DISTINCT id) FROM below"""


def _below(tx: Transaction, tasks: Collection[int], *, first: bool, deeper: bool) -> list[int]:
    """These and what is below them: below each of these if `first`, else below jobs among them; likewise, `deeper`,
    below what is found so."""
    if not tx.known.has_families:
        return list(tasks)
    values = {"ids": json.dumps(list(tasks)), "first": first, "deeper": deeper}
    found: list[int] = json.loads(tx.execute(_BELOW, values).fetchall()[0][0])
    return found


def below(tx: Transaction, tasks: Collection[int]) -> list[int]:
    """These and everything below them: what a cancel reaches."""
    return _below(tx, tasks, first=True, deeper=True)


def below_jobs(tx: Transaction, tasks: Collection[int]) -> list[int]:
    """These, and everything below those of them that are jobs: what a pause reaches."""
    return _below(tx, tasks, first=False, deeper=True)


def made_of(tx: Transaction, tasks: Collection[int]) -> list[int]:
    """These, and the children of jobs among them, and so on: what a rerun reaches. Children of a body are that body's
    to call for again."""
    return _below(tx, tasks, first=False, deeper=False)


# -- up ------------------------------------------------------------------------------------------------------------

# A job is open while it is suspended, or paused after it was: then its row says what it waits for.
_SHUT: Final = "job IS NOT NULL AND phase <> 'suspended' AND (phase <> 'paused' OR waiting_for IS NOT 'children')"
_UP: Final = f"""
    WITH RECURSIVE above (id, parent, job, serial, shut, held) AS (
        SELECT id, parent, job, serial, {_SHUT}, held AND finished_at IS NULL FROM taskcore_task WHERE id = :id
        UNION
        SELECT p.id, p.parent, p.job, p.serial, 0, p.held AND p.finished_at IS NULL
        FROM above CROSS JOIN taskcore_task AS p ON p.id = above.parent
    )"""
_ABOVE: Final = f"""{_UP}
    SELECT count(*), ifnull(max(held AND job IS NOT NULL), 0), ifnull(max(shut), 0) FROM above"""


def above(tx: Transaction, parent: int) -> tuple[bool, bool] | None:
    """What a child of this one is born into: (held: a job above it is paused, gated: its job is not open). `None` if
    there is no such parent."""
    there, held, gated = tx.execute(_ABOVE, {"id": parent}).fetchall()[0]
    return (bool(held), bool(gated)) if there else None


# Who waits for the end of one of these: with its own beginning (2), or with its end alone (1), as a job does that has
# it below it. Edges count whatever their verdict: a rerun may renew it.
_WAITS: Final = """
    WITH RECURSIVE below (id, waits) AS (
        SELECT value, :waits FROM json_each(:ids)
        UNION
        SELECT e.task, 2 FROM below CROSS JOIN taskcore_edge AS e ON e.upstream = below.id WHERE below.waits > 0
        UNION
        SELECT p.id, p.job IS NOT NULL FROM below CROSS JOIN taskcore_task AS t ON t.id = below.id
        CROSS JOIN taskcore_task AS p ON p.id = t.parent
        UNION
        SELECT c.id, 2 FROM below CROSS JOIN taskcore_task AS j ON j.id = below.id AND j.job IS NOT NULL
        CROSS JOIN taskcore_task AS c ON c.parent = j.id WHERE below.waits = 2
    )
    SELECT 1 FROM below WHERE waits > 0 AND id IN (SELECT value FROM json_each(:others)) LIMIT 1"""


def waits(tx: Transaction, others: Collection[int], tasks: Collection[int], *, begin: bool = True) -> bool:
    """Whether one of the others waits for one of these tasks, directly or not, also through the jobs that they are a
    part of. `begin`: for their beginning, else for their end alone."""
    ids, wanted = json.dumps(list(tasks)), json.dumps(list(others))
    values = {"ids": ids, "others": wanted, "waits": 2 if begin else 1}
    return tx.execute(_WAITS, values).fetchone() is not None


def jobs_above(tx: Transaction, task: int) -> dict[int, str | None]:
    """This task, if it is a job, and those that are above it, each with its serial value: none of them ends before what
    is below."""
    return dict(tx.execute(f"{_UP} SELECT id, serial FROM above WHERE job IS NOT NULL", {"id": task}).fetchall())


_MORE: Final = """
    UPDATE taskcore_task SET open = open + grows.n, children = children + grows.born
    FROM (SELECT value->>0 AS task, value->>1 AS n, value->>2 AS born FROM json_each(?)) AS grows
    WHERE id = grows.task RETURNING id, parent, job IS NOT NULL, finished_at IS NOT NULL, open"""


def unfinish(tx: Transaction, more: Mapping[int, int], *, born: bool, spared: Collection[int] = ()) -> list[int]:
    """So many more children's subtrees are unfinished; `born`: for the first time. → the jobs above that had ended and
    are to be opened again. `spared`: those that run again anyway, and are counted by the caller."""
    reopen, seen = [], set(spared)
    while more:
        grows = json.dumps([(task, n, n if born else 0) for task, n in more.items()])
        before, more, born = more, {}, False
        for task, parent, job, over, unfinished in tx.execute(_MORE, (grows,)).fetchall():
            if not over or task in seen:
                continue
            seen.add(task)
            if job:
                reopen.append(task)
            alone = unfinished == before[task]
            if parent is not None and (alone or job):
                more[parent] = more.get(parent, 0) + alone
    return reopen


_TALLY: Final = """
    INSERT INTO taskcore_tally (job, status, phase, n)
    SELECT p.id, ifnull(t.label, t.phase), t.phase, :by * count(*)
    FROM json_each(:ids) AS ended
    CROSS JOIN taskcore_task AS t ON t.id = ended.value
    CROSS JOIN taskcore_task AS p ON p.id = t.parent
    WHERE p.job IS NOT NULL GROUP BY 1, 2, 3
    ON CONFLICT (job, status) DO UPDATE SET n = n + excluded.n"""


def tally(tx: Transaction, tasks: Collection[int], by: int) -> None:
    """Count how these children of jobs ended (`by` 1), or that they no longer have (−1)."""
    if tx.known.has_jobs:
        tx.execute(_TALLY, {"ids": json.dumps(list(tasks)), "by": by})


_FINISHED: Final = """
    SELECT json_group_array(json_array(parent, n)) FILTER (WHERE n > 0), ifnull(sum(lost), 0) FROM (
        SELECT t.parent AS parent, sum(t.open = 0 AND t.parent IS NOT NULL) AS n,
            sum(t.open > 0 AND t.phase = 'cancelled') AS lost
        FROM json_each(?) AS ended CROSS JOIN taskcore_task AS t ON t.id = ended.value GROUP BY t.parent
    )"""
_FEWER: Final = """
    UPDATE taskcore_task SET open = open - fewer.n
    FROM (SELECT value->>0 AS task, value->>1 AS n FROM json_each(?)) AS fewer
    WHERE id = fewer.task RETURNING id, finished_at IS NOT NULL, job IS NOT NULL, open"""


def ended(tx: Transaction, tasks: Collection[int]) -> bool:
    """These ended: whatever is above them has as many fewer to wait for. Jobs that may end come to `tx.opened`. →
    whether some were cancelled and have unfinished children."""
    tally(tx, tasks, 1)
    ids, abandoned, later = json.dumps(list(tasks)), False, set(tx.fresh)
    while True:
        fewer, lost = tx.execute(_FINISHED, (ids,)).fetchall()[0]
        abandoned = abandoned or lost > 0
        if fewer == "[]":
            return abandoned
        done = [row for row in tx.execute(_FEWER, (fewer,)).fetchall() if not row[3]]
        tx.opened.extend(task for task, over, job, _ in done if job and not over)
        ids = json.dumps([task for task, over, *_ in done if over and task not in later])  # those come here themselves


_ABANDONING: Final = """
    SELECT t.id FROM json_each(?) AS ended CROSS JOIN taskcore_task AS t ON t.id = ended.value
    WHERE t.phase = 'cancelled' AND t.open > 0"""


def abandoned(tx: Transaction, tasks: Collection[int]) -> list[int]:
    """What is below those of them that were cancelled."""
    return below(tx, [task for (task,) in tx.execute(_ABANDONING, (json.dumps(list(tasks)),)).fetchall()])


# -- jobs ----------------------------------------------------------------------------------------------------------

# One row, not one a child: for each that is fetched the interpreter's lock is given away.
_GATED: Final = """
    SELECT json_group_array(c.id) FROM json_each(?) AS opened
    CROSS JOIN taskcore_task AS j ON j.id = opened.value AND j.job IS NOT NULL AND +j.phase = 'suspended'
    CROSS JOIN taskcore_task AS c ON c.parent = j.id AND c.gated = 1"""
_LET_THROUGH: Final = """
    UPDATE taskcore_task SET gated = 0, blockers = blockers - 1 WHERE id IN (SELECT value FROM json_each(?))"""
_COMPLETE: Final = """
    SELECT j.id FROM json_each(?) AS opened CROSS JOIN taskcore_task AS j ON j.id = opened.value
    WHERE j.job IS NOT NULL AND j.open = 0 AND j.finished_at IS NULL AND (
        +j.phase = 'suspended' OR j.cancel_requested_at IS NOT NULL
        OR (+j.phase = 'paused' AND j.waiting_for = 'children')
    )"""
_FAILURES: Final = "(SELECT sum(n) FROM taskcore_tally AS y WHERE y.job = taskcore_task.id AND y.phase = 'failed')"
_TOO_BAD: Final = f"job = 'fail' AND {_FAILURES} > 0"
_END: Final = f"""
    UPDATE taskcore_task SET
        phase = {by_row("run out of children", cancel="cancel_requested_at IS NOT NULL", fall_short=_TOO_BAD)},
        last_error = CASE WHEN cancel_requested_at IS NOT NULL THEN last_error
            WHEN {_TOO_BAD} THEN {_FAILURES} || ' of ' || children || ' children failed' END,
        finished_at = :now, greenfield = NULL, held = 0, progress = 1.0,
        result = (SELECT json_group_object(status, n) FROM (
            SELECT status, n FROM taskcore_tally AS y WHERE y.job = taskcore_task.id AND n > 0 ORDER BY status
        ))
    WHERE id IN (SELECT value FROM json_each(:ids)) AND {LEFT["run out of children"]}"""


def opened(tx: Transaction, tasks: Collection[int], now: float) -> None:
    """Of these, the jobs that nothing holds back: let their children through, and end those with no unfinished one."""
    ids = json.dumps(list(tasks))
    children = tx.execute(_GATED, (ids,)).fetchall()[0][0]
    if children != "[]":
        tx.execute(_LET_THROUGH, (children,))
        dependencies.release(tx, json.loads(children), now)
    over = [job for (job,) in tx.execute(_COMPLETE, (ids,)).fetchall() if job not in tx.building]
    if over:
        tx.execute(_END, {"ids": json.dumps(over), "now": now})
        tx.end(over)
        dependencies.propagate(tx, over, now)


_GATE: Final = f"""
    UPDATE taskcore_task SET gated = 1, blockers = blockers + 1
    WHERE id IN (SELECT value FROM json_each(?)) AND gated = 0 AND +parent IN (
        SELECT p.id FROM json_each(?) AS anew CROSS JOIN taskcore_task AS t ON t.id = anew.value
        CROSS JOIN (SELECT id, finished_at, {_SHUT} AS shut FROM taskcore_task) AS p ON p.id = t.parent
        WHERE p.shut AND p.finished_at IS NULL
    )"""
_HOLD: Final = """
    WITH RECURSIVE up (parent, above) AS (
        SELECT t.parent, t.parent FROM json_each(:ids) AS anew CROSS JOIN taskcore_task AS t ON t.id = anew.value
        WHERE t.parent IS NOT NULL
        UNION
        SELECT up.parent, p.parent FROM up CROSS JOIN taskcore_task AS p ON p.id = up.above WHERE p.parent IS NOT NULL
    )
    UPDATE taskcore_task SET held = 1 WHERE id IN (SELECT value FROM json_each(:ids)) AND +parent IN (
        SELECT up.parent FROM up CROSS JOIN taskcore_task AS p ON p.id = up.above
        WHERE p.held = 1 AND p.job IS NOT NULL AND p.finished_at IS NULL
    )"""


def gate(tx: Transaction, tasks: Collection[int]) -> None:
    """These wait for a new life: as children of a job that is not open they wait for it, and below one that is held
    they are held."""
    if tx.known.has_jobs:
        ids = json.dumps(list(tasks))
        tx.execute(_GATE, (ids, ids))
        tx.execute(_HOLD, {"ids": ids})
