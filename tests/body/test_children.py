"""Bodies that make tasks and wait for them: children are steps, and a body that waits has no thread."""

import asyncio
import collections
import concurrent.futures
import contextlib
import gc
import itertools
import sys
import threading
import weakref

import pytest

import taskcore
from taskcore import Engine, KeyConflict
from taskcore.core.model import Handle
from taskcore.store import submit
from taskcore.testing import InlineExecutor
from tests.support.bodies import failing, task
from tests.support.processes import Child, say, until
from tests.support.rows import rows

PATIENCE = 10  # seconds that a healthy engine never needs


@pytest.fixture
def processes():
    started = []

    def start(body, *args):
        started.append(Child(body, *args))
        return started[-1]

    yield start
    for process in started:
        process.close()


# -- made once -----------------------------------------------------------------------------------------------------


def test_a_submit_in_a_body_is_the_same_child_every_time(inline):
    stumble, got = failing(2), []
    child = inline.task(lambda x: x, name="child")
    other = inline.task(lambda x: -x, name="other")

    def made_in_a_step():
        return child.submit(5).id

    def body():
        run = taskcore.current()
        futures = [child.submit(1), other.submit(2), child.submit(3), child.options(tags=["t"]).submit(4)]
        got.append([future.id for future in futures] + [run.step("s", made_in_a_step), child.submit(6).id])
        stumble()
        return run.wait(futures)

    future = task(inline, body).submit()
    assert future.result() == [1, -2, 3, 4]
    assert len(got) == 4 and all(ids == got[0] for ids in got)
    children = list(inline.tasks.where(parent=future))
    assert [child.id for child in children] == got[0]
    assert [child.args for child in children] == [(1,), (2,), (3,), (4,), (5,), (6,)]


def test_a_child_made_in_a_step_that_failed_is_found_again(inline):
    flaky = failing()
    child = inline.task(lambda x: x, name="child")

    def body():
        run = taskcore.current()
        return run.step("s", lambda: flaky(child.submit(1).id))

    future = task(inline, body).submit()
    made = future.result()
    assert [task.id for task in inline.tasks.where(parent=future)] == [made]


def test_a_child_with_a_key_is_the_task_of_that_key(inline):
    child = inline.task(lambda x: x, name="child", key="k")
    there, stumble = child.submit(1), failing()

    def body():
        ids = [child.submit(1).id, child.submit(1).id]
        with pytest.raises(KeyConflict):
            child.submit(2)
        stumble()
        return ids

    assert task(inline, body).submit().result() == [there.id, there.id]
    assert len(inline.tasks.where(name="child")) == 1


def test_a_deleted_child_is_made_anew(inline):
    seen, stumble = [], failing()
    child = inline.task(lambda x: seen.append(x) or x, name="child")

    def body():
        run = taskcore.current()
        got = [*run.gather(child, range(4)), child.submit(4).result(), child.submit(5).result()]
        stumble()
        return got

    future = task(inline, body, max_attempts=1).submit()
    assert isinstance(future.exception(), ValueError)
    gone = [task.id for task in inline.tasks.where(parent=future) if task.args[0] in (1, 3, 4)]
    assert inline.tasks.where(ids=gone).delete() == 3
    assert future.rerun().result() == [0, 1, 2, 3, 4, 5]
    assert seen == [0, 1, 2, 3, 4, 5, 1, 3, 4]


def test_calls_that_were_refused_keep_their_places(inline):
    """The body that goes on without them is no changed one when it wakes."""
    child = inline.task(lambda x: x, name="child")
    child.options(key="k").submit(0)

    def body():
        run = taskcore.current()
        with pytest.raises(TypeError):
            child.submit(object())
        with pytest.raises(KeyConflict):
            child.options(key="k").submit(1)
        with pytest.raises(TypeError):
            run.gather(child, [1, object()])
        with inline.transaction(), pytest.raises(RuntimeError):
            run.transact("t", print)
        run.sleep(0)
        assert list(run.track([])) == []
        for n in run.track([1, 2]):
            if run.step("found", lambda n=n: n):
                break
        run.sleep(5)
        return child.submit(2).result(), run.gather(child, [3])

    future = task(inline, body).submit()
    inline.run()
    assert future.result() == (2, [3])
    assert len(inline.tasks.where(parent=future)) == 2


# -- waiting for them ----------------------------------------------------------------------------------------------


