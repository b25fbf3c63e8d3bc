"""`TaskFuture.explain()`: why a task is where it is, in a sentence or two."""

import collections
import dataclasses
import random
import re

import pytest

import taskcore
from taskcore import Cancelled, Done, Engine, Snooze, TaskNotFound, constant
from taskcore.api import explain
from taskcore.store import diagnosis, overview
from taskcore.testing import InlineExecutor, ManualClock
from tests.support.families import Walk


def claim(engine, *names, **options):
    """The one claim that there is of these names, for long."""
    (claim,) = engine.claim(*names, **{"lease": 10_000.0, "worker": "robot", **options})
    return claim


def fail(engine, task, error="ValueError: boom"):
    claimed = claim(engine, task.snapshot().name)
    assert claimed.task.id == task.id
    claimed.fail(error, retry=False)


# -- waiting -------------------------------------------------------------------------------------------------------


def test_a_task_that_waits_for_others_says_for_which_and_what_they_do(engine, clock):
    a, b = engine.submit("a"), engine.task("b").options(max_attempts=2, backoff=constant(40)).submit()
    c, d = engine.submit("c"), engine.submit("d")
    task = engine.task("t").options(after=[a, b, c, d]).submit()
    claim(engine, "c").succeed(), claim(engine, "a")
    clock.advance(180)
    claim(engine, "b").fail("broke")
    assert task.explain() == (
        "waiting for 3 of 4: #1 is running for 3 min, #2 failed and runs again in 40 s, #4 is ready"
    )
    claim(engine, "d").succeed()
    assert task.explain() == "waiting for 2 of 4: #1 is running for 3 min, #2 failed and runs again in 40 s"


def test_of_many_upstreams_a_few_are_named(engine):
    upstreams = [engine.submit("a", n) for n in range(5)]
    task = engine.task("t").options(after=upstreams).submit()
    assert task.explain() == "waiting for 5 of 5: #1 is ready, #2 is ready and 3 more"


def test_unmet_upstreams_behind_a_thousand_met_ones_are_found(engine):
    with engine.transaction():
        upstreams = [engine.submit("a") for _ in range(1500)]
        last = engine.submit("last")
        task = engine.task("t").options(after=[*upstreams, last]).submit()
    assert task.explain() == "waiting for 1501 tasks: #1 is ready, #2 is ready and many more"
    for one in engine.claim("a", n=2000):
        one.succeed()
    assert task.explain() == "waiting for 1 of more than 1000: #1501 is ready"


@pytest.mark.parametrize(
    "bring, said",
    [
        (lambda e, t: e.future(e.submit("z").id), "is waiting itself"),
        (lambda e, t: t.pause(), "is paused"),
        (lambda e, t: claim(e, "a").snooze(90), "snoozed itself and runs again in 90 s"),
    ],
)
def test_an_upstream_is_told_by_what_it_does(engine, bring, said):
    before = engine.submit("z")
    a = engine.task("a").options(after=before if "waiting" in said else ()).submit()
    task = engine.task("t").options(after=a).submit()
    bring(engine, a)
    assert task.explain() == f"waiting for 1 of 1: #2 {said}"


def test_what_an_edge_asks_for_is_said_where_it_is_not_success(engine):
    a = engine.submit("a")
    guarded = engine.task("t").options(after={a: "pending"}).submit()
    other = engine.task("t").options(after={a: ("bad", "wait")}).submit()
    claimed = claim(engine, "a")
    assert guarded.explain() == "waiting for 1 of 1: #1 is running for 0 s (wanted: 'pending')"
    claimed.succeed(status="good")
    assert other.explain() == (
        "waiting for 1 of 1: #1 ended as 'good' (wanted: 'bad'), and only another run can change that"
    )


def test_a_task_behind_another_of_its_queue_says_so(engine, clock):
    upload = engine.task("f").options(serial="upload-7")
    tasks = [upload.submit(n) for n in range(3)]
    assert tasks[1].explain() == "waiting behind #1, which is first in 'upload-7' and is ready"
    claim(engine, "f")
    clock.advance(60)
    assert tasks[2].explain() == (
        "waiting behind #1, which is first in 'upload-7' and is running for 60 s, with 1 more between them"
    )


