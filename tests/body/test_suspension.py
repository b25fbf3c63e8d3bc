"""Bodies that give their thread back: they sleep, wait for people, are held and ended meanwhile, and go on later."""

import ast
import contextlib
import json

import pytest

import taskcore
from taskcore import Cancelled, Done, Engine, Retry, Snooze, TaskFailed, TaskNotFound, constant
from taskcore.core.errors import StepMismatch
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


def once(engine, clock, seconds):
    """Let so much time pass, and do what is due then."""
    clock.advance(seconds)
    engine.run()


# -- sleeping ------------------------------------------------------------------------------------------------------


def test_a_body_that_sleeps_is_suspended_until_its_time_and_then_goes_on(inline, clock):
    seen = []

    def body():
        run = taskcore.current()
        seen.append(clock.now())
        for delay in (10, 0, 2.5):
            run.sleep(delay)
            seen.append(clock.now())

    future = task(inline, body).submit()
    inline.run()
    row = future.snapshot()
    assert (row.phase, row.waiting_for, row.greenfield, row.worker) == ("suspended", "sleep", 1010, None)
    once(inline, clock, 9.5)
    assert seen == [1000]
    once(inline, clock, 0.5)
    assert seen == [1000, 1010, 1010, 1010]
    assert future.snapshot().greenfield == 1012.5
    assert future.result() is None
    assert seen[4:] == [1012.5] * 4


@pytest.mark.parametrize("other", [5, None])
def test_a_body_that_waits_for_what_is_no_handle_is_told_so(inline, other):
    with pytest.raises(TypeError, match=f"a body waits for handles of tasks, not for {other!r}"):
        task(inline, lambda: taskcore.current().wait(other)).submit().result()


def test_a_sleep_is_as_long_as_it_was_when_the_body_is_woken_or_retried_meanwhile(inline, clock):
    """And so over a change of its length: it is a step."""
    stumble, delays, woken = failing(), iter([100, 5, 7, 9]), []

    def body():
        run = taskcore.current()
        run.sleep(next(delays))
        woken.append(clock.now())
        run.wait_for("go")
        stumble()
        return clock.now()

    future = task(inline, body).submit()
    inline.run()
    future.signal("go")  # is no reason to wake
    assert future.snapshot().phase == "suspended"
    assert future.result() == 1100
    assert woken == [1100, 1100]


def test_a_sleep_goes_on_over_a_restart(path, clock):
    woken = []

    def body():
        taskcore.current().sleep(50)
        woken.append(clock.now())

    for now in (1000, 1020, 1049, 1051):
        clock.set(now)
        with contextlib.closing(Engine(path, executor=InlineExecutor(), clock=clock)) as engine:
            engine.task(body, name="body", key="only").submit()
            engine.run()
    assert woken == [1051]


def test_a_sleep_is_a_number_of_seconds(inline):
    def body():
        for delay, error in [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError), (None, TypeError)]:
            with pytest.raises(error):
                taskcore.current().sleep(delay)

    task(inline, body).submit().result()


def test_a_suspension_gives_the_thread_and_the_attempt_back(inline, clock):
    """A body may give way as often as it likes: it is one attempt, with one row in its history."""
    other, order = inline.task(lambda: order.append("other"), name="other"), []

    def body():
        run = taskcore.current()
        for n in range(3):
            order.append(n)
            run.sleep(1)
        return run.task.attempts

    future = task(inline, body, max_attempts=1, max_lapses=0).submit()
    other.submit()
    inline.run()
    assert order == [0, "other"]
    assert future.snapshot().attempts == 0 and future.history() == []
    assert future.result() == 1
    row = future.snapshot()
    assert (row.attempts, row.failures, row.lapses) == (1, 0, 0)
    (attempt,) = future.history()
    assert (attempt.number, attempt.outcome, attempt.started_at) == (1, "succeeded", 1003)
    assert (row.first_started_at, row.started_at) == (1000, 1003)


def test_a_time_limit_is_for_one_stretch(inline, clock):
    def body(work):
        run = taskcore.current()
        for seconds in work:
            run.step("work", clock.advance, seconds)
            run.sleep(100)
        return "end"

    limited = task(inline, body, timeout=5, max_attempts=1)
    assert limited.submit([4, 4, 4]).result() == "end"
    with pytest.raises(TaskFailed, match="more than 5 s"):
        limited.submit([4, 6, 4]).result()


