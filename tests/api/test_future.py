"""`TaskFuture` against the whole protocol of `concurrent.futures`, and what it has beyond it."""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import gc
import logging
import pickle
import threading
import weakref
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError, as_completed, wait

import pytest

import taskcore
from taskcore import (
    Dependency,
    Done,
    Engine,
    EngineClosed,
    InvalidTransition,
    TaskFailed,
    TaskNotFound,
    TaskSkipped,
    constant,
)
from taskcore.runtime import callbacks
from taskcore.testing import InlineExecutor, ManualClock
from tests.support.processes import say, until

PATIENCE = 10  # seconds that a healthy engine never needs


@pytest.fixture
def clock():
    return ManualClock(1000)


@pytest.fixture
def engine(clock):
    """Runs bodies in this thread, and only while somebody runs or waits."""
    with contextlib.closing(Engine(":memory:", clock=clock, executor=InlineExecutor())) as engine:
        yield engine


@pytest.fixture
def live(tmp_path):
    """An engine with two threads, on a file."""
    with contextlib.closing(Engine(tmp_path / "tasks.db", workers=2)) as engine:
        yield engine


class Gate:
    """A body that says when it is inside, and stays there until it is let go."""

    def __init__(self, engine, **options):
        self.inside, self.go = threading.Event(), threading.Event()
        self.task = engine.task(self._body, name="gate", **options)

    def _body(self, value=None):
        self.inside.set()
        assert self.go.wait(PATIENCE)
        return value

    def submit(self, *args):
        future = self.task.submit(*args)
        assert self.inside.wait(PATIENCE)
        return future


def boom(text="boom"):
    raise ValueError(text)


# -- result, exception, done, running ------------------------------------------------------------------------------


def test_a_task_is_a_future_of_concurrent_futures(engine):
    assert isinstance(engine.submit("elsewhere"), concurrent.futures.Future)


def test_a_result_is_what_the_body_returned_types_included(engine):
    value = {"pair": (1, 2.5), 3: {"x", "y"}, "raw": b"\x00"}
    future = engine.task(lambda: value, name="f").submit()
    assert future.result() == value
    assert type(future.result()["pair"]) is tuple
    assert future.exception() is None


def test_a_result_is_what_was_stored_not_the_object_itself(engine):
    value = [1, 2]
    future = engine.task(lambda: value, name="f").submit()
    assert future.result() == [1, 2]
    assert future.result() is not value


def test_a_body_without_a_return_gives_none(live):
    assert live.task(lambda: None, name="f").submit().result(PATIENCE) is None


@pytest.mark.parametrize("timeout", [0, 0.01, -1])
def test_waiting_longer_than_the_timeout_is_a_timeout_error(live, engine, timeout):
    for one in (live, engine):
        future = one.submit("elsewhere")
        with pytest.raises(TimeoutError):
            future.result(timeout)
        with pytest.raises(concurrent.futures.TimeoutError):
            future.exception(timeout=timeout)
        assert not future.done()


def test_a_result_that_is_there_needs_no_timeout(engine):
    future = engine.task(lambda: 7, name="f").submit()
    engine.run()
    assert future.result(timeout=0) == 7
    assert future.exception(timeout=0) is None


def test_a_future_is_running_while_its_body_runs(live):
    gate = Gate(live)
    future = gate.submit(5)
    assert future.running() and not future.done() and not future.cancelled()
    gate.go.set()
    assert future.result(PATIENCE) == 5
    assert future.done() and not future.running() and not future.cancelled()


def test_a_future_that_waits_is_neither_running_nor_done(engine):
    future = engine.submit("elsewhere")
    assert (future.running(), future.done(), future.cancelled()) == (False, False, False)


def test_a_future_nobody_asked_knows_of_its_end(engine):
    future = engine.task(lambda: 7, name="f").submit()
    engine.run()
    assert future.done()
    assert future.result() == 7


def test_two_handles_of_one_task_tell_the_same(live):
    future = live.task(lambda: 7, name="f").submit()
    other = live.future(future.id)
    assert other.id == future.id
    assert (future.result(PATIENCE), other.result(PATIENCE)) == (7, 7)
    assert live.future(future.id).result() == 7


def test_many_threads_may_wait_for_one_result(live):
    gate = Gate(live)
    future = gate.submit("x")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(future.result, PATIENCE) for _ in range(8)]
        gate.go.set()
        assert [answer.result() for answer in answers] == ["x"] * 8


def test_a_task_without_a_handle_is_not_found(engine):
    with pytest.raises(TaskNotFound, match="#99"):
        engine.future(99)


# -- cancel --------------------------------------------------------------------------------------------------------


