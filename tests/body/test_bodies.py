"""How a body ends, and what it finds of its task while it runs."""

import asyncio
import contextlib
import json
import threading
from concurrent.futures import CancelledError

import pytest

import taskcore
from taskcore import Abort, Cancelled, Done, Engine, NotInTask, Retry, Snooze, TaskFailed, constant
from taskcore.testing import InlineExecutor

PATIENCE = 10  # seconds that a healthy engine never needs


@pytest.fixture
def live(path):
    with contextlib.closing(Engine(path, workers=2)) as live:
        yield live


def once(engine, body, **options):
    """Run the body as a task → its row when nothing is due any more."""
    future = engine.task(body, name="body", **options).submit()
    engine.run()
    return future, future.snapshot()


def raises(error):
    def body():
        raise error

    return body


# -- returning -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "done, phase, status, result",
    [
        (Done(), "succeeded", "succeeded", None),
        (Done(5), "succeeded", "succeeded", 5),
        (Done({"n": (1, 2)}, status="good"), "succeeded", "good", {"n": (1, 2)}),
        (Done(5, "succeeded"), "succeeded", "succeeded", 5),
        (Done(5, status="bad"), "failed", "bad", 5),
        (Done(status="failed"), "failed", "failed", None),
    ],
)
def test_done_ends_the_task_at_once_with_its_label_and_result(inline, done, phase, status, result):
    future, task = once(inline, lambda: done, max_attempts=5)
    assert (task.phase, task.status, task.result, task.attempts) == (phase, status, result, 1)
    assert task.finished_at == 1000
    assert len(future.history()) == 1
    if phase == "succeeded":
        assert future.result() == result
    else:
        with pytest.raises(TaskFailed) as caught:
            future.result()
        assert (caught.value.status, caught.value.result) == (status, result)


def test_a_label_is_what_dependencies_may_ask_for(inline):
    match = inline.task(lambda: Done("host", status="good"), name="match").submit()
    no_match = inline.task(lambda: Done(status="bad"), name="no match").submit()
    task = inline.task(lambda *args: list(args), name="after")
    futures = [
        task.options(on="good").submit(match),
        task.options(on="succeeded").submit(match),
        task.options(on="bad").submit(no_match),
        task.options(on="good").submit(no_match),
        task.submit(no_match),
    ]
    inline.run()
    assert [future.snapshot().phase for future in futures] == ["succeeded"] * 3 + ["skipped"] * 2
    assert [future.result() for future in futures[:3]] == [["host"], ["host"], [None]]


@pytest.mark.parametrize("status", ["unheard of", "busy", "running", "ready", "cancelled", "skipped", "pending", 5, ""])
def test_an_unknown_label_fails_the_attempt_with_that_text(inline, status):
    future, task = once(inline, lambda: Done(1, status=status), max_attempts=2, backoff=constant(0))
    assert (task.phase, task.failures, task.result) == ("failed", 2, None)
    said = f"UnknownStatus: {status!r} is no status that a body can end with; there are: 'succeeded', 'failed'"
    assert task.last_error.startswith(said)
    with pytest.raises(taskcore.UnknownStatus):
        future.result()


@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [1, {"x": value}], Done])
def test_a_result_that_cannot_be_stored_fails_the_attempt_with_that_text(inline, wrap):
    future, task = once(inline, lambda: wrap(object()), max_attempts=2, backoff=constant(0))
    assert (task.phase, task.failures, task.result) == ("failed", 2, None)
    assert "object" in task.last_error and "cannot be stored" in task.last_error
    with pytest.raises(TypeError, match="cannot be stored"):
        future.result()


def test_a_result_that_contains_itself_fails_the_attempt(inline):
    ring = []
    ring.append(ring)
    _, task = once(inline, lambda: ring)
    assert task.phase == "failed"


# -- raising -------------------------------------------------------------------------------------------------------


def test_retry_asks_for_another_attempt_after_a_time_of_its_own(inline, clock):
    calls = []

    def body():
        calls.append(clock.now())
        if len(calls) < 3:
            raise Retry(7 if len(calls) == 1 else None)
        return "done"

    _, task = once(inline, body, max_attempts=3, backoff=constant(20), retry_on=())
    assert calls == [1000, 1007, 1027]
    assert (task.phase, task.attempts, task.failures) == ("succeeded", 3, 2)


