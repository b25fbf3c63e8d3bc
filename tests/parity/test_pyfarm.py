"""Frames of render jobs, as PyFarm's Task has them: counted attempts and failures, agents, times, the verbs of jobs."""

import pytest

import taskcore
import taskcore.testing
from taskcore import InvalidTransition, constant

LONG = 1e9
"""A lease that never ends."""


@pytest.fixture
def frame(engine):
    """Frames that may be requeued twice, and not to an agent that they failed on."""
    return engine.task("frame", max_attempts=3, backoff=constant(5), avoid_failed_worker=True)


def job_of(engine, *frames, name="shot", **options):
    """→ the job, and a task for each frame."""
    with engine.job(name, **options) as job:
        tasks = [engine.task("frame").options(tags=[f"frame {n}"]).submit(n) for n in frames]
    return job, *tasks


def take(engine, n=1, worker="agent"):
    claims = engine.claim("frame", n=n, lease=LONG, worker=worker)
    assert len(claims) == n
    return claims


def phases(*tasks):
    return [task.snapshot().phase for task in tasks]


# -- counts, errors, times -----------------------------------------------------------------------------------------


def test_a_new_task_has_no_attempts_no_failures_and_no_times_but_its_submission(engine, frame, clock):
    # (1)
    clock.advance(5)
    row = frame.submit(1).snapshot()
    assert (row.phase, row.attempts, row.failures, row.lapses) == ("ready", 0, 0, 0)
    assert (row.submitted_at, row.first_started_at, row.started_at, row.finished_at) == (1005, None, None, None)
    assert (row.last_error, row.worker, row.progress, row.hidden, row.priority) == (None, None, None, False, 0)


def test_the_last_error_is_cleared_by_success_which_completes_the_progress_and_sets_the_end(engine, frame, clock):
    # (2)
    task = frame.submit(1)
    take(engine)[0].fail("no licence")
    row = task.snapshot()
    assert (row.last_error, row.finished_at, row.failures) == ("no licence", None, 1)
    clock.advance(5)
    (claim,) = take(engine, worker="another")
    assert task.snapshot().last_error == "no licence"
    clock.advance(2)
    claim.succeed()
    row = task.snapshot()
    assert (row.phase, row.last_error, row.progress, row.finished_at) == ("succeeded", None, 1.0, 1007)
    assert (row.attempts, row.failures) == (2, 1)


def test_a_rerun_starts_anew_ends_later_and_keeps_its_submission(engine, clock):
    # (3)
    task = engine.submit("frame", 1)
    clock.advance(10)
    (claim,) = take(engine)
    clock.advance(2)
    claim.succeed("a.png")
    first = task.snapshot()
    assert (first.submitted_at, first.first_started_at, first.started_at, first.finished_at) == (1000, 1010, 1010, 1012)
    clock.advance(8)
    task = task.rerun()
    row = task.snapshot()
    assert (row.phase, row.finished_at, row.result, row.progress) == ("ready", None, None, None)
    (claim,) = take(engine)
    row = task.snapshot()
    assert (row.started_at, row.first_started_at, row.finished_at) == (1020, 1010, None)
    clock.advance(3)
    claim.succeed("b.png")
    row = task.snapshot()
    assert (row.submitted_at, row.first_started_at, row.started_at, row.finished_at) == (1000, 1010, 1020, 1023)
    assert row.attempts == 2


def test_priorities_out_of_bounds_are_refused_the_bounds_accepted_and_they_are_used(engine):
    # (4)
    for priority in (-1001, 1001):
        with pytest.raises(ValueError, match="priority"):
            engine.task("frame").options(priority=priority)
        with pytest.raises(ValueError, match="priority"):
            engine.job("shot", priority=priority)
        with pytest.raises(ValueError, match="priority"):
            engine.tasks.set_priority(priority)
    for priority in (-1000, 0, 1000):
        engine.task("frame").options(priority=priority).submit(priority)
    assert [claim.task.args[0] for claim in take(engine, 3)] == [1000, 0, -1000]