def test_cancelling_a_task_that_does_not_run_ends_it(engine):
    future = engine.submit("elsewhere")
    assert future.cancel("not needed") is True
    assert future.cancelled() and future.done() and not future.running()
    with pytest.raises(CancelledError):
        future.result()
    with pytest.raises(CancelledError):
        future.exception()
    task = future.snapshot()
    assert (task.phase, task.status, task.last_error) == ("cancelled", "cancelled", "not needed")
    assert task.finished_at == 1000


@pytest.mark.parametrize("options", [{"delay": 60}, {"after": "blocker"}])
def test_cancelling_reaches_tasks_that_wait_for_time_or_others(engine, options):
    if "after" in options:
        options = {"after": engine.submit("elsewhere")}
    future = engine.task("there").options(**options).submit()
    assert future.cancel()
    assert future.cancelled()


def test_cancelling_a_cancelled_task_again_is_true_as_of_any_future(engine):
    future = engine.submit("elsewhere")
    assert [future.cancel("first"), future.cancel("second")] == [True, True]
    assert future.snapshot().last_error == "first"


@pytest.mark.parametrize("body", [lambda: 1, boom])
def test_cancelling_what_has_ended_is_false_and_changes_nothing(engine, body):
    future = engine.task(body, name="f").submit()
    engine.run()
    before = future.snapshot()
    assert future.cancel("too late") is False
    assert future.snapshot() == before
    assert not future.cancelled()


def test_cancelling_a_running_task_is_a_request_that_its_body_sees(live):
    begun, asked, seen = threading.Event(), threading.Event(), []

    @live.task
    def body():
        run = taskcore.current()
        seen.append(run.cancelled)
        begun.set()
        assert asked.wait(PATIENCE)
        seen.append(run.cancelled)
        run.check()

    future = body.submit()
    assert begun.wait(PATIENCE)
    assert future.cancel("enough") is False
    assert future.snapshot().phase == "running"
    assert future.snapshot().cancel_requested_at is not None
    asked.set()
    with pytest.raises(CancelledError):
        future.result(PATIENCE)
    assert seen == [False, True]
    assert future.snapshot().phase == "cancelled"
    assert future.cancelled()


def test_a_request_to_cancel_loses_to_a_returned_result(live):
    gate = Gate(live)
    future = gate.submit("done anyway")
    assert future.cancel() is False
    gate.go.set()
    assert future.result(PATIENCE) == "done anyway"
    assert future.snapshot().phase == "succeeded"


# -- callbacks -----------------------------------------------------------------------------------------------------


def test_callbacks_are_called_once_in_order_with_the_future(engine):
    future = engine.task(lambda: 7, name="f").submit()
    calls = []
    for number in range(3):
        future.add_done_callback(lambda future, number=number: calls.append((number, future, future.result())))
    assert calls == []
    engine.run()
    assert calls == [(number, future, 7) for number in range(3)]


def test_a_callback_on_an_ended_task_is_called_at_once(engine):
    future = engine.task(lambda: 7, name="f").submit()
    engine.run()
    calls = []
    future.add_done_callback(calls.append)
    assert calls == [future]


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled", "skipped"])
def test_every_end_calls_back(engine, end):
    upstream = engine.task(boom, name="boom").submit()
    future = {
        "succeeded": lambda: engine.task(lambda: 1, name="f").submit(),
        "failed": lambda: engine.task(boom, name="g").submit(),
        "cancelled": lambda: engine.submit("elsewhere"),
        "skipped": lambda: engine.task(lambda _: 1, name="h").submit(upstream),
    }[end]()
    calls = []
    future.add_done_callback(calls.append)
    if end == "cancelled":
        future.cancel()
    engine.run()
    assert calls == [future]
    assert future.snapshot().phase == end


def test_a_callback_is_called_though_its_handle_was_dropped_at_once(live):
    gate, called = Gate(live), threading.Event()
    gate.submit(5).add_done_callback(lambda future: future.result() == 5 and called.set())
    gc.collect()
    gate.go.set()
    assert called.wait(PATIENCE)


def test_a_callback_that_raises_harms_neither_the_others_nor_the_engine(live, caplog):
    gate, called = Gate(live), threading.Event()

    def bad(kind):
        def callback(_):
            raise kind("a callback's own affair")

        return callback

    with caplog.at_level(logging.CRITICAL, "concurrent.futures"):
        future = gate.submit()
        future.add_done_callback(bad(RuntimeError))
        future.add_done_callback(lambda _: called.set())
        gate.go.set()
        assert called.wait(PATIENCE)
        exiting = live.task(lambda: 1, name="f").options(delay=0.01).submit()
        exiting.add_done_callback(bad(SystemExit))
        assert exiting.result(PATIENCE) == 1
    assert live.task(lambda: 7, name="g").submit().result(PATIENCE) == 7