def test_a_suspended_task_keeps_its_place_in_its_queue(inline):
    order = []

    def body(n):
        order.append(n)
        taskcore.current().sleep(10)
        order.append(n)

    serial = inline.task(body, name="serial", serial="s")
    futures = [serial.submit(n) for n in range(3)]
    inline.run()
    assert order == [0]
    for future in futures:
        future.result()
    assert order == [0, 0, 0, 1, 1, 1, 2, 2, 2]


# -- the suspension passes through the body --------------------------------------------------------------------------


def test_what_a_body_opened_is_closed_each_time_it_gives_way(inline):
    opened = []

    @contextlib.contextmanager
    def instrument():
        opened.append("open")
        try:
            yield
        finally:
            opened.append("close")

    def body():
        with instrument():
            try:
                taskcore.current().sleep(1)
            except Exception:
                opened.append("never")
        return "end"

    assert task(inline, body).submit().result() == "end"
    assert opened == ["open", "close"] * 2


def swallows(how):
    def body():
        run = taskcore.current()
        try:
            run.sleep(10)
        except BaseException:
            if how == "returns":
                return "swallowed"
            if how == "raises another":
                raise ValueError("another") from None
            if how == "tries again":
                for call in (lambda: run.step("s", int), lambda: run.sleep(1), lambda: run.wait(), run.progress):
                    with contextlib.suppress(BaseException):
                        call()
            if how == "returns done":
                return Done("swallowed", status="good")
        return None

    return body


@pytest.mark.parametrize("how", ["returns", "raises another", "tries again", "returns done"])
def test_a_body_that_swallows_its_suspension_is_told_so(inline, how):
    future = task(inline, swallows(how)).submit()
    with pytest.raises(RuntimeError, match="bare except"):
        future.result()
    row = future.snapshot()
    assert (row.phase, row.failures, row.result) == ("failed", 1, None)
    assert "let that pass" in row.last_error


def test_a_body_that_catches_its_suspension_and_lets_it_pass_is_suspended(inline):
    seen = []

    def body():
        run = taskcore.current()
        try:
            run.sleep(10)
        except BaseException as error:
            seen.append(type(error).__mro__[1])
            with contextlib.suppress(BaseException):
                run.step("s", seen.append, "never before the wake")
            raise
        return "end"

    assert task(inline, body).submit().result() == "end"
    assert seen == [BaseException]


def test_a_body_may_make_a_cancelled_of_its_suspension(inline):
    def body():
        try:
            taskcore.current().sleep(10)
        except BaseException:
            raise Cancelled("enough") from None

    future = task(inline, body).submit()
    inline.run()
    assert (future.snapshot().phase, future.snapshot().last_error) == ("cancelled", "enough")


# -- signals -------------------------------------------------------------------------------------------------------


def test_signals_are_taken_one_by_one_in_the_order_they_were_sent(inline):
    """Also those that came before anybody waited, and whatever others came in between."""

    def body():
        run = taskcore.current()
        return [run.wait_for("a") for _ in range(3)], run.wait_for("b"), run.wait_for("a")

    future = task(inline, body).options(delay=5).submit()
    assert future.signal("a", 1) and future.signal("b", {"x": (1, 2)}) and future.signal("a", 2)
    inline.run()
    assert future.snapshot().phase == "scheduled"
    future.signal("c", "nobody asks")
    for payload in (3, 4):
        with pytest.raises(TimeoutError):
            future.result(0)
        assert future.signal("a", payload)
    assert future.result() == ([1, 2, 3], {"x": (1, 2)}, 4)


def test_a_signal_wakes_whom_it_is_for(inline):
    runs = []

    def body(name):
        runs.append(name)
        return taskcore.current().wait_for(name)

    waits = task(inline, body)
    a, b = waits.submit("a"), waits.submit("b b%'")
    inline.run()
    assert [future.snapshot().waiting_for for future in (a, b)] == ["signal a", "signal b b%'"]
    a.signal("b b%'", 0)
    b.signal("a", 0)
    inline.run()
    assert runs == ["a", "b b%'"]
    b.signal("b b%'", 1)
    inline.run()
    assert runs == ["a", "b b%'", "b b%'"]
    a.signal("a")
    assert (a.result(), b.result()) == (None, 1)