def test_results_come_in_the_order_they_were_asked_for(inline):
    child = inline.task(lambda x: (x,), name="child")

    def body():
        run = taskcore.current()
        a, b, c = [child.submit(n) for n in range(3)]
        return [run.wait(c, a, b), run.wait([b, a, b]), run.wait(a), run.wait((c,)), run.wait(iter([a, c]))]

    assert task(inline, body).submit().result() == [
        [(2,), (0,), (1,)], [(1,), (0,), (1,)], [(0,)], [(2,)], [(0,), (2,)],
    ]  # fmt: skip


def test_a_wait_on_nothing_goes_on_at_once(inline):
    runs = []
    child = inline.task(lambda x: x, name="child")

    def body():
        run = taskcore.current()
        runs.append(1)
        return [run.wait(), run.wait([]), run.gather(child), run.gather(child, []), run.gather(child, [1], [])]

    assert task(inline, body).submit().result() == [[], [], [], [], []]
    assert len(runs) == 1 and len(inline.tasks) == 1


def test_with_twenty_children_the_body_goes_on_once_after_all(inline):
    runs, seen = [], []
    child = inline.task(seen.append, name="child")

    def body():
        run = taskcore.current()
        runs.append(len(seen))
        futures = [child.submit(n) for n in range(20)]
        run.wait(futures)
        return len(seen)

    future = task(inline, body).submit()
    assert future.result() == 20
    assert runs == [0, 20]
    row = future.snapshot()
    assert (row.attempts, row.failures, len(future.history())) == (1, 0, 1)


def test_gathered_children_are_stored_in_one_commit(inline):
    commits, seen = [], []
    on_commit = inline._file.on_commit
    child = inline.task(lambda x, y: seen.append(x) or x + y, name="child")

    def body():
        run = taskcore.current()
        inline._file.on_commit = lambda tx: (commits.append(1), on_commit(tx))
        try:
            return run.gather(child, range(50), itertools.count(100))
        finally:
            inline._file.on_commit = on_commit

    future = task(inline, body).submit()
    assert future.result() == [100 + 2 * n for n in range(50)]
    assert len(commits) == 1
    assert seen == list(range(50)) == [row.args[0] for row in inline.tasks.where(parent=future)]


class Packed:
    """A codec whose texts have what JSON would not carry as it is."""

    def encode(self, value):
        return f"\0\u00e9 {taskcore.JSON.encode(value)}"

    def decode(self, text):
        assert text.startswith("\0\u00e9 "), text
        return taskcore.JSON.decode(text[3:])


@pytest.mark.parametrize("codec", [taskcore.JSON, Packed()])
def test_gathered_children_have_the_very_arguments_whatever_the_codec(path, codec):
    texts = ["", '"', "\\", "\0", "\n", "\u00e9", "\U0001f600", "'", "\ufeff", "x" * 5000]
    with contextlib.closing(Engine(path, executor=InlineExecutor(), codec=codec)) as engine:
        engine.task(lambda text: text, name="child")
        for some in (texts[:-1], texts):
            future = engine.task(lambda some=some: taskcore.current().gather("child", some), name="parent").submit()
            assert future.result() == some
        assert engine.check() == []


def test_a_gather_of_more_than_one_statement_takes_keeps_the_order(inline, monkeypatch):
    monkeypatch.setattr(submit, "FLUSH_AT", 7)
    inline.task(lambda n: -n, name="child")
    future = inline.task(lambda: taskcore.current().gather("child", range(30)), name="parent").submit()
    assert future.result() == [-n for n in range(30)]
    assert [row.args for row in inline.tasks.where(parent=future)] == [(n,) for n in range(30)]


def test_gathered_children_have_the_options_they_were_given(inline):
    child = inline.task(lambda x: x, name="child")
    up = inline.task(lambda: 5, name="up").submit()
    inline.run()
    special = child.options(tags=["t"], key=True, priority=3)

    def body():
        return taskcore.current().gather(special, [up, 1, 1])

    future = task(inline, body).submit()
    assert future.result() == [5, 1, 1]
    rows = list(inline.tasks.where(tag="t"))
    assert [(row.parent_id, row.priority) for row in rows] == [(future.id, 3)] * 2
    assert rows[0].args == (Handle(up.id),) and rows[1].args == (1,)