def test_a_callback_may_submit_and_open_transactions(live):
    @live.task
    def number(n):
        return n

    found, told = [], threading.Event()

    def more(future):
        with live.transaction():
            nexts = [number.submit(future.result() + n) for n in (1, 2)]
        nexts[1].add_done_callback(lambda future: (found.append(future.result()), told.set()))

    number.submit(10).add_done_callback(more)
    assert told.wait(PATIENCE)
    assert found == [12]


# -- wait and as_completed -----------------------------------------------------------------------------------------


def test_wait_for_all_gives_every_task_however_it_ended(live):
    good, bad = live.task(lambda: 1, name="good"), live.task(boom, name="bad")
    failed = bad.submit()
    skipped = live.task(lambda _: 1, name="after").submit(failed)
    cancelled = live.submit("elsewhere")
    cancelled.cancel()
    futures = {good.submit(), failed, skipped, cancelled}
    assert wait(futures, PATIENCE, ALL_COMPLETED) == (futures, set())
    assert wait(futures, PATIENCE) == (futures, set())


def test_wait_for_the_first_gives_it_and_leaves_the_others(live):
    gate = Gate(live)
    slow = gate.submit()
    quick = live.task(lambda: 1, name="quick").submit()
    assert wait([slow, quick], PATIENCE, FIRST_COMPLETED) == ({quick}, {slow})
    gate.go.set()
    assert wait([slow, quick], PATIENCE, ALL_COMPLETED) == ({quick, slow}, set())


def test_wait_for_the_first_exception_passes_over_results(live):
    gate = Gate(live)
    slow = gate.submit()
    good = live.task(lambda: 1, name="good").submit()
    bad = live.task(boom, name="bad").options(after=good).submit()
    done, left = wait([slow, good, bad], PATIENCE, FIRST_EXCEPTION)
    assert left == {slow}
    assert done == {good, bad}
    gate.go.set()


def test_wait_gives_up_after_its_timeout(engine):
    futures = {engine.submit("elsewhere"), engine.submit("there")}
    assert wait(futures, timeout=0.01) == (set(), futures)


def test_as_completed_gives_each_task_once_however_it_ended(live):
    failed = live.task(boom, name="bad").submit()
    cancelled = live.submit("elsewhere")
    late = live.submit("there")
    futures = [
        live.task(lambda: 1, name="good").submit(),
        failed,
        live.task(lambda _: 1, name="after").submit(failed),
        cancelled,
        late,
    ]
    cancelled.cancel()
    seen = []
    for future in as_completed(futures, PATIENCE):
        seen.append(future)
        if len(seen) == 4:
            assert late not in seen
            late.cancel()
    assert len(seen) == len(futures) and set(seen) == set(futures)
    assert {future.snapshot().phase for future in seen} == {"succeeded", "failed", "skipped", "cancelled"}


def test_as_completed_times_out(engine):
    with pytest.raises(TimeoutError):
        list(as_completed([engine.submit("elsewhere")], timeout=0.01))


def test_futures_of_two_engines_and_a_plain_one_can_be_waited_for_together(live, engine):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        plain = pool.submit(int, "3")
        first = live.task(lambda: 1, name="f").submit()
        second = engine.task(lambda: 2, name="f").submit()
        engine.run()
        assert {future.result() for future in as_completed([plain, first, second], PATIENCE)} == {1, 2, 3}


# -- asyncio -------------------------------------------------------------------------------------------------------


def test_a_future_can_be_awaited(live):
    async def main():
        one = live.task(lambda: 1, name="one").submit()
        two = live.task(lambda: 2, name="two").submit()
        assert await asyncio.wrap_future(one) == 1
        assert await two == 2
        assert await two == 2
        return await asyncio.gather(one, two, live.task(lambda x: x + 1, name="three").submit(two))

    assert asyncio.run(main()) == [1, 2, 3]


def test_awaiting_a_failed_task_raises_what_its_body_raised(live):
    error = ValueError("mine")

    @live.task
    def bad():
        raise error

    async def main():
        with pytest.raises(ValueError) as caught:
            await bad.submit()
        return caught.value

    assert asyncio.run(main()) is error


def test_awaiting_a_skipped_or_cancelled_task_raises_so(live):
    async def main():
        failed = live.task(boom, name="bad").submit()
        with pytest.raises(TaskSkipped):
            await live.task(lambda _: 1, name="after").submit(failed)
        cancelled = live.submit("elsewhere")
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled

    asyncio.run(main())