def test_retry_is_no_way_round_the_last_attempt(inline):
    future, task = once(inline, raises(Retry(0)), max_attempts=3)
    assert (task.phase, task.failures) == ("failed", 3)
    assert isinstance(future.exception(), Retry)
    assert task.last_error == "Retry: the body asked to be retried, and max_attempts=3 leaves it no attempt"


def test_an_error_that_says_nothing_is_its_type(inline, caplog):
    future, task = once(inline, raises(ValueError()))
    assert [task.last_error, future.history()[0].error] == ["ValueError", "ValueError"]
    assert future.explain().endswith("after 1 attempt: ValueError")
    assert caplog.messages[-1].endswith(": ValueError")


def test_snooze_spends_no_attempt_and_is_not_due(inline, clock):
    calls = []

    def body():
        calls.append(clock.now())
        if len(calls) < 4:
            raise Snooze(600)

    future, task = once(inline, body, max_attempts=1)
    assert (task.phase, task.waiting_for, task.greenfield) == ("scheduled", "snooze", 1600)
    assert (task.attempts, task.failures, task.last_error) == (0, 0, None)
    assert future.history() == []
    for _ in range(3):
        clock.advance(600)
        inline.run()
    assert calls == [1000, 1600, 2200, 2800]
    assert (future.snapshot().attempts, future.snapshot().phase) == (1, "succeeded")


def test_abort_fails_at_once_with_its_reason(inline):
    future, task = once(inline, raises(Abort("no such sample")), max_attempts=None, failed_status="bad")
    assert (task.phase, task.status, task.failures) == ("failed", "bad", 1)
    assert "no such sample" in task.last_error
    assert isinstance(future.exception(), Abort)


def test_cancelled_ends_the_task_as_cancelled(inline):
    future, task = once(inline, raises(Cancelled("door opened")), max_attempts=9)
    assert (task.phase, task.status, task.failures) == ("cancelled", "cancelled", 0)
    assert task.last_error == "door opened"
    assert future.cancelled()
    with pytest.raises(CancelledError):
        future.result()
    assert [attempt.outcome for attempt in future.history()] == ["cancelled"]


def test_cancelled_is_not_caught_by_except_exception(inline):
    def body():
        with contextlib.suppress(Exception):
            raise Cancelled
        return "went on"

    _, task = once(inline, body)
    assert task.phase == "cancelled"


@pytest.mark.parametrize("ask, delay", [(Retry, -1), (Retry, "5"), (Retry, float("nan")), (Snooze, -1), (Snooze, None)])
def test_a_delay_that_makes_no_sense_fails_the_attempt(inline, ask, delay):
    with pytest.raises((ValueError, TypeError), match="delay"):
        ask(delay)

    def body():
        raise ask(delay)

    _, task = once(inline, body)
    assert task.phase == "failed" and "delay" in task.last_error


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), asyncio.CancelledError(), BaseException("odd")])
def test_whatever_a_body_raises_its_task_ends(inline, error):
    future, task = once(inline, raises(error), max_attempts=3)
    assert (task.phase, task.failures) == ("failed", 1)
    assert type(error).__name__ in task.last_error
    assert future.exception() is error


class Hostile(Exception):
    def __str__(self):
        raise RuntimeError("no text for you")

    __repr__ = __str__


@pytest.mark.parametrize("error", [Hostile(), ValueError("a\0b\ud800"), ValueError("x" * 1_000_000)], ids=range(3))
def test_an_exception_without_a_decent_text_is_a_failure_like_others(inline, error):
    future, task = once(inline, raises(error))
    assert task.phase == "failed"
    assert len(task.last_error) < 100_000
    assert future.exception() is error
    assert type(error).__name__ in (future.history()[0].error or "")


def test_the_traceback_begins_in_the_users_code(inline):
    future, _ = once(inline, raises(ValueError("here")))
    traceback = future.history()[0].traceback
    assert "in body" in traceback and "ValueError: here" in traceback
    assert "taskcore/body.py" not in traceback


def test_success_clears_the_last_error(inline):
    calls = []

    def body():
        calls.append(None)
        if len(calls) == 1:
            raise ValueError("first")

    _, task = once(inline, body, max_attempts=2, backoff=constant(1))
    assert (task.phase, task.last_error, task.failures, task.progress) == ("succeeded", None, 1, 1.0)


