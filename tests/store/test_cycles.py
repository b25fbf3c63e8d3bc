"""A file whose rows lead round in a circle, as no engine of ours writes it: every walk over it ends all the same."""

import contextlib
import shutil
import sqlite3
import threading

import pytest

from taskcore import Engine, TaskcoreError

CIRCLES = {
    "its own parent": ["UPDATE taskcore_task SET parent = id WHERE id = 1"],
    "parents of each other": [
        "UPDATE taskcore_task SET parent = 2 WHERE id = 1", "UPDATE taskcore_task SET parent = 1 WHERE id = 2",
    ],
    "jobs that are parents of each other": [
        "UPDATE taskcore_task SET job = 'fail', parent = 3 - id, open = 1, children = 1 WHERE id IN (1, 2)",
    ],
    "upstream of each other": [
        "INSERT INTO taskcore_edge VALUES (1, 2, 'succeeded', 'skip', 'unmet', 0)",
        "INSERT INTO taskcore_edge VALUES (2, 1, 'succeeded', 'skip', 'unmet', 0)",
        "UPDATE taskcore_task SET phase = 'waiting', blockers = 1 WHERE id IN (1, 2)",
    ],
    "upstream of its own parent, and skipped": [
        "UPDATE taskcore_task SET parent = 2, job = 'fail' WHERE id = 1",
        "INSERT INTO taskcore_edge VALUES (1, 2, 'succeeded', 'skip', 'unmet', 0)",
    ],
    "each skipped for the other": [
        "UPDATE taskcore_task SET phase = 'skipped', finished_at = 1.0, last_error = '#2 is skipped' WHERE id = 1",
        "UPDATE taskcore_task SET phase = 'skipped', finished_at = 1.0, last_error = '#1 is skipped' WHERE id = 2",
    ],
    "ended, and its own parent": [
        "UPDATE taskcore_task SET phase = 'succeeded', finished_at = 1.0, parent = id, job = 'ignore' WHERE id = 1",
    ],
}  # fmt: skip

LOOKS = {
    "a child": lambda engine: engine.task("t").options(parent=1).submit(),
    "a serial child": lambda engine: engine.task("t").options(parent=2, serial="x").submit(),
    "a child that waits": lambda engine: engine.task("t").options(parent=1, after=3).submit(),
    "cancel": lambda engine: engine.future(1).cancel(),
    "pause": lambda engine: engine.future(1).pause(),
    "resume": lambda engine: engine.tasks.resume(),
    "rerun": lambda engine: engine.tasks.rerun(downstream=True),
    "explain": lambda engine: [engine.future(task).explain() for task in (1, 2, 3)],
    "downstream": lambda engine: [len(engine.tasks.where(downstream_of=1)), len(engine.tasks.where(upstream_of=1))],
    "children": lambda engine: list(engine.tasks.where(parent=1)),
    "check": lambda engine: engine.check(),
    "an end": lambda engine: [claim.succeed() for claim in engine.claim(n=10)],
    "a failure": lambda engine: [claim.fail("no", retry=False) for claim in engine.claim(n=10)],
    "another dependency": lambda engine: engine.future(3).depends_on(1),
    "prune": lambda engine: engine.prune(0),
    "delete": lambda engine: engine.tasks.delete(),
}


@pytest.mark.parametrize("circle", CIRCLES)
def test_no_walk_goes_round_for_ever(tmp_path, circle):
    with contextlib.closing(Engine(tmp_path / "made.db", workers=0)) as engine:
        for name in "uvw":
            engine.submit(name)
    with contextlib.closing(sqlite3.connect(tmp_path / "made.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        for statement in CIRCLES[circle]:
            connection.execute(statement)
    walking, walked = [], []

    def walk():
        for look, call in LOOKS.items():
            walking.append(look)
            path = tmp_path / f"{len(walking)}.db"
            shutil.copy(tmp_path / "made.db", path)
            with contextlib.closing(Engine(path, workers=0)) as engine:
                # A row that may not be is refused, and everything with it.
                with contextlib.suppress(TaskcoreError, ValueError, RuntimeError, sqlite3.IntegrityError):
                    call(engine)
            walked.append(look)

    thread = threading.Thread(target=walk, daemon=True)
    thread.start()
    thread.join(60)
    assert walked == list(LOOKS), f"{walking[-1]} goes round for ever in a file where tasks are {circle}"