@pytest.mark.parametrize("wrap", [lambda future: future, asyncio.wrap_future], ids=["awaited", "wrapped"])
@pytest.mark.parametrize("gives_up", ["in time", "cancelled"])
def test_a_waiter_of_asyncio_that_gives_up_leaves_the_task(live, wrap, gives_up):
    gate = Gate(live)

    async def main():
        for future in (live.submit("elsewhere"), gate.submit(3)):  # one that is ready, one that runs
            waiter = asyncio.ensure_future(asyncio.wait_for(wrap(future), 0.02 if gives_up == "in time" else None))
            await asyncio.sleep(0)
            if gives_up == "cancelled":
                waiter.cancel()
            with pytest.raises(asyncio.CancelledError if gives_up == "cancelled" else TimeoutError):
                await waiter
            await asyncio.sleep(0)
            task = future.snapshot()
            assert (task.phase in ("ready", "running"), task.cancel_requested_at, future.done()) == (True, None, False)
        gate.go.set()
        assert await future == 3

    asyncio.run(main())


def test_awaiting_again_and_again_leaves_nothing_behind(live):
    async def main():
        future = live.submit("elsewhere")
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(future, 0.001)
        assert future._done_callbacks == []

    asyncio.run(main())


def test_what_failed_before_a_restart_is_caught_as_what_was_raised(tmp_path):
    class Own(Exception):
        pass

    ways = {"builtin": ValueError("x"), "system": FileNotFoundError(2, "gone"), "own": Own("mine")}

    def body(name):
        raise ways[name]

    with Engine(tmp_path / "tasks.db", workers=1) as engine:
        for name in ways:
            engine.task(body, name=name).submit(name)
    with contextlib.closing(Engine(tmp_path / "tasks.db", workers=0)) as engine:
        for task, error in zip(engine.tasks, ways.values(), strict=True):
            with pytest.raises(TaskFailed, match=rf"engine.future\({task.id}\).rerun\(\) runs it again") as caught:
                engine.future(task).result()
            assert isinstance(caught.value, type(error)) == (task.name != "own")
            assert caught.value.error_type == type(error).__qualname__
            copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - made here
            assert (str(copy), copy.attempts, type(copy)) == (str(caught.value), 1, type(caught.value))


def test_no_failure_ends_an_iterator_or_a_program():
    for error in (StopIteration, SystemExit, KeyboardInterrupt, MemoryError, ExceptionGroup, Exception, SyntaxError):
        assert type(TaskFailed(1, error.__name__, "x")) is TaskFailed
    own = type("Own", (TaskFailed,), {})
    assert type(own(1, "ValueError")) is own and str(own(1)).startswith("task #1 is failed")


def test_a_class_of_ones_own_that_is_called_like_a_builtin_one_is_not_that(tmp_path):
    error = type("ConnectionError", (Exception,), {"__module__": "mine"})

    def body():
        raise error("x")

    with Engine(tmp_path / "tasks.db", workers=1) as engine:
        engine.task(body).submit()
    with contextlib.closing(Engine(tmp_path / "tasks.db", workers=0)) as engine, pytest.raises(TaskFailed) as caught:
        engine.future(1).result()
    assert (type(caught.value), caught.value.error_type) == (TaskFailed, "mine.ConnectionError")


# -- callbacks -----------------------------------------------------------------------------------------------------


def test_callbacks_are_called_in_order_in_a_thread_of_their_own(live):
    calls, go = [], threading.Event()
    gated = live.task(lambda n: go.wait(PATIENCE) and n, name="t")
    for number in range(20):
        gated.submit(number).add_done_callback(lambda f: calls.append((f.result(), threading.current_thread().name)))
    go.set()
    live.run()
    assert sorted(number for number, _ in calls) == list(range(20))
    assert {thread for _, thread in calls} == {"taskcore-callbacks"}


def test_a_slow_callback_holds_up_no_task_and_is_named_in_the_log(live, caplog, monkeypatch):
    monkeypatch.setattr(callbacks, "SLOW", 0.0)
    added, go, work = threading.Event(), threading.Event(), live.task(lambda n: added.wait(PATIENCE) and n, name="t")

    def slow(future):
        assert go.wait(PATIENCE)

    work.submit(0).add_done_callback(slow)  # of an ended task it would be called here
    added.set()
    assert [work.submit(n).result(PATIENCE) for n in range(1, 6)] == [1, 2, 3, 4, 5]
    go.set()
    live.run()
    assert "slow of <TaskFuture #1 t succeeded> took 0.0 s" in caplog.text


