"""`taskcore.testing`: time that is moved by hand, bodies in the caller's thread, and tests that never sleep."""

import contextlib
import math
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest

import taskcore
from taskcore import Engine, Snooze, constant
from taskcore.testing import InlineExecutor, ManualClock

PATIENCE = 10  # seconds that a healthy engine never needs


# -- ManualClock ---------------------------------------------------------------------------------------------------


def test_a_manual_clock_stands_still_until_it_is_moved():
    clock = ManualClock(1000)
    assert [clock.now(), clock.now()] == [1000, 1000]
    clock.advance(2.5)
    assert clock.now() == 1002.5
    clock.advance(0)
    assert clock.now() == 1002.5
    assert type(ManualClock(5).now()) is float


@pytest.mark.parametrize(
    "delay, error", [(-1, ValueError), (math.nan, ValueError), (math.inf, ValueError), ("1", TypeError)]
)
def test_it_is_advanced_by_a_number_of_seconds_and_only_forwards(delay, error):
    clock = ManualClock(1000)
    with pytest.raises(error, match="time"):
        clock.advance(delay)
    assert clock.now() == 1000


def test_it_can_be_set_as_somebody_may_set_a_machines_clock():
    clock = ManualClock(1000)
    clock.set(5)
    assert clock.now() == 5


def test_many_threads_may_advance_it():
    clock = ManualClock(0)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: clock.advance(1), range(400)))
    assert clock.now() == 400


def test_advancing_wakes_running_engines(path):
    clock = ManualClock(1000)
    with contextlib.closing(Engine(path, workers=1, clock=clock)) as engine:
        future = engine.task(lambda: taskcore.current().task.started_at, name="f").options(delay=3600).submit()
        told = threading.Event()
        future.add_done_callback(lambda _: told.set())
        began = time.monotonic()
        clock.advance(3600)
        assert told.wait(PATIENCE)
        assert time.monotonic() - began < 0.4  # and not at the next look that an idle engine takes
        assert future.result() == 4600


def test_one_clock_may_serve_several_engines_and_outlive_them(tmp_path):
    clock = ManualClock(0)
    for _ in range(2):
        engines = [Engine(tmp_path / f"{n}.db", executor=InlineExecutor(), clock=clock) for n in range(3)]
        for engine in engines:
            engine.task(lambda: None, name="f").options(delay=5).submit()
        clock.advance(5)
        assert [engine.run()["succeeded"] for engine in engines] == [clock.now() / 5] * 3
        for engine in engines:
            engine.close()
    assert clock._wake == []


# -- InlineExecutor ------------------------------------------------------------------------------------------------


def test_an_inline_executor_is_an_executor_that_runs_in_the_callers_thread():
    executor = InlineExecutor()
    assert isinstance(executor, Executor)
    future = executor.submit(threading.get_ident)
    assert isinstance(future, Future)
    assert future.done() and future.result() == threading.get_ident()
    error = KeyError("x")

    def fails(*args, **kwargs):
        raise error

    assert executor.submit(fails, 1, fn=2).exception() is error
    with executor:
        assert list(executor.map(abs, [-1, 2])) == [1, 2]


def test_bodies_run_in_the_thread_of_whoever_runs_or_waits(inline):
    where = inline.task(threading.get_ident, name="where")
    future = where.submit()
    assert future.result() == threading.get_ident()
    future = where.submit()
    inline.run()
    assert future.result() == threading.get_ident()
    future = where.submit()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(future.result).result(PATIENCE) != threading.get_ident()


def test_nothing_happens_while_nobody_runs_or_waits(inline):
    ran = []
    task = inline.task(lambda n: ran.append(n), name="f")
    with inline.transaction():
        task.submit(1)
    task.submit(2)
    inline.start()
    assert (ran, inline.tasks.counts()) == ([], {"ready": 2})
    inline.run()
    assert ran == [1, 2]


def test_no_thread_is_started(inline):
    before = set(threading.enumerate())
    task = inline.task(lambda x: taskcore.current().task.id, name="f")
    futures = [task.submit(n) for n in range(5)]
    inline.run()
    assert futures[0].result() and futures[1].done()
    assert set(threading.enumerate()) == before


def test_one_executor_may_serve_several_engines(clock):
    executor = InlineExecutor()
    for n in range(2):
        with Engine(":memory:", clock=clock, executor=executor) as engine:
            assert engine.task(lambda n: n, name="f").submit(n).result() == n


def test_a_body_may_submit_run_and_look_in_its_own_thread(inline):
    @inline.task
    def outer():
        child = inner.submit(2)
        return [child.snapshot().phase, inline.tasks.counts()]

    @inline.task
    def inner(n):
        return n

    assert outer.submit().result() == ["ready", {"running": 1, "ready": 1}]
    assert inline.run() == {"succeeded": 2}


# -- both ----------------------------------------------------------------------------------------------------------


def test_what_a_day_would_take_takes_no_time(inline, clock, monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", lambda seconds: slept.append(seconds))
    calls = []

    @inline.task(max_attempts=30, backoff=constant(59))
    def flaky():
        calls.append(clock.now())
        if len(calls) < 30:
            raise ValueError(len(calls))

    @inline.task
    def snoozing():
        if len(calls) < 60:
            calls.append(clock.now())
            raise Snooze(3600)

    began = time.monotonic()
    flaky.submit()
    inline.run()
    assert clock.now() == 1000 + 29 * 59
    snoozing.submit()
    while inline.run().get("scheduled"):
        clock.advance(3600)
    assert clock.now() == 1000 + 29 * 59 + 30 * 3600
    assert inline.tasks.counts() == {"succeeded": 2}
    assert time.monotonic() - began < 2
    assert slept == []


def test_waiting_for_a_result_lets_time_pass_that_nothing_else_fills(inline, clock):
    began = time.monotonic()
    future = inline.task(lambda: "a day later", name="f").options(delay=86_400).submit()
    assert future.result() == "a day later"
    assert clock.now() == 1000 + 86_400
    assert time.monotonic() - began < 1


def test_threads_with_a_manual_clock_do_not_sleep_either(path):
    clock = ManualClock(0)
    began = time.monotonic()
    with contextlib.closing(Engine(path, workers=2, clock=clock)) as engine:
        calls = []

        @engine.task(max_attempts=20, backoff=constant(50))
        def flaky():
            calls.append(clock.now())
            if len(calls) < 20:
                raise ValueError

        flaky.submit()
        assert engine.run() == {"succeeded": 1}
        assert calls == [50 * n for n in range(20)]
    assert time.monotonic() - began < 2


def test_a_run_is_the_same_every_time():
    def run():
        clock = ManualClock(0)
        with contextlib.closing(Engine(":memory:", clock=clock, executor=InlineExecutor(), name="me")) as engine:
            log = []

            @engine.task(max_attempts=2, backoff=constant(3))
            def step(name, *needs):
                clock.advance(1)
                log.append((name, clock.now()))
                if len(log) in (2, 4):
                    raise ValueError(name)
                return name

            a, b = step.submit("a"), step.options(priority=1).submit("b")
            step.submit("c", a, b)
            step.options(delay=40).submit("d")
            engine.run()
            clock.advance(40)
            engine.run()
            return log, [(task.name, task.phase, task.attempts, task.finished_at) for task in engine.tasks]

    first = run()
    assert all(run() == first for _ in range(3))
    assert [name for name, _ in first[0]] == ["b", "a", "a", "c", "c", "d"]