def test_a_signal_that_was_taken_is_not_taken_again_when_the_body_fails(inline):
    got, stumble = [], failing(3)

    def body():
        run = taskcore.current()
        got.append([run.wait_for("x"), run.wait_for("x")])
        stumble()
        return run.wait_for("x")

    future = task(inline, body).submit()
    for n in range(3):
        future.signal("x", n)
    assert future.result() == 2
    assert got == [[0, 1]] * 4


def test_what_cannot_be_stored_is_no_signal(inline):
    def body():
        return taskcore.current().wait_for("x")

    future = task(inline, body).submit()
    inline.run()
    with pytest.raises(TypeError):
        future.signal("x", object())
    for name in (None, 5, ""):
        with pytest.raises((TypeError, ValueError)):
            future.signal(name)
    assert future.snapshot().phase == "suspended"
    assert future.signal("x", None)
    assert future.result() is None
    assert future.signal("x", 1) is False  # it has ended
    inline.tasks.where(id=future).delete()
    with pytest.raises(TaskNotFound):
        future.signal("x", 1)


def test_a_wait_for_a_signal_that_does_not_come_raises_timeout_error(inline, clock):
    times = []

    def body():
        run = taskcore.current()
        for limit in (0, 10, 2.5):
            with pytest.raises(TimeoutError, match=f"'x' came within {limit:g} s"):
                run.wait_for("x", timeout=limit)
            times.append(clock.now())
        return run.wait_for("x", timeout=5), clock.now()

    future = task(inline, body).submit()
    inline.run()
    row = future.snapshot()
    assert (row.phase, row.waiting_for, row.greenfield) == ("suspended", "signal x", 1010)
    for seconds in (10, 2.5, 3):
        once(inline, clock, seconds)
    future.signal("x", "at last")
    assert future.result() == ("at last", 1015.5)
    assert times == [1000] + [1010] * 2 + [1012.5] * 3 + [1015.5] * 3


def test_a_timeout_that_was_told_stays_told(inline, clock):
    """When the body is woken again; a new attempt has its time anew, for what failed is tried again."""
    told, stumble = [], failing()

    def body():
        run = taskcore.current()
        try:
            got = run.wait_for("x", timeout=10)
        except TimeoutError:
            got = "nothing"
        told.append((clock.now(), got))
        run.sleep(100)
        stumble()
        return got

    future = task(inline, body).submit()
    inline.run()
    once(inline, clock, 10)
    future.signal("x", "too late")
    once(inline, clock, 100)
    assert future.result() == "too late"
    assert told[:3] == [(1010, "nothing"), (1110, "nothing"), (1110, "too late")]


def test_the_time_of_a_wait_runs_on_over_a_restart(path, clock):
    seen = []

    def body():
        try:
            seen.append(taskcore.current().wait_for("x", timeout=50))
        except TimeoutError:
            seen.append(clock.now())

    for now in (1000, 1020, 1049, 1060):
        clock.set(now)
        with contextlib.closing(Engine(path, executor=InlineExecutor(), clock=clock)) as engine:
            engine.task(body, name="body", key="only").submit()
            engine.run()
    assert seen == [1060]


def test_a_timeout_is_a_number_of_seconds(inline):
    def body():
        run = taskcore.current()
        for timeout, error in [(-1, ValueError), ("1", TypeError), (float("inf"), ValueError)]:
            with pytest.raises(error):
                run.wait_for("x", timeout=timeout)
        for name in (None, 5, ""):
            with pytest.raises((TypeError, ValueError)):
                run.wait_for(name)

    task(inline, body).submit().result()


def test_a_signal_that_comes_on_the_way_into_the_suspension_is_not_missed(inline, monkeypatch):
    runs = []

    def body():
        run = taskcore.current()
        runs.append(1)
        suspend, me = run._suspend, inline.future(run.task.id)
        monkeypatch.setattr(type(run), "_suspend", lambda self, *args, **kw: (me.signal("x", 7), suspend(*args, **kw)))
        try:
            return run.wait_for("x")
        finally:
            monkeypatch.undo()

    assert task(inline, body).submit().result() == 7
    assert len(runs) == 2