@pytest.mark.parametrize("wrap", [lambda future: future, asyncio.wrap_future], ids=["awaited", "wrapped"])
def test_whoever_awaits_does_not_wait_for_callbacks_of_others(live, wrap):
    added, inside, go = threading.Event(), threading.Event(), threading.Event()
    work = live.task(lambda n: added.wait(PATIENCE) and n, name="t")
    work.submit(0).add_done_callback(lambda _: (inside.set(), go.wait(PATIENCE)))  # as above
    added.set()

    async def main():
        while not inside.is_set():
            await asyncio.sleep(0)
        assert await wrap(work.submit(1)) == 1
        go.set()

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_run_goes_on_with_what_callbacks_submit(live):
    ran, work = [], live.task(lambda n: n, name="t")

    def chain(future):
        ran.append(future.result())
        if ran[-1] < 20:
            work.submit(ran[-1] + 1).add_done_callback(chain)

    work.submit(0).add_done_callback(chain)
    assert (live.run(), ran) == ({"succeeded": 21}, list(range(21)))


@pytest.mark.parametrize("ask", [lambda future: future.result(), lambda future: future.done() and future.result()])
def test_who_asks_while_the_engine_closes_is_told_how_the_task_ended(path, monkeypatch, ask):
    engine = Engine(path, workers=1)
    future = engine.task(lambda: 8, name="t").submit()
    engine.run()
    read = engine._context.read

    def closes_first(*args, **kwargs):
        monkeypatch.undo()
        engine.close()
        return read(*args, **kwargs)

    monkeypatch.setattr(engine._context, "read", closes_first)
    assert ask(future) == 8


def test_a_callback_that_waits_for_what_is_not_due_holds_up_no_end(path):
    heard = []
    with Engine(path, workers=2) as engine:
        go, inside = threading.Event(), threading.Event()
        task = engine.task(lambda: go.wait(PATIENCE), name="t")
        later = task.options(delay=3600).submit()
        # Of a task that has ended the callback would be called here, by the thread that adds it.
        task.submit().add_done_callback(lambda _: (inside.set(), heard.append(type(later.exception()))))
        go.set()
        assert inside.wait(PATIENCE)
    assert heard == [EngineClosed]


def calls_back_slowly(path):
    """In a child."""
    engine = Engine(path, workers=1)
    for n in range(4):
        future = engine.task(lambda n: n, name="t").submit(n)
        future.add_done_callback(lambda future: (threading.Event().wait(0.4), say("called", future.result())))
    threading.Event().wait(0.2)
    engine.close()
    say("closed")


def test_callbacks_of_tasks_that_ended_are_called_at_the_end_of_the_program_though_they_take_long(path, child):
    said = child(calls_back_slowly, path).end(quiet=False)
    assert said[-1] != "closed" and [line for line in said if line != "closed"] == [f"called {n}" for n in range(4)]


def test_a_callback_of_somebodys_that_submits_is_no_waiter(path, caplog):
    engine, go = Engine(path, workers=1), threading.Event()
    work = engine.task(lambda *n: go.wait(PATIENCE), name="t")
    work.submit().add_done_callback(work.submit)
    engine.close(timeout=0.1)
    go.set()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_shutdown_that_waits_for_a_callback_says_so(path, caplog, monkeypatch):
    monkeypatch.setattr(callbacks, "LONG", 0.05)
    engine, go, said = Engine(path, workers=1), threading.Event(), threading.Event()

    def stuck(_):
        until(lambda: "waiting for the callback" in caplog.text, "it is said")
        said.set()

    engine.task(lambda: go.wait(PATIENCE), name="t").submit().add_done_callback(stuck)
    go.set()
    engine.shutdown()
    assert said.is_set() and "stuck, which has run for more than" in caplog.text


def test_a_callback_may_wait_for_other_tasks_and_run_the_engine(live):
    heard, work = [], live.task(lambda n: n, name="t")
    work.submit(1).add_done_callback(lambda _: heard.append((work.submit(2).result(PATIENCE), live.run())))
    until(lambda: heard, "heard")
    assert heard == [(2, {"succeeded": 2})]


def test_closing_lets_waiters_go_and_calls_nobody_back_whose_task_goes_on(path):
    engine, called, released = Engine(path, workers=1), [], []
    ended, waiting = engine.task(lambda: 1, name="t").submit(), engine.submit("elsewhere")
    for future in (ended, waiting):
        future.add_done_callback(called.append)

    async def main():
        waits = [asyncio.ensure_future(wait(waiting)) for wait in (lambda f: asyncio.wait_for(f, None),
                                                                   asyncio.wrap_future)]
        await asyncio.sleep(0)
        await asyncio.to_thread(engine.close)
        for waiter in waits:
            with pytest.raises(EngineClosed):
                await waiter
            released.append(waiter)

    engine.run()
    asyncio.run(main())
    assert (called, len(released)) == ([ended], 2)
    with pytest.raises(EngineClosed):
        waiting.result()


# -- failures ------------------------------------------------------------------------------------------------------


