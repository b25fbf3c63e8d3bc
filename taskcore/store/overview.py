"""What there is at a glance: how fast tasks end, rows without their long texts, how far a file or a job is."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from taskcore.core import lifecycle
from taskcore.store import queries
from taskcore.store.columns import CUT, OF_IDS, selected

# -- how fast they end -------------------------------------------------------------------------------------------------

PERIOD: Final = 60.0
"""Seconds that a rate is taken over, at most."""
_WINDOW: Final = 500
"""Rows before each place where tasks end now."""

# No index knows what ended last. Tasks begin in about the order of their ids, so those that run now, and the newest of
# all, are where the others have just ended: however long the file is, only rows shortly before these are read.
_RATES: Final = """
    WITH place (id) AS (
        SELECT * FROM (SELECT id FROM taskcore_task WHERE phase = 'running' AND phase NOT IN ('ready', 'succeeded')
                       ORDER BY id DESC LIMIT 16)
        UNION SELECT max(id) FROM taskcore_task
    ), near (id) AS (
        SELECT DISTINCT t.id FROM place CROSS JOIN taskcore_task AS t ON t.id BETWEEN place.id - :window AND place.id
    )
    SELECT k.name, count(*), min(t.started_at) FROM near CROSS JOIN taskcore_task AS t ON t.id = near.id
    CROSS JOIN taskcore_kind AS k ON k.id = t.kind
    WHERE t.finished_at > :since AND t.finished_at <= :now AND t.started_at IS NOT NULL GROUP BY 1"""


def rates(connection: sqlite3.Connection, now: float) -> dict[str, float]:
    """Name → tasks a second, of names of which some ended within the last minute; an estimate, from some thousand
    rows."""
    found = connection.execute(_RATES, {"now": now, "since": now - PERIOD, "window": _WINDOW}).fetchall()
    return {name: n / min(PERIOD, max(now - began, 0.001)) for name, n, began in found}


# -- rows -------------------------------------------------------------------------------------------------------------


class Brief(NamedTuple):
    """A row as others see it, of long texts the beginning. Pictures read the first fields, everybody else all: where a
    field is not read, it is as here."""

    id: int
    name: str
    phase: str
    status: str
    parent: int | None
    job: str | None
    """Of a job, what failures of its children do."""
    worker: str | None
    attempts: int
    submitted_at: float
    first_started_at: float | None
    started_at: float | None
    finished_at: float | None
    key: str | None = None
    children: int = 0
    open: int = 0
    """Those of them that have not ended."""
    greenfield: float | None = None
    waiting_for: str | None = None
    progress: float | None = None
    """0…1; of a job that has not ended, how many of its children have."""
    step: str | None = None
    message: str | None = None
    last_error: str | None = None
    args: str = ""
    """As stored, the first `CUT` characters."""
    links: str | None = None
    """Likewise: where in them other tasks' results belong."""
    result: str | None = None
    """Likewise."""
    serial: str | None = None
    max_attempts: int | None = None
    max_lapses: int = 0
    options: str = "{}"
    priority: int = 0
    ahead: int = 0
    failures: int = 0
    lapses: int = 0
    blockers: int = 0
    held: int = 0
    gated: int = 0
    behind: int = 0
    cancel_requested_at: float | None = None
    lane: int | None = None
    """`None` of a claim from outside."""

    @property
    def label(self) -> str | None:
        """Its status, if that is one of the user's."""
        return None if self.status == self.phase else self.status

    @property
    def doing(self) -> str:
        """Its step and what its body says."""
        return ": ".join(said for said in (self.step, self.message) if said)


NODE: Final = Brief._fields[: Brief._fields.index("key")]
"""What pictures read."""
_WHOLE: Final = f"SELECT {selected(Brief._fields, cut=True)} {OF_IDS}"


def briefs(connection: Any, task_ids: Collection[int]) -> list[Brief]:
    """These tasks, in this order; those that are not there are left out."""
    rows = connection.execute(_WHOLE, (json.dumps(list(task_ids)),)).fetchall()
    found = [Brief(*row) for row in rows]
    return [
        row if row.job is None or row.finished_at is not None
        else row._replace(progress=queries.share(row.children, row.open))
        for row in found
    ]  # fmt: skip


def newest(connection: sqlite3.Connection, chosen: queries.Where, most: int) -> list[Brief]:
    """Those with the highest ids of what matches, descending."""
    return briefs(connection, queries.some_ids(connection, chosen, most, newest=True))


# The index has no time of an end, so what has ended is taken by its ids: of however many, only the newest are read.
_LAST: Final = """
    SELECT t.id FROM (SELECT id FROM taskcore_task WHERE phase = 'failed' AND phase NOT IN ('ready', 'succeeded')
                      ORDER BY greenfield DESC, id DESC LIMIT 500) AS one
    CROSS JOIN taskcore_task AS t ON t.id = one.id
    WHERE t.hidden = 0 ORDER BY t.finished_at DESC, t.id DESC LIMIT ?"""


