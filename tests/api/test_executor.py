"""`Engine` as a `concurrent.futures.Executor`: submit, map, run, start, shutdown, close, and what is due."""

import concurrent.futures
import contextlib
import datetime
import functools
import io
import itertools
import operator
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import taskcore
from taskcore import Cancelled, Engine, EngineClosed, NotInTask, Snooze, constant
from taskcore.testing import InlineExecutor

PATIENCE = 10  # seconds that a healthy engine never needs
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def live(path):
    with contextlib.closing(Engine(path, workers=2)) as live:
        yield live


def double(x):
    return 2 * x


def describe(*args, **kwargs):
    return [list(args), kwargs]


def fails():
    raise ValueError


def where_am_i():
    try:
        taskcore.current()
    except NotInTask:
        return [os.getpid(), "no task"]
    return [os.getpid(), "a task"]


class Tool:
    @staticmethod
    def halve(x):
        return x / 2

    def method(self):
        return 1


class Callable:
    def __call__(self):
        return 1


# -- submit --------------------------------------------------------------------------------------------------------


def test_an_engine_is_an_executor(inline):
    assert isinstance(inline, concurrent.futures.Executor)


def test_a_module_level_function_is_registered_by_module_and_qualified_name(inline):
    future = inline.submit(double, 21)
    assert future.result() == 42
    assert future.snapshot().name == f"{__name__}.double"
    assert inline.submit(Tool.halve, 3).snapshot().name == f"{__name__}.Tool.halve"
    assert inline.submit(operator.neg, 3).result() == -3


def test_a_function_made_a_task_is_submitted_under_its_name(inline):
    task = inline.task(double, name="twice")
    assert inline.submit(task, 4).result() == 8
    assert inline.tasks.first().name == "twice"
    assert task(5) == double(5)


def test_a_name_stands_for_a_task_that_is_run_elsewhere(inline):
    future = inline.submit("heat furnace", 900, ramp=5)
    assert inline.run() == {"ready": 1}
    task = future.snapshot()
    assert (task.name, task.args, task.kwargs) == ("heat furnace", (900,), {"ramp": 5})


def test_a_name_that_is_known_here_is_run_here(inline):
    inline.task(double, name="twice")
    assert inline.submit("twice", 4).result() == 8


@pytest.mark.parametrize(
    "fn",
    [
        lambda: 1,
        functools.partial(double, 1),
        Tool().method,
        Callable(),
        type("Local", (), {})().__init__,
    ],
    ids=["lambda", "partial", "bound method", "object", "slot"],
)
def test_what_no_other_process_could_find_is_refused_with_what_to_do(inline, fn):
    with pytest.raises(TypeError, match="task"):
        inline.submit(fn)
    assert len(inline.tasks) == 0


def test_a_nested_function_is_refused_with_what_to_do(inline):
    def nested():
        return 1

    with pytest.raises(TypeError, match=r"nested.*task\(name="):
        inline.submit(nested)
    assert inline.task(nested).submit().result() == 1
    assert len(inline.tasks) == 1


@pytest.mark.parametrize("fn", [None, 5, b"name", ["name"]])
def test_what_is_no_function_is_refused(inline, fn):
    for refusing in (inline.submit, inline.map):
        with pytest.raises(TypeError):
            refusing(fn)
    assert len(inline.tasks) == 0


def test_every_keyword_belongs_to_the_function(inline):
    kwargs = {"fn": 1, "self": 2, "key": 3, "priority": 4, "timeout": 5, "name": 6, "args": 7, "kwargs": 8}
    assert inline.submit(describe, 0, **kwargs).result() == [[0], kwargs]
    task = inline.task(describe)
    assert task.submit(0, **kwargs).result() == [[0], kwargs]
    assert {task.priority for task in inline.tasks} == {0}


# -- map -----------------------------------------------------------------------------------------------------------


def test_map_gives_results_in_order_of_the_arguments(live):
    assert list(live.map(double, range(30))) == [2 * n for n in range(30)]
    assert list(live.task(operator.sub, name="sub").map([5, 6, 7], [1, 2, 3])) == [4, 4, 4]