def test_map_in_a_body_makes_children_too(inline):
    runs = []
    child = inline.task(lambda x: x * 2, name="child")

    def body():
        runs.append(1)
        return list(child.map(range(5)))

    future = task(inline, body).submit()
    assert future.result() == [0, 2, 4, 6, 8]
    assert len(inline.tasks.where(parent=future)) == 5


def test_the_result_of_an_unfinished_child_is_waited_for_without_a_thread(inline):
    runs = []
    child = inline.task(lambda x: x, name="child")
    bad = inline.task(failing(9), name="bad")

    def body():
        runs.append(1)
        a, b = child.submit("a"), bad.submit()
        return a.result(), type(b.exception()).__name__, b.done(), a.exception()

    future = task(inline, body).submit()
    assert future.result() == ("a", "ValueError", True, None)
    assert future.snapshot().attempts == 1 < len(runs)


def test_a_body_may_wait_for_tasks_that_are_not_its_children(inline):
    child = inline.task(lambda x: x, name="child")
    robot = inline.task("robot").submit()
    shown = []

    def body():
        run = taskcore.current()
        return run.wait(child.submit(1), robot)

    future = task(inline, body).submit()
    inline.run()
    shown.append(future.snapshot())
    inline.claim("robot")[0].succeed("r")
    assert future.result() == [1, "r"]
    assert (shown[0].phase, shown[0].waiting_for) == ("suspended", "tasks")


def test_a_body_waits_for_handles_and_not_for_itself(inline):
    def body():
        run = taskcore.current()
        me = inline.future(run.task.id)
        for call in (me.result, lambda: run.wait(me), lambda: run.wait([me], return_exceptions=True)):
            with pytest.raises(RuntimeError, match="for itself"):
                call()
        for wrong in (5, "x", [5], concurrent.futures.Future()):
            with pytest.raises(TypeError):
                run.wait(wrong)
        return "end"

    assert task(inline, body).submit().result() == "end"


# -- how children end ----------------------------------------------------------------------------------------------


class Trouble(Exception):
    """One of the test's own."""


def test_wait_raises_the_very_exception_that_the_child_raised(inline):
    error = Trouble("x", 1)

    def fails():
        raise error

    child, good = inline.task(fails, name="child"), inline.task(lambda: 1, name="good")

    def body():
        run = taskcore.current()
        futures = [good.submit(), child.submit(), good.submit()]
        one, two, three = run.wait(futures, return_exceptions=True)
        run.sleep(1)
        with pytest.raises(Trouble) as caught:
            run.wait(futures)
        with pytest.raises(Trouble) as again:
            run.gather(child, [])
            futures[1].result()
        return [one, two is error, three, caught.value is error, again.value is error]

    assert task(inline, body).submit().result() == [1, True, 1, True, True]


def test_what_a_child_raises_right_behind_the_commit_that_made_it_is_raised_in_the_body(path):
    error = ValueError("no")

    def fails(_):
        raise error

    with contextlib.closing(Engine(path, workers=2)) as engine:
        context, children = engine._context, engine.tasks.where(name="child", phase="failed")
        child, write = engine.task(fails, name="child", max_attempts=1), context.write

        def slow(*args):
            given = write(*args)
            until(lambda: len(children) == 2, "the children have failed")
            return given

        def body():
            context.write = slow
            try:
                found = taskcore.current().gather(child, [1, 2], return_exceptions=True)
            finally:
                context.write = write
            return [one is error for one in found]

        assert task(engine, body).submit().result(PATIENCE) == [True, True]


def test_what_a_child_raised_is_let_go_when_its_parent_has_ended(inline):
    class Held(Exception):
        pass

    refs = []

    def fails(n):
        error = Held(n)
        refs.append(weakref.ref(error))
        raise error

    child = inline.task(fails, name="child")

    def body():
        run = taskcore.current()
        for n in range(3):
            run.wait(child.submit(n), return_exceptions=True)

    task(inline, body).submit().result()
    gc.collect()
    assert [ref() for ref in refs] == [None, None, None]


def test_whatever_a_child_raised_may_stand_in_its_place(inline):
    def raises(error):
        def fn():
            raise error

        return inline.task(fn, name=type(error).__name__).submit()

    def body():
        errors = [SystemExit(3), KeyboardInterrupt(), KeyError("k"), GeneratorExit(), taskcore.Abort("no")]
        found = taskcore.current().wait([raises(error) for error in errors], return_exceptions=True)
        return [type(one).__name__ for one in found]

    assert task(inline, body).submit().result() == [
        "SystemExit", "KeyboardInterrupt", "KeyError", "GeneratorExit", "Abort",
    ]  # fmt: skip