def test_an_exception_of_this_process_comes_back_as_the_very_object(live):
    error = KeyError("mine", {"not": object()})

    @live.task
    def bad():
        raise error

    future = bad.submit()
    for _ in range(2):
        with pytest.raises(KeyError) as caught:
            future.result(PATIENCE)
        assert caught.value is error
    assert future.exception() is error
    assert bad.__wrapped__.__name__ in {frame.name for frame in caught.traceback}


def test_an_exception_asked_for_only_after_the_end_is_still_the_very_object(engine):
    error = OSError(5, "mine")

    @engine.task
    def bad():
        raise error

    future = bad.submit()
    engine.run()
    assert future.exception() is error


def test_the_last_of_several_attempts_is_what_is_raised(engine):
    errors = []

    @engine.task(max_attempts=3, backoff=constant(1))
    def bad():
        errors.append(ValueError(len(errors)))
        raise errors[-1]

    future = bad.submit()
    engine.run()
    assert len(errors) == 3
    assert future.exception() is errors[2]


def test_after_a_restart_a_failure_is_a_task_failed_with_all_its_facts(tmp_path):
    with contextlib.closing(Engine(tmp_path / "a.db", executor=InlineExecutor(), clock=ManualClock(0))) as engine:
        future = engine.task(boom, name="bad", max_attempts=2, backoff=constant(1)).submit("the disk is full")
        engine.run()
    with contextlib.closing(Engine(tmp_path / "a.db", workers=0)) as engine:
        with pytest.raises(TaskFailed, match="the disk is full") as caught:
            engine.future(future.id).result()
        error = caught.value
        assert (error.task_id, error.error_type, error.message) == (future.id, "ValueError", "the disk is full")
        assert (error.attempts, error.status, error.result) == (2, "failed", None)
        assert error.traceback.startswith("Traceback") and "in boom" in error.traceback
        assert error.traceback.rstrip().endswith("ValueError: the disk is full")
        assert "taskcore/" not in error.traceback


def test_another_engine_on_the_file_hears_of_ends_and_gets_task_failed(tmp_path):
    with (
        contextlib.closing(Engine(tmp_path / "a.db", workers=1)) as one,
        contextlib.closing(Engine(tmp_path / "a.db", workers=0)) as other,
    ):
        gate = Gate(one)
        good = other.future(gate.submit(5).id)
        bad = other.future(one.task(boom, name="bad").submit().id)
        assert not good.done()
        gate.go.set()
        assert good.result(PATIENCE) == 5
        with pytest.raises(TaskFailed) as caught:
            bad.result(PATIENCE)
        assert caught.value.error_type == "ValueError"


def test_what_one_engine_submits_for_another_comes_back_to_it(tmp_path):
    with (
        contextlib.closing(Engine(tmp_path / "a.db", workers=1)) as worker,
        contextlib.closing(Engine(tmp_path / "a.db", workers=0)) as asker,
    ):
        worker.task(lambda x: x + 1, name="add")
        worker.start()
        future = asker.submit("add", 41)
        assert future.result(PATIENCE) == 42
        assert future.snapshot().worker == worker.name


def test_a_failed_label_of_done_is_a_task_failed_with_label_and_result(tmp_path):
    options = {"statuses": {"no match": "failed"}, "executor": InlineExecutor(), "clock": ManualClock(0)}
    with contextlib.closing(Engine(tmp_path / "a.db", **options)) as engine:
        future = engine.task(lambda: Done({"tried": 3}, status="no match"), name="f").submit()
        with pytest.raises(TaskFailed, match="no match") as caught:
            future.result()
        assert (caught.value.status, caught.value.result, caught.value.attempts) == ("no match", {"tried": 3}, 1)
        assert (caught.value.task_id, caught.value.error_type) == (future.id, None)


def test_a_skipped_task_says_what_it_was_skipped_for(engine):
    failed = engine.task(boom, name="bad").submit()
    future = engine.task(lambda _: 1, name="after").submit(failed)
    engine.run()
    with pytest.raises(TaskSkipped, match=f"#{failed.id} is failed") as caught:
        future.result()
    assert caught.value.task_id == future.id
    assert caught.value.reason == future.snapshot().last_error
    assert not future.cancelled()


# -- what cannot come ----------------------------------------------------------------------------------------------


def test_close_gives_every_live_future_what_its_row_says(tmp_path):
    engine = Engine(tmp_path / "a.db", executor=InlineExecutor(), clock=ManualClock(0))
    good = engine.task(lambda n: n, name="good")
    asked, unasked = good.submit(1), good.submit(2)
    bad = engine.task(boom, name="bad").submit()
    skipped = engine.task(lambda _: 1, name="after").submit(bad)
    asked.done()
    engine.run()
    cancelled, waiting, unasked_waiting = (engine.submit("elsewhere") for _ in range(3))
    cancelled.cancel()
    waiting.done()
    engine.close()
    assert (asked.result(), unasked.result()) == (1, 2)
    assert isinstance(bad.exception(), ValueError)
    assert isinstance(skipped.exception(), TaskSkipped)
    assert cancelled.cancelled()
    for future in (waiting, unasked_waiting):
        with pytest.raises(EngineClosed, match=r"a\.db"):
            future.result()
        assert not future.running() and not future.cancelled()