def test_map_ends_with_the_shortest_of_its_iterables_even_beside_an_endless_one(inline):
    assert list(inline.map(operator.add, itertools.count(), [10, 20, 30])) == [10, 21, 32]
    assert list(inline.map(double)) == []
    assert list(inline.map(double, [])) == []


@pytest.mark.parametrize("chunksize", [1, 7, 5000])
def test_map_loses_nothing_where_one_transaction_ends_and_the_next_begins(engine, chunksize):
    engine.map("elsewhere", iter(range(2001)), chunksize=chunksize)
    assert [task.args[0] for task in engine.tasks] == list(range(2001))


def test_map_stores_all_at_once_whether_or_not_anybody_iterates(engine):
    results = engine.map("elsewhere", range(3))
    assert len(engine.tasks) == 3
    del results
    assert engine.tasks.counts() == {"ready": 3}


def test_dropping_the_iterator_of_map_cancels_nothing(inline):
    results = inline.map(double, range(5))
    assert next(results) == 0
    results.close()
    assert inline.run() == {"succeeded": 5}


def test_map_raises_what_a_body_raised_in_its_place(inline):
    results = inline.map(operator.truediv, [1, 1], [1, 0])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_takes_its_timeout_from_the_call_on(inline):
    results = inline.map("elsewhere", [1], timeout=0.01)
    with pytest.raises(TimeoutError):
        next(results)
    assert list(inline.map(double, [1], timeout=None)) == [2]
    assert list(inline.map(double, [1], timeout=PATIENCE)) == [2]


def test_map_of_an_iterable_that_raises_keeps_to_whole_transactions(engine):
    def broken():
        yield from range(5)
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="source"):
        engine.map("elsewhere", broken())
    assert len(engine.tasks) == 0


def test_map_inside_a_transaction_is_part_of_it(inline):
    with pytest.raises(KeyError), inline.transaction():
        inline.map(double, range(3))
        raise KeyError
    assert len(inline.tasks) == 0
    with inline.transaction():
        results = inline.map(double, range(3))
    assert list(results) == [0, 2, 4]


# -- run -----------------------------------------------------------------------------------------------------------


def test_run_gives_the_counts_by_status_when_nothing_is_due(inline):
    assert inline.run() == {}
    inline.submit(double, 1)
    inline.submit(double, "x" * 3)
    inline.submit(double, None)
    inline.task(lambda: taskcore.Done(1, status="good"), name="labelled").submit()
    assert inline.run() == {"succeeded": 2, "failed": 1, "good": 1}
    assert inline.run() == {"succeeded": 2, "failed": 1, "good": 1}


def test_run_works_through_what_an_earlier_process_left(path, clock):
    with contextlib.closing(Engine(path, workers=0)) as engine:
        futures = [engine.submit("double", n) for n in range(3)]
    with contextlib.closing(Engine(path, clock=clock, executor=InlineExecutor())) as engine:
        engine.task(double)
        assert engine.run() == {"succeeded": 3}
        assert [engine.future(future.id).result() for future in futures] == [0, 2, 4]


def test_run_with_threads_ends_when_all_has_ended(live):
    with live.transaction():
        tops = [live.task(double).submit(n) for n in range(20)]
        live.task(lambda numbers: sum(numbers), name="total").submit(tops)
    assert live.run() == {"succeeded": 21}
    assert live.tasks.where(name="total").first().result == 380


def test_run_follows_what_bodies_submit(inline):
    @inline.task
    def countdown(n):
        if n:
            countdown.submit(n - 1)
        return n

    countdown.submit(4)
    assert inline.run() == {"succeeded": 5}


def test_run_draws_a_bar_only_where_somebody_looks(inline, monkeypatch):
    class Screen(io.StringIO):
        def isatty(self):
            return True

    for stderr, progress, drawn in [
        (Screen(), None, True),
        (Screen(), False, False),
        (io.StringIO(), None, False),
        (io.StringIO(), True, True),
    ]:
        inline.submit(double, 1)
        monkeypatch.setattr(sys, "stderr", stderr)
        inline.run(progress=progress)
        assert bool(stderr.getvalue()) is drawn


def test_run_is_refused_inside_a_transaction(inline):
    with inline.transaction(), pytest.raises(RuntimeError, match="transaction"):
        inline.run()


