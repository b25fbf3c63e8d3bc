"""What a file's age costs: opening one with a million ended tasks."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import taskcore

from .measure import Figure, check, compare, duration, seconds
from .references import TASK, noop, shape_of
from .stored import children, drain, fill, noops

ENDED = 1_000_000


def age(path: Path) -> None:
    """Fill a file with a million ended tasks."""
    age_to(path, ENDED)


def age_to(path: Path, ended: int, *, of_a_job: bool = False) -> None:
    """Fill a file with so many ended tasks: two that ran, and copies of the last row under new ids. `of_a_job`: they
    are the children of one, which comes before them."""
    fill(path, children(2) if of_a_job else noops(2))
    drain(path, 2 + of_a_job, noop=noop)
    shape = shape_of(path)
    (key, *others), (last, *values) = shape.columns, shape.stored[-1]
    check(isinstance(last, int), f"the first column is the id: {key}")
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute(
            f"INSERT INTO {TASK} ({', '.join(shape.columns)}) {numbers}"
            f" SELECT n.i + ?, {', '.join('?' * len(others))} FROM n",
            (ended - 2, last, *values),
        )
        db.execute(f"UPDATE {TASK} SET children = ? WHERE job IS NOT NULL", (ended,))
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def counted(place: Path, rounds: int) -> Figure:
    """`counts()` of a file with 1,000,000 tasks, in milliseconds, beside reading them all."""
    old = place / "old.db"
    age(old)
    with closing(taskcore.Engine(old, workers=0)) as engine:
        return _counts(engine.tasks, old, rounds, "a file's")


def counted_children(place: Path, rounds: int) -> Figure:
    """`counts()` of a job with 1,000,000 children, in milliseconds, beside reading them all."""
    old = place / "job.db"
    age_to(old, ENDED, of_a_job=True)
    with closing(taskcore.Engine(old, workers=0)) as engine:
        return _counts(engine.tasks.where(parent=1), old, rounds, "a job's")


def _counts(chosen: taskcore.Selection, path: Path, rounds: int, whose: str) -> Figure:
    first = seconds(chosen.counts)
    took = sorted(seconds(chosen.counts) * 1e3 for _ in range(rounds))
    check(chosen.counts() == {"succeeded": ENDED}, "a million tasks are counted")
    with closing(sqlite3.connect(path)) as db:
        read = seconds(lambda: db.execute(f"SELECT phase, count(*) FROM {TASK} GROUP BY 1").fetchall())
    middle, note = took[len(took) // 2], f"{whose}; the first time {duration(first)}"
    return Figure(middle, took[0], took[-1], duration(middle / 1e3), duration(read), note)


def opened(place: Path, rounds: int) -> Figure:
    """Opening a file with 1,000,000 ended tasks and reading one row / the same with an empty file."""
    old, empty = place / "old.db", place / "empty.db"
    age(old)
    with closing(taskcore.Engine(empty, workers=0)) as engine:
        check(len(engine.tasks) == 0, "the empty file is empty")

    def opening(path: Path) -> float:
        engines: list[taskcore.Engine] = []

        def work() -> None:
            engines.append(taskcore.Engine(path, workers=0))
            engines[0].tasks.where(id=1).first()

        took = seconds(work)
        engines[0].close()
        return took

    figure = compare(lambda _: opening(old), lambda _: opening(empty), rounds, duration)
    with closing(taskcore.Engine(old, workers=0)) as engine:
        counts = dict(engine.tasks.counts())
    check(counts == {"succeeded": ENDED}, f"a million tasks are in the file: {counts}")
    return figure