def waits_for_people(path):
    """Takes signals, and says which; one a line."""
    engine = Engine(path, workers=1)

    @engine.task(key="only", max_lapses=100)
    def body():
        run = taskcore.current()
        for n in range(6):
            payload = run.wait_for("x")
            say(n, payload)
            run.step("heard", sys.stdin.readline)  # noqa: F821 - in the child

    body.submit()
    say("up")
    body.submit().result()
    say("end")


def test_each_wait_takes_one_signal_also_over_crashes(path, processes):
    """Signals are sent from another process; the body's is killed between taking one and going on."""
    first = processes(waits_for_people, path)
    first.hears("up")
    with contextlib.closing(Engine(path, workers=0)) as engine:
        (row,) = engine.tasks
        future = engine.future(row.id)
        future.signal("x", "a")
        assert first.line() == "0 a"
        future.signal("x", "b")
        first.kill()
        second = processes(waits_for_people, path)
        second.hears("up", "0 a")
        second.tell("go")
        assert second.line() == "1 b"
        second.kill()
        for word in "cdef":
            future.signal("x", word)
        third = processes(waits_for_people, path)
        third.hears("up", "1 b")  # heard the first; the second it has taken, and was not told more
        for n, word in enumerate("cdef", 2):
            third.tell("go")
            assert third.line() == f"{n} {word}"
        third.tell("go")
        assert third.end() == ["end"]
    assert rows(path, "SELECT count(*) FROM taskcore_signal") == [(0,)]


# -- operators -----------------------------------------------------------------------------------------------------


def test_a_suspended_task_that_is_cancelled_ends_at_once_with_its_children(inline):
    robot, runs = inline.task("robot"), []

    def body():
        run = taskcore.current()
        runs.append(1)
        try:
            run.gather(robot, [1, 2])
        except BaseException:
            runs.append("left")
            raise

    future = task(inline, body).submit()
    inline.run()
    assert future.cancel("no more") is True
    assert inline.tasks.counts() == {"cancelled": 3}
    assert (future.snapshot().last_error, future.snapshot().finished_at) == ("no more", 1000)
    assert rows(inline.path, "SELECT * FROM taskcore_join") == []
    inline.run()
    assert runs == [1, "left"]


def test_a_cancelled_body_goes_on_where_it_was_when_it_is_rerun(inline, clock):
    seen = []
    child = inline.task(lambda x: seen.append(x) or x, name="child")

    def body():
        run = taskcore.current()
        run.step("s", seen.append, "s")
        got = child.submit("c").result()
        run.sleep(100)
        return got, run.wait_for("x")

    future = task(inline, body).submit()
    inline.run()
    future.cancel()
    again = future.rerun()
    inline.run()
    assert again.snapshot().greenfield == 1100
    again.signal("x", 1)
    assert again.result() == ("c", 1)
    assert seen == ["s", "c"]


def test_a_wait_that_was_cancelled_has_its_whole_time_again(inline, clock):
    def body():
        return taskcore.current().wait_for("x", timeout=10), clock.now()

    future = task(inline, body).submit()
    inline.run()
    clock.advance(8)
    future.cancel()
    clock.advance(100)
    again = future.rerun()
    inline.run()
    assert again.snapshot().greenfield == 1118
    clock.advance(9)
    again.signal("x", 1)
    assert again.result() == (1, 1117)


def test_a_cancel_that_was_asked_for_wins_over_the_suspension(inline):
    def body():
        run = taskcore.current()
        assert inline.future(run.task.id).cancel("stop") is False
        run.sleep(10)

    future = task(inline, body).submit()
    inline.run()
    row = future.snapshot()
    assert (row.phase, row.last_error, row.greenfield) == ("cancelled", "stop", None)


