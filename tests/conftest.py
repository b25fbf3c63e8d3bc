"""What most tests begin with: a file of their own, a clock that stands still, and a second look at the rows."""

import gc
import os
import signal
import sqlite3
import sys
import tempfile

import pytest

from taskcore import Engine
from taskcore.testing import InlineExecutor, ManualClock
from tests.support.processes import Child
from tests.support.shards import pytest_addoption, pytest_runtestloop  # noqa: F401 - hooks

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)

STATUSES = {"good": "succeeded", "bad": "failed", "busy": "running"}


def pytest_configure(config):
    """Where nothing compiled may lie beside the code, pytest's cache has it: else each process that a test starts would
    compile taskcore anew, which is most of its time, and each session all of its tests."""
    if "PYTEST_DEBUG_TEMPROOT" not in os.environ and spacious("/dev/shm"):
        os.environ["PYTEST_DEBUG_TEMPROOT"] = "/dev/shm"  # to wait for a disk shows nothing
    if not sys.dont_write_bytecode or sys.pycache_prefix is not None:
        return
    if (cache := getattr(config, "cache", None)) is not None:
        place = str(cache.mkdir("compiled"))
    else:
        folder = tempfile.TemporaryDirectory()
        config.add_cleanup(folder.cleanup)
        place = folder.name
    sys.dont_write_bytecode, sys.pycache_prefix = False, place
    os.environ.update(PYTHONDONTWRITEBYTECODE="", PYTHONPYCACHEPREFIX=place)


def spacious(folder):
    """Whether there is room for what a session leaves, and those before it."""
    try:
        there = os.statvfs(folder)
    except (AttributeError, OSError):
        return False
    return os.access(folder, os.W_OK) and there.f_bavail * there.f_frsize > 4 << 30


def pytest_collection_finish():
    """What was imported and collected stays: a garbage collection in a test need not go through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def clock():
    return ManualClock(1000.0)


@pytest.fixture(scope="session")
def blank(tmp_path_factory):
    """An empty file of ours: to copy it takes a fifth of the time that it takes to make one."""
    path = tmp_path_factory.mktemp("blank") / "tasks.db"
    Engine(path, workers=0, statuses=STATUSES).close()
    return path.read_bytes()


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    """The same without statuses of its own."""
    path = tmp_path_factory.mktemp("bare") / "tasks.db"
    Engine(path, workers=0).close()
    return path.read_bytes()


@pytest.fixture
def new(tmp_path):
    """Where a file may be made, and is none yet."""
    return tmp_path / "new.db"


@pytest.fixture
def path(tmp_path, bare):
    """An empty file of ours."""
    path = tmp_path / "tasks.db"
    path.write_bytes(bare)
    return path


@pytest.fixture
def made(path, blank):
    """The same with our statuses."""
    path.write_bytes(blank)
    return path


@pytest.fixture
def engine(made, clock):
    """Runs nothing: what is to move, the test claims and reports."""
    engine = Engine(made, workers=0, clock=clock, statuses=STATUSES)
    yield engine
    engine.close()


@pytest.fixture
def inline(made, clock):
    """Runs bodies in the test's own thread, while it waits for a result or in `run()`."""
    engine = Engine(made, executor=InlineExecutor(), clock=clock, statuses=STATUSES)
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


@pytest.fixture
def child():
    children = []

    def start(body, *args, **options):
        children.append(Child(body, *args, **options))
        return children[-1]

    yield start
    for each in children:
        each.close()
