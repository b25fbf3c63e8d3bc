"""Queues of tasks for worker functions, as sosw's TaskManager has them: labourers, greenfield, claims, lapses, retries.

A labourer is a task name with its settings. Workers are outside: they claim, and report by what they claimed.
"""

import contextlib
import threading
from itertools import pairwise

import pytest

import taskcore
from taskcore import Engine, LeaseLost, TaskFailed, TaskNotFound, constant, linear
from tests.support.processes import heard

LEASE = 30.0
MAX_RUNTIME = 300.0


@pytest.fixture
def resize(engine):
    """A labourer that may try three times, and waits its longest runtime times the failures before it does."""
    return engine.task("resize", max_attempts=3, backoff=linear(MAX_RUNTIME), retry_first=True)


@pytest.fixture
def other(path, clock):
    """A second orchestrator on the same file."""
    with contextlib.closing(Engine(path, workers=0, clock=clock, name="other")) as engine:
        yield engine


def pictures(claims):
    return [claim.task.kwargs["picture"] for claim in claims]


def everything(raw):
    return {table: raw(f"SELECT * FROM taskcore_{table}") for table in ("task", "attempt", "key", "tag", "edge")}


def swept(engine):
    """Whoever looks into the queues sees to what time has moved, as the Scavenger does."""
    assert engine.claim("nobody's") == []


# -- the queue -----------------------------------------------------------------------------------------------------


def test_four_tasks_are_claimed_in_the_order_of_their_submission_and_had_no_attempt_before(engine, resize, clock):
    # (1)
    for picture in "dbca":
        resize.submit(picture=picture)
        clock.advance(1)
    assert [task.attempts for task in engine.tasks] == [0, 0, 0, 0]
    assert "".join(pictures(engine.claim("resize") + engine.claim("resize", n=3))) == "dbca"


def test_a_payload_comes_out_as_it_went_in_and_a_task_is_found_by_its_id(engine, resize):
    payload = {"picture": "ä.raw", "sizes": (640, 480), "deep": {"of": [1, None, b"\0"]}}
    task = resize.submit(**payload)
    assert engine.tasks.where(id=task.id).first().kwargs == payload
    (claim,) = engine.claim("resize")
    assert (claim.task.id, claim.task.name, claim.task.args, claim.task.kwargs) == (task.id, "resize", (), payload)
    with pytest.raises(TaskNotFound):
        engine.future(task.id + 1)


def test_a_setting_that_there_is_not_is_refused_and_a_payload_never_sets_one(engine):
    with pytest.raises(TypeError, match="greenfield"):
        engine.task("resize").options(greenfield=5)
    task = engine.submit("resize", greenfield=5, attempts=7, priority=9).snapshot()
    assert (task.greenfield, task.attempts, task.priority) == (None, 0, 0)
    assert task.kwargs == {"greenfield": 5, "attempts": 7, "priority": 9}


def test_the_length_of_a_queue_and_its_oldest_are_of_that_name_alone(engine, resize, clock):
    engine.submit("digest", picture="x")
    queue = engine.tasks.where(name="resize", phase="ready")
    assert (len(queue), queue.first()) == (0, None)
    for picture in "abc":
        clock.advance(10)
        resize.submit(picture=picture)
    assert (len(queue), queue.first().submitted_at, [*queue][-1].submitted_at) == (3, 1010, 1030)
    engine.claim("resize")
    assert (len(queue), queue.first().kwargs) == (2, {"picture": "b"})


def test_a_claim_of_fifty_gives_the_three_that_are_queued_and_never_another_name(engine, resize):
    # (2): of six tasks of the labourer three are in work already
    for picture in "abcdef":
        resize.submit(picture=picture)
        engine.submit("digest", picture=picture)
    assert pictures(engine.claim("resize", n=3)) == ["a", "b", "c"]
    claims = engine.claim("resize", n=50)
    assert pictures(claims) == ["d", "e", "f"]
    assert {claim.task.name for claim in claims} == {"resize"}
    assert engine.tasks.where(name="digest").counts() == {"ready": 6}


# -- claims --------------------------------------------------------------------------------------------------------


def test_a_claim_sets_greenfield_to_the_end_of_its_lease_and_adds_one_to_the_attempts(engine, resize, clock, raw):
    # (3)
    task = resize.submit(picture="a")
    clock.advance(5)
    (claim,) = engine.claim("resize", lease=60, worker="lambda")
    row = task.snapshot()
    assert (row.greenfield, row.attempts, row.phase, row.worker) == (1005 + 60, 1, "running", "lambda")
    assert claim.expires_at == 1065
    stored = raw("SELECT greenfield, attempts, phase FROM taskcore_task")
    assert stored == [{"greenfield": 1065.0, "attempts": 1, "phase": "running"}], "in the file, before anything runs"