@pytest.mark.parametrize("when", ["asleep", "running"])
def test_a_suspended_task_that_is_paused_is_held_when_it_is_woken(inline, clock, when):
    runs = []

    def body():
        run = taskcore.current()
        runs.append(clock.now())
        if when == "running" and len(runs) == 1:
            inline.future(run.task.id).pause()
        run.sleep(10)
        return "end"

    future = task(inline, body).submit()
    inline.run()
    if when == "asleep":
        assert future.pause() is True
    assert future.snapshot().phase == "suspended"
    once(inline, clock, 10)
    assert (future.snapshot().phase, runs) == ("paused", [1000])
    clock.advance(5)
    assert future.resume() is True
    assert future.result() == "end"
    assert runs == [1000, 1015]


def test_a_pause_that_is_taken_back_before_the_wake_was_none(inline, clock):
    def body():
        taskcore.current().sleep(10)
        return clock.now()

    future = task(inline, body).submit()
    inline.run()
    assert future.pause() and not future.pause() and future.resume() and not future.resume()
    assert future.result() == 1010


def test_signals_and_children_reach_a_paused_task_when_it_is_resumed(inline):
    child = inline.task(lambda x: x, name="child")

    def body():
        run = taskcore.current()
        return run.wait_for("x"), run.gather(child, [1, 2])

    future = task(inline, body).submit()
    inline.run()
    future.pause()
    future.signal("x", "s")
    inline.run()
    assert future.snapshot().phase == "paused"
    future.resume()
    inline.run()
    assert future.result() == ("s", [1, 2])


def test_a_body_may_wait_on_after_an_attempt_that_was_snoozed_or_retried(inline, clock):
    ends = [Retry(3), Snooze(7), ValueError("x")]
    seen = []

    def body():
        run = taskcore.current()
        run.step("s", seen.append, clock.now())
        run.sleep(10)
        if ends:
            raise ends.pop(0)
        return clock.now()

    future = task(inline, body).submit()
    assert future.result() == 1020
    assert seen == [1000]
    assert future.snapshot().failures == 2


# -- engines of all kinds ------------------------------------------------------------------------------------------


class Literals:
    """A codec that is no JSON."""

    def encode(self, value):
        return f"value: {value!r}"

    def decode(self, text):
        return ast.literal_eval(text.removeprefix("value: "))


@pytest.mark.parametrize(
    "where, options",
    [
        (":memory:", {"workers": 2}),
        (":memory:", {"executor": InlineExecutor()}),
        ("tasks.db", {"workers": 1, "codec": Literals()}),
        ("tasks.db", {"workers": 1, "durability": "full"}),
    ],
    ids=["memory", "memory, inline", "codec", "full"],
)
def test_long_bodies_run_in_every_engine(tmp_path, where, options):
    path = where if where == ":memory:" else tmp_path / where
    with contextlib.closing(Engine(path, **options)) as engine:
        child, stumble = engine.task(lambda x: x * 2, name="child"), failing()

        def body():
            run = taskcore.current()
            kept = run.step("s", lambda: (1, {2: b"x"}))
            run.save(saved=kept)
            got = run.gather(child, range(5))
            run.sleep(0.001)
            for n in run.track([1, 2, 3]):
                got.append(run.step("t", lambda n=n: n) + child.submit(n).result())
            with contextlib.suppress(TimeoutError):
                run.wait_for("never", timeout=0.001)
            heard = run.wait_for("x")
            stumble()
            return {"heard": heard, "sql": run.transact("t", lambda db: db.execute("SELECT 3").fetchone())}

        future = task(engine, body).submit()
        future.signal("x", {"k": (1,)})
        assert future.result(PATIENCE) == {"saved": (1, {2: b"x"}), "heard": {"k": (1,)}, "sql": (3,)}
        assert engine.tasks.counts() == {"succeeded": 9}
        assert [step.name for step in future.steps()] == ["s", "t"]


# -- processes -----------------------------------------------------------------------------------------------------


def sleeps_long(path):
    """Suspends itself until it is told, and says so."""
    engine = Engine(path, workers=1)

    @engine.task(key="only")
    def body():
        run = taskcore.current()
        before = run.step("before", os.getpid)  # noqa: F821 - in the child
        say("before", before)
        if run.wait_for("x") == "die":
            os.kill(os.getpid(), signal.SIGKILL)  # noqa: F821
        return before, run.step("after", os.getpid)  # noqa: F821

    future = body.submit()
    say("result", json.dumps(future.result()))