def test_a_child_of_a_job_that_waits_says_what_that_waits_for(engine):
    a = engine.submit("a")
    with engine.job("night 12", after=a):
        child = engine.submit("c")
        with engine.job("inner") as inner:
            grandchild = engine.submit("g")
    assert child.explain() == (
        "waiting for its job #2 'night 12' to begin, which waits for 1 of 1: #1 is ready"
    )
    assert grandchild.explain() == (
        f"waiting for its job #{inner.id} 'inner' to begin, which waits for the job #2 'night 12', "
        "which waits for 1 of 1: #1 is ready"
    )


def test_a_child_of_a_job_that_is_delayed_says_until_when(engine):
    with engine.job("night", delay=7200):
        child = engine.submit("c")
    assert child.explain() == "waiting for its job #1 'night' to begin, which begins in 2 h"


def test_all_that_a_task_waits_for_is_told_together(engine):
    a = engine.submit("a")
    with engine.job("night", after=a):
        engine.task("c").options(serial="x").submit()
        child = engine.task("c").options(serial="x", after=a, delay=400).submit()
    assert child.explain() == (
        "waiting for 1 of 1: #1 is ready, and behind #3, which is first in 'x' and is waiting itself, and for its job "
        "#2 'night' to begin, which waits for 1 of 1: #1 is ready; and not before 7 min have passed"
    )


# -- scheduled, paused ---------------------------------------------------------------------------------------------


def test_a_task_that_was_delayed_says_when_it_begins(engine, clock):
    task = engine.task("f").options(delay=5 * 86400).submit()
    assert task.explain() == "begins in 5 days, as was asked for at its submission"
    clock.advance(5 * 86400)
    assert task.explain() == "begins now, as was asked for at its submission"


def test_a_task_that_is_tried_again_says_when_and_why(engine, clock):
    task = engine.task("f").options(max_attempts=3, backoff=constant(40)).submit()
    claim(engine, "f").fail(ValueError("boom"))
    assert task.explain() == "runs again in 40 s, since it failed (1 of 3): ValueError: boom"
    clock.advance(40)
    claim(engine, "f").snooze(600)
    assert task.explain() == (
        "runs again in 10 min, since it snoozed itself; it failed once before: ValueError: boom"
    )


def test_a_paused_task_says_by_whom_and_what_comes_then(engine):
    task = engine.submit("f")
    task.pause()
    assert task.explain() == "paused until somebody resumes it"
    with engine.job("night") as job:
        child = engine.task("c").options(after=task).submit()
    job.pause()
    assert child.explain() == (
        "paused with its job #2 'night', until that is resumed; then waiting for 1 of 1: #1 is paused"
    )
    assert job.explain() == "paused until somebody resumes it; 0 of 1 child ended"
    later = engine.task("f").options(delay=300).submit()
    later.pause()
    assert later.explain() == "paused until somebody resumes it; not before 5 min have passed"


# -- ready ---------------------------------------------------------------------------------------------------------


def test_a_ready_task_of_a_file_that_nobody_works_on_says_so(engine):
    assert engine.submit("f").explain() == "ready, but no engine works on this file now"


def test_a_name_that_nobody_here_has_registered_is_a_reason(path, inline):
    inline.task(len, name="fit")
    inline.run()
    inline.start()
    with Engine(path, workers=0, clock=inline._clock) as other:
        task = inline.future(other.submit("elsewhere").id)
        assert task.explain() == "ready, but nobody here has registered 'elsewhere'"
        assert other.future(task.id).explain() == "ready: it is next"  # an engine works on the file, who knows on what


def test_an_engine_that_is_not_started_is_a_reason(path, clock):
    with Engine(path, workers=0, clock=clock) as first:
        task = first.submit("fit")
    inline = Engine(path, executor=InlineExecutor(), clock=clock)
    inline.task(len, name="fit")
    assert inline.future(task.id).explain() == "ready, but this engine is not started"
    inline.close()


