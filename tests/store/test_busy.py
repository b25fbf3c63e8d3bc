"""Other programs lock the file: it is waited for, it is said, and a close ends the waiting."""

import contextlib
import logging
import sqlite3
import threading
import time

import pytest

from taskcore import EngineClosed
from taskcore.core import clock
from taskcore.store.busy import WORTH_TELLING, Patience
from taskcore.store.connection import File

PATIENCE = 20.0


@pytest.fixture
def file(tmp_path):
    file = File(str(tmp_path / "tasks.db"), full=False, statuses={})
    yield file
    file.close()


@pytest.fixture
def lock(file):
    """Another program that holds the write lock until the block ends."""

    @contextlib.contextmanager
    def locked():
        other = sqlite3.connect(file.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.close()

    return locked


def nothing(tx):
    return 7


def test_a_locked_file_is_waited_for_and_says_since_when(file, lock):
    done = []
    with lock():
        thread = threading.Thread(target=lambda: done.append(file.write(nothing)))
        before = time.monotonic()
        thread.start()
        while file.patience.since is None:
            assert time.monotonic() - before < PATIENCE
        assert file.patience.since >= before
        assert not done
    thread.join(PATIENCE)
    assert done == [7]
    assert file.patience.since is None


def test_from_the_moment_of_a_close_on_nobody_waits_for_another_program(file, lock):
    with lock():
        file.patience.ends_at = time.monotonic() + 0.05
        began = time.monotonic()
        with pytest.raises(EngineClosed, match="another program has kept the file locked"):
            file.write(nothing)
        assert time.monotonic() - began < 2
        assert file.read(lambda connection: connection.execute("SELECT 1").fetchall()) == [(1,)]


def test_whoever_waits_long_says_so_once(monkeypatch, caplog):
    """Read on a clock that jumps, so that the test need not wait."""
    now, tries = [0.0], []
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    monkeypatch.setattr(clock, "pause", lambda _: now.__setitem__(0, now[0] + WORTH_TELLING))

    def busy():
        tries.append(1)
        if len(tries) < 6:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error
        return "written"

    with caplog.at_level(logging.WARNING, "taskcore"):
        assert Patience("x.db")(busy) == "written"
    said = [record.getMessage() for record in caplog.records]
    assert said == ["x.db: another program has kept it locked for 6 s"]


def test_a_file_that_another_thread_uses_is_closed_by_that_thread_in_the_end(file):
    inside, go = threading.Event(), threading.Event()

    def holds():
        file.enter()
        inside.set()
        assert go.wait(PATIENCE)
        file.leave(commit=True)

    thread = threading.Thread(target=holds)
    thread.start()
    assert inside.wait(PATIENCE)
    assert not file.close(timeout=0.01)
    go.set()
    thread.join(PATIENCE)
    assert file._connection is None
    with pytest.raises(EngineClosed):
        file.write(nothing)


def test_a_call_that_a_signal_handler_interrupted_is_not_waited_for(file):
    def handler(tx):
        assert file.interrupted
        assert not file.close()
        return "the interrupted call ends as it would have"

    assert not file.interrupted
    assert file.write(handler).startswith("the interrupted call")
    with pytest.raises(EngineClosed):
        file.write(nothing)
