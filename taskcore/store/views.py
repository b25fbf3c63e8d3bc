"""SQL views for other programs: pandas, R, DuckDB, datasette or a shell read the file by these names, which stay.

Each time has two columns: `…_at` is seconds since the epoch, `…_iso` the same as text, in UTC. Arguments, results and
tags are JSON. taskcore itself reads none of them.
"""

from __future__ import annotations

from typing import Final

from taskcore.store.columns import ARGS


def _times(table: str, *names: str) -> str:
    return ",\n    ".join(
        f"{table}.{name}_at, strftime('%Y-%m-%dT%H:%M:%fZ', {table}.{name}_at, 'unixepoch') AS {name}_iso"
        for name in names
    )


_TASK: Final = f"""CREATE VIEW taskcore_v_task AS SELECT
    t.id, k.name, t.key, t.parent AS parent_id, t.phase, ifnull(t.label, t.phase) AS status, t.priority, t.attempts,
    t.failures, t.lapses, k.max_attempts, t.step, t.progress, t.message, {ARGS} AS args, t.result, t.last_error,
    w.name AS worker, t.hidden,
    (SELECT json_group_array(tag) FROM (SELECT tag FROM taskcore_tag WHERE task = t.id ORDER BY position)) AS tags,
    {_times("t", "submitted", "first_started", "started", "finished")}
FROM taskcore_task AS t JOIN taskcore_kind AS k ON k.id = t.kind LEFT JOIN taskcore_worker AS w ON w.id = t.worker"""

# What keeps a task from beginning: an upstream, a child that it waits for, or the task before it in its serial queue.
_WAITING_FOR: Final = """CREATE VIEW taskcore_v_waiting_for AS
SELECT e.task AS task_id, e.upstream AS other_id, 'upstream' AS reason, e.wants AS wanted,
    ifnull(u.label, u.phase) AS other_status
FROM taskcore_edge AS e JOIN taskcore_task AS t ON t.id = e.task JOIN taskcore_task AS u ON u.id = e.upstream
WHERE e.verdict IN ('unmet', 'doomed') AND t.finished_at IS NULL
UNION ALL
SELECT j.task, j.upstream, 'suspended until', 'finished', ifnull(u.label, u.phase)
FROM taskcore_join AS j JOIN taskcore_task AS u ON u.id = j.upstream
UNION ALL
SELECT q.task, first.task, 'serial', 'finished', ifnull(u.label, u.phase)
FROM taskcore_queue AS q
JOIN (SELECT serial, task, min(place) AS place FROM taskcore_queue GROUP BY serial) AS first
    ON first.serial = q.serial AND first.place < q.place
JOIN taskcore_task AS u ON u.id = first.task"""

# All attempts. The one that runs, or succeeded last, is told by the task's own row.
_ATTEMPT: Final = f"""CREATE VIEW taskcore_v_attempt AS
WITH a (task_id, number, worker, started_at, finished_at, outcome, error_type, error, traceback) AS (
    SELECT task, number, worker, started_at, finished_at, outcome, error_type, error, traceback FROM taskcore_attempt
    UNION ALL
    SELECT t.id, t.attempts, t.worker, t.started_at, t.finished_at, t.phase, NULL, NULL, NULL
    FROM taskcore_task AS t
    WHERE t.attempts > 0 AND t.phase IN ('running', 'succeeded')
    AND NOT EXISTS (SELECT 1 FROM taskcore_attempt AS o WHERE o.task = t.id AND o.number = t.attempts)
)
SELECT a.task_id, k.name, a.number, w.name AS worker, a.outcome, a.error_type, a.error, a.traceback,
    a.finished_at - a.started_at AS seconds,
    {_times("a", "started", "finished")}
FROM a JOIN taskcore_task AS t ON t.id = a.task_id JOIN taskcore_kind AS k ON k.id = t.kind
LEFT JOIN taskcore_worker AS w ON w.id = a.worker"""

# One row a stretch: what waited from its submission until it began, and each attempt.
_TIMELINE: Final = """CREATE VIEW taskcore_v_timeline AS
SELECT t.id AS task_id, k.name, NULL AS worker, 'waiting' AS what, t.submitted_at AS begin_at,
    ifnull(t.first_started_at, t.finished_at) AS end_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', t.submitted_at, 'unixepoch') AS begin_iso,
    strftime('%Y-%m-%dT%H:%M:%fZ', ifnull(t.first_started_at, t.finished_at), 'unixepoch') AS end_iso
FROM taskcore_task AS t JOIN taskcore_kind AS k ON k.id = t.kind
UNION ALL
SELECT task_id, name, worker, outcome, started_at, finished_at, started_iso, finished_iso FROM taskcore_v_attempt"""

_STEP: Final = f"""CREATE VIEW taskcore_v_step AS
SELECT s.task AS task_id, k.name AS task_name, s.place, s.kind, s.name, s.n, s.state, s.child AS child_id, s.attempt,
    s.result,
    {_times("s", "started", "finished")}
FROM taskcore_step AS s JOIN taskcore_task AS t ON t.id = s.task JOIN taskcore_kind AS k ON k.id = t.kind"""

VIEWS: Final = (_TASK, _WAITING_FOR, _ATTEMPT, _TIMELINE, _STEP)