def test_an_engine_without_workers_submits_and_looks_and_runs_nothing(engine):
    future = engine.submit(double, 1)
    engine.start()
    assert engine.run() == {"ready": 1}
    assert engine.tasks.where(phase="ready").pause() == 1
    assert future.resume()
    engine.shutdown()
    with pytest.raises(EngineClosed):
        future.result()


def test_start_runs_what_is_in_the_file_in_the_background(path):
    with contextlib.closing(Engine(path, workers=0)) as engine:
        future = engine.submit("double", 4)
    with contextlib.closing(Engine(path, workers=1)) as engine:
        engine.task(double)
        assert engine.future(future.id).snapshot().phase == "ready"
        engine.start()
        engine.start()
        assert engine.future(future.id).result(PATIENCE) == 8


def test_submit_starts_the_engine_by_itself_and_making_one_starts_no_thread(path):
    before = set(threading.enumerate())  # those of earlier tests may be on their way out
    with contextlib.closing(Engine(path, workers=3)) as engine:
        engine.task(double)
        assert len(engine.tasks) == 0
        assert set(threading.enumerate()) <= before
        done = threading.Event()
        engine.submit(double, 1).add_done_callback(lambda _: done.set())
        assert done.wait(PATIENCE)


def test_a_transaction_with_submits_starts_the_engine(live):
    done = threading.Event()
    with live.transaction():
        future = live.submit(double, 1)
    future.add_done_callback(lambda _: done.set())
    assert done.wait(PATIENCE)


# -- what is due ---------------------------------------------------------------------------------------------------


def test_a_retry_within_a_minute_is_due(inline, clock):
    future = inline.task(fails, max_attempts=2, backoff=constant(60)).submit()
    assert inline.run() == {"failed": 1}
    assert clock.now() == future.snapshot().finished_at == 1060


def test_a_retry_after_more_than_a_minute_is_not_due(inline, clock):
    future = inline.task(fails, max_attempts=2, backoff=constant(60.1)).submit()
    assert inline.run() == {"scheduled": 1}
    assert clock.now() == 1000
    task = future.snapshot()
    assert (task.waiting_for, task.greenfield) == ("backoff", 1060.1)
    clock.advance(1)
    assert inline.run() == {"failed": 1}


def test_delayed_snoozed_paused_and_unregistered_tasks_are_not_due(inline, clock):
    task = inline.task(double)

    @inline.task
    def snoozes():
        raise Snooze(5)

    at = datetime.datetime.fromtimestamp(1005, datetime.UTC)
    tasks = [
        task.options(delay=5).submit(1),
        task.options(at=at).submit(1),
        snoozes.submit(),
        task.submit(1),
        inline.submit("elsewhere"),
        inline.task(lambda x: x, name="after").submit(inline.submit("elsewhere")),
    ]
    tasks[3].pause()
    assert inline.run() == {"scheduled": 3, "paused": 1, "ready": 2, "waiting": 1}
    assert clock.now() == 1000
    clock.advance(5)
    tasks[3].resume()
    assert inline.run() == {"succeeded": 3, "scheduled": 1, "ready": 2, "waiting": 1}


@pytest.mark.parametrize("delay, phase", [(0, "ready"), (30, "scheduled")])
def test_a_task_that_is_to_avoid_this_worker_is_not_due_here(path, clock, delay, phase):
    with Engine(path, executor=InlineExecutor(), clock=clock, name="X") as engine:
        task = engine.task(fails, max_attempts=2, backoff=constant(delay), avoid_failed_worker=True)
        future, fresh = task.submit(), task.options(delay=5).submit()
        assert engine.run() == ({"ready": 1, "scheduled": 1} if phase == "ready" else {"scheduled": 2})
        clock.advance(5)
        assert engine.run() == {phase: 2}
        assert fresh.snapshot().failures == future.snapshot().failures == 1
        assert engine.submit(double, 2).result() == 4
    clock.advance(delay)
    with Engine(path, executor=InlineExecutor(), clock=clock, name="Y") as engine:
        engine.task(fails, max_attempts=2, avoid_failed_worker=True)
        assert engine.run() == {"failed": 2, "succeeded": 1}