def test_a_task_that_is_run_elsewhere_waits_for_whoever_claims_it(engine):
    heat = engine.task("heat")
    tasks = [heat.submit() for _ in range(3)]
    first = heat.options(priority=1).submit()
    assert first.explain() == "ready: it is next, for whoever claims 'heat'"
    assert tasks[0].explain() == "ready: 1 task stands before it, for whoever claims 'heat'"
    assert tasks[2].explain() == "ready: 3 tasks stand before it, for whoever claims 'heat'"


def test_of_very_many_that_stand_before_it_no_more_than_a_thousand_are_counted(engine):
    heat = engine.task("heat")
    with engine.transaction():
        for _ in range(3000):
            task = heat.submit()
    assert task.explain() == "ready: more than 1000 tasks stand before it, for whoever claims 'heat'"


def test_a_capacity_that_others_hold_is_a_reason(path, clock):
    with Engine(path, workers=0, clock=clock, limits={"gpu": 1, "arm": 4}) as engine:
        one, two = engine.task("f", uses={"gpu": 1}), engine.task("g", uses={"arm": 3})
        one.submit(), two.submit()
        task, other = one.submit(), two.submit()
        engine.claim(n=9, lease=9e9)
        assert task.explain() == "ready, but 'gpu' is held by #1 (1 of 1)"
        assert other.explain() == "ready, but it needs 3 of 'arm', which is held by #2 (3 of 4)"
        engine.limits["arm"] = 2
        assert other.explain() == "ready, but it needs 3 of 'arm', and there are 2"
        engine.limits["gpu"] = 0
        assert task.explain() == "ready, but there is 0 of 'gpu'"
        del engine.limits["gpu"]
        assert task.explain() == "ready, but nobody names the capacity 'gpu' now"


def test_a_name_at_its_limit_says_who_runs(engine):
    task = engine.task("f", limit=5)
    tasks = [task.submit() for _ in range(6)]
    engine.claim("f", n=9, lease=9e9)
    assert tasks[5].explain() == "ready, but of 'f' only 5 may run at a time: #1, #2 and 3 more"
    engine.limits["name:f"] = 0
    assert tasks[5].explain() == "ready, but of 'f' none may run: the limit is 0"


def test_a_rate_says_when_the_next_may_start(engine, clock):
    task = engine.task("f", rate="18/m")
    tasks = [task.submit() for _ in range(20)]
    engine.claim("f", n=9, lease=9e9)
    clock.advance(20)
    engine.claim("f", n=9, lease=9e9)
    clock.advance(36)
    assert tasks[19].explain() == "ready, but 'f' may start 18 in 60 s: next in 4 s"
    clock.advance(5)
    assert tasks[19].explain() == "ready: 1 task stands before it, for whoever claims 'f'"


def test_names_on_hold_are_a_reason(engine):
    task = engine.task("f").submit()
    engine.pause("f")
    assert task.explain() == "ready, but 'f' is on hold by pause()"
    engine.pause()
    assert task.explain() == "ready, but the whole file is on hold by pause()"
    engine.resume(), engine.resume("f")
    assert task.explain() == "ready: it is next, for whoever claims 'f'"


def test_several_reasons_are_told_together(engine):
    task = engine.task("f", limit=1)
    task.submit()
    second = task.submit()
    claim(engine, "f")
    engine.pause()
    assert second.explain() == (
        "ready, but the whole file is on hold by pause(), and of 'f' only 1 may run at a time: #1"
    )


# -- running -------------------------------------------------------------------------------------------------------


def test_a_running_task_says_since_when_where_and_how_far_it_is(inline, clock):
    said = []

    @inline.task(max_attempts=3)
    def fit():
        run = taskcore.current()
        run.set_status("busy"), run.progress(2, 5), run.message("frame 3")
        run.step("read", clock.advance, 180)
        said.append(inline.future(run.task.id).explain())

    task = fit.submit()
    inline.run()
    worker = inline.name
    assert said == [f"running as 'busy' for 3 min on '{worker}', attempt 1 of 3, step 'read', 40 % done: frame 3"]
    assert task.explain() == "succeeded 0 s ago; it took 3 min"