def test_a_suspended_task_outlives_its_process(path, processes):
    """Killed asleep, it has lost nothing, not even an attempt; killed awake, it lapses and goes on."""
    first = processes(sleeps_long, path)
    line = first.line()
    until(lambda: rows(path, "SELECT phase FROM taskcore_task") == [("suspended",)], "asleep")
    first.kill()
    with contextlib.closing(Engine(path, workers=0)) as engine:
        (row,) = engine.tasks
        assert (row.phase, row.attempts, row.lapses) == ("suspended", 0, 0)
        engine.future(row.id).signal("x", "die")
        second = processes(sleeps_long, path)
        assert second.line() == line
        assert second.line() == "" and second.process.wait(PATIENCE) < 0
        third = processes(sleeps_long, path)
        assert third.line() == line
        assert third.line() == "" and third.process.wait(PATIENCE) < 0  # it had taken that signal
        assert engine.future(row.id).snapshot().lapses == 1


@pytest.mark.parametrize("changed", [False, True])
def test_a_body_that_another_process_began_is_matched_by_its_kept_steps(path, clock, processes, changed):
    first = processes(sleeps_long, path)
    line = first.line()
    until(lambda: rows(path, "SELECT phase FROM taskcore_task") == [("suspended",)], "asleep")
    first.kill()
    with contextlib.closing(Engine(path, workers=1)) as engine:

        @engine.task(key="only")
        def body():
            run = taskcore.current()
            return run.step("prepare" if changed else "before", int), run.wait_for("x")

        future = body.submit()
        future.signal("x", 1)
        if changed:
            with pytest.raises(StepMismatch, match="came to step 'prepare' where its kept steps have step 'before'"):
                future.result(PATIENCE)
        else:
            assert future.result(PATIENCE) == (int(line.split()[1]), 1)


def test_the_default_backoff_is_not_spent_on_suspensions(inline, clock):
    def body():
        for _ in range(20):
            taskcore.current().sleep(1)
        return clock.now()

    assert task(inline, body, backoff=constant(1000), max_attempts=2).submit().result() == 1020


# -- a signal that somebody sleeps for -----------------------------------------------------------------------------


def test_a_signal_to_a_body_that_sleeps_for_it_is_the_result_of_that_call_at_once(inline, raw):
    @inline.task
    def body():
        return [taskcore.current().wait_for(name) for name in ("go", "go", "other")]

    future = body.submit()
    inline.run(progress=False)
    assert future.signal("go", 1) and future.signal("go", 2) and future.signal("other", 3)
    assert [row["name"] for row in raw("SELECT name FROM taskcore_signal ORDER BY id")] == ["go", "other"]
    (step,) = raw("SELECT state, result FROM taskcore_step")
    assert (step["state"], step["result"]) == ("kept", "1")
    inline.run(progress=False)
    assert future.result() == [1, 2, 3]
    assert raw("SELECT * FROM taskcore_signal") == [] and inline.check() == []


def test_signals_of_a_transaction_come_as_they_would_one_by_one(inline, raw):
    @inline.task
    def body(*names):
        return [taskcore.current().wait_for(name) for name in names]

    first, second, other = body.submit("go", "go", "other"), body.submit("go"), body.submit("elsewhere")
    ended = inline.task(lambda: 1, name="ended").submit()
    inline.run(progress=False)
    with inline.transaction():
        assert first.signal("go", 1) and first.signal("go", 2) and second.signal("go", 3) and other.signal("go", 4)
        assert first.signal("other", 5)
        assert not ended.signal("go", 6)
        late = body.submit("go")
        assert late.signal("go", 7)
        other.signal("elsewhere", 8)
    assert [(row["task"], row["name"], row["payload"]) for row in raw("SELECT * FROM taskcore_signal ORDER BY id")] == [
        (first.id, "go", "2"), (other.id, "go", "4"), (first.id, "other", "5"), (late.id, "go", "7"),
    ]  # fmt: skip
    assert inline.check() == []
    inline.run(progress=False)
    assert [future.result() for future in (first, second, other, late)] == [[1, 2, 5], [3], [8], [7]]


