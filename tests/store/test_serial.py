"""`serial`: tasks with the same value, of whatever name, run one at a time in order of submission."""

import contextlib
import random
import threading

import pytest

import taskcore
from taskcore import DependencyCycle, Engine
from taskcore.testing import ManualClock


def submit(engine, n, serial="upload-7", **options):
    return [engine.task(f"f{i}").options(serial=serial, **options).submit(i) for i in range(n)]


def phases(futures):
    return [future.snapshot().phase for future in futures]


def ready(engine):
    return [task.id for task in engine.tasks.where(phase="ready")]


def finish(engine, how="succeed"):
    """Claim all there is, which is one, and report. → its argument."""
    (claim,) = engine.claim(n=9)
    claim.fail("broke", retry=False) if how == "fail" else claim.succeed()
    return claim.task.args[0]


def test_twenty_calls_on_one_object_run_strictly_one_after_the_other_in_order(engine):
    futures = submit(engine, 20)
    assert phases(futures) == ["ready"] + ["waiting"] * 19
    assert {future.snapshot().waiting_for for future in futures[1:]} == {"serial"}
    assert [finish(engine) for _ in range(20)] == list(range(20))
    assert set(phases(futures)) == {"succeeded"}


def test_another_value_and_none_have_queues_of_their_own(engine):
    submit(engine, 3, "a")
    submit(engine, 3, "b")
    submit(engine, 2, None)
    assert len(ready(engine)) == 1 + 1 + 2


def test_when_one_fails_those_behind_it_are_skipped_and_say_why(engine):
    futures = submit(engine, 4)
    finish(engine)
    finish(engine, "fail")
    assert phases(futures) == ["succeeded", "failed", "skipped", "skipped"]
    assert futures[3].snapshot().last_error == f"#{futures[1].id} is failed (broke)"
    with pytest.raises(taskcore.TaskSkipped):
        futures[2].result()
    assert phases(submit(engine, 1)) == ["ready"], "the queue begins anew"


def test_or_they_go_on_if_it_said_so(engine):
    futures = submit(engine, 4, serial_failure="continue")
    assert [finish(engine), finish(engine, "fail"), finish(engine), finish(engine)] == [0, 1, 2, 3]
    assert phases(futures) == ["succeeded", "failed", "succeeded", "succeeded"]


def test_a_failure_that_is_tried_again_keeps_its_place(engine, clock):
    futures = submit(engine, 2, max_attempts=2, backoff=taskcore.constant(60))
    (claim,) = engine.claim(n=9)
    claim.fail("broke")
    assert engine.claim(n=9) == []
    clock.advance(60)
    assert [finish(engine), finish(engine)] == [0, 1]
    assert phases(futures) == ["succeeded"] * 2


@pytest.mark.parametrize("hold", ["pause", "delay", "snooze", "dependency", "lapse"])
def test_whatever_holds_one_holds_those_behind_it(engine, clock, hold):
    task = engine.task("f")
    other = engine.submit("other") if hold == "dependency" else None
    options = {"delay": 100} if hold == "delay" else {"after": other} if other else {}
    first = task.options(serial="x", **options).submit(0)
    second = task.options(serial="x").submit(1)
    if hold == "pause":
        first.pause()
    elif hold in ("snooze", "lapse"):
        (claim,) = engine.claim("f")
        claim.snooze(100) if hold == "snooze" else clock.advance(31)
    if hold != "lapse":
        assert engine.claim("f") == []
    assert second.snapshot().phase == "waiting"
    if hold == "pause":
        first.resume()
    elif hold == "dependency":
        engine.claim("other")[0].succeed()
    elif hold != "lapse":
        clock.advance(100)
    for future in (first, second):
        (claim,) = engine.claim("f")
        assert claim.task.id == future.id
        claim.succeed()


def test_the_middle_one_may_be_cancelled_and_the_first_too(engine):
    futures = submit(engine, 4)
    assert futures[1].cancel() and futures[0].cancel()
    assert phases(futures) == ["cancelled", "cancelled", "ready", "waiting"]
    assert [finish(engine), finish(engine)] == [2, 3]