def test_what_is_not_due_is_run_all_the_same_when_time_passes_for_something_that_is(inline, clock):
    calls = []

    @inline.task(max_attempts=2, backoff=constant(30))
    def flaky():
        calls.append(("flaky", clock.now()))
        if len(calls) == 1:
            raise ValueError

    flaky.submit()
    inline.task(lambda: calls.append(("delayed", clock.now())), name="d").options(delay=10).submit()
    assert inline.run() == {"succeeded": 2}
    assert calls == [("flaky", 1000), ("delayed", 1010), ("flaky", 1030)]


# -- shutdown ------------------------------------------------------------------------------------------------------


def test_leaving_the_with_block_waits_for_all_that_was_submitted(path):
    with Engine(path, workers=2) as engine:
        futures = [engine.submit(double, n) for n in range(10)]
        after = engine.task(lambda numbers: sum(numbers), name="total").submit(futures)
    assert after.result() == 90
    with pytest.raises(EngineClosed):
        engine.submit(double, 1)


def test_shutdown_waits_for_retries_that_are_due_and_leaves_what_is_not(path, clock):
    engine = Engine(path, clock=clock, executor=InlineExecutor())
    calls = []

    @engine.task(max_attempts=2, backoff=constant(30))
    def flaky():
        calls.append(None)
        if len(calls) == 1:
            raise ValueError
        return len(calls)

    future = flaky.submit()
    delayed = flaky.options(delay=100).submit()
    engine.shutdown()
    assert future.result() == 2
    with pytest.raises(EngineClosed):
        delayed.result()
    with contextlib.closing(Engine(path, workers=0)) as again:
        assert again.tasks.counts() == {"succeeded": 1, "scheduled": 1}


def test_shutdown_can_cancel_what_has_not_begun(live):
    inside, go = threading.Event(), threading.Event()

    @live.task
    def gate():
        inside.set()
        assert go.wait(PATIENCE)
        return "done"

    running = gate.submit()
    assert inside.wait(PATIENCE)
    delayed = gate.options(delay=100).submit()
    elsewhere = live.submit("elsewhere")
    below = live.task(double).submit(running)
    threading.Timer(0.02, go.set).start()
    live.shutdown(wait=True, cancel_futures=True)
    assert running.result() == "done"
    assert [future.cancelled() for future in (delayed, elsewhere, below)] == [True, True, True]


def test_shutdown_cancels_only_what_this_engine_submitted(path):
    with contextlib.closing(Engine(path, workers=0)) as other:
        theirs = other.submit("elsewhere")
        engine = Engine(path, workers=1)
        ours = engine.submit("elsewhere")
        engine.shutdown(cancel_futures=True)
        assert ours.cancelled()
        assert other.tasks.counts() == {"ready": 1, "cancelled": 1}
        assert theirs.snapshot().phase == "ready"


def test_shutdown_without_waiting_returns_at_once_and_still_finishes(live):
    inside, go, told = threading.Event(), threading.Event(), threading.Event()

    @live.task
    def gate():
        inside.set()
        assert go.wait(PATIENCE)
        return "done"

    future = gate.submit()
    later = live.submit(double, 4)
    assert inside.wait(PATIENCE)
    live.shutdown(wait=False)
    with pytest.raises(EngineClosed):
        live.submit(double, 1)
    with pytest.raises(EngineClosed), live.transaction():
        live.submit(double, 1)
    future.add_done_callback(lambda _: told.set())
    go.set()
    assert told.wait(PATIENCE)
    assert future.result(PATIENCE) == "done"
    assert later.result(PATIENCE) == 8


def test_shutdown_and_close_may_be_called_again(path):
    engine = Engine(path, workers=1)
    engine.submit(double, 1)
    for _ in range(2):
        engine.shutdown()
        engine.close()
        engine.close(timeout=0)
        engine.shutdown(wait=False, cancel_futures=True)


def test_a_failed_with_block_closes_and_leaves_the_rest_in_the_file(path):
    with pytest.raises(KeyError), Engine(path, workers=1) as engine:
        engine.submit("elsewhere")
        engine.task(double).options(delay=100).submit(1)
        raise KeyError
    with pytest.raises(EngineClosed):
        engine.submit(double, 1)
    with contextlib.closing(Engine(path, workers=0)) as again:
        assert again.tasks.counts() == {"ready": 1, "scheduled": 1}


