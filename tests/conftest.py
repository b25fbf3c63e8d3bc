"""What most tests begin with: a file of their own, a clock that stands still, and a second look at the rows."""

import sqlite3

import pytest

from taskcore import Engine
from taskcore.testing import InlineExecutor, ManualClock

STATUSES = {"good": "succeeded", "bad": "failed", "busy": "running"}


@pytest.fixture
def clock():
    return ManualClock(1000.0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tasks.db"


@pytest.fixture
def engine(path, clock):
    """Runs nothing: what is to move, the test claims and reports."""
    engine = Engine(path, workers=0, clock=clock, statuses=STATUSES)
    yield engine
    engine.close()


@pytest.fixture
def inline(path, clock):
    """Runs bodies in the test's own thread, while it waits for a result or in `run()`."""
    engine = Engine(path, executor=InlineExecutor(), clock=clock, statuses=STATUSES)
    yield engine
    engine.close()


@pytest.fixture
def raw(path):
    """`raw(sql, *values)` → rows as dicts, by a connection that knows nothing of taskcore."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    yield lambda sql, *values: [dict(row) for row in connection.execute(sql, values).fetchall()]
    connection.close()