def test_a_cancelled_one_that_runs_still_holds_the_others_until_it_obeys(inline):
    seen = []

    def body(n):
        if n == 0:
            assert not futures[0].cancel()
            assert futures[1].snapshot().phase == "waiting"
            taskcore.current().check()
        seen.append(n)

    futures = []
    task = inline.task(body, name="f").options(serial="x")
    futures += [task.submit(n) for n in range(2)]
    inline.run()
    assert phases(futures) == ["cancelled", "succeeded"] and seen == [1]


def test_a_rerun_one_goes_to_the_end(engine):
    futures = submit(engine, 3)
    finish(engine)
    again = futures[0].rerun()
    assert [finish(engine) for _ in range(3)] == [1, 2, 0]
    assert again.snapshot().phase == "succeeded"
    late = engine.task("late").options(serial="upload-7")
    futures[0].rerun(), late.submit(7)
    assert [finish(engine), finish(engine)] == [0, 7], "and stands before what comes after"


def test_those_that_were_skipped_come_back_in_their_order(engine):
    futures = submit(engine, 4)
    finish(engine, "fail")
    assert engine.tasks.where(ids=futures).rerun() == 4
    assert phases(futures) == ["ready", "waiting", "waiting", "waiting"]
    assert [finish(engine) for _ in range(4)] == [0, 1, 2, 3]


def test_a_suspended_one_still_holds_its_place(inline, clock):
    seen = []

    def body(n):
        seen.append(("begins", n))
        taskcore.current().sleep(50)
        seen.append(("ends", n))

    task = inline.task(body, name="f").options(serial="x")
    futures = [task.submit(n) for n in range(2)]
    inline.run()
    assert phases(futures) == ["suspended", "waiting"]
    clock.advance(50)
    inline.run()
    clock.advance(50)
    inline.run()
    assert phases(futures) == ["succeeded"] * 2
    assert [n for what, n in seen if what == "ends"] == [0, 1]
    assert seen.index(("ends", 0)) < seen.index(("begins", 1))


def test_a_job_stands_in_the_queue_as_a_whole(engine):
    with engine.job("first", serial="x") as first:
        for n in range(2):
            engine.submit("child", n)
    with engine.job("second", serial="x") as second:
        engine.submit("child", 9)
    assert (first.snapshot().phase, second.snapshot().phase) == ("suspended", "waiting")
    claims = engine.claim(n=9)
    assert [claim.task.args for claim in claims] == [(0,), (1,)]
    for claim in claims:
        claim.succeed()
    assert (first.snapshot().phase, second.snapshot().phase) == ("succeeded", "suspended")
    assert finish(engine) == 9


def test_a_queue_goes_on_in_another_process(path, engine, clock):
    submit(engine, 3)
    finish(engine)
    again = taskcore.Engine(path, workers=0, clock=clock)
    assert finish(again) == 1
    again.task("f3").options(serial="upload-7").submit(3)
    assert [finish(engine), finish(again)] == [2, 3]
    again.close()


def test_priority_does_not_overtake_in_a_queue(engine):
    submit(engine, 2)
    engine.task("f2").options(serial="upload-7", priority=1000).submit(2)
    assert [finish(engine) for _ in range(3)] == [0, 1, 2]


def test_submitting_again_with_a_key_gives_the_one_that_stands_there(engine, raw):
    task = engine.task("f").options(serial="x", key="k")
    assert task.submit(0).id == task.submit(0).id
    assert len(raw("SELECT * FROM taskcore_queue")) == 1


def test_what_was_rolled_back_stands_in_no_queue(engine):
    with contextlib.suppress(ZeroDivisionError), engine.transaction():
        submit(engine, 3)
        raise ZeroDivisionError
    assert phases(submit(engine, 2)) == ["ready", "waiting"]