def test_arguments_that_fit_no_more_fail_the_task(inline):
    future = inline.task(lambda x, y: x, name="f").submit(1, y=3)
    inline.task(lambda x: x, name="f")
    inline.run()
    assert isinstance(future.exception(), TypeError)


# -- cancelling ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [lambda: Retry(5), lambda: Snooze(5), lambda: ValueError("x"), lambda: Cancelled()])
def test_a_request_to_cancel_wins_over_whatever_would_bring_the_task_back(live, after):
    inside, go = threading.Event(), threading.Event()

    def body():
        inside.set()
        assert go.wait(PATIENCE)
        raise after()

    future = live.task(body, max_attempts=5).submit()
    assert inside.wait(PATIENCE)
    assert future.cancel("enough") is False
    go.set()
    with pytest.raises(CancelledError):
        future.result(PATIENCE)
    task = future.snapshot()
    assert (task.phase, task.cancel_requested_at is not None) == ("cancelled", True)


@pytest.mark.parametrize(
    "value, phase, status",
    [(7, "succeeded", "succeeded"), (Done(7, "good"), "succeeded", "good"), (Done(7, "bad"), "failed", "bad")],
    ids=["value", "good", "bad"],
)
def test_a_request_to_cancel_loses_to_a_returned_result(inline, value, phase, status):
    def body():
        assert inline.tasks.where(name="body").cancel() == 0
        return value

    _, task = once(inline, body)
    assert (task.phase, task.status, task.result) == (phase, status, 7)


def test_a_body_sees_that_its_cancel_was_asked_for(inline):
    seen = []

    def body():
        run = taskcore.current()
        run.check()
        seen.append(run.cancelled)
        inline.future(run.task.id).cancel("enough")
        seen.append(run.cancelled)
        run.check()
        seen.append("went on")

    _, task = once(inline, body, max_attempts=5)
    assert seen == [False, True]
    assert task.phase == "cancelled"
    assert task.last_error is not None


def test_a_cancel_from_another_process_reaches_the_body(path):
    with (
        contextlib.closing(Engine(path, workers=1)) as one,
        contextlib.closing(Engine(path, workers=0)) as other,
    ):
        inside = threading.Event()

        @one.task
        def body():
            inside.set()
            while True:
                taskcore.current().check()

        future = body.submit()
        assert inside.wait(PATIENCE)
        assert other.future(future.id).cancel() is False
        with pytest.raises(CancelledError):
            future.result(PATIENCE)


# -- async bodies --------------------------------------------------------------------------------------------------


def test_async_bodies_run(inline):
    async def body(x):
        await asyncio.sleep(0)
        return [x, taskcore.current().task.name]

    assert inline.task(body).submit(5).result() == [5, "body"]


def test_async_bodies_fail_retry_and_end_like_others(inline):
    calls = []

    async def body():
        calls.append(None)
        await asyncio.sleep(0)
        if len(calls) == 1:
            raise ValueError
        return Done(len(calls), status="good")

    _, task = once(inline, body, max_attempts=2, backoff=constant(0))
    assert (task.status, task.result, task.failures) == ("good", 2, 1)


def test_async_bodies_run_side_by_side_in_threads(live):
    meet = threading.Barrier(2, timeout=PATIENCE)

    async def body():
        return await asyncio.get_running_loop().run_in_executor(None, meet.wait)

    task = live.task(body)
    assert {future.result(PATIENCE) for future in [task.submit(), task.submit()]} == {0, 1}


# -- current() -----------------------------------------------------------------------------------------------------


def test_outside_a_task_there_is_no_current_one(inline):
    with pytest.raises(NotInTask, match="body"):
        taskcore.current()
    assert issubclass(NotInTask, RuntimeError)
    inline.task(lambda: taskcore.current() and None, name="f").submit().result()
    with pytest.raises(NotInTask):
        taskcore.current()


def test_a_call_of_the_plain_function_is_no_task(inline):
    @inline.task
    def body():
        with contextlib.suppress(NotInTask):
            return taskcore.current().task.id
        return None

    assert body() is None
    assert body.submit().result() == 1


def test_the_current_task_is_the_one_as_claimed(inline):
    upstream = inline.task(lambda: (1, 2), name="up").submit()

    @inline.task(max_attempts=3, priority=4)
    def body(pair, k):
        task = taskcore.current().task
        return [task.id, task.name, task.phase, task.args, task.kwargs, task.attempts, task.priority, task.worker]

    future = body.submit(upstream, k=[upstream])
    assert future.result() == [
        future.id, "body", "running", ((1, 2),), {"k": [(1, 2)]}, 1, 4, inline.name,
    ]  # fmt: skip