WAYS = {
    "succeeded": "good",
    "failed": "TaskFailed",
    "failed by its label": "TaskFailed",
    "cancelled while it runs": "CancelledError",
    "cancelled": "CancelledError",
    "lost": "TaskFailed",
    "skipped": "TaskSkipped",
}


def end(engine, clock, future, way):
    """End a task that a robot works on."""
    if way == "skipped":
        engine.tasks.where(name="gate").cancel()
        return
    (claim,) = engine.claim("robot", lease=10)
    if way == "succeeded":
        claim.succeed("good")
    elif way == "failed":
        claim.fail("torn")
    elif way == "failed by its label":
        claim.succeed({"n": 1}, status="bad")
    elif way == "cancelled while it runs":
        future.cancel()
        claim.fail("asked to stop")
    elif way == "cancelled":
        claim.release()
        future.cancel()
    else:
        clock.advance(11)
        assert engine.claim("nobody") == []


@pytest.mark.parametrize("way", WAYS)
def test_a_child_that_ends_in_any_way_wakes_its_parent_once(inline, clock, way):
    """Before it waits, while it sleeps, or while it is on its way from the one to the other."""
    house, runs, children = inline._context.stage.house, [], []
    expect = house.expect
    robot = inline.task("robot", max_lapses=0)

    def body(when):
        run = taskcore.current()
        runs.append(when)
        gate = inline.task("gate").submit()
        child = robot.options(after=[gate] if way == "skipped" else []).submit()
        if len(runs) == 1:
            children.append(child)
            if when == "before":
                end(inline, clock, child, way)
            if when == "on its way":
                house.expect = lambda *args: (expect(*args), end(inline, clock, child, way))
        found = run.wait(child, return_exceptions=True)[0]
        return found if isinstance(found, str) else type(found).__name__

    parent = task(inline, body)
    for when, times in [("before", 1), ("on its way", 2), ("asleep", 2)]:
        future = parent.submit(when)
        inline.run()
        house.expect = expect
        if when == "asleep":
            row = future.snapshot()
            assert (row.phase, row.waiting_for, row.attempts, row.worker) == ("suspended", "children", 0, None)
            end(inline, clock, children[0], way)
        assert (future.result(), runs) == (WAYS[way], [when] * times)
        assert future.snapshot().attempts == 1
        runs.clear()
        children.clear()
        inline.tasks.where(name="gate").cancel()


def test_children_that_fail_one_by_one_wake_their_parent_once(inline):
    runs = []
    child = inline.task(failing(99), name="child")

    def body():
        runs.append(1)
        found = taskcore.current().gather(child, range(10), return_exceptions=True)
        return [type(one).__name__ for one in found]

    assert task(inline, body).submit().result() == ["ValueError"] * 10
    assert len(runs) == 2


def test_children_added_while_it_waits_count(inline):
    """By whomever: the body goes on when nothing of it is left, though it asked for the first one only."""
    runs, seen = [], []
    robot = inline.task("robot")

    def adds(parent):
        seen.append("first")
        robot.options(parent=parent).submit()
        robot.options(parent=parent).submit()

    first = inline.task(adds, name="first")

    def body():
        run = taskcore.current()
        runs.append(1)
        run.wait(first.submit(run.task.id))
        return "end"

    future = task(inline, body).submit()
    for left in (2, 1, 0):
        inline.run()
        assert (future.snapshot().phase, len(runs)) == (("suspended", 1) if left else ("succeeded", 2))
        for claim in inline.claim("robot"):
            claim.fail("no", retry=False)
    assert future.result() == "end"


def test_a_body_may_make_and_await_children_several_times(inline):
    child = inline.task(lambda x: x + 1, name="child")

    def body():
        run, n = taskcore.current(), 0
        while n < 5:
            (n,) = run.wait(child.submit(n))
        got = run.gather(child, [n, n])
        raise Trouble(*got)

    future = task(inline, body, max_attempts=1).submit()
    assert future.exception().args == (6, 6)
    row = future.snapshot()
    assert (row.phase, row.failures, row.attempts, len(inline.tasks)) == ("failed", 1, 1, 8)


