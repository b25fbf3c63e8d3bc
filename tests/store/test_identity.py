"""What was acknowledged is in the file: an engine whose file or log is taken away under it confirms nothing more."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import threading

import pytest

from taskcore import BadFile, Engine
from taskcore.store import identity
from tests.support.processes import until

PATIENCE = 20.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tasks.db"


def by_submit(engine):
    engine.submit("a")


def by_submit_with_a_key(engine):
    engine.task("b").options(key="k").submit()


def by_transaction(engine):
    with engine.transaction():
        engine.submit("c")


def by_job(engine):
    with engine.job("d"):
        pass


def by_claim(engine):
    engine.claim("a")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("write", [by_submit, by_submit_with_a_key, by_transaction, by_job, by_claim])
def test_nothing_is_confirmed_once_the_log_was_deleted(path, write):
    engine = Engine(path, workers=0)
    engine.submit("a")
    os.unlink(f"{path}-wal")  # a "clean-up" of odd files
    with pytest.raises(BadFile, match="-wal, was deleted or replaced"):
        write(engine)
    assert engine.health.startswith("stopped: its log")
    with pytest.raises(BadFile):
        engine.tasks.counts()
    engine.close()


def calm(engine):
    """Submit until the engine knows that its folder is as it was when it looked at the log last."""
    identity = engine._file._identity
    until(lambda: engine.submit("a") and identity._calm is not None, "nothing happens in the folder")


def deleted(log):
    os.unlink(log)


def replaced(log):
    shutil.copy(log, f"{log}.copy")
    os.replace(f"{log}.copy", log)


def made_anew(log):
    os.unlink(log)
    open(log, "w").close()


def restored(log):
    """As by a program that gives the folder back the time that it had when it was saved."""
    folder = os.path.dirname(log)
    had = os.stat(folder)
    replaced(log)
    os.utime(folder, ns=(had.st_atime_ns, had.st_mtime_ns))


@pytest.mark.parametrize("gone", [deleted, replaced, made_anew, restored])
def test_nothing_is_confirmed_either_where_nothing_had_happened_in_the_folder_for_a_while(path, gone):
    engine = Engine(path, workers=0)
    calm(engine)
    gone(f"{path}-wal")
    with pytest.raises(BadFile, match="-wal, was deleted or replaced"):
        engine.submit("a")
    engine.close()


def test_while_nothing_happens_in_the_folder_a_commit_does_not_look_at_the_log(path, monkeypatch):
    """The kernel would give each write a time of its own."""
    looks, fstat = [], os.fstat

    def look(descriptor):
        if descriptor in (watched._folder, watched._log):  # else it is another thread's
            looks.append(descriptor)
        return fstat(descriptor)

    with contextlib.closing(Engine(path, workers=0)) as engine, monkeypatch.context() as patch:
        calm(engine)
        watched = engine._file._identity
        patch.setattr(watched, "due", float("inf"))
        patch.setattr(os, "fstat", look)
        for _ in range(3):
            engine.submit("a")
        assert looks == [watched._folder] * 3
        (path.parent / "other").touch()
        engine.submit("a")
        assert looks[3:] == [watched._folder, watched._folder, watched._log]


def test_a_file_system_that_counts_whole_seconds_is_not_believed(path, monkeypatch):
    class Coarse:
        def __init__(self, found):
            self.st_nlink, self.st_mtime_ns = found.st_nlink, found.st_mtime_ns // 10**9 * 10**9
            self.st_ctime_ns = self.st_mtime_ns

    with contextlib.closing(Engine(path, workers=0)) as engine, monkeypatch.context() as patch:
        patch.setattr(engine._file._identity, "due", float("inf"))
        patch.setattr(identity, "TICK", 0.0)
        patch.setattr(os, "fstat", lambda descriptor, fstat=os.fstat: Coarse(fstat(descriptor)))
        for _ in range(5):
            engine.submit("a")
        assert engine._file._identity._calm is None


def test_a_process_without_a_descriptor_to_spare_commits_and_looks_after_the_log_later(path, monkeypatch):
    opens, spare = os.open, []

    def sparing(name, *args, **options):
        if str(name).endswith("-wal") and not spare:
            raise OSError(errno.EMFILE, "Too many open files", name)
        return opens(name, *args, **options)

    monkeypatch.setattr(os, "open", sparing)
    engine = Engine(path, workers=0)
    assert [engine.submit("a").id, engine.submit("a").id] == [1, 2]
    spare.append(True)
    assert engine.submit("a").id == 3
    os.unlink(f"{path}-wal")
    with pytest.raises(BadFile, match="-wal, was deleted or replaced"):
        engine.submit("a")
    engine.close()


def test_nothing_is_confirmed_by_a_process_without_a_descriptor_whose_log_was_deleted(path, monkeypatch):
    def short(name, *_, **__):
        raise OSError(errno.EMFILE, "Too many open files", name)

    engine = Engine(path, workers=0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", short)
        engine.submit("a")
        os.unlink(f"{path}-wal")
        with pytest.raises(BadFile, match="-wal, was deleted or replaced"):
            engine.submit("a")
    engine.close()


def test_whoever_waits_for_a_result_is_told_that_the_log_is_gone(path):
    engine, running, go = Engine(path, workers=1), threading.Event(), threading.Event()

    @engine.task
    def slow():
        running.set()
        assert go.wait(PATIENCE)
        return "never stored"

    future = slow.submit()
    assert running.wait(PATIENCE)
    os.unlink(f"{path}-wal")
    go.set()
    with pytest.raises(BadFile, match="-wal"):
        future.result(PATIENCE)
    engine.close()


def test_a_program_that_reads_its_own_file_and_another_that_closes_it_lose_nothing_that_was_confirmed(path):
    """Reading drops SQLite's locks, so the other process takes itself for the last one and deletes the log."""
    engine = Engine(path, workers=0)
    confirmed = [engine.submit("a").id]
    path.read_bytes()
    close = "import sys, taskcore; taskcore.Engine(sys.argv[1], workers=0).close()"
    subprocess.run([sys.executable, "-c", close, path], check=True, timeout=PATIENCE)
    with pytest.raises(BadFile):
        for _ in range(3):
            confirmed.append(engine.submit("a").id)
    engine.close()
    with Engine(path, workers=0) as again:
        assert {task.id for task in again.tasks} >= set(confirmed)


def test_the_log_may_go_while_nobody_has_the_file_open_and_comes_back(path):
    with Engine(path, workers=0) as engine:
        engine.submit("a")
    assert not os.path.exists(f"{path}-wal")
    with Engine(path, workers=0) as engine:
        engine.submit("a")
        assert engine.tasks.counts() == {"ready": 2}


def test_two_engines_of_one_process_on_one_file_go_on_when_one_of_them_closes(path):
    first, second = Engine(path, workers=0), Engine(path, workers=0)
    first.submit("a")
    second.submit("a")
    first.close()
    second.submit("a")
    assert second.tasks.counts() == {"ready": 3}
    second.close()
