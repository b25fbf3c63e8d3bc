"""How an engine ends: in its time, whatever holds it up; and when nobody holds it any more."""

import contextlib
import gc
import glob
import os
import signal
import sqlite3
import threading
import time

import pytest

import taskcore
from taskcore import Engine, EngineClosed
from taskcore.testing import InlineExecutor
from tests.support.processes import PATIENCE, until

LONG = 60.0


def took(call):
    since = time.monotonic()
    call()
    return time.monotonic() - since


def in_a_body(engine, path, go):
    inside = threading.Event()

    @engine.task
    def deaf():
        inside.set()
        go.wait(LONG)

    deaf.submit()
    assert inside.wait(PATIENCE)


def in_a_transaction(engine, path, go):
    inside = threading.Event()

    @engine.task
    def writes():
        with engine.transaction():
            inside.set()
            go.wait(LONG)

    writes.submit()
    assert inside.wait(PATIENCE)


def in_a_transacted_step(engine, path, go):
    inside = threading.Event()

    @engine.task
    def writes():
        def step(db):
            inside.set()
            go.wait(LONG)

        taskcore.current().transact("step", step)

    writes.submit()
    assert inside.wait(PATIENCE)


def in_a_callback(engine, path, go):
    added, inside = threading.Event(), threading.Event()
    future = engine.task(lambda: added.wait(PATIENCE), name="t").submit()
    future.add_done_callback(lambda _: (inside.set(), go.wait(LONG)))  # of an ended task it would be called here
    added.set()
    assert inside.wait(PATIENCE)


def in_a_job(engine, path, go):
    inside = threading.Event()

    def block():
        with contextlib.suppress(EngineClosed), engine.job("j"):
            inside.set()
            go.wait(LONG)

    threading.Thread(target=block, daemon=True).start()
    assert inside.wait(PATIENCE)


def behind_another_program(engine, path, go):
    engine.submit("t")
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    def let_go():
        go.wait(LONG)
        other.execute("ROLLBACK")
        other.close()

    threading.Thread(target=let_go, daemon=True).start()
    engine.task(lambda: 1, name="t")


@pytest.mark.parametrize(
    "held_up", [in_a_body, in_a_transaction, in_a_transacted_step, in_a_callback, in_a_job, behind_another_program]
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_close_with_a_time_ends_in_that_time(path, held_up):
    engine, go = Engine(path, workers=2), threading.Event()
    try:
        held_up(engine, path, go)
        assert took(lambda: engine.close(timeout=0.3)) < 1.5
        assert engine.health.state == "stopped"
        with pytest.raises(EngineClosed):
            engine.submit("t")
    finally:
        go.set()
    until(lambda: engine._context.closed, "it is closed at last")
    with contextlib.closing(Engine(path, workers=1)) as again:
        again.run(progress=False)
        assert {task.phase for task in again.tasks} <= {"ready", "succeeded", "suspended"}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no such signals")
@pytest.mark.parametrize("timeout", [2.0, None])
def test_a_close_in_a_signal_handler_never_waits_for_what_it_interrupted(path, timeout):
    engine, done = Engine(path, workers=2), []
    noop = engine.task(lambda: None, name="noop")

    def stop(*_):
        done.append(took(lambda: engine.close(timeout=timeout)))

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        since = time.monotonic()
        with contextlib.suppress(EngineClosed):
            while not done and time.monotonic() - since < PATIENCE:
                noop.submit()
        assert done and done[0] < 4
    finally:
        signal.signal(signal.SIGALRM, before)
    until(lambda: engine._context.closed, "it is closed")
    assert engine.health.state == "stopped"


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="there are no such signals")
@pytest.mark.parametrize("timeout", [1.0, None])
def test_nor_for_the_call_of_the_file_in_the_middle_of_which_it_came(path, timeout):
    engine, done = Engine(path, workers=2), []
    engine.task(lambda: None, name="noop").submit().result(PATIENCE)
    before = signal.signal(signal.SIGALRM, lambda *_: done.append(took(lambda: engine.close(timeout=timeout))))
    try:
        with contextlib.suppress(EngineClosed):
            engine._file.write(lambda tx: signal.raise_signal(signal.SIGALRM))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert done and done[0] < 0.5
    until(lambda: engine._context.closed, "it is closed")


def test_what_another_program_locks_is_said_and_what_was_not_given_back_is_taken_by_the_next_start(path, caplog):
    engine = Engine(path, workers=1)
    engine.task(lambda: 1, name="t").submit().result(PATIENCE)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        engine.close(timeout=0.2)
        until(lambda: "closed before all was given back" in caplog.text, "it says so")
        other.execute("ROLLBACK")
    with Engine(path, workers=1) as engine:
        engine.task(lambda: 1, name="t").submit()
        assert engine.run(progress=False) == {"succeeded": 2}
        assert engine.check() == []


# -- nobody holds it any more --------------------------------------------------------------------------------------


def test_results_come_though_the_engine_went_out_of_sight(path):
    def begin():
        engine = Engine(path, workers=2)
        task = engine.task(lambda n: n * n, name="square")
        return [task.submit(n) for n in range(20)]

    futures = begin()
    gc.collect()
    with pytest.warns(ResourceWarning, match="dropped without close"):  # now nobody waits for it any more
        assert [future.result(PATIENCE) for future in futures] == [n * n for n in range(20)]