def test_a_new_priority_moves_a_frame_in_the_queue(engine):
    job, *_ = job_of(engine, 1, 2, 3)
    assert engine.tasks.where(parent=job, tag="frame 3").set_priority(1) == 1
    assert [claim.task.args[0] for claim in take(engine, 3)] == [3, 1, 2]


def test_a_task_of_three_attempts_is_requeued_twice_without_agent_and_fails_with_the_third(engine, clock):
    # (5): requeue = 2
    task = engine.task("frame", max_attempts=3, backoff=constant(5)).submit(1)
    for failures in (1, 2):
        (claim,) = take(engine)
        assert task.snapshot().worker == "agent"
        claim.fail(f"crash {failures}")
        row = task.snapshot()
        assert (row.phase, row.worker, row.failures, row.attempts) == ("scheduled", None, failures, failures)
        assert row.greenfield == clock.now() + 5
        clock.advance(5)
    take(engine)[0].fail("crash 3")
    row = task.snapshot()
    assert (row.phase, row.failures, row.attempts, row.last_error) == ("failed", 3, 3, "crash 3")
    assert [attempt.error for attempt in task.history()] == ["crash 1", "crash 2", "crash 3"]


def test_a_task_of_one_attempt_fails_at_once(engine):
    # (5): requeue = 0
    task = engine.task("frame", max_attempts=1).submit(1)
    take(engine)[0].fail("crash")
    row = task.snapshot()
    assert (row.phase, row.failures, row.attempts, row.worker) == ("failed", 1, 1, "agent")


def test_a_task_without_limit_of_attempts_never_ends_by_failing(engine, clock):
    # (5): requeue = -1
    task = engine.task("frame", max_attempts=None, backoff=constant(5)).submit(1)
    for failures in range(1, 51):
        take(engine)[0].fail("crash")
        row = task.snapshot()
        assert (row.phase, row.failures, row.attempts, row.finished_at) == ("scheduled", failures, failures, None)
        clock.advance(5)


def test_a_hidden_task_is_run_and_found_only_by_who_asks_for_it(engine):
    job, one, two = job_of(engine, 1, 2)
    assert engine.tasks.where(id=one).hide() == 1
    shown = engine.tasks.where(parent=job, hidden=False)
    assert [task.id for task in shown] == [two.id]
    assert [claim.task.id for claim in take(engine, 2)] == [one.id, two.id]
    engine.tasks.where(id=one).hide(False)
    assert len(shown) == 2


# -- agents --------------------------------------------------------------------------------------------------------


def test_the_tasks_of_an_agent_are_found_while_it_has_them_and_none_is_sent_twice(engine):
    job_of(engine, 1, 2, 3)
    take(engine, 2, "X")
    assert [task.args[0] for task in engine.tasks.where(worker="X", phase="running")] == [1, 2]
    assert [claim.task.args[0] for claim in engine.claim("frame", n=9, worker="Y")] == [3]
    assert engine.claim("frame", n=9, worker="X") == []


def test_a_task_that_failed_on_an_agent_is_not_claimed_by_it_again_but_by_another(engine, frame, clock):
    # (7)
    task = frame.submit(1)
    take(engine, worker="X")[0].fail("no GPU")
    later = frame.submit(2)
    clock.advance(5)
    assert [claim.task.id for claim in engine.claim("frame", n=9, worker="X")] == [later.id]
    assert engine.claim("frame", n=9, worker="X") == []
    (claim,) = engine.claim("frame", n=9, worker="Y")
    assert claim.task.id == task.id
    claim.succeed()
    assert [(attempt.worker, attempt.outcome) for attempt in task.history()] == [("X", "failed"), ("Y", "succeeded")]


def test_agents_that_are_engines_avoid_what_failed_on_them_too(path, clock):
    # (7): by the name of the engine
    def render(n):
        if taskcore.current().task.worker == "X":
            raise RuntimeError("no GPU")
        return n

    for name, ends in (("X", {"ready": 1}), ("X", {"ready": 1}), ("Y", {"succeeded": 1})):
        with taskcore.Engine(path, name=name, clock=clock, executor=taskcore.testing.InlineExecutor()) as agent:
            task = agent.task(render, max_attempts=3, backoff=constant(0), avoid_failed_worker=True)
            task.options(key="1").submit(1)
            assert agent.run() == ends
            (row,) = agent.tasks
    assert (row.attempts, row.failures, row.worker) == (2, 1, "Y")