def test_a_tree_of_four_levels_runs_on_one_thread(path):
    threads, together, most = set(), [0], []

    @contextlib.contextmanager
    def running():
        together[0] += 1
        most.append(together[0])
        threads.add(threading.get_ident())
        try:
            yield
        finally:
            together[0] -= 1

    with contextlib.closing(Engine(path, workers=1)) as engine:

        def node(level, place):
            with running():
                run = taskcore.current()
                if level == 4:
                    return [place]
                below = [tree.submit(level + 1, 3 * place + n) for n in range(3)]
                found = run.wait(below) if level % 2 else [future.result() for future in below]
                return [n for part in found for n in part]

        tree = engine.task(node, name="tree")
        future = tree.submit(1, 0)
        assert future.result(PATIENCE) == list(range(27))
        assert len(threads) == 1 and max(most) == 1
        assert all(task.attempts == 1 and task.phase == "succeeded" for task in engine.tasks)


def test_a_failed_child_is_run_again_when_its_parent_is_retried(inline):
    """One that succeeded is not; nor is one that failed because its parent was woken."""
    seen, flaky = collections.Counter(), {n: failing(n) for n in range(3)}

    def fn(n):
        seen[n] += 1
        return flaky[n](n)

    child = inline.task(fn, name="child")

    def body():
        run = taskcore.current()
        found = run.gather(child, range(2), return_exceptions=True)
        found += run.wait(child.submit(2), return_exceptions=True)
        run.sleep(1)
        seen["awake"] += 1
        for one in found:
            if isinstance(one, Exception):
                raise one
        return found

    assert task(inline, body).submit().result() == [0, 1, 2]
    assert [seen[n] for n in range(3)] == [1, 2, 3]
    assert seen["awake"] == 3


def test_a_child_that_somebody_reruns_while_its_parent_sleeps_may_end_otherwise(inline):
    """The body that handled its failure finds that there is nothing to handle: it was not changed, its child was."""
    seen = []
    child = inline.task(failing(), name="child")

    def body():
        run = taskcore.current()
        (found,) = run.gather(child, ["good"], return_exceptions=True)
        if isinstance(found, Exception):
            run.step("excuse", seen.append, "excuse")
        run.step("both", seen.append, "both")
        run.wait_for("go")
        run.step("end", seen.append, found)

    future = task(inline, body).submit()
    inline.run()
    assert seen == ["excuse", "both"]
    assert inline.tasks.where(phase="failed").rerun() == 1
    future.signal("go")
    future.result()
    assert seen == ["excuse", "both", "good"]
    assert future.snapshot().failures == 0


def test_a_job_in_a_body_is_a_child_with_children(inline):
    stumble = failing()
    child = inline.task(lambda x: x, name="child")

    def body():
        run = taskcore.current()
        with inline.job("night") as job:
            made = [child.submit(n) for n in range(3)]
        (counts,) = run.wait(job)
        stumble()
        return [job.id, counts, [future.result() for future in made]]

    future = task(inline, body).submit()
    job, counts, results = future.result()
    assert (counts, results) == ({"succeeded": 3}, [0, 1, 2])
    assert [(row.name, row.parent_id) for row in inline.tasks if row.id != future.id] == [
        ("night", future.id), *[("child", job)] * 3,
    ]  # fmt: skip


# -- async bodies --------------------------------------------------------------------------------------------------


def test_an_async_body_awaits_its_children(inline):
    seen = []
    child = inline.task(lambda x: x, name="child")

    async def body():
        run = taskcore.current()
        a, b = child.submit(1), child.submit(2)
        run.step("s", seen.append, "s")
        total = await a + await b + run.step("ten", lambda: 10)
        total += sum(await asyncio.gather(child.submit(3), child.submit(4)))
        async with asyncio.TaskGroup() as group:
            found = [group.create_task(one(n)) for n in (5, 6)]
        run.sleep(1)
        return total + sum(task.result() for task in found)

    async def one(n):
        return await child.submit(n)

    future = task(inline, body).submit()
    assert future.result() == 31
    assert seen == ["s"] and len(inline.tasks.where(parent=future)) == 6
    assert future.snapshot().attempts == 1


def test_a_step_of_an_async_body_is_a_plain_function(inline):
    async def fn(*_):
        return 1

    async def body():
        run = taskcore.current()
        for verb in (run.step, run.transact):
            with pytest.raises(TypeError, match="plain function"):
                verb("s", fn)
        return run.step("t", lambda: 2)

    assert task(inline, body).submit().result() == 2


