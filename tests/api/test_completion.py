"""`taskcore.as_completed` and `arun`: futures as they end, and a run, in threads and in event loops."""

import asyncio
import concurrent.futures
import threading
import time

import pytest

import taskcore
from taskcore import Engine, as_completed
from tests.support.processes import PATIENCE


@pytest.fixture
def live(made):
    engine = Engine(made, workers=2)
    yield engine
    engine.close()


def listed(futures, timeout=None):
    return list(as_completed(futures, timeout))


def awaited(futures, timeout=None):
    async def main():
        return [future async for future in as_completed(futures, timeout)]

    return asyncio.run(main())


both = pytest.mark.parametrize("gathered", [listed, awaited])


@both
def test_each_future_comes_once_however_its_task_ends(live, gathered):
    cancelled = live.submit("elsewhere")
    cancelled.cancel()
    failed = live.task(lambda: 1 / 0, name="bad").submit()
    futures = [live.task(int, name="f").submit(), failed, live.task(int, name="g").submit(failed), cancelled]
    found = gathered([*futures, failed], PATIENCE)
    assert len(found) == 4 and set(found) == set(futures)


@both
def test_what_ends_first_comes_first(live, gathered):
    go = threading.Event()
    slow = live.task(lambda: go.wait(PATIENCE), name="slow").submit()
    quick = live.task(lambda: 1, name="quick").submit()
    quick.add_done_callback(lambda _: go.set())
    assert gathered([slow, quick], PATIENCE) == [quick, slow]


@both
def test_it_gives_up_after_its_time_and_leaves_the_tasks(engine, gathered):
    future = engine.submit("elsewhere")
    with pytest.raises(TimeoutError, match="1 of 1 tasks have not ended"):
        gathered([future], 0.01)
    assert (future.snapshot().phase, future._done_callbacks) == ("ready", [])


@both
def test_futures_of_others_are_taken_too(live, inline, gathered):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        futures = [pool.submit(int, "3"), live.task(lambda: 1, name="f").submit()]
        assert {future.result() for future in gathered(futures)} == {1, 3}


@both
def test_where_bodies_run_in_the_callers_thread_it_runs_them(inline, gathered):
    bad, gone = inline.task(lambda: 1 / 0, name="bad").submit(), inline.submit("elsewhere")
    gone.cancel()
    assert gathered([bad, gone]) == [bad, gone]
    with pytest.raises(TimeoutError):
        gathered([inline.submit("elsewhere")], 0.0)


@both
def test_a_close_lets_go_of_who_waits(live, gathered):
    future = live.submit("elsewhere")
    threading.Timer(0.02, live.close).start()
    with pytest.raises(taskcore.EngineClosed):
        gathered([future], PATIENCE)[0].result()


def test_where_it_would_wait_for_ever_or_hold_a_thread_it_is_refused(live):
    future = live.submit("elsewhere")
    with live.transaction(), pytest.raises(RuntimeError, match="transaction"):
        as_completed([future])
    body = live.task(lambda: as_completed([future]), name="body").submit()
    with pytest.raises(RuntimeError, match=r"run\.wait"):
        body.result(PATIENCE)
    with pytest.raises(TypeError, match="not 7"):
        as_completed([7])


# -- asyncio ---------------------------------------------------------------------------------------------------------


def test_who_breaks_off_leaves_nothing_behind(live):
    async def main():
        late, done = live.submit("elsewhere"), live.task(int, name="f").submit()
        async for future in as_completed([late, done]):
            assert future is done
            break
        for _ in range(3):  # the loop closes what was broken off
            await asyncio.sleep(0)
        assert late._done_callbacks == [] and late.snapshot().phase == "ready"
        waiter = asyncio.ensure_future(anext(aiter(as_completed([late]))))
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert late._done_callbacks == [] and late.snapshot().cancel_requested_at is None

    asyncio.run(main())


def test_a_run_can_be_awaited_while_the_event_loop_goes_on(live):
    async def main():
        go, turns = threading.Event(), 0
        live.task(lambda: go.wait(PATIENCE), name="slow").submit()
        run = asyncio.ensure_future(live.arun())
        while not run.done():
            turns += 1
            await asyncio.sleep(0)
            if turns == 100:
                go.set()
        return run.result()

    assert asyncio.run(main()) == {"succeeded": 1}


def test_a_run_that_is_cancelled_waits_no_longer_and_leaves_the_tasks(live):
    go, inside = threading.Event(), threading.Event()

    def body():
        inside.set()
        return go.wait(PATIENCE)

    async def main():
        future = live.task(body, name="slow").submit()
        run = asyncio.ensure_future(live.arun())
        await asyncio.to_thread(inside.wait, PATIENCE)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        return future

    began = time.monotonic()
    future = asyncio.run(main())
    assert time.monotonic() - began < PATIENCE / 2, "its thread let go, too"
    assert (future.status, future.snapshot().cancel_requested_at) == ("running", None)
    go.set()
    assert future.result(PATIENCE) is True


def test_a_run_in_the_callers_thread_can_be_awaited_too(inline):
    inline.task(int, name="f").submit()
    assert asyncio.run(inline.arun()) == {"succeeded": 1}


def test_a_run_that_would_wait_for_its_own_end_is_refused(live):
    async def body():
        await live.arun()

    with pytest.raises(RuntimeError, match=r"arun\(\) in a body"):
        live.task(body, name="body").submit().result(PATIENCE)


def test_an_engine_is_an_executor_of_the_event_loop(live):
    async def main():
        loop = asyncio.get_running_loop()
        assert await asyncio.gather(*[loop.run_in_executor(live, len, "x" * n) for n in range(4)]) == [0, 1, 2, 3]
        with pytest.raises(TypeError, match="task"):
            await loop.run_in_executor(live, lambda: 1)

    asyncio.run(main())
    assert live.tasks.counts() == {"succeeded": 4}
