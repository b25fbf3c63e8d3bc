"""What a body has behind it is not done again: steps, transacted steps, submits and tracked items."""

import asyncio
import collections
import contextlib
import datetime
import decimal
import itertools
import math
import threading
import uuid
from pathlib import Path

import pytest

import taskcore
from taskcore import Abort, Engine, LeaseLost, TaskFailed
from taskcore.core.errors import StepMismatch
from taskcore.runtime.notes import write as write_notes
from taskcore.testing import InlineExecutor
from tests.support.bodies import failing, kept, task
from tests.support.processes import until
from tests.support.rows import rows

PATIENCE = 10  # seconds that a healthy engine never needs


# -- run once ------------------------------------------------------------------------------------------------------


def test_a_step_is_run_once_however_often_its_body_is(inline):
    seen, stumble = [], failing(3)

    def body():
        run = taskcore.current()
        seen.append("body")
        got = [run.step("a", seen.append, "a"), run.step("b", lambda x, y: x + y, 1, y=2)]
        stumble()
        return got

    future = task(inline, body).submit()
    assert future.result() == [None, 3]
    assert seen == ["body", "a", "body", "body", "body"]
    assert future.snapshot().failures == 3


def test_a_step_is_in_the_file_when_it_returns(inline, raw):
    def body():
        taskcore.current().step("a", lambda: [1, 2])
        return raw("SELECT name, state, result FROM taskcore_step")

    assert task(inline, body).submit().result() == [{"name": "a", "state": "kept", "result": "[1,2]"}]


def test_what_is_kept_is_passed_after_a_restart(path, clock):
    seen = []

    def body():
        run = taskcore.current()
        got = run.step("a", lambda: seen.append("a") or (1, {2}))
        run.wait_for("go")
        return got

    for _ in range(3):
        with contextlib.closing(Engine(path, executor=InlineExecutor(), clock=clock)) as engine:
            future = engine.task(body, name="body", key="only").submit()
            engine.run()
    with contextlib.closing(Engine(path, executor=InlineExecutor(), clock=clock)) as engine:
        future = engine.task(body, name="body", key="only").submit()
        assert future.signal("go")
        assert (future.result(), seen) == ((1, {2}), ["a"])


def test_a_kept_result_is_what_the_step_returned(inline):
    values = [
        None, False, 0, 1.5, math.nan, math.inf, "é\0", b"\0x", (1, (2,)), [1, [2]], {"a": 1}, {1: "x"}, {1, 2},
        frozenset({3}), decimal.Decimal("1.10"), uuid.UUID(int=7), Path("a/b"), datetime.timedelta(days=1),
        datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC),
    ]  # fmt: skip
    got, stumble = [], failing()

    def body():
        run = taskcore.current()
        got.append([run.step("value", lambda value=value: value) for value in values])
        stumble()

    task(inline, body).submit().result()
    for first, second, value in zip(*got, values, strict=True):
        assert type(first) is type(second) is type(value)
        assert repr(first) == repr(second) == repr(value)


def test_the_nth_call_with_a_name_is_that_names_nth_step(inline):
    draw, stumble, got = itertools.count().__next__, failing(), []

    def body():
        run = taskcore.current()
        got.append([run.step(name, draw) for name in "xyxxyx"])
        stumble()
        return [run.step("x", draw), run.step("y", draw)]

    future = task(inline, body).submit()
    assert future.result() == [6, 7]
    assert got == [[0, 1, 2, 3, 4, 5]] * 2
    assert [(step.name, step.result) for step in future.steps()] == list(zip("xyxxyxxy", range(8), strict=True))


def test_a_thousand_steps_in_a_loop_are_each_run_once(inline):
    seen, stumble = collections.Counter(), failing()

    def body():
        run = taskcore.current()
        numbers = [run.step("n", lambda n: seen.update([n]) or n, n) for n in range(1000)]
        stumble()
        run.sleep(60)
        return sum(numbers) + run.step("n", lambda: 1)

    future = task(inline, body).submit()
    inline.run()
    assert future.result() == sum(range(1000)) + 1
    assert len(future.steps()) == 1001
    assert seen == collections.Counter(range(1000))