def test_thousands_of_one_value_come_in_one_transaction_and_go_in_order(engine):
    task = engine.task("f").options(serial="x")
    with engine.transaction():
        for n in range(3000):
            task.submit(n)
    assert engine.tasks.counts() == {"ready": 1, "waiting": 2999}
    assert [finish(engine) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert engine.tasks.where(phase="waiting").cancel() == 2994
    assert finish(engine) == 5


def test_threads_never_run_two_of_one_value_at_a_time_and_run_them_in_order(path):
    at_once, ran = threading.Semaphore(1), []

    def body(n):
        assert at_once.acquire(blocking=False), "two at a time"
        ran.append(n)
        at_once.release()

    with contextlib.closing(Engine(path, workers=4)) as engine:
        task = engine.task(body, name="f").options(serial="x")
        futures = [task.submit(n) for n in range(100)]
        assert [future.result(timeout=60) for future in futures] == [None] * 100
    assert ran == list(range(100))


# -- what a failure does to those behind it ------------------------------------------------------------------------


def test_all_behind_a_failed_one_are_skipped_whatever_they_wait_for(engine):
    first, paused, delayed, waiting = submit(engine, 4)
    other = engine.submit("other")
    with engine.job("job", serial="upload-7") as job:
        child = engine.submit("child", 4)
    below = engine.task("below").options(after=paused).submit()
    paused.pause()
    waiting.depends_on(other)
    far = engine.task("far").options(serial="upload-7", delay=1000).submit()
    engine.claim("f0")[0].fail("broke", retry=False)
    assert phases([first, paused, delayed, waiting, job, child, far, below]) == ["failed"] + ["skipped"] * 7
    assert below.snapshot().last_error == f"#{paused.id} is skipped, not succeeded"


@pytest.mark.parametrize("how", ["label", "lost"])
def test_whatever_makes_one_fail_clears_the_queue(engine, clock, how):
    task = engine.task("f", max_lapses=0).options(serial="x")
    first, second = task.submit(), task.submit()
    (claim,) = engine.claim("f")
    if how == "label":
        claim.succeed(status="bad")
    else:
        clock.advance(1000)
        engine.claim("nobody")
    assert phases([first, second]) == ["failed", "skipped"]


def test_one_that_was_cancelled_or_skipped_clears_nothing(engine):
    gone = engine.submit("gone")
    task = engine.task("f").options(serial="x")
    skipped, cancelled, last = task.options(after=gone).submit(), task.submit(), task.submit()
    gone.cancel()
    assert phases([skipped, cancelled, last]) == ["skipped", "ready", "waiting"]
    cancelled.cancel()
    assert phases([last]) == ["ready"]


def test_the_one_that_fails_says_what_becomes_of_those_behind_it(engine):
    goes_on = engine.task("on", serial_failure="continue").options(serial="x")
    clears = engine.task("clear").options(serial="x")
    futures = [goes_on.submit(0), clears.submit(1), goes_on.submit(2)]
    finish(engine, "fail")
    assert phases(futures) == ["failed", "ready", "waiting"]
    finish(engine, "fail")
    assert phases(futures) == ["failed", "failed", "skipped"]


@pytest.mark.parametrize("failure, then", [("clear", "skipped"), ("continue", "suspended")])
def test_a_job_that_fails_does_so_to_the_jobs_behind_it(engine, failure, then):
    with engine.job("first", serial="x", serial_failure=failure) as first:
        engine.submit("child", 0)
    with engine.job("second", serial="x") as second:
        child = engine.submit("child", 1)
    finish(engine, "fail")
    assert phases([first, second, child]) == ["failed", then, "skipped" if then == "skipped" else "ready"]


def test_failures_that_a_job_ignores_clear_nothing(engine):
    with engine.job("first", serial="x", failures="ignore"):
        engine.submit("child", 0)
    with engine.job("second", serial="x") as second:
        engine.submit("child", 1)
    finish(engine, "fail")
    assert phases([second]) == ["suspended"]


# -- jobs ----------------------------------------------------------------------------------------------------------


def test_a_job_that_waits_or_is_paused_or_delayed_holds_those_behind_it(engine, clock):
    other = engine.submit("other")
    with engine.job("job", serial="x", after=other, delay=50) as job:
        engine.submit("child", 0)
    behind = engine.task("behind").options(serial="x").submit(1)
    engine.claim("other")[0].succeed()
    assert phases([job, behind]) == ["scheduled", "waiting"]
    job.pause()
    clock.advance(50)
    assert engine.claim() == []
    job.resume()
    assert [finish(engine), finish(engine)] == [0, 1]


def test_a_job_that_is_opened_again_goes_to_the_end(engine):
    with engine.job("job", serial="x") as job:
        engine.submit("child", 0)
    submit(engine, 2, "x")
    assert finish(engine) == 0
    child = engine.task("child").options(parent=job).submit(9)
    assert phases([job, child]) == ["waiting", "waiting"]
    assert [finish(engine) for _ in range(3)] == [0, 1, 9]
    assert phases([job]) == ["succeeded"]


def test_children_of_a_job_may_stand_in_a_queue_with_others(engine):
    submit(engine, 1, "telescope")
    with engine.job("night") as job:
        for n in range(1, 4):
            engine.task("expose").options(serial="telescope").submit(n)
    engine.task("park").options(serial="telescope", after=job).submit(4)
    assert [finish(engine) for _ in range(5)] == [0, 1, 2, 3, 4]


def test_a_child_of_its_jobs_own_value_is_refused_since_each_would_wait_for_the_others_end(engine):
    with engine.job("job", serial="x") as job, engine.job("inner") as inner:
        engine.submit("a")
        with pytest.raises(DependencyCycle) as refused:
            engine.task("b").options(serial="x").submit()
        assert refused.value.path == [job.id, inner.id, job.id]
        with pytest.raises(DependencyCycle), engine.job("c", serial="x"):
            pass
        engine.task("d").options(serial="y").submit()
    assert engine.tasks.counts() == {"suspended": 2, "ready": 2}


# -- who waits for a task does not stand before it in its queue -----------------------------------------------------


def test_a_rerun_one_comes_before_those_that_depend_on_it(engine):
    task = engine.task("f").options(serial="x")
    first = task.submit(0)
    other = task.submit(1)
    second = task.options(after=first).submit(2)
    third = task.options(after=second).submit(3)
    assert finish(engine) == 0
    first.rerun()
    assert phases([first, other, second, third]) == ["waiting", "ready", "waiting", "waiting"]
    assert [finish(engine) for _ in range(4)] == [1, 0, 2, 3]


def test_a_rerun_one_whose_dependant_runs_comes_behind_it(engine):
    task = engine.task("f").options(serial="x")
    first = task.submit(0)
    second = task.options(after=first).submit(1)
    finish(engine)
    (claim,) = engine.claim("f")
    first.rerun()
    assert phases([first, second]) == ["waiting", "running"]
    claim.succeed()
    assert phases([first, second]) == ["ready", "succeeded"]


def test_a_new_dependency_on_one_that_stands_behind_lets_it_pass(engine):
    first, _, third = submit(engine, 3)
    first.depends_on(third)
    assert [finish(engine) for _ in range(3)] == [1, 2, 0]


def test_what_is_submitted_to_come_before_another_of_its_queue_does(engine):
    first, _ = submit(engine, 2)
    engine.task("urgent").options(serial="upload-7", before=first).submit(9)
    assert [finish(engine) for _ in range(3)] == [1, 9, 0]


def test_an_exposure_that_is_added_to_a_night_comes_before_what_waits_for_the_night(engine):
    expose = engine.task("expose").options(serial="telescope")
    with engine.job("night", key="12") as night:
        expose.submit(0)
    park = engine.task("park").options(serial="telescope", after=night).submit(9)
    report = engine.task("report").options(after=park).submit(10)
    with engine.job("night", key="12"):
        expose.submit(1)
        expose.submit(2)
    assert [finish(engine) for _ in range(3)] == [0, 1, 2]
    assert phases([night, park, report]) == ["succeeded", "ready", "waiting"]
    expose.options(parent=night).submit(3)
    assert phases([night, park]) == ["suspended", "waiting"]
    assert [finish(engine) for _ in range(3)] == [3, 9, 10]


def test_a_rerun_of_all_keeps_the_order_that_the_dependencies_ask_for(engine):
    first, _, third = submit(engine, 3)
    first.depends_on(third)
    assert [finish(engine) for _ in range(3)] == [1, 2, 0]
    assert engine.tasks.rerun() == 3
    assert [finish(engine) for _ in range(3)] == [1, 2, 0]


# -- what it costs -------------------------------------------------------------------------------------------------


def cost(size):
    """Instructions of SQLite's machine that the end of the first of so many takes."""
    with contextlib.closing(Engine(":memory:", workers=0, clock=ManualClock(1000.0))) as engine:
        task, count = engine.task("f").options(serial="x"), [0]
        with engine.transaction():
            for n in range(size):
                task.submit(n)
        (claim,) = engine.claim()
        connection = engine._file._connection
        connection.set_progress_handler(lambda: count.append(0), 1)
        claim.succeed()
        connection.set_progress_handler(None, 1)
        return len(count)


def test_the_end_of_the_first_costs_the_same_in_a_queue_of_ten_and_of_ten_thousand():
    assert abs(cost(10_000) - cost(10)) <= cost(10) / 50


# -- anything ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("option", "value"), [("serial", ""), ("serial", 7), ("serial_failure", "stop")])
def test_a_bad_value_is_refused_by_name(engine, option, value):
    with pytest.raises((TypeError, ValueError), match=option):
        engine.task("f", **{option: value})


@pytest.mark.parametrize("seed", range(8))
def test_two_of_one_value_never_run_at_a_time_whatever_is_done_to_them(engine, clock, seed):
    choose, futures, held = random.Random(seed), [], []
    for step in range(60):
        match choose.randrange(8):
            case 0 | 1:
                task = engine.task(choose.choice("fg")).options(
                    serial=choose.choice("xy"), serial_failure=choose.choice(["clear", "continue"]),
                    delay=choose.choice([0, 0, 5]),
                )  # fmt: skip
                futures.append(task.submit())
            case 2 | 3:
                held += engine.claim(n=choose.randrange(1, 4), lease=9e9)
            case 4 if held:
                held.pop(0).succeed()
            case 5 if held:
                held.pop().fail("broke", retry=False)
            case 6 if futures:
                getattr(choose.choice(futures), choose.choice(["cancel", "pause", "resume"]))()
            case 7 if futures:
                engine.tasks.where(id=choose.choice(futures)).rerun()
            case _:
                clock.advance(1)
        busy = [engine.tasks.where(phase=["running", "ready"], ids=futures)]
        values = [serial for task in busy[0] for (serial,) in value_of(engine, task.id)]
        assert len(values) == len(set(values)), f"seed {seed}, step {step}: {values}"
    engine.tasks.resume()
    clock.advance(100)
    for _ in range(80):
        for claim in held:
            claim.succeed()
        held = engine.claim(n=9)
    assert engine.tasks.where(phase=["waiting", "ready", "running", "scheduled"]).counts() == {}, f"seed {seed}"


def value_of(engine, task_id):
    return engine._context.read(
        lambda connection: connection.execute("SELECT serial FROM taskcore_task WHERE id = ?", (task_id,)).fetchall()
    )


@pytest.mark.parametrize("back", ["release", "snooze", "fail"])
def test_what_comes_back_goes_behind_what_it_depends_on_and_that_was_rerun_meanwhile(engine, clock, back):
    """Else each of the two would wait for the other for ever."""
    first = engine.submit("first")
    second = engine.task("second").options(serial="y", after=first).submit()
    first.cancel()
    third = engine.task("third", max_attempts=3).options(serial="y", after={second: ("succeeded", "drop")}).submit()
    (claim,) = engine.claim("third")
    engine.tasks.where(id=first).rerun(downstream=True)
    {"release": claim.release, "snooze": lambda: claim.snooze(5), "fail": lambda: claim.fail("later")}[back]()
    clock.advance(4000)
    for name in ("first", "second", "third"):
        (claim,) = engine.claim("first", "second", "third")
        assert claim.task.name == name
        claim.succeed()
    assert third.snapshot().phase == "succeeded" and engine.check() == []
