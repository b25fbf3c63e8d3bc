"""`serial`: tasks with the same value, of whatever name, run one at a time in order of submission."""

import random

import pytest

import taskcore


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
    return engine._read(
        lambda connection: connection.execute("SELECT serial FROM taskcore_task WHERE id = ?", (task_id,)).fetchall()
    )