def test_what_a_transaction_does_after_a_signal_finds_it_sent(inline):
    waits = inline.task(lambda: taskcore.current().wait_for("go"), name="waits")
    futures = [waits.submit() for _ in range(4)]
    inline.run(progress=False)
    read, cancelled, paused, sent = futures
    with inline.transaction() as db:
        for number, future in enumerate(futures):
            future.signal("go", number)
        assert read.snapshot().phase == "ready"
        assert cancelled.cancel()
        assert not cancelled.signal("go", 9)
        paused.pause()
        paused.signal("go", 10)
        assert db.execute("SELECT payload FROM taskcore_signal").fetchall() == [("10",)]
    assert inline.run(progress=False) == {"succeeded": 2, "cancelled": 1, "paused": 1}
    paused.resume()
    assert [future.result() for future in (read, paused, sent)] == [0, 2, 3]


def test_signals_of_a_transaction_that_is_rolled_back_were_never_sent(inline, raw):
    future = inline.task(lambda: taskcore.current().wait_for("go"), name="waits").submit()
    inline.run(progress=False)
    with pytest.raises(ZeroDivisionError), inline.transaction() as db:
        future.signal("go", 1)
        db.execute("SELECT 1")
        future.signal("go", 2)
        raise ZeroDivisionError
    assert inline.run(progress=False) == {"suspended": 1}
    future.signal("go", 3)
    assert future.result() == 3 and raw("SELECT * FROM taskcore_signal") == []


@pytest.mark.parametrize("together", [False, True])
def test_a_signal_whose_call_is_lost_in_a_damaged_file_is_kept_for_the_next(inline, raw, together):
    future = inline.task(lambda: [taskcore.current().wait_for("go") for _ in range(2)], name="waits").submit()
    inline.run(progress=False)
    with inline.transaction() as db:
        db.execute("DELETE FROM taskcore_step")
    with inline.transaction() if together else contextlib.nullcontext():
        future.signal("go", 1)
        future.signal("go", 2)
    assert future.result() == [1, 2]


def test_a_body_that_was_changed_while_it_slept_may_wait_for_something_else(inline):
    inline.task(lambda: taskcore.current().wait_for("go"), name="body")
    future = inline.submit("body")
    inline.run(progress=False)
    inline.task(lambda: taskcore.current().wait_for("approved"), name="body")
    future.signal("approved", "Ada")  # nobody sleeps for it yet
    future.signal("go", None)
    inline.run(progress=False)
    assert future.snapshot().last_error is not None and "go" in future.snapshot().last_error  # it had its signal
    second = inline.submit("body")
    inline.run(progress=False)
    inline.task(lambda: taskcore.current().step("instead", lambda: 5), name="body")
    second.cancel()
    second = second.rerun()  # it never had one: what it waits for now is its own affair
    inline.run(progress=False)
    assert second.result() == 5


def test_a_cancelled_sleeper_that_is_run_again_waits_for_its_signal_again(inline):
    inline.task(lambda: taskcore.current().wait_for("go"), name="body")
    future = inline.submit("body")
    inline.run(progress=False)
    future.cancel()
    again = future.rerun()
    assert inline.run(progress=False) == {"suspended": 1}
    again.signal("go", 7)
    inline.run(progress=False)
    assert again.result() == 7


@pytest.mark.parametrize("second", ["go", "stop"])
def test_a_body_that_left_one_wait_by_an_error_and_slept_in_another_is_given_its_signal_once(inline, raw, second):
    works, stumble = iter([True, False, True, True]), failing()

    def ask():
        if not next(works):
            raise OSError("the line is down")
        return taskcore.current().wait_for("go")

    def body():
        run = taskcore.current()
        with contextlib.suppress(OSError):
            return run.step("ask", ask)
        taken = run.wait_for(second)
        stumble()
        return taken

    future = task(inline, body).submit()
    inline.run(progress=False)
    future.cancel()
    again = future.rerun()
    assert inline.run(progress=False) == {"suspended": 1}
    again.signal(second, 1)
    assert inline.run(progress=False) == {"suspended": 1}  # it asks once more: that signal was for the other wait
    again.signal("go", 2)
    inline.run(progress=False)
    assert again.result() == 2