def test_a_rerun_frame_may_go_to_the_agents_that_it_failed_on(engine, frame, clock):
    task = frame.submit(1)
    for worker in "XYZ":
        take(engine, worker=worker)[0].fail("the scene is broken")
        clock.advance(5)
    assert phases(task) == ["failed"]
    task.rerun()
    take(engine, worker="X")[0].succeed()
    assert phases(task) == ["succeeded"]


# -- jobs ----------------------------------------------------------------------------------------------------------


def test_a_job_of_two_is_done_when_both_are_and_not_earlier(engine, clock):
    # (6)
    job, *_ = job_of(engine, 1, 2)
    first, second = take(engine, 2)
    first.succeed()
    assert (phases(job), job.snapshot().progress, job.snapshot().finished_at) == (["suspended"], 0.5, None)
    clock.advance(4)
    second.succeed()
    row = job.snapshot()
    assert (row.phase, row.progress, row.finished_at, row.result) == ("succeeded", 1.0, 1004, {"succeeded": 2})


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["the failed one first", "the failed one last"])
def test_a_job_of_two_has_failed_if_one_failed_for_good_and_not_earlier(engine, clock, order):
    # (6)
    with engine.job("shot") as job:
        engine.task("frame", max_attempts=2, backoff=constant(5)).submit(1)
        engine.task("frame", max_attempts=1).submit(2)
    claims = take(engine, 2)
    claims[0].fail("crash")  # to be requeued: nothing has failed for good
    assert phases(job) == ["suspended"]
    clock.advance(5)
    claims[0] = take(engine)[0]
    ends = [lambda: claims[0].fail("crash"), claims[1].succeed]
    ends[order[0]]()
    assert phases(job) == ["suspended"], "one is not ended yet"
    ends[order[1]]()
    assert (job.snapshot().phase, job.snapshot().result) == ("failed", {"failed": 1, "succeeded": 1})


def test_a_job_after_another_and_its_children_do_not_begin_while_that_one_has_not_succeeded(engine, clock):
    # (8)
    first, *_ = job_of(engine, 1, 2)
    second, *later = job_of(engine, 3, 4, name="comp", after=first)
    assert phases(second, *later) == ["waiting"] * 3
    one, two = take(engine, 2)
    assert engine.claim("frame", n=9) == []
    one.succeed()
    assert phases(second, *later) == ["waiting"] * 3
    two.succeed()
    assert phases(first, second, *later) == ["succeeded", "suspended", "ready", "ready"]
    assert [claim.task.args[0] for claim in take(engine, 2)] == [3, 4]


def test_a_job_after_a_failed_one_waits_for_its_rerun_if_that_is_asked_and_else_is_skipped(engine):
    # (8)
    first, _ = job_of(engine, 1)
    waits, kept = job_of(engine, 2, name="waits", after={first: ("succeeded", "wait")})
    skipped, left = job_of(engine, 3, name="skipped", after=first)
    take(engine)[0].fail("crash")
    assert phases(waits, kept) == ["waiting"] * 2
    assert phases(skipped, left) == ["skipped"] * 2
    assert f"#{first.id}" in skipped.snapshot().last_error
    assert engine.claim("frame", n=9) == []
    assert engine.tasks.where(parent=first, phase="failed").rerun() == 1
    take(engine)[0].succeed()
    assert phases(first, waits, kept, skipped, left) == ["succeeded", "suspended", "ready", "skipped", "skipped"]