@pytest.mark.parametrize("end", [lambda engine: engine.close(), lambda engine: engine.shutdown()])
def test_ending_inside_a_transaction_is_refused_instead_of_waiting_for_ever(live, end):
    live.submit(double, 1).result(PATIENCE)
    with live.transaction() as db:
        with pytest.raises(RuntimeError, match="transaction"):
            end(live)
        assert db.execute("SELECT 1").fetchall() == [(1,)]
    assert live.submit(double, 2).result(PATIENCE) == 4


# -- close ---------------------------------------------------------------------------------------------------------


def test_close_makes_check_raise_and_gives_the_task_back(path):
    engine = Engine(path, workers=1)
    inside, seen = threading.Event(), []

    @engine.task
    def patient():
        run = taskcore.current()
        inside.set()
        while not run.cancelled:
            pass
        try:
            run.check()
        except Cancelled as error:
            seen.append(error)
            raise

    future = patient.submit()
    assert inside.wait(PATIENCE)
    engine.close()
    assert len(seen) == 1
    with pytest.raises(EngineClosed):
        future.result()
    with contextlib.closing(Engine(path, workers=1)) as again:
        task = again.future(future.id).snapshot()
        assert (task.phase, task.attempts, task.worker, task.started_at) == ("ready", 0, None, None)
        again.task(lambda: "now", name="patient")
        again.start()
        assert again.future(future.id).result(PATIENCE) == "now"


def test_close_waits_for_a_body_that_does_not_look_and_keeps_its_result(path):
    engine = Engine(path, workers=1)
    inside, go = threading.Event(), threading.Event()

    @engine.task
    def busy():
        inside.set()
        assert go.wait(PATIENCE)
        return "done"

    future = busy.submit()
    waiting = engine.submit(double, 1)
    assert inside.wait(PATIENCE)
    threading.Timer(0.02, go.set).start()
    engine.close()
    assert future.result() == "done"
    with contextlib.closing(Engine(path, workers=0)) as again:
        assert again.future(waiting.id).snapshot().phase == "ready"


def test_close_waits_no_longer_than_its_timeout_and_gives_the_rest_back(path):
    engine = Engine(path, workers=1)
    inside, go, ended = threading.Event(), threading.Event(), threading.Event()

    @engine.task
    def deaf():
        inside.set()
        go.wait(PATIENCE)
        ended.set()
        return "too late"

    future = deaf.submit()
    assert inside.wait(PATIENCE)
    engine.close(timeout=0.02)
    assert not ended.is_set()
    with pytest.raises(EngineClosed):
        future.result()
    with contextlib.closing(Engine(path, workers=0)) as again:
        task = again.future(future.id).snapshot()
        assert (task.phase, task.attempts) == ("ready", 0)
        go.set()
        assert ended.wait(PATIENCE)
        assert again.future(future.id).snapshot() == task


CLOSED = {
    "submit": lambda engine: engine.submit(double, 1),
    "submit of a task": lambda engine: engine.task(double).submit(1),
    "submit of a name": lambda engine: engine.submit("elsewhere"),
    "map": lambda engine: engine.map(double, [1]),
    "start": lambda engine: engine.start(),
    "run": lambda engine: engine.run(),
    "transaction": lambda engine: engine.transaction().__enter__(),
    "future": lambda engine: engine.future(1),
    "claim": lambda engine: engine.claim(),
    "claimed": lambda engine: engine.claimed("1.1"),
    "counts": lambda engine: engine.tasks.counts(),
    "len": lambda engine: len(engine.tasks),
    "first": lambda engine: engine.tasks.first(),
    "iteration": lambda engine: list(engine.tasks),
    "where": lambda engine: list(engine.tasks.where(id=1)),
    "cancel": lambda engine: engine.tasks.cancel(),
    "prune": lambda engine: engine.prune(0),
    "check": lambda engine: engine.check(),
    "backup": lambda engine: engine.backup(f"{engine.path}.copy"),
}


@pytest.mark.parametrize("call", CLOSED.values(), ids=CLOSED)
def test_reading_or_submitting_after_close_is_engine_closed(path, call):
    engine = Engine(path, workers=1)
    engine.submit(double, 1).result(PATIENCE)
    engine.close()
    with pytest.raises(EngineClosed):
        call(engine)
    assert not os.path.exists(f"{path}.copy")