def test_a_claim_from_outside_says_when_it_ends(engine, clock):
    task = engine.submit("f")
    claim(engine, "f", lease=100)
    clock.advance(60)
    assert task.explain() == "running for 60 s on 'robot'; its claim ends in 40 s"
    clock.advance(60)
    assert task.explain() == "running for 2 min on 'robot'; its claim is over"


def test_what_was_asked_of_a_running_task_is_told(engine, clock):
    task = engine.submit("f")
    claim(engine, "f", lease=100)
    task.pause(), task.cancel("clouds")
    clock.advance(5)
    assert task.explain() == (
        "running for 5 s on 'robot'; its claim ends in 95 s; to be paused when it comes back; asked to cancel 5 s ago: "
        "clouds"
    )


def test_a_task_that_runs_again_says_what_went_wrong_before(engine, clock):
    task = engine.task("f").options(max_attempts=3, backoff=constant(0)).submit()
    claim(engine, "f").fail("no light")
    claim(engine, "f", lease=30)
    assert task.explain() == (
        "running for 0 s on 'robot', attempt 2 of 3; its claim ends in 30 s; it failed once before: no light"
    )
    clock.advance(30)
    claim(engine, "f", lease=30)
    assert task.explain() == (
        "running for 0 s on 'robot', attempt 3; its claim ends in 30 s; it went wrong 2 times before: its lease ran out"
    )


def test_what_only_a_process_can_know_is_told_too(engine):
    task = engine.task("f").options(avoid_failed_worker=True).submit()
    facts, _, now = explain.look(engine._context, task.id)
    busy = explain.Here(full=True, alone=True)
    assert explain.sentence(facts, busy, now) == "ready: it is next, when a thread is free, and runs alone"
    assert explain.sentence(facts, explain.Here(registered=False, others=2), now) == (
        "ready, but nobody here has registered 'f' (2 other engines may take it)"
    )
    avoided = explain.sentence(dataclasses.replace(facts, avoids=True), explain.Here(), now)
    assert avoided == "ready, but it failed on this worker, which it is to avoid"
    claim(engine, "f")
    facts, _, now = explain.look(engine._context, task.id)
    gone = dataclasses.replace(facts, own=facts.own._replace(lane=0))
    assert explain.sentence(gone, explain.Here(dead=True), now) == (
        "running for 0 s on 'robot'; its process is gone, and the next engine that looks takes it back"
    )


# -- suspended -----------------------------------------------------------------------------------------------------


def test_a_sleeping_body_says_what_it_waits_for(inline, clock):
    @inline.task
    def leaf(n):
        raise Snooze(500)

    @inline.task
    def body(what):
        run = taskcore.current()
        match what:
            case "sleep":
                run.sleep(2400)
            case "signal":
                run.wait_for("approve")
            case "timeout":
                run.wait_for("approve", timeout=60)
            case "children":
                run.gather(leaf, range(5))
            case "tasks":
                run.wait(other)

    other = leaf.options(delay=300).submit(1)
    said = {}
    for what in ("sleep", "signal", "timeout", "children", "tasks"):
        task = body.submit(what)
        while task.snapshot().phase != "suspended":
            inline.run()
        said[what] = task.explain()
    assert said == {
        "sleep": "suspended until it wakes in 40 min; its body began last 0 s ago",
        "signal": "suspended until it gets the signal 'approve'; its body began last 0 s ago",
        "timeout": "suspended until it gets the signal 'approve', and gives up in 60 s; its body began last 0 s ago",
        "children": "suspended as long as 5 of 5 children have not ended: #6 snoozed itself and runs again in 8 min, "
        "#7 snoozed itself and runs again in 8 min and 3 more; its body began last 0 s ago",
        "tasks": "suspended as long as 1 task has not ended: #1 begins in 5 min; its body began last 0 s ago",
    }