def test_the_tasks_of_an_ended_job_that_is_rerun_wait_or_are_ready_again_without_failures(engine, clock):
    # (9)
    with engine.job("shot") as job:
        one, two = (engine.task("frame").options(max_attempts=2, backoff=constant(5)).submit(n) for n in (1, 2))
        encode = engine.task("encode").options(after={one: "finished", two: "finished"}).submit()
    for _ in range(2):
        for claim in engine.claim("frame", n=9, lease=LONG):
            claim.succeed() if claim.task.args == (2,) else claim.fail("crash")
        clock.advance(5)
    engine.claim("encode")[0].fail("no frames")
    rows = [task.snapshot() for task in (job, one, two, encode)]
    assert [(row.phase, row.failures) for row in rows[1:]] == [("failed", 2), ("succeeded", 0), ("failed", 1)]
    assert rows[0].phase == "failed"
    again = job.rerun()
    rows = [task.snapshot() for task in (again, one, two, encode)]
    assert [row.phase for row in rows] == ["suspended", "ready", "ready", "waiting"]
    assert [(row.failures, row.finished_at) for row in rows] == [(0, None)] * 4
    assert [row.submitted_at for row in rows] == [1000] * 4
    assert [row.attempts for row in rows] == [0, 2, 1, 1], "what was done stays counted"
    for claim in take(engine, 2):
        claim.succeed()
    engine.claim("encode")[0].succeed()
    assert again.result() == {"succeeded": 3}


def test_running_tasks_are_not_touched_by_a_rerun(engine, clock):
    # (9): of a selection; a job with a running task has not ended
    job, one, two = job_of(engine, 1, 2)
    ended, runs = take(engine, 2)
    ended.fail("crash")
    before = two.snapshot()
    clock.advance(5)
    with pytest.raises(InvalidTransition):
        job.rerun()
    assert engine.tasks.where(parent=job).rerun() == 1
    assert phases(job, one) == ["suspended", "ready"]
    assert two.snapshot() == before
    runs.succeed()
    take(engine)[0].succeed()
    assert job.result() == {"succeeded": 2}


def test_rerun_of_the_failed_leaves_what_is_done(engine):
    job, *tasks = job_of(engine, 1, 2, 3)
    for claim in take(engine, 3):
        claim.fail("crash") if claim.task.args == (2,) else claim.succeed()
    assert engine.tasks.where(parent=job, phase="failed").rerun() == 1
    assert phases(job, *tasks) == ["suspended", "succeeded", "ready", "succeeded"]
    assert [claim.task.args[0] for claim in take(engine)] == [2]


def test_a_paused_job_lets_running_frames_finish_and_begins_nothing_until_it_is_resumed(engine, clock):
    # (10)
    job, *tasks = job_of(engine, 1, 2, 3)
    _, another = job_of(engine, 9, name="other")
    (runs,) = take(engine)
    assert job.pause() is True
    assert phases(job, *tasks) == ["paused", "running", "paused", "paused"]
    clock.advance(60)
    runs.succeed()
    assert [claim.task.id for claim in engine.claim("frame", n=9)] == [another.id], "another job goes on"
    assert phases(job, *tasks) == ["paused", "succeeded", "paused", "paused"]
    assert job.resume() is True
    for claim in take(engine, 2):
        claim.succeed()
    assert job.result() == {"succeeded": 3}


def test_bodies_that_run_finish_and_no_other_begins_while_their_job_is_paused(inline):
    # (10): with an engine that runs bodies by itself
    begun = []

    @inline.task
    def frame(n):
        begun.append(n)
        if n == 2:
            job.pause()
        return n

    with inline.job("shot") as job:
        for n in range(1, 5):
            frame.submit(n)
    assert inline.run() == {"paused": 3, "succeeded": 2}
    assert begun == [1, 2]
    job.resume()
    assert inline.run() == {"succeeded": 5}
    assert begun == [1, 2, 3, 4]


def test_one_frame_is_paused_and_resumed_by_itself(engine):
    job, one, two = job_of(engine, 1, 2)
    assert one.pause()
    (claim,) = engine.claim("frame", n=9, lease=LONG)
    claim.succeed()
    assert phases(job, one, two) == ["suspended", "paused", "succeeded"]
    assert one.resume()
    take(engine)[0].succeed()
    assert phases(job) == ["succeeded"]