@pytest.mark.parametrize("verb", ["snapshot", "history", "dependencies", "cancel", "rerun", "pause", "resume"])
def test_a_handle_of_a_closed_engine_reads_and_moves_nothing(path, verb):
    engine = Engine(path, workers=0)
    future = engine.submit("elsewhere")
    engine.close()
    with pytest.raises(EngineClosed):
        getattr(future, verb)()


# -- another executor ----------------------------------------------------------------------------------------------


def test_bodies_run_on_the_executor_that_was_brought(path):
    with ThreadPoolExecutor(2, thread_name_prefix="mine") as pool:
        with Engine(path, executor=pool) as engine:

            @engine.task
            def body():
                taskcore.current().check()
                return threading.current_thread().name

            names = [future.result(PATIENCE) for future in [body.submit() for _ in range(10)]]
            assert all(name.startswith("mine") for name in names)
            assert isinstance(engine.task(lambda: {}[1], name="bad").submit().exception(PATIENCE), KeyError)
        assert pool.submit(int, "3").result() == 3  # the pool is its owner's to shut down


def test_workers_cap_the_tasks_in_flight_on_an_executor():
    class Counting(ThreadPoolExecutor):
        inside = most = 0
        lock = threading.Lock()

        def submit(self, fn, /, *args, **kwargs):
            with self.lock:
                self.inside += 1
                self.most = max(self.most, self.inside)
            future = super().submit(fn, *args, **kwargs)
            future.add_done_callback(self.leave)
            return future

        def leave(self, _):
            with self.lock:
                self.inside -= 1

    for workers, most in [(1, 1), (3, 3), (None, 4)]:
        with Counting(4) as pool, Engine(":memory:", executor=pool, workers=workers) as engine:
            meet = threading.Barrier(most, timeout=PATIENCE)
            with engine.transaction():
                for _ in range(12):
                    engine.task(lambda meet=meet: meet.wait() and None, name="meet").submit()
            assert engine.run() == {"succeeded": 12}
            assert pool.most == most


def test_a_body_is_in_a_task_and_a_function_that_is_called_is_not(live):
    assert live.submit(where_am_i).result(PATIENCE) == [os.getpid(), "a task"]
    assert where_am_i() == [os.getpid(), "no task"]


# -- the end of the interpreter ------------------------------------------------------------------------------------


def script(path, text):
    code = "from taskcore import Engine\n" + textwrap.dedent(text)
    return subprocess.run(
        [sys.executable, "-c", code, path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_the_end_of_a_script_waits_for_what_it_submitted(path):
    ran = script(
        path,
        """
        import sys, time
        engine = Engine(sys.argv[1], workers=1)
        @engine.task
        def slow(n):
            time.sleep(0.02)
            return n
        futures = [slow.submit(n) for n in range(3)]
        engine.task(sum, name="total").submit(futures)
        """,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    with contextlib.closing(Engine(path, workers=0)) as engine:
        assert engine.tasks.counts() == {"succeeded": 4}
        assert engine.tasks.where(name="total").first().result == 3


def test_a_script_that_fails_leaves_the_rest_in_the_file(path):
    ran = script(
        path,
        """
        import sys, taskcore, threading
        engine = Engine(sys.argv[1], workers=1)
        inside = threading.Event()
        @engine.task
        def slow():
            inside.set()
            while True:
                taskcore.current().check()
        for _ in range(3):
            slow.submit()
        inside.wait()
        raise SystemError("a bug of mine")
        """,
    )
    assert ran.returncode == 1
    assert "a bug of mine" in ran.stderr
    with contextlib.closing(Engine(path, workers=0)) as engine:
        assert engine.tasks.counts() == {"ready": 3}


@pytest.mark.parametrize("call", ["run", "shutdown"])
def test_what_would_wait_for_its_own_end_is_refused_in_a_body(live, call):
    future = live.task(lambda: getattr(live, call)(), name="waits").submit()
    with pytest.raises(RuntimeError, match=f"{call}\\(\\) in a body would wait for its own end"):
        future.result(PATIENCE)
    assert live.health == "ok"
