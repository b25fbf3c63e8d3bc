"""A file whose rows lead round in a circle, as no engine of ours writes it: every walk over it ends all the same."""

import contextlib
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
@pytest.mark.parametrize("look", LOOKS)
def test_no_walk_goes_round_for_ever(path, circle, look):
    with contextlib.closing(Engine(path, workers=0)) as engine:
        for name in "uvw":
            engine.submit(name)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        for statement in CIRCLES[circle]:
            connection.execute(statement)
    said = []

    def walk():
        with contextlib.closing(Engine(path, workers=0)) as engine:
            try:
                LOOKS[look](engine)
                said.append("done")
            except (TaskcoreError, ValueError, RuntimeError) as error:
                said.append(error)
            except sqlite3.IntegrityError as error:  # a row that may not be is refused, and everything with it
                said.append(error)

    thread = threading.Thread(target=walk, daemon=True)
    thread.start()
    thread.join(30)
    assert said, f"{look} goes round for ever in a file where tasks are {circle}"
