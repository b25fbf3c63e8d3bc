"""The file, read by a connection that knows nothing of taskcore, and judged by its rows alone."""

import contextlib
import json
import os
import sqlite3

from tests.support.processes import PATIENCE


def rows(path, sql, *values):
    """What a reader sees who knows nothing of taskcore."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)) as connection:
        return connection.execute(sql, values).fetchall()


# -- the file, judged by its rows alone -----------------------------------------------------------------------------

ENDED = ("succeeded", "failed", "cancelled", "skipped")
PENDING = ("waiting", "scheduled", "ready", "paused")


def verdict(wants, otherwise, phase, label):
    """What an edge is by the words of the contract."""
    ended = phase in ENDED
    if wants in (phase, label) or (wants == "finished" and ended) or (wants == "pending" and phase in PENDING):
        return "met"
    if not ended or otherwise == "wait":
        return "unmet"
    return "dropped" if otherwise == "drop" else "doomed"


def wrongs(path):
    """All that must never be so in a file that nobody is writing to."""
    found = []
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)) as connection:
        ask = connection.execute
        if not ask("SELECT 1 FROM sqlite_master WHERE name = 'taskcore_task'").fetchone():
            assert not ask("SELECT 1 FROM sqlite_master").fetchone(), "some of the tables, but not all"
            return found
        found += [f"integrity: {row}" for row in ask("PRAGMA integrity_check").fetchall() if row != ("ok",)]
        found += [f"foreign key: {row}" for row in ask("PRAGMA foreign_key_check").fetchall()]
        tasks = {
            row[0]: row[1:]
            for row in ask(
                """SELECT t.id, t.phase, t.label, t.blockers, t.held, t.worker, t.token, t.attempts, t.failures,
                       t.lapses, t.greenfield, t.finished_at, k.max_attempts, k.max_lapses, t.gated + t.behind
                   FROM taskcore_task AS t JOIN taskcore_kind AS k ON k.id = t.kind"""
            ).fetchall()
        }
        edges = ask("SELECT upstream, task, wants, otherwise, verdict FROM taskcore_edge").fetchall()
        gone = {row[0] for row in ask("SELECT id FROM taskcore_worker WHERE ended_at IS NOT NULL").fetchall()}
        keys = ask(
            """SELECT x.name, x.key, t.id FROM taskcore_key AS x LEFT JOIN taskcore_task AS t
               ON t.id = x.task AND t.key = x.key WHERE t.id IS NULL"""
        ).fetchall()
        recorded = dict(ask("SELECT task, count(*) FROM taskcore_attempt GROUP BY task").fetchall())
    blockers = {task: row[-1] for task, row in tasks.items()}
    for upstream, task, wants, otherwise, is_now in edges:
        phase, label = tasks[upstream][:2]
        should = verdict(wants, otherwise, phase, label)
        if is_now != should and tasks[task][0] not in (*ENDED, "running"):
            found.append(f"edge #{upstream} → #{task} is {is_now}, but #{upstream} is {label or phase}: {should}")
        blockers[task] += is_now in ("unmet", "doomed")
        if is_now == "doomed" and tasks[task][0] in ("waiting", "scheduled", "ready"):
            found.append(f"#{task} is {tasks[task][0]}, but doomed by #{upstream}")
    for task, row in tasks.items():
        phase, _, count, held, worker, token, attempts, failures, lapses, greenfield, finished_at, *most = row
        if count != blockers[task]:
            found.append(f"#{task} counts {count} blockers and has {blockers[task]}")
        if phase == "waiting" and not count:
            found.append(f"#{task} waits for nothing")
        if phase in ("ready", "scheduled") and count:
            found.append(f"#{task} is {phase} with {count} blockers")
        if phase == "running" and (worker in gone or not token or greenfield is None or attempts < 1):
            found.append(f"#{task} runs without a claim: {row}")
        if (phase == "paused") > held:
            found.append(f"#{task} is paused and not held")
        if (finished_at is not None) != (phase in ENDED):
            found.append(f"#{task} is {phase} and finished at {finished_at}")
        if attempts > token or attempts < recorded.get(task, 0):
            found.append(f"#{task}: {attempts} attempts, token {token}, {recorded.get(task)} recorded")
        if (most[0] is not None and failures > most[0]) or lapses > most[1] + 1:
            found.append(f"#{task}: {failures} failures and {lapses} lapses, of {most}")
    found += [f"key {name!r} {key!r} leads to no task" for name, key, _ in keys]
    return found


def whole(path):
    """Every row of every table."""
    if not os.path.exists(path):
        return {}
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        tables = {name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in names}
    return json.loads(json.dumps(tables, sort_keys=True))