def test_results_can_be_read_after_the_with_block_as_of_any_executor(tmp_path):
    with Engine(tmp_path / "a.db", workers=2) as engine:
        futures = [engine.task(lambda n: n * n, name="square").submit(n) for n in range(50)]
    assert [future.result() for future in futures] == [n * n for n in range(50)]
    assert all(future.done() and not future.running() for future in futures)


def test_whoever_waits_when_the_engine_closes_is_told(tmp_path):
    engine = Engine(tmp_path / "a.db", workers=1)
    future = engine.submit("elsewhere")
    outcome = []

    def wait_for_it():
        try:
            future.result(PATIENCE)
        except EngineClosed as error:
            outcome.append(error)

    waiting = threading.Thread(target=wait_for_it)
    waiting.start()
    while not future.__dict__.get("_made_condition"):  # until the thread has begun to wait
        waiting.join(0.001)
    engine.close()
    waiting.join(PATIENCE)
    assert len(outcome) == 1
    with contextlib.closing(Engine(tmp_path / "a.db", workers=0)) as again:
        assert again.future(future.id).snapshot().phase == "ready"


def test_a_result_is_refused_inside_a_transaction_at_once(live):
    stored = live.submit("elsewhere")
    with live.transaction():
        inside = live.submit("there")
        for future in (stored, inside):
            with pytest.raises(RuntimeError, match="transaction"):
                future.result()
            with pytest.raises(RuntimeError, match="transaction"):
                future.exception(timeout=5)
    assert not inside.done()


# -- rerun ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [True, False])
def test_rerun_gives_a_new_handle_and_the_old_one_keeps_its_outcome(engine, asked):
    runs = []

    @engine.task
    def count():
        runs.append(None)
        return len(runs)

    first = count.submit()
    engine.run()
    if asked:
        assert first.result() == 1
    second = first.rerun()
    assert second is not first and second.id == first.id
    assert not second.done()
    assert first.done() and first.result() == 1
    assert second.result() == 2
    assert first.result() == 1
    assert second.snapshot().attempts == 2


def test_rerun_after_a_failure_keeps_the_old_exception(engine):
    state = {"broken": True}

    @engine.task
    def body():
        if state["broken"]:
            raise ValueError("broken")
        return "mended"

    first = body.submit()
    engine.run()
    state["broken"] = False
    second = first.rerun()
    assert second.result() == "mended"
    with pytest.raises(ValueError, match="broken"):
        first.result()
    task = second.snapshot()
    assert (task.failures, task.attempts, task.last_error) == (0, 2, None)


def test_rerun_of_a_cancelled_task_gives_it_another_life(engine):
    first = engine.task(lambda: 7, name="f").submit()
    first.cancel()
    second = first.rerun()
    assert second.result() == 7
    assert first.cancelled()


def test_what_has_not_ended_cannot_be_rerun(engine):
    future = engine.submit("elsewhere")
    before = future.snapshot()
    with pytest.raises(InvalidTransition, match=r"ready.*rerun") as caught:
        future.rerun()
    assert (caught.value.task_id, caught.value.phase, caught.value.verb) == (future.id, "ready", "rerun")
    assert future.snapshot() == before


def test_rerun_downstream_runs_everything_below_again(engine):
    runs = []

    @engine.task
    def step(name, *_):
        runs.append(name)
        return name

    a = step.submit("a")
    b = step.submit("b", a)
    c = step.submit("c", b)
    step.submit("other")
    engine.run()
    runs.clear()
    a.rerun(downstream=True)
    engine.run()
    assert runs == ["a", "b", "c"]
    runs.clear()
    b.rerun()
    engine.run()
    assert runs == ["b"]
    assert c.snapshot().attempts == 2


# -- what it knows of its task -------------------------------------------------------------------------------------


