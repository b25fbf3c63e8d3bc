"""What a file's age costs: opening one with a million ended tasks."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import taskcore

from .measure import Figure, check, compare, duration, seconds
from .references import TASK, noop, shape_of
from .stored import drain, fill, noops

ENDED = 1_000_000


def age(path: Path) -> None:
    """Fill a file with a million ended tasks."""
    age_to(path, ENDED)


def age_to(path: Path, ended: int) -> None:
    """Fill a file with so many ended tasks: two that ran, and copies of the last row under new ids."""
    fill(path, noops(2))
    drain(path, 2, noop=noop)
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
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def counted(place: Path, rounds: int) -> Figure:
    """`counts()` of a file with 1,000,000 tasks, in milliseconds, beside reading them all."""
    old = place / "old.db"
    age(old)
    with closing(taskcore.Engine(old, workers=0)) as engine:
        first = seconds(engine.tasks.counts)
        took = sorted(seconds(engine.tasks.counts) * 1e3 for _ in range(rounds))
        check(engine.tasks.counts() == {"succeeded": ENDED}, "a million tasks are counted")
    with closing(sqlite3.connect(old)) as db:
        read = seconds(lambda: db.execute(f"SELECT phase, count(*) FROM {TASK} GROUP BY 1").fetchall())
    middle = took[len(took) // 2]
    note = f"the first time {duration(first)}"
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