def test_steps_are_told_with_their_times(inline, clock):
    def body():
        run = taskcore.current()
        run.step("a", clock.advance, 2)
        clock.advance(1)
        with contextlib.suppress(ValueError):
            run.step("b", failing())
        return run.step("c", lambda: (clock.advance(4), "x")[1])

    future = task(inline, body).submit()
    future.result()
    assert future.steps() == [
        taskcore.Step("a", None, 1000, 1002),
        taskcore.Step("c", "x", 1003, 1007),
    ]


def test_the_name_of_the_step_is_the_tasks_step(inline):
    def body():
        run = taskcore.current()
        row = inline.future(run.task.id).snapshot
        return [row().step, run.step("a", lambda: row().step), row().step, run.step("b", lambda: 0)]

    future = task(inline, body).submit()
    assert future.result() == [None, "a", "a", 0]
    assert future.snapshot().step == "b"


def test_an_async_function_may_be_a_step(inline):
    async def fn(x):
        await asyncio.sleep(0)
        return taskcore.current().task.id + x

    def body():
        run = taskcore.current()
        return run.step("a", fn, 10), run.transact("b", lambda db: fn(20))

    assert task(inline, body).submit().result() == (11, 21)


def test_a_step_has_a_name_and_is_a_function(inline, raw):
    def body():
        run = taskcore.current()
        for verb in (run.step, run.transact):
            for fn in (None, 5, "name", [print]):
                with pytest.raises(TypeError, match="function"):
                    verb("a", fn)
            for name in (None, 5, b"a", "", "a\0b"):
                with pytest.raises((TypeError, ValueError), match="step"):
                    verb(name, print)
        assert kept(raw) == []
        return run.step("%2F/ é{}'\"", lambda: 1)

    assert task(inline, body).submit().result() == 1


# -- failing -------------------------------------------------------------------------------------------------------


def test_a_step_that_failed_is_not_kept_and_what_came_before_it_is(inline):
    seen, flaky = [], failing(2)

    def body():
        run = taskcore.current()
        run.step("a", seen.append, "a")
        run.step("b", lambda: seen.append("b") or flaky())
        run.step("c", seen.append, "c")

    future = task(inline, body).submit()
    future.result()
    assert seen == ["a", "b", "b", "b", "c"]
    assert [step.name for step in future.steps()] == ["a", "b", "c"]


def test_a_result_that_cannot_be_stored_fails_its_step(inline):
    seen, values = [], [object(), 7]

    def body():
        return taskcore.current().step("odd one", lambda: seen.append(1) or values.pop(0))

    future = task(inline, body).submit()
    assert (future.result(), len(seen)) == (7, 2)
    (attempt, _) = future.history()
    assert "'odd one' cannot be stored" in attempt.error and "object" in attempt.error


def test_after_a_step_that_failed_the_body_may_take_another_course(inline):
    """And what is kept of the first course is not done again if the second comes by it."""
    seen, flaky, stumble = [], failing(), failing()

    def body():
        run = taskcore.current()
        try:
            run.step("first choice", flaky)
            run.step("prepare", seen.append, "prepare")
        except ValueError:
            run.step("second choice", seen.append, "second choice")
        run.step("both", seen.append, "both")
        stumble()
        return run.step("end", lambda: "end")

    future = task(inline, body).submit()
    assert future.result() == "end"
    assert seen == ["second choice", "both", "prepare"]


@pytest.mark.parametrize("error", [ValueError, Abort, SystemExit, taskcore.Cancelled])
def test_a_failure_that_the_body_handles_leaves_its_place(inline, error):
    """The next run, which is a wake, comes to it again, and to all that followed."""
    seen = []

    def fails(*_):
        seen.append("tried")
        raise error("no")

    def body():
        run = taskcore.current()
        for verb in (run.step, run.transact):
            try:
                verb("a", fails)
            except error:
                run.step("handled", seen.append, "handled")
        run.sleep(5)
        return run.step("end", lambda: "end")

    future = task(inline, body).submit()
    inline.run()
    assert future.result() == "end"
    assert seen == ["tried", "handled"] * 2 + ["tried", "tried"]