def last_failed(connection: sqlite3.Connection, most: int) -> list[Brief]:
    """Of the newest few hundred that failed those that did so last, the last first, but for hidden ones."""
    return briefs(connection, [task for (task,) in connection.execute(_LAST, (most,)).fetchall()])


def upstreams(connection: sqlite3.Connection, task: int, most: int) -> list[tuple[str, str, Brief]]:
    """(what is asked of it, the verdict, the upstream) of a task's edges, those that hold it first."""
    edges = connection.execute(
        """SELECT upstream, wants, verdict FROM taskcore_edge WHERE task = ?
           ORDER BY verdict = 'met', upstream LIMIT ?""",
        (task, most),
    ).fetchall()
    rows = briefs(connection, [upstream for upstream, *_ in edges])
    return [(wants, verdict, row) for (_, wants, verdict), row in zip(edges, rows, strict=True)]


def steps(connection: sqlite3.Connection, task: int, most: int) -> tuple[int, list[tuple[str, str, float, float]]]:
    """How many steps of a task's body are behind it, and the newest: (name, the beginning of the result's text,
    started_at, finished_at), oldest first."""
    found = connection.execute(
        f"""SELECT name, ifnull(substr(result, 1, {CUT}), ''), started_at, finished_at, count(*) OVER ()
            FROM taskcore_step WHERE task = ? AND kind = 'step' AND (state = 'kept' OR state = 'loose')
            ORDER BY place DESC LIMIT ?""",
        (task, most),
    ).fetchall()
    return (found[0][4] if found else 0), [row[:4] for row in reversed(found)]


def subjects(
    connection: sqlite3.Connection, pipeline: str, steps: Sequence[str], most: int
) -> tuple[int, list[tuple[str, int, dict[str, tuple[int, str, str]]]]]:
    """How many subjects a pipeline has, and the newest: (subject, its job, {step: (task, phase, status)})."""
    keys = connection.execute(
        "SELECT key, task, count(*) OVER () FROM taskcore_key WHERE name = ? ORDER BY task DESC LIMIT ?",
        (pipeline, most),
    ).fetchall()
    found: dict[str, tuple[str, int, dict[str, tuple[int, str, str]]]] = {key: (key, job, {}) for key, job, _ in keys}
    for key, name, *its in connection.execute(
        """SELECT y.key, y.name, t.id, t.phase, ifnull(t.label, t.phase)
           FROM json_each(?) AS one CROSS JOIN json_each(?) AS step
           CROSS JOIN taskcore_key AS y ON y.name = step.value AND y.key = one.value
           CROSS JOIN taskcore_task AS t ON t.id = y.task""",
        (json.dumps(list(found)), json.dumps([f"{pipeline}.{step}" for step in steps])),
    ).fetchall():
        found[key][2][name.removeprefix(f"{pipeline}.")] = (its[0], its[1], its[2])
    return (keys[0][2] if keys else 0), list(found.values())


# -- how far it is ----------------------------------------------------------------------------------------------------


class Pulse(NamedTuple):
    """How far a file, a job or a task is."""

    left: int
    """Tasks that have not ended; of a job, its children."""
    born: int
    """Of a file the highest id that there is, of a job its children."""
    failed: int
    running: list[tuple[str, int]]
    """Names of which most run, with how many."""
    task: Brief | None = None
    """The job or task, if it is of one."""


_RUNNING: Final = """
    SELECT k.name, count(*) FROM taskcore_task AS t CROSS JOIN taskcore_kind AS k ON k.id = t.kind
    WHERE t.phase = 'running' AND t.phase NOT IN ('ready', 'succeeded') AND (:job IS NULL OR t.parent = :job)
    GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3"""


def active(connection: sqlite3.Connection) -> tuple[int, list[tuple[str, int]]]:
    """The highest id that there is, and the names of which most run, with how many."""
    born: int = connection.execute("SELECT ifnull(max(id), 0) FROM taskcore_task").fetchone()[0]
    return born, connection.execute(_RUNNING, {"job": None}).fetchall()


def pulse_of(connection: Any, task: int) -> Pulse | None:
    """Of one task, or of a job: its children. `None` where there is none."""
    found = briefs(connection, [task])
    if not found:
        return None
    if found[0].job is None:
        return Pulse(int(found[0].finished_at is None), 1, int(found[0].phase == lifecycle.FAILED), [], found[0])
    failed = connection.execute(
        "SELECT ifnull(sum(n), 0) FROM taskcore_tally WHERE job = ? AND phase = 'failed'", (task,)
    ).fetchone()[0]
    running = connection.execute(_RUNNING, {"job": task}).fetchall()
    return Pulse(found[0].open, found[0].children, failed, running, found[0])