def test_an_open_job_says_how_many_children_are_left_and_which(engine, clock):
    with engine.job("night") as job:
        for n in range(3):
            engine.submit("f", n)
    claim(engine, "f").succeed()
    claim(engine, "f")
    clock.advance(60)
    assert job.explain() == "an open job, 1 of 3 children ended: #3 is running for 60 s, #4 is ready"
    task = engine.task("t").options(after=job).submit()
    assert task.explain() == "waiting for 1 of 1: #1 is an open job, 1 of 3 children ended"
    job.cancel("clouds")
    assert job.explain() == (
        "an open job, 2 of 3 children ended: #3 is running for 60 s; asked to cancel 0 s ago: clouds"
    )


# -- ended ---------------------------------------------------------------------------------------------------------


def test_a_task_that_succeeded_says_when_and_how_long_it_took(engine, clock):
    task = engine.task("f").options(max_attempts=2, backoff=constant(10)).submit()
    claim(engine, "f").fail("dark")
    clock.advance(10)
    claimed = claim(engine, "f")
    clock.advance(3)
    claimed.succeed(status="good")
    clock.advance(300)
    assert task.explain() == (
        "ended as 'good', which is succeeded, 5 min ago; it took 3 s, and 13 s from its first start; it failed once "
        "before: dark"
    )


def test_a_task_that_failed_says_with_which_error_and_after_how_many_attempts(engine, clock):
    task = engine.task("f").options(max_attempts=2, backoff=constant(0)).submit()
    claim(engine, "f").fail(ValueError("one"))
    claim(engine, "f").fail(ValueError("two"))
    clock.advance(300)
    assert task.explain() == "failed 5 min ago after 2 attempts: ValueError: two"
    other = engine.task("g").options(max_attempts=5).submit()
    claim(engine, "g").fail("no use", retry=False)
    assert other.explain() == (
        "failed 0 s ago after 1 attempt: no use; 4 more would have been allowed, but not after that"
    )


def test_a_task_that_its_body_ended_as_failed_says_so(inline):
    task = inline.task(lambda: Done(1, status="bad"), name="f").submit()
    inline.run()
    assert task.explain() == "ended as 'bad', which is failed, 0 s ago after 1 attempt, as its body returned"


def test_a_lost_task_says_how_often_its_process_died(engine, clock):
    task = engine.task("f").options(max_lapses=1).submit()
    for _ in range(2):
        claim(engine, "f", lease=30)
        clock.advance(30)
    engine.claim("nobody")
    assert task.explain() == (
        "failed 0 s ago after 2 attempts: lost: its lease ran out (2 times); 1 would have been allowed"
    )


def test_an_ended_job_says_how_its_children_ended(engine):
    with engine.job("night") as job:
        engine.submit("f"), engine.submit("g"), engine.submit("g")
    claim(engine, "f").fail(ValueError("boom"), retry=False)
    for one in engine.claim("g", n=2):
        one.succeed()
    assert job.explain() == "failed 0 s ago: 1 of 3 children failed; first of them #2: ValueError: boom"
    with engine.job("day", failures="ignore") as job:
        engine.submit("f"), engine.submit("g")
    claim(engine, "f").fail(ValueError("boom"), retry=False), claim(engine, "g").succeed()
    assert job.explain() == "succeeded 0 s ago: all its children have ended (1 failed, 1 succeeded)"
    with engine.job("empty") as job:
        pass
    assert job.explain() == "succeeded 0 s ago: no children"


def test_a_cancelled_task_says_why_and_with_whom(engine, inline, clock):
    task = engine.submit("f")
    task.cancel("clouds")
    clock.advance(60)
    assert task.explain() == "cancelled 60 s ago: clouds"
    with engine.job("night") as job:
        child = engine.submit("f")
    job.cancel()
    assert child.explain() == f"cancelled 0 s ago with its parent #{job.id} 'night'"
    assert job.explain() == "cancelled 0 s ago (1 cancelled)"


def test_a_task_whose_body_cancelled_it_says_so(inline):
    def body():
        raise Cancelled("no need")

    task = inline.task(body).submit()
    inline.run()
    assert task.explain() == "cancelled 0 s ago by its own body: no need"