def test_a_child_may_be_async_and_its_exception_is_awaited(inline):
    async def fails():
        await asyncio.sleep(0)
        raise Trouble("x")

    child = inline.task(fails, name="child")

    async def body():
        try:
            await child.submit()
        except Trouble as error:
            return list(error.args)

    assert task(inline, body).submit().result() == ["x"]


# -- other processes -----------------------------------------------------------------------------------------------


def runs_children(path):
    """Runs tasks named "child", which say so and go on by one byte each."""
    engine = Engine(path, workers=2)

    @engine.task(name="child", max_lapses=0)
    def child(n):
        say("began", n)
        os.read(0, 1)  # noqa: F821 - in the child
        if n == 2:
            raise LookupError("two")
        return n * 10

    engine.start()
    say("up")
    while not engine.health.startswith("stopped"):
        signal.pause()  # noqa: F821


def test_a_child_that_another_process_ran_gives_its_result_or_its_error(path, processes):
    with contextlib.closing(Engine(path, workers=1)) as engine:
        child = engine.task("child")

        def body():
            good, bad = taskcore.current().gather(child, [1, 2], return_exceptions=True)
            return good, type(bad).__name__, bad.error_type, bad.message

        future = engine.task(body, name="body").submit()
        other = processes(runs_children, path)
        other.hears("up", "began 1", "began 2")
        assert future.snapshot().phase == "suspended"
        other.tell("")
        other.tell("")
        assert future.result(PATIENCE) == (10, "TaskFailed", "LookupError", "two")


def test_a_killed_childs_process_does_not_leave_the_parent_asleep(path, processes):
    runs = []
    with contextlib.closing(Engine(path, workers=1)) as engine:
        child = engine.task("child", max_lapses=0)

        def body():
            runs.append(1)
            lost, kept = taskcore.current().wait(child.submit(1), child.submit(2), return_exceptions=True)
            return [str(lost), str(kept)]

        future = engine.task(body, name="body").submit()
        other = processes(runs_children, path)
        other.hears("up", "began 1", "began 2")
        other.kill()
        lost, also = future.result(PATIENCE)
        assert "lost: its process died" in lost and "lost: its process died" in also
        assert len(runs) == 2


def parent_and_children(path):
    """A parent whose children wait to be told; all of it in one process."""
    engine = Engine(path, workers=1)

    @engine.task
    def child(n):
        say("began", n)
        sys.stdin.readline()
        return n

    @engine.task(key="only")
    def parent():
        run = taskcore.current()
        got = run.gather(child, [1, 2, 3])
        return got, run.step("once", lambda: os.write(1, b"once\n") and len(got))  # noqa: F821

    future = parent.submit()
    say("result", future.result())


def test_a_family_whose_process_is_killed_goes_on_in_the_next(path, processes):
    first = processes(parent_and_children, path)
    assert first.line() == "began 1"
    first.tell("go")
    assert first.line() == "began 2"
    first.kill()
    second = processes(parent_and_children, path)
    for n in (2, 3):
        assert second.line() == f"began {n}"
        second.tell("go")
    assert second.end() == ["once", "result ([1, 2, 3], 3)"]
    assert rows(path, "SELECT count(*) FROM taskcore_task") == [(4,)]


def test_a_child_that_failed_is_done_again_after_its_parent_asked_to_come_back_later(inline):
    stumble, seen = failing(), []
    child = inline.task(lambda n: stumble("grown"), name="child")

    @inline.task
    def parent():
        try:
            return taskcore.current().gather(child, [1])
        except ValueError as error:
            seen.append(str(error))
            raise taskcore.Snooze(5) from None

    assert parent.submit().result() == ["grown"]
    assert seen == ["not yet"]


def test_a_gather_of_calls_that_do_not_fit_their_function_is_refused_and_makes_no_child(inline):
    child = inline.task(lambda n: n, name="child")

    @inline.task
    def parent():
        with pytest.raises(TypeError, match="'child' cannot be called with these arguments"):
            taskcore.current().gather(child, range(3), range(3))
        return taskcore.current().gather(child, range(2)), taskcore.current().gather(child)

    assert parent.submit().result() == ([0, 1], [])
    assert len(inline.tasks.where(name="child")) == 2