def test_a_snapshot_is_one_frozen_read_of_the_row(engine, clock):
    future = engine.task(lambda *args, **kwargs: None, name="f", max_attempts=4).submit(1, (2, 3), x={"y": None})
    task = future.snapshot()
    assert (task.id, task.name, task.phase, task.status) == (future.id, "f", "ready", "ready")
    assert (task.args, task.kwargs) == ((1, (2, 3)), {"x": {"y": None}})
    assert (task.attempts, task.failures, task.lapses, task.max_attempts) == (0, 0, 0, 4)
    assert (task.submitted_at, task.first_started_at, task.started_at, task.finished_at) == (1000, None, None, None)
    assert (task.tags, task.hidden, task.key, task.parent_id, task.priority) == ((), False, None, None, 0)
    assert (task.progress, task.message, task.result, task.worker, task.waiting_for) == (None,) * 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.name = "g"
    clock.advance(5)
    engine.run()
    assert task.phase == "ready"
    after = future.snapshot()
    assert (after.phase, after.started_at, after.finished_at, after.progress) == ("succeeded", 1005, 1005, 1.0)
    assert after.worker == engine.name


def test_arguments_show_handles_where_results_will_be(engine):
    upstream = engine.submit("elsewhere")
    task = engine.submit("there", upstream, [1, upstream], k={"x": (upstream,)}).snapshot()
    handle = taskcore.Handle(upstream.id)
    assert (task.args, task.kwargs) == ((handle, [1, handle]), {"k": {"x": (handle,)}})
    assert (task.phase, task.waiting_for) == ("waiting", "dependencies")


def test_the_history_tells_every_attempt_oldest_first(engine):
    outcomes = [ValueError("one"), OSError("two"), None]

    @engine.task(max_attempts=3, backoff=constant(10))
    def body():
        error = outcomes.pop(0)
        if error is not None:
            raise error

    future = body.submit()
    assert future.history() == []
    engine.run()
    history = future.history()
    assert [(a.number, a.worker, a.started_at, a.finished_at, a.outcome, a.error) for a in history] == [
        (1, engine.name, 1000, 1000, "failed", "ValueError: one"),
        (2, engine.name, 1010, 1010, "failed", "OSError: two"),
        (3, engine.name, 1020, 1020, "succeeded", None),
    ]
    assert [("Traceback" in a.traceback) if a.traceback else None for a in history] == [True, True, None]
    with pytest.raises(dataclasses.FrozenInstanceError):
        history[0].number = 5


def test_the_history_tells_of_the_attempt_that_runs(live):
    gate = Gate(live)
    future = gate.submit()
    (attempt,) = future.history()
    assert (attempt.number, attempt.outcome, attempt.finished_at) == (1, "running", None)
    gate.go.set()


def test_the_dependencies_are_told_with_whether_they_are_met(engine):
    done, open_ = engine.task(lambda: 1, name="f").submit(), engine.submit("elsewhere")
    engine.run()
    future = engine.task("there").options(after={open_: ("finished", "drop")}).submit(done)
    assert future.dependencies() == [
        Dependency(future.id, done.id, "succeeded", "skip", True),
        Dependency(future.id, open_.id, "finished", "drop", False),
    ]
    assert done.dependencies() == []


def test_a_deleted_task_is_not_found_by_its_handle(engine):
    future = engine.task(lambda: 1, name="f").submit()
    engine.run()
    assert engine.tasks.where(id=future).delete() == 1
    for verb in (future.snapshot, future.history, future.dependencies, future.rerun):
        with pytest.raises(TaskNotFound):
            verb()


# -- memory --------------------------------------------------------------------------------------------------------


def test_handles_of_ended_tasks_are_not_kept(live):
    echo = live.task(lambda n: n, name="echo")
    bad = live.task(boom, name="bad")
    futures = [echo.submit(n) for n in range(20)] + [bad.submit() for _ in range(5)]
    for future in futures:
        future.add_done_callback(lambda _: None)
    wait(futures, PATIENCE)
    live.run()
    alive = [weakref.ref(future) for future in futures]
    del future, futures
    gc.collect()
    assert [ref() for ref in alive if ref() is not None] == []


def test_handles_that_nobody_asked_are_not_kept_even_before_their_end(engine):
    refs = [weakref.ref(engine.submit("elsewhere")) for _ in range(10)]
    gc.collect()
    assert all(ref() is None for ref in refs)


def test_a_raised_exception_is_not_kept_by_the_engine(engine):
    class Mine(Exception):
        pass

    @engine.task
    def bad():
        raise Mine

    future = bad.submit()
    engine.run()
    ref = weakref.ref(future.exception())
    del future
    gc.collect()
    assert ref() is None
    assert not engine._scheduler.errors


def test_no_handle_is_forgotten_while_others_are_tidied_away(inline):
    register, futures, stop = inline._futures, [], threading.Event()

    def tidy():
        while not stop.is_set():
            register._tidy()

    tidying = threading.Thread(target=tidy)
    tidying.start()
    try:
        futures.extend(inline.submit("elsewhere", n) for n in range(200))
    finally:
        stop.set()
        tidying.join()
    inline.close()
    assert all(isinstance(future.exception(), EngineClosed) for future in futures)