def test_an_error_of_an_earlier_attempt_is_no_reason_to_cancel(engine):
    task = engine.task("f").options(max_attempts=2, backoff=constant(9)).submit()
    claim(engine, "f").fail("dark")
    task.cancel()
    assert task.explain() == "cancelled 0 s ago; it failed once before: dark"


def test_a_skipped_task_says_what_failed_above_it(engine):
    a = engine.submit("a")
    b = engine.task("b").options(after=a).submit()
    c = engine.task("c").options(after=b).submit()
    d = engine.task("d").options(after=c).submit()
    fail(engine, a)
    assert b.explain() == "skipped because #1 failed: ValueError: boom"
    assert c.explain() == "skipped because #2 was skipped, and that because #1 failed: ValueError: boom"
    assert d.explain() == "skipped because #3 was skipped, and that because #1 failed: ValueError: boom"
    a.rerun()
    assert b.explain() == "skipped 0 s ago because of #1 which is ready now"
    assert d.explain() == "skipped because #3 was skipped, and that because #1 is ready"


def test_a_task_that_was_skipped_for_a_success_says_what_it_wanted(engine):
    a = engine.submit("a")
    b = engine.task("b").options(after={a: "failed"}).submit()
    claim(engine, "a").succeed(status="good")
    assert b.explain() == "skipped because #1 ended as 'good', not 'failed'"


def test_a_task_behind_one_that_failed_and_a_child_of_a_skipped_job_say_so(engine):
    upload = engine.task("f").options(serial="upload-7")
    first, second = upload.submit(), upload.submit()
    with engine.job("night", after=first) as job:
        child = engine.submit("c")
    fail(engine, first)
    assert second.explain() == "skipped because #1, before it in 'upload-7', failed: ValueError: boom"
    assert child.explain() == (
        f"skipped because #{job.id}, its job, was skipped, and that because #1 failed: ValueError: boom"
    )


def test_a_cause_that_was_deleted_is_not_named(engine):
    a = engine.submit("a")
    b = engine.task("b").options(after=a).submit()
    c = engine.task("c").options(after=b).submit()
    fail(engine, a)
    engine.tasks.where(id=a).delete()
    assert b.explain() == "skipped 0 s ago because of a task that has been deleted since"
    assert c.explain() == "skipped because #2 was skipped"
    b.rerun(), b.cancel()
    assert b.explain() == "cancelled 0 s ago"  # the text of the skip is no reason


# -- whatever it is ------------------------------------------------------------------------------------------------


def test_a_task_that_there_is_not_is_not_found(engine):
    task = engine.submit("f")
    task.cancel()
    engine.tasks.where(id=task).delete()
    with pytest.raises(TaskNotFound):
        task.explain()


def test_inside_a_transaction_it_sees_what_was_just_submitted(engine):
    with engine.transaction() as db:
        a = engine.task("a").submit()
        b = engine.task("b").options(after=a).submit()
        assert b.explain() == "waiting for 1 of 1: #1 is ready"
        db.execute("CREATE TABLE mine (x)")
    assert a.explain() == "ready: it is next, for whoever claims 'a'"


HOSTILE = "x\x1b[2J\r\n#99 succeeded\x9b31m\u202e\0\udcff'" + "y" * 500


def test_no_text_of_users_controls_a_terminal_or_forges_a_line(path, clock):
    evil = HOSTILE.replace("\0", "").replace("\udcff", "")
    label = evil[:40]
    engine = Engine(path, workers=0, clock=clock, statuses={label: "failed"}, limits={evil: 1})
    body = engine.task(evil).options(uses={evil: 1}, serial=evil, max_attempts=2, backoff=constant(9))
    tasks = [body.submit()]
    tasks.append(body.submit())
    tasks.append(engine.task(evil).options(after=tasks[0], otherwise="wait", on=label).submit())
    tasks.append(engine.task(evil).options(after=tasks[0]).submit())
    tasks.append(engine.task(evil).options(uses={evil: 1}).submit())
    with engine.job(evil, after=tasks[0]) as job:
        tasks.append(engine.submit("child"))
    tasks.append(job)

    def look():
        for task in tasks:
            said = task.explain()
            assert said.isprintable() and said, ascii(said)
            assert len(said) < 1000, len(said)
            if "#99" in said:
                assert "\\n#99" in said, said

    look()
    (claimed,) = engine.claim(evil, worker=evil, lease=9e9)
    look()
    engine.future(claimed.task.id).cancel(HOSTILE)
    look()
    engine.future(claimed.task.id).snapshot()
    claimed.fail(RuntimeError(HOSTILE))
    look()
    for one in engine.claim(evil, n=9, worker=evil):
        one.fail(HOSTILE, retry=False)
    look()
    engine.pause(evil)
    look()
    job.pause()
    look()
    engine.close()