def test_an_item_that_failed_lets_the_body_take_another_course_behind_the_loop(inline):
    seen, flaky = [], failing()

    def body():
        run = taskcore.current()
        try:
            for n in run.track([1, 2]):
                run.step("item", lambda n=n: flaky(n) and seen.append(n))
        except ValueError:
            run.step("excuse", seen.append, "excuse")
            run.sleep(1)
        return run.step("end", lambda: "end")

    future = task(inline, body).submit()
    inline.run()
    assert (future.result(), seen) == ("end", ["excuse", 1, 2])


# -- a changed body ------------------------------------------------------------------------------------------------

CHANGES = {
    "another name": (lambda run: run.step("B", int), "came to step 'B' where its kept steps have step 'b'"),
    "swapped": (lambda run: run.step("c", int), "came to step 'c' where its kept steps have step 'b'"),
    "once more": (lambda run: run.step("a", int), "came to step 'a' number 2 where its kept steps have step 'b'"),
    "a sleep": (lambda run: run.sleep(1), "came to sleep where its kept steps have step 'b'"),
    "a submit": (lambda run: run.gather("b", [1]), "came to gather 'b' where its kept steps have step 'b'"),
    "a signal": (lambda run: run.wait_for("b"), "came to signal 'b' where its kept steps have step 'b'"),
    "a loop": (lambda run: next(run.track([1])), "came to track where its kept steps have step 'b'"),
}


@pytest.mark.parametrize("change, words", CHANGES.values(), ids=CHANGES)
def test_a_changed_body_is_told_which_step_was_expected(inline, change, words):
    """Whatever it makes of that: one of them handles it."""
    handled = "number" in words
    seen = []

    def body():
        run = taskcore.current()
        for name in "abc":
            run.step(name, seen.append, name)
        run.wait_for("go")
        return "end"

    future = task(inline, body).submit()
    inline.run()

    def changed():
        run = taskcore.current()
        run.step("a", seen.append, "a")
        try:
            change(run)
        except Exception:
            if not handled:
                raise
            with contextlib.suppress(StepMismatch):
                run.step("b", seen.append, "b")
        return "wrong"

    task(inline, changed)
    future.signal("go")
    with pytest.raises(StepMismatch, match=words) as caught:
        future.result()
    assert caught.value.task_id == future.id
    row = future.snapshot()
    assert (row.phase, row.failures, row.result) == ("failed", 1, None)
    assert words in row.last_error and "body was changed" in row.last_error

    task(inline, body)  # as it was
    assert future.rerun().result() == "end"
    assert seen == ["a", "b", "c"]


def test_what_failed_may_be_mended_in_the_body_and_rerun(inline):
    seen = []

    def body():
        run = taskcore.current()
        run.step("a", seen.append, "a")
        run.step("b", failing())

    def mended():
        run = taskcore.current()
        run.step("a", seen.append, "a")
        return run.step("b", lambda: "b"), run.step("new", lambda: "new")

    future = task(inline, body, max_attempts=1).submit()
    assert isinstance(future.exception(), ValueError)
    task(inline, mended, max_attempts=1)
    assert future.rerun().result() == ("b", "new")
    assert seen == ["a"]


# -- steps in steps ------------------------------------------------------------------------------------------------


def test_steps_in_a_step_are_counted_by_themselves_and_kept_while_it_fails(inline):
    seen, flaky, stumble = [], failing(), failing()

    def inner(outer):
        run = taskcore.current()
        got = [run.step("x", lambda n=n: seen.append((outer, n)) or (outer, n)) for n in range(2)]
        if outer == 1:
            flaky()
        return got

    def body():
        run = taskcore.current()
        got = [run.step("x", lambda: seen.append("top") or "top")]
        got += [run.step("x", inner, outer) for outer in range(2)]
        got.append(run.step("x", lambda: seen.append("bottom") or "bottom"))
        stumble()
        return got

    assert task(inline, body).submit().result() == ["top", [(0, 0), (0, 1)], [(1, 0), (1, 1)], "bottom"]
    assert seen == ["top", (0, 0), (0, 1), (1, 0), (1, 1), "bottom"]


def test_a_body_may_sleep_in_a_step(inline, clock):
    seen = []

    def slow():
        run = taskcore.current()
        run.step("before", seen.append, "before")
        run.sleep(100)
        return run.step("after", clock.now)

    def body():
        return taskcore.current().step("slow", slow)

    future = task(inline, body).submit()
    inline.run()
    assert (future.result(), seen) == (1100, ["before"])