def test_an_engine_that_nobody_holds_is_closed_and_says_so(path):
    before = set(threading.enumerate())  # those of earlier tests may be on their way out
    engine, go = Engine(path, workers=2), threading.Event()
    task = engine.task(lambda n: (go.wait(PATIENCE), n)[1], name="t")
    first, context = task.submit(1), engine._context
    go.set()
    assert first.result(PATIENCE) == 1
    second, number = task.submit(2), first.id + 1
    del engine
    gc.collect()
    assert not context.closed, "who can submit holds the engine"
    del task
    gc.collect()
    assert not context.closed, "and who waits for a result"
    with pytest.warns(ResourceWarning, match=r"tasks\.db was dropped without close\(\)"):
        assert second.result(PATIENCE) == 2
    until(lambda: context.closed, "it is closed")
    until(lambda: set(threading.enumerate()) <= before, "its threads end")
    with Engine(path, workers=1) as again:
        again.task(lambda n: n, name="t")
        again.run(progress=False)
        assert again.tasks.counts() == {"succeeded": 2}
        assert again.future(number).result(PATIENCE) == 2 == second.result()


def test_an_engine_that_was_closed_is_dropped_in_silence(path):
    Engine(path, workers=1).close()
    engine = Engine(":memory:", executor=InlineExecutor())
    engine.close()
    del engine
    gc.collect()


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="only Linux tells what is open")
def test_an_engine_that_was_closed_holds_no_descriptor_though_nothing_collects_it(path):
    gc.collect()  # what earlier tests left open is not this engine's
    gc.disable()
    try:
        for _ in range(2):
            with contextlib.closing(Engine(path, workers=1)) as engine:
                engine.on_change(lambda change: None)
                engine.submit(len, "abc").result(PATIENCE)
        # The thread that listened closes its ear a moment later.
        until(lambda: all(t.name != "taskcore-lookout" for t in threading.enumerate()), "the listener is gone")
        found = [os.readlink(name) for name in glob.glob("/proc/self/fd/*") if os.path.islink(name)]
        assert [name for name in found if name.startswith(str(path.parent)) or "inotify" in name] == []
    finally:
        gc.enable()


# -- no threads ----------------------------------------------------------------------------------------------------


def no_threads(monkeypatch, *names):
    start = threading.Thread.start

    def refuse(self):
        if self.name in names:
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)


@pytest.mark.parametrize("name", ["taskcore-worker", "taskcore-loop"])
def test_where_no_thread_can_be_started_whoever_waits_is_told_and_health_says_it(path, monkeypatch, name):
    engine = Engine(path, workers=2)
    task = engine.task(lambda n: n, name="t")
    with monkeypatch.context() as patch:
        no_threads(patch, name)
        future = task.submit(1)
        assert engine.health == "degraded: no thread can be started: can't start new thread"
        with pytest.raises(EngineClosed, match="no thread can be started"):
            future.result(PATIENCE)
        with pytest.raises((EngineClosed, RuntimeError), match="thread"):
            engine.run(progress=False)
    assert future.result(PATIENCE) == 1, "now there are threads again"
    assert engine.health == "ok"
    engine.close()


def test_an_engine_whose_last_thread_was_written_off_and_that_gets_no_other_says_so(path, monkeypatch):
    engine, go = Engine(path, workers=1), threading.Event()
    deaf = engine.task(lambda: go.wait(LONG), name="deaf", timeout=0.2).submit()
    until(lambda: engine._scheduler.custody.begun == 1, "it has begun")
    with monkeypatch.context() as patch:
        no_threads(patch, "taskcore-worker")
        with pytest.raises(Exception, match="ran for more than"):
            deaf.result(PATIENCE)
        with pytest.raises(EngineClosed, match="no thread can be started"):
            engine.task(lambda: 1, name="next").submit().result(PATIENCE)
    crew = engine._scheduler.custody.crew
    assert crew._deaf
    go.set()
    until(lambda: not crew._deaf, "a body that returned after all is not deaf any more")
    engine.close()


def test_an_engine_without_a_thread_to_close_in_closes_all_the_same(path, monkeypatch):
    engine = Engine(path, workers=1)
    engine.task(lambda: 1, name="t").submit().result(PATIENCE)
    no_threads(monkeypatch, "taskcore-close")
    engine.close(timeout=5)
    assert engine.health == "stopped: closed"


def test_shutdown_cancels_nothing_that_a_pool_would_have_begun(path):
    for _ in range(5):
        engine, go = Engine(path, workers=5), threading.Event()
        task = engine.task(lambda n, go=go: go.wait(PATIENCE), name="t")
        futures = [task.submit(n) for n in range(50)]
        threading.Timer(0.2, go.set).start()
        engine.shutdown(cancel_futures=True)
        assert sum(not future.cancelled() for future in futures) == 5


# -- looking meanwhile ---------------------------------------------------------------------------------------------


def submits_until_it_is_closed(engine):
    with contextlib.suppress(EngineClosed):
        engine.task("w").options(tags=["x"]).submit()


@pytest.mark.parametrize("held_up", [in_a_transaction, in_a_transacted_step, in_a_job, behind_another_program])
def test_who_only_looks_does_not_wait_for_a_transaction_of_another_thread_or_program(path, held_up):
    engine, go = Engine(path, workers=2), threading.Event()
    try:
        done = engine.task(lambda: 5, name="done").submit()
        assert done.result(PATIENCE) == 5
        held_up(engine, path, go)
        if held_up is behind_another_program:
            threading.Thread(target=submits_until_it_is_closed, args=(engine,), daemon=True).start()
            until(lambda: engine._file.patience.since is not None, "somebody waits")
        looks = [
            lambda: engine.tasks.counts(), lambda: done.snapshot(), lambda: list(engine.tasks), lambda: done.explain(),
            lambda: engine.future(done.id).result(PATIENCE), lambda: len(engine.tasks.where(name="done")),
        ]
        for look in looks:
            assert took(look) < 1
        assert engine.tasks.where(name="done").counts() == {"succeeded": 1}
    finally:
        go.set()
        engine.close()