def test_every_read_of_it_is_by_an_index(engine):
    """But for the few rows of holds, rates and running engines."""
    text = {name: value for name, value in vars(diagnosis).items() if isinstance(value, str) and "SELECT" in value}
    assert {"_BEFORE", "_ABOVE", "_HOLDERS"} <= text.keys()
    text["rows"] = overview._WHOLE
    for name, statement in text.items():
        values = dict.fromkeys(re.findall(r":(\w+)", statement)) or [1] * statement.count("?")
        plan = engine._context.read(lambda c, s=statement, v=values: c.execute(f"EXPLAIN QUERY PLAN {s}", v).fetchall())
        for step in (row[3] for row in plan):
            scanned = step.removeprefix("SCAN ").split()[0] if step.startswith("SCAN ") else None
            few = ("named", "k", "above", "(subquery-1)", "(subquery-2)", "json_each")
            assert scanned is None or scanned in few or "USING" in step, (name, step)


def everything_is_explained(engine, ids, where):
    for task in ids:
        said = engine.future(task).explain()
        assert said and said.isprintable(), f"{where}: #{task} says {said!r}"
        named = {int(found) for found in re.findall(r"#(\d+)", said)}
        assert named <= set(ids), f"{where}: #{task} says {said}"


class Explained(Walk):
    """A walk over families, queues and sleepers at each step of which every task says why it is where it is."""

    def check(self, verb=None, ids=()):
        super().check(verb, ids)
        everything_is_explained(self.engine, list(self.seen.rows), verb)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_every_task_explains_itself_and_names_only_those_that_exist(tmp_path, seed):
    world = Explained(":memory:" if seed % 2 else tmp_path / "walk.db", seed, collections.Counter(), 10)
    try:
        for _ in range(60):
            world.step()
    finally:
        world.close()


@pytest.mark.parametrize("seed", range(2))
def test_the_same_where_capacities_limits_rates_and_holds_decide(path, seed):
    choose, clock = random.Random(seed), ManualClock(1000.0)
    engine = Engine(path, workers=0, clock=clock, limits={"gpu": 2, "arm": 1})
    names = [
        engine.task("a", limit=2), engine.task("b", rate="3/m"), engine.task("c", uses={"gpu": 2}),
        engine.task("d", uses={"gpu": 1, "arm": 1}, max_attempts=3), engine.task("e", avoid_failed_worker=True),
    ]  # fmt: skip
    held, ids = [], []
    for step in range(70):
        match choose.randrange(9):
            case 0 | 1 | 2:
                ids.append(choose.choice(names).submit(step).id)
            case 3 | 4:
                held += engine.claim(n=choose.randrange(1, 4), lease=9e9, worker=choose.choice(["x", "y"]))
            case 5 if held:
                one = held.pop(choose.randrange(len(held)))
                choose.choice([one.succeed, one.release, lambda o=one: o.fail("no"), lambda o=one: o.snooze(9)])()
            case 6:
                choose.choice([engine.pause, engine.resume])(*choose.choice([(), ("a",), ("c", "d")]))
            case 7:
                engine.limits[choose.choice(["gpu", "arm", "name:a"])] = choose.randrange(4)
            case 8:
                clock.advance(choose.choice([1, 30, 100]))
        everything_is_explained(engine, ids, f"seed {seed}, step {step}")
    engine.close()