# -- track ---------------------------------------------------------------------------------------------------------


def test_tracked_items_are_gone_through_once_with_progress(inline):
    shown, seen = [], []

    def body():
        run = taskcore.current()
        row = inline.future(run.task.id).snapshot
        shown.append(row().progress)
        for item in run.track("abcd"):
            seen.append(item)
            shown.append(row().progress)
        shown.append(row().progress)
        for _ in run.track(iter("abcd")):  # of unknown length: nothing to show
            pass
        return row().progress

    assert task(inline, body).submit().result() == 1.0
    assert seen == list("abcd") and shown == [None, None, 0.25, 0.5, 0.75, 1.0]


def test_a_body_that_failed_goes_on_behind_the_last_item_it_finished(inline):
    seen, flaky = [], failing(2)

    def body():
        run = taskcore.current()
        for n in run.track(range(5)):
            seen.append(n)
            if n == 3:
                flaky()
        return list(run.track(range(2)))

    assert task(inline, body).submit().result() == [0, 1]
    assert seen == [0, 1, 2, 3, 3, 3, 4]


def test_steps_and_submits_of_an_item_are_its_own(inline, raw):
    """The items are numbered by what was finished, so steps of one name in a thousand items don't add up."""
    seen, flaky = collections.Counter(), failing(3)
    child = inline.task(lambda x: x * 2, name="child")

    def body():
        run = taskcore.current()
        for n in run.track(range(30)):
            run.step("first", seen.update, [n])
            assert child.submit(n).result() == 2 * n
            if n % 10 == 5:
                flaky()
            run.step("last", seen.update, [n])
        return run.step("rows", lambda: len(raw("SELECT 1 FROM taskcore_step")))

    future = task(inline, body).submit()
    left = future.result()
    assert seen == collections.Counter(dict.fromkeys(range(30), 2))
    assert len(inline.tasks.where(parent=future)) == 30
    assert left <= 2  # of what is behind the last finished item nothing need be known


def test_tracks_may_be_nested_and_left(inline):
    seen, stumble = [], failing()

    def body():
        run = taskcore.current()
        for a in run.track("ab"):
            for n in run.track(range(4)):
                run.step("s", seen.append, f"{a}{n}")
                if n == 2:
                    break
            if a == "b":
                stumble()
        run.sleep(3)
        return run.step("s", lambda: "end")

    future = task(inline, body).submit()
    inline.run()
    assert future.result() == "end"
    assert seen == ["a0", "a1", "a2", "b0", "b1", "b2"]


def test_an_older_count_of_items_on_its_way_into_the_file_never_replaces_a_newer_one(inline):
    """Whoever looks takes along what is to be shown; meanwhile the body may write what it did since."""
    seen, on_its_way, stumble = [], [], failing()

    def body():
        run = taskcore.current()
        for n in run.track(range(6)):
            seen.append(n)
            if n == 3 and not on_its_way:
                with inline._scheduler.display.taken(()) as pending:  # three items
                    on_its_way.append(pending)
                run.step("s", int)
            if n == 4:
                inline._context.write(write_notes, on_its_way[0], 0.0)
                stumble()

    task(inline, body).submit().result()
    assert seen == [0, 1, 2, 3, 4, 4, 5]


# -- whoever reports must hold -------------------------------------------------------------------------------------


def test_a_body_that_lost_its_task_leaves_no_trace(path, clock):
    told, began, let_go = [], threading.Event(), threading.Event()

    def late(engine, child):
        run = taskcore.current()
        began.set()
        let_go.wait(PATIENCE)
        calls = {
            "step": lambda: run.step("s", lambda: 1),
            "transact": lambda: run.transact("t", lambda db: db.execute("INSERT INTO ledger VALUES (1)").rowcount),
            "submit": lambda: child.submit(1),
            "gather": lambda: run.gather(child, [1]),
            "signal": lambda: run.wait_for("x"),
            "track": lambda: [run.step("s", lambda: 1) for _ in run.track([1])],
        }
        for name, call in calls.items():
            with pytest.raises(LeaseLost):
                call()
            told.append(name)
        run.progress(1, 2)
        run.message("late")
        run.save(late=True)
        let_go.clear()

    with contextlib.closing(Engine(path, workers=2, clock=clock)) as engine:
        with engine.transaction() as db:
            db.execute("CREATE TABLE ledger (n INTEGER)")
        child = engine.task(lambda x: x, name="child")
        future = engine.task(lambda: late(engine, child), name="late", timeout=5).submit()
        assert began.wait(PATIENCE)
        clock.advance(6)
        assert "more than 5 s" in str(future.exception(PATIENCE))
        let_go.set()
        while let_go.is_set():
            assert engine.health == "ok"
        row = future.snapshot()
        assert told == ["step", "transact", "submit", "gather", "signal", "track"]
        assert (row.phase, row.message, row.result, row.progress, row.step) == ("failed", None, None, None, None)
        assert future.steps() == [] and len(engine.tasks) == 1
        assert rows(path, "SELECT * FROM ledger") == rows(path, "SELECT * FROM taskcore_step") == []


