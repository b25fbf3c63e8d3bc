"""Statements of several threads share a commit, and each stands for itself."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from taskcore.core import clock
from taskcore.core.errors import EngineClosed
from taskcore.store.connection import File
from taskcore.store.together import Together

NOTE = "INSERT INTO taskcore_meta (key, value) VALUES (?, ?)"
Call = tuple[str, tuple[object, ...]]
FORGET = "DELETE FROM taskcore_meta WHERE key = ?"
NOTED = "SELECT count(*) FROM taskcore_meta WHERE key LIKE 'note %'"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    with closing(File(str(tmp_path / "a.db"), full=False, statuses={})) as file:
        yield file


def commits_of(file: File, calls: Sequence[Call]) -> tuple[int, list[object]]:
    """How many commits it takes where all come while another thread has the file, and what each call gave or raised."""
    together, given = Together(file), [object()] * len(calls)

    def run(place: int) -> None:
        try:
            given[place] = together.run(*calls[place])
        except sqlite3.Error as error:
            given[place] = type(error)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    seen: list[str] = []
    file.enter()
    deadline = clock.monotonic() + 30
    for n, thread in enumerate(threads):
        thread.start()
        # The first two wait for the file, each with its own call; the others for the second.
        while len(together._calls) < n - 1 or len(file.line.tickets) < min(n + 1, 2):
            assert clock.monotonic() < deadline
            clock.pause(0.001)
    connection = file._connection
    assert connection is not None
    connection.set_trace_callback(seen.append)
    file.leave(False)
    for thread in threads:
        thread.join(30)
    connection.set_trace_callback(None)
    return len([text for text in seen if text == "BEGIN IMMEDIATE"]), given


def test_those_who_come_while_another_writes_share_one_commit(file: File) -> None:
    transactions, given = commits_of(file, [(NOTE, (f"note {n}", n)) for n in range(6)])
    assert transactions == 1 and given == [1] * 6  # the first two are statements alone
    assert file.read(lambda c: c.execute(NOTED).fetchone()) == (6,)


def test_each_is_told_how_many_rows_its_own_statement_changed(file: File) -> None:
    file.once(NOTE, ("note 0", 0))
    calls: list[Call] = [(NOTE, ("note 5", 5)), (NOTE, ("note 6", 6)), *[(FORGET, (f"note {n}",)) for n in range(3)]]
    _, given = commits_of(file, calls)
    assert given == [1, 1, 1, 0, 0]


def test_what_is_wrong_with_one_is_told_to_that_one_and_the_others_are_stored(file: File) -> None:
    calls: list[Call] = [(NOTE, (f"note {n}", n)) for n in range(5)]
    calls[2] = (NOTE, ("note 1", "again"))
    _, given = commits_of(file, calls)
    assert given == [1, 1, sqlite3.IntegrityError, 1, 1] or given == [1, sqlite3.IntegrityError, 1, 1, 1]
    assert file.read(lambda c: c.execute(NOTED).fetchone()) == (4,)


def test_in_a_transaction_of_ones_own_it_is_a_part_of_that(file: File) -> None:
    together = Together(file)
    file.enter()
    assert together.run(NOTE, ("note 0", 0)) == 1
    file.leave(False)
    assert file.read(lambda c: c.execute(NOTED).fetchone()) == (0,)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_process_that_forked_off_while_others_wrote_is_told_that_it_has_no_engine(file: File) -> None:
    together, writes, forked = Together(file), threading.Event(), threading.Event()

    def write() -> None:
        with together._lock:
            writes.set()
            forked.wait(30)

    writer = threading.Thread(target=write)
    writer.start()
    assert writes.wait(30)
    file.line.join()  # somebody else waits for the file
    child = os.fork()
    if not child:
        signal.alarm(20)  # it is killed where it waits for a thread that is not there
        try:
            together.run(NOTE, ("note 0", 0))
        except EngineClosed:
            os._exit(0)
        finally:
            os._exit(1)
    forked.set()
    writer.join(30)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert together.run(NOTE, ("note 0", 0)) == 1


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="there are no such signals here")
def test_a_signal_handler_that_comes_in_between_does_not_wait_for_what_it_interrupted(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, once, given = Together(file), file.once, list[int]()

    def interrupted(sql: str, values: Sequence[object]) -> int:
        monkeypatch.setattr(file, "once", once)
        signal.raise_signal(signal.SIGUSR1)
        return once(sql, values)

    def late(*_: object) -> None:
        raise AssertionError("the handler waits for ever")

    before = [
        signal.signal(signal.SIGUSR1, lambda *_: given.append(together.run(NOTE, ("note 1", 1)))),
        signal.signal(signal.SIGALRM, late),
    ]
    monkeypatch.setattr(file, "once", interrupted)
    signal.setitimer(signal.ITIMER_REAL, 20)
    try:
        assert together.run(NOTE, ("note 0", 0)) == 1 and given == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGUSR1, before[0])
        signal.signal(signal.SIGALRM, before[1])
    assert file.read(lambda c: c.execute(NOTED).fetchone()) == (2,)