def test_each_thread_has_its_own_current_task(live):
    meet = threading.Barrier(2, timeout=PATIENCE)

    @live.task
    def body(n):
        meet.wait()
        mine = taskcore.current().task.args
        meet.wait()
        return mine == (n,)

    assert [future.result(PATIENCE) for future in [body.submit(1), body.submit(2)]] == [True, True]


def test_the_current_task_is_not_that_of_a_thread_the_body_started(live):
    @live.task
    def body():
        found = []

        def other():
            try:
                taskcore.current()
            except NotInTask:
                found.append("none")

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return found

    assert body.submit().result(PATIENCE) == ["none"]


def test_what_is_submitted_inside_is_a_child_and_outside_is_not(inline):
    @inline.task
    def child():
        return taskcore.current().task.parent_id

    @inline.task
    def parent():
        return child.submit().id

    future = parent.submit()
    assert inline.future(future.result()).result() == future.id
    assert child.submit().result() is None


# -- definitions ---------------------------------------------------------------------------------------------------


def test_the_newest_definition_of_a_name_runs_also_what_was_submitted_before(inline):
    first = inline.task(lambda: "old", name="f").submit()
    delayed = inline.task(lambda: "old", name="f").options(delay=5).submit()
    inline.task(lambda: "new", name="f")
    assert first.result() == "new"
    inline.task(lambda: "newest", name="f")
    inline._clock.advance(5)
    assert delayed.result() == "newest"


def test_a_cell_may_be_run_again_between_two_attempts(inline, clock):
    future = inline.task(raises(ValueError("a bug")), name="f", max_attempts=2, backoff=constant(100)).submit()
    inline.run()
    inline.task(lambda: "mended", name="f")
    clock.advance(100)
    assert future.result() == "mended"


def test_a_name_that_is_defined_later_is_run_then(inline):
    future = inline.submit("later", 20)
    assert inline.run() == {"ready": 1}
    inline.task(lambda n: n + 1, name="later")
    assert future.result() == 21


def test_a_running_engine_notices_a_name_that_is_defined_later(live):
    live.start()
    future = live.submit("later", 20)
    live.task(lambda n: n + 1, name="later")
    assert future.result(PATIENCE) == 21


# -- codecs --------------------------------------------------------------------------------------------------------


class Shouting:
    """A codec of its own: plain JSON, and texts in capitals."""

    def encode(self, value):
        return json.dumps(value).upper()

    def decode(self, text):
        return json.loads(text.replace("NULL", "null").replace("TRUE", "true"))


def test_a_codec_of_ones_own_stores_arguments_and_results(path, clock):
    with contextlib.closing(Engine(path, clock=clock, executor=InlineExecutor(), codec=Shouting())) as engine:
        upstream = engine.task(lambda: "up", name="up").submit()
        future = engine.task(lambda *args: list(args), name="f").submit("a", [upstream, None])
        assert future.result() == ["A", ["UP", None]]
        assert future.snapshot().args[0] == "A"
        same = engine.task("g").options(key=True)
        assert same.submit("x").id == same.submit("x").id


class Picky:
    def encode(self, value):
        if "secret" in repr(value):
            raise ValueError("that is not for a file")
        return json.dumps(value)

    decode = staticmethod(json.loads)


def test_what_a_codec_refuses_is_refused_by_name_with_nothing_stored(clock):
    with contextlib.closing(Engine(":memory:", clock=clock, executor=InlineExecutor(), codec=Picky())) as engine:
        with pytest.raises(TypeError, match=r"argument 2 .*not for a file"):
            engine.task(lambda a, b: None, name="f").submit(1, "secret")
        assert len(engine.tasks) == 0
        _, task = once(engine, lambda: "secret")
        assert task.last_error == "TypeError: the result of 'body' cannot be stored: that is not for a file"


def test_what_a_command_gave_may_be_returned_and_be_the_result_of_a_step(live):
    def body():
        run = taskcore.current()
        kept = run.step("hello", run.command, ["echo", "hello"])
        run.sleep(0)
        return [kept, run.command(["echo", "again"])]

    kept, again = live.task(body, name="echo").submit().result()
    assert (kept.stdout, kept.returncode, again.args) == ("hello\n", 0, ["echo", "again"])