# -- another life --------------------------------------------------------------------------------------------------


def test_a_task_that_is_rerun_before_anybody_is_told_of_its_failure_runs_to_its_end(path):
    with contextlib.closing(Engine(path, workers=1)) as engine:
        on_commit, reruns = engine._file.on_commit, []

        def rerun_at_once(tx):
            if tx.of_a_turn and not reruns and engine.tasks.counts() == {"failed": 1}:
                reruns.append(engine.tasks.where(phase="failed").rerun())
            on_commit(tx)

        engine._file.on_commit = rerun_at_once
        future = engine.task(failing(), name="body").submit("end")  # a handle that nobody asks anything
        until(lambda: engine.tasks.counts() == {"succeeded": 1}, "succeeded")
        assert (future.result(PATIENCE), reruns) == ("end", [1])


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_the_rerun_of_a_body_that_failed_or_was_cancelled_passes_what_succeeded(inline, end):
    seen, done = [], []
    child = inline.task(lambda x: seen.append(x) or x, name="child")
    bad = inline.task(lambda: failed(), name="bad", max_attempts=1)
    failed = failing()

    def body():
        run = taskcore.current()
        run.step("s", seen.append, "s")
        run.save(saved=len(seen))
        got = child.submit("c").result()
        if end == "failed":
            bad.submit().result()
        elif not done:
            raise taskcore.Cancelled
        return {"got": got}

    future = task(inline, body, max_attempts=1).submit()
    assert inline.run()[end] >= 1
    done.append(1)
    again = future.rerun()
    assert again.id == future.id and again.result() == {"saved": 2, "got": "c"}
    assert seen == ["s", "c"]


def test_the_rerun_of_a_body_that_succeeded_forgets_steps_children_and_saved_values(inline):
    seen = []
    child = inline.task(lambda x: seen.append(x) or x, name="child")

    def body():
        run = taskcore.current()
        run.step("s", seen.append, "s")
        if len(seen) == 1:
            run.save(first=True)
        return {"child": child.submit("c").id, "signal": run.wait_for("x")}

    future = task(inline, body).submit()
    future.signal("x", 1)
    future.signal("x", "too many")
    first = future.result()
    again = future.rerun()
    inline.run()
    assert again.snapshot().phase == "suspended"  # signals of the life before are forgotten too
    again.signal("x", 2)
    second = again.result()
    inline.run()
    assert (first.pop("child"), second.pop("child")) == (2, 3)
    assert (first, second) == ({"first": True, "signal": 1}, {"signal": 2})
    assert seen == ["s", "c", "s", "c"]


def test_a_failed_child_runs_again_when_its_parent_is_retried(inline):
    """Those that succeeded don't; nor does one that failed run again because its parent was woken."""
    seen, flaky = collections.Counter(), {n: failing(n) for n in range(3)}

    def fn(n):
        seen[n] += 1
        return flaky[n](n)

    child = inline.task(fn, name="child")

    def body():
        run = taskcore.current()
        seen["body"] += 1
        found = run.gather(child, range(3), return_exceptions=True)
        run.sleep(1)
        seen["awake"] += 1
        if any(isinstance(one, Exception) for one in found):
            raise TaskFailed(0)
        return found

    assert task(inline, body).submit().result() == [0, 1, 2]
    assert [seen[n] for n in range(3)] == [1, 2, 3]
    assert seen["awake"] == 3