def test_a_second_claim_gets_nothing_and_raises_nothing(engine, resize, other):
    # (4)
    resize.submit(picture="a")
    assert len(engine.claim("resize")) == 1
    assert engine.claim("resize") == other.claim("resize") == other.claim(n=50) == []
    assert [task.attempts for task in engine.tasks] == [1]


def test_orchestrators_at_once_never_invoke_a_task_twice(path):
    engines = [Engine(path, workers=0) for _ in range(3)]
    with engines[0].transaction():
        for number in range(90):
            engines[0].submit("resize", number)
    got, start = [], threading.Barrier(3)

    def orchestrate(engine):
        start.wait(10)
        while claims := engine.claim("resize", n=4):
            got.extend(claim.task.args[0] for claim in claims)

    threads = [threading.Thread(target=orchestrate, args=[engine]) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(got) == list(range(90))
    assert {task.attempts for task in engines[0].tasks} == {1}
    for engine in engines:
        engine.close()


def test_a_claim_is_invoked_in_another_process_by_its_token(engine, resize, other):
    resize.submit(picture="a")
    (claim,) = engine.claim("resize")
    invoked = other.claimed(claim.token)
    assert invoked.task.kwargs == {"picture": "a"}
    invoked.succeed("done")
    with pytest.raises(LeaseLost):
        claim.fail("too late")
    assert engine.tasks.counts() == {"succeeded": 1}


def test_a_task_leased_for_less_than_the_lease_runs_and_for_longer_has_lapsed_and_is_never_both(engine, clock):
    # (5)
    for lease in (10, 20, 30):
        engine.submit("resize", lease)
        engine.claim("resize", lease=lease)
    running, queued = (engine.tasks.where(name="resize", phase=phase) for phase in ("running", "ready"))
    for now in range(1000, 1035, 5):
        swept(engine)
        lapsed = [lease for lease in (10, 20, 30) if now >= 1000 + lease]
        assert [task.args[0] for task in queued] == lapsed, "a lease is over at its end, not after it"
        assert [task.args[0] for task in running] == [lease for lease in (10, 20, 30) if lease not in lapsed]
        assert [task.lapses for task in engine.tasks] == [int(lease in lapsed) for lease in (10, 20, 30)]
        clock.advance(5)


def test_expired_are_those_that_run_with_their_greenfield_passed_until_somebody_looks(engine, clock):
    for lease in (10, 20):
        engine.submit("resize", lease)
        engine.claim("resize", lease=lease)
    clock.advance(15)
    running = engine.tasks.where(name="resize", phase="running")
    assert [task.args[0] for task in running if task.greenfield <= clock.now()] == [10]
    swept(engine)
    assert [task.args[0] for task in running] == [20]


def test_a_worker_that_extends_in_time_keeps_its_task(engine, resize, clock):
    task = resize.submit(picture="a")
    (claim,) = engine.claim("resize")
    for _ in range(10):
        clock.advance(LEASE - 1)
        assert claim.extend(LEASE) == clock.now() + LEASE
    assert engine.claim("resize") == []
    claim.succeed()
    assert (task.snapshot().attempts, task.snapshot().lapses) == (1, 0)


# -- lapses --------------------------------------------------------------------------------------------------------


def test_a_task_that_lapsed_below_the_cap_is_queued_again_with_its_attempts(engine, clock):
    # (6)
    task = engine.task("resize", max_lapses=2).submit(picture="a")
    for lapses in (1, 2):
        (claim,) = engine.claim("resize")
        assert claim.task.kwargs == {"picture": "a"}
        clock.advance(LEASE)
        swept(engine)
        row = task.snapshot()
        assert (row.phase, row.attempts, row.lapses, row.failures) == ("ready", lapses, lapses, 0)
        assert (row.worker, row.greenfield, row.finished_at) == (None, None, None)


def test_a_task_that_lapsed_at_the_cap_has_failed_once_and_is_reported_once(engine, clock, other):
    # (6)
    task, told = engine.task("resize", max_lapses=1).submit(picture="a"), []
    task.add_done_callback(told.append)
    for _ in range(2):
        engine.claim("resize")
        assert told == []
        clock.advance(LEASE)
    for one in (engine, other, engine):
        swept(one)
    row = task.snapshot()
    assert (row.phase, row.attempts, row.lapses, row.finished_at) == ("failed", 2, 2, clock.now())
    assert row.last_error == "lost: its lease ran out (2 times)"
    heard(told, [task])
    assert [attempt.outcome for attempt in task.history()] == ["lapsed", "lapsed"]
    with pytest.raises(TaskFailed, match="lease ran out"):
        task.result()
    clock.advance(9 * LEASE)
    assert engine.claim("resize") == []


# -- retries -------------------------------------------------------------------------------------------------------


def test_retried_tasks_precede_all_queued_and_keep_attempts_and_arguments(engine, resize, clock, raw):
    # (7)
    first = [resize.submit(picture=picture) for picture in "abcd"]
    first[0].pause()  # a task with a lower id than the retried ones, queued all the time
    for claim in engine.claim("resize", n=2):
        claim.fail("crashed")
    assert pictures(engine.claim("resize", lease=9000)) == ["d"], "they wait, and hold nobody up"
    first[0].resume()
    resize.submit(picture="e")
    clock.advance(MAX_RUNTIME)
    claims = engine.claim("resize", n=50)
    assert pictures(claims) == ["b", "c", "a", "e"]
    assert [claim.task.attempts for claim in claims] == [2, 2, 1, 1]
    assert len(raw("SELECT * FROM taskcore_task")) == 5, "a task is one row, wherever it stands"


def test_the_delay_of_a_retry_is_the_longest_runtime_times_the_failures(engine, clock):
    # "wanted_delay: labourer.max_runtime * attempts"
    task = engine.task("resize", max_attempts=4, backoff=linear(MAX_RUNTIME)).submit()
    starts = []
    for failures in (1, 2, 3, 4):
        (claim,) = engine.claim("resize")
        starts.append(clock.now())
        claim.fail("crashed")
        row = task.snapshot()
        if failures < 4:
            assert (row.phase, row.waiting_for) == ("scheduled", "backoff")
            assert row.greenfield == clock.now() + MAX_RUNTIME * failures
            clock.advance(MAX_RUNTIME * failures - 1)
            assert engine.claim("resize") == []
            clock.advance(1)
    assert [later - earlier for earlier, later in pairwise(starts)] == [300, 600, 900]
    assert (task.snapshot().phase, task.snapshot().failures) == ("failed", 4)


def test_a_reported_failure_ends_the_lease_at_once(engine, resize, clock):
    task = resize.submit(picture="a")
    (claim,) = engine.claim("resize", lease=9000)
    clock.advance(2)
    claim.fail("crashed")
    assert (task.snapshot().phase, task.snapshot().greenfield) == ("scheduled", 1002 + MAX_RUNTIME)
    with pytest.raises(LeaseLost):
        claim.extend(9000)
    clock.advance(MAX_RUNTIME)
    assert len(engine.claim("resize")) == 1


def test_silence_lapses_at_greenfield_and_costs_no_failure_and_no_delay(engine, resize, clock):
    task = resize.submit(picture="a")
    engine.claim("resize")
    clock.advance(LEASE - 0.001)
    assert engine.claim("resize") == []
    clock.advance(0.001)
    (claim,) = engine.claim("resize")
    assert (claim.task.attempts, claim.task.failures, claim.task.lapses) == (2, 0, 1)
    assert [attempt.outcome for attempt in task.history()] == ["lapsed", "running"]


# -- reports -------------------------------------------------------------------------------------------------------


def test_fail_stores_the_error_and_succeed_sets_finished_at(engine, clock):
    # (8)
    broken, fine = (engine.submit("resize", picture=picture) for picture in "ab")
    one, two = engine.claim("resize", n=2)
    clock.advance(3)
    one.fail("out of memory")
    clock.advance(1)
    two.succeed({"pixels": 9})
    row = broken.snapshot()
    assert (row.phase, row.last_error, row.finished_at, row.greenfield) == ("failed", "out of memory", 1003, None)
    row = fine.snapshot()
    assert (row.phase, row.result, row.finished_at, row.greenfield) == ("succeeded", {"pixels": 9}, 1004, None)
    assert [task.args or task.kwargs for task in engine.tasks.where(name="resize", phase="succeeded")] == [
        {"picture": "b"}
    ]


def test_a_claim_that_fails_keeps_its_partial_result(engine, clock):
    # (8)
    task = engine.task("resize").options(max_attempts=3, backoff=constant(5)).submit("a.png")
    (claim,) = engine.claim("resize")
    with pytest.raises(TypeError, match="the result of 'resize' cannot be stored"):
        claim.fail("no", result=object())
    claim.fail("out of memory", result={"done": 3})
    row = task.snapshot()
    assert (row.phase, row.result, row.last_error) == ("scheduled", {"done": 3}, "out of memory")
    clock.advance(5)
    engine.claim("resize")[0].fail("again")
    assert task.snapshot().result == {"done": 3}, "what was not said again stays"
    clock.advance(5)
    engine.claim("resize")[0].fail("out of memory", result={"done": 7})
    with pytest.raises(taskcore.TaskFailed) as failed:
        task.result()
    assert (failed.value.result, task.snapshot().failures) == ({"done": 7}, 3)
    stopped = engine.submit("resize", "b.png")
    (claim,) = engine.claim("resize")
    stopped.cancel()
    claim.fail("told to stop", result=1)
    row = stopped.snapshot()
    assert (row.phase, row.result) == ("cancelled", 1), "a part of a result is none"


def test_what_was_saved_is_stored_with_the_failure(inline):
    # (8): a body saves while it runs; a worker outside may end with a label of phase failed and what it has
    @inline.task
    def resize():
        taskcore.current().save(rows=7)
        raise RuntimeError("out of memory")

    task = resize.submit()
    outside = inline.submit("elsewhere")
    inline.claim("elsewhere")[0].succeed({"rows": 7}, status="bad")
    inline.run()
    row = task.snapshot()
    assert (row.phase, row.last_error, row.result) == ("failed", "RuntimeError: out of memory", {"rows": 7})
    row = outside.snapshot()
    assert (row.phase, row.status, row.result) == ("failed", "bad", {"rows": 7})


@pytest.mark.parametrize("claimed_again", [False, True])
@pytest.mark.parametrize("swept_before", [False, True])
def test_a_late_success_of_a_lapsed_claim_is_lease_lost_and_no_row_appears_or_changes(
    engine, resize, clock, raw, other, claimed_again, swept_before
):
    # (9)
    task = resize.submit(picture="a")
    (late,) = engine.claim("resize")
    clock.advance(LEASE)
    if claimed_again:
        (claim,) = other.claim("resize")
    elif swept_before:
        swept(engine)
    before = everything(raw)
    with pytest.raises(LeaseLost) as caught:
        late.succeed("late")
    assert caught.value.task_id == task.id
    if claimed_again or swept_before:
        assert everything(raw) == before
    assert (len(engine.tasks), task.snapshot().result) == (1, None)
    assert task.snapshot().phase == ("running" if claimed_again else "ready")
    if claimed_again:
        claim.succeed("in time")
        assert task.result() == "in time"


# -- looking after it ----------------------------------------------------------------------------------------------


def test_health_lowers_and_raises_a_limit_while_tasks_run(engine, other):
    resize = engine.task("resize", limit=3)
    for number in range(8):
        resize.submit(number)
        engine.submit("digest", number)
    held = engine.claim("resize", n=50)
    assert len(held) == 3
    other.limits["name:resize"] = 1
    held.pop().succeed()
    held.pop().succeed()
    assert engine.claim("resize", n=50) == [], "one runs still"
    held.pop().succeed()
    assert len(engine.claim("resize", n=50)) == 1
    other.limits["name:resize"] = 2
    assert len(engine.claim("resize", n=50)) == 1
    assert len(engine.claim("digest", n=50)) == 8, "another labourer is not concerned"


def test_a_task_that_lapsed_makes_room_within_the_limit_only_then(engine, clock):
    compress = engine.task("compress", limit=1)
    for number in range(2):
        compress.submit(number)
    engine.claim("compress")
    clock.advance(LEASE - 1)
    assert engine.claim("compress") == []
    clock.advance(1)
    assert [claim.task.args for claim in engine.claim("compress", n=2)] == [(0,)]


def test_a_rate_is_kept_over_all_orchestrators(engine, clock, other):
    digest = engine.task("digest", rate="2/s")
    for number in range(5):
        digest.submit(number)
    assert len(engine.claim("digest", n=1) + other.claim("digest", n=50)) == 2
    assert engine.claim("digest") == []
    clock.advance(1)
    assert len(other.claim("digest", n=50)) == 2


def test_completed_failed_running_and_queued_are_counted_by_name(engine, resize, clock):
    for number in range(6):
        resize.submit(picture=number)
        engine.submit("digest", number)
    one, two, three, _ = engine.claim("resize", n=4)
    one.succeed()
    two.fail("crashed")
    three.fail("no picture", retry=False)
    assert engine.tasks.where(name="resize").counts() == {
        "succeeded": 1, "scheduled": 1, "failed": 1, "running": 1, "ready": 2,
    }  # fmt: skip
    assert engine.tasks.where(name="digest").counts() == {"ready": 6}
    tasks = list(engine.tasks.where(name="resize"))
    assert (sum(task.attempts for task in tasks), sum(task.failures for task in tasks)) == (4, 2)


def test_ended_tasks_are_the_archive_until_they_are_pruned(engine, resize, clock):
    old, failed, waits = (resize.submit(picture=picture) for picture in "abc")
    engine.claim("resize")[0].succeed()
    engine.claim("resize")[0].fail("no picture", retry=False)
    clock.advance(3600)
    recent = resize.submit(picture="d")
    engine.claim("resize", n=2)[1].succeed()
    assert engine.prune(older_than=1800) == 2
    assert [task.id for task in engine.tasks] == [waits.id, recent.id]
    for gone in (old, failed):
        with pytest.raises(TaskNotFound):
            gone.snapshot()
