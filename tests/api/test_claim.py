"""`engine.claim` and `Claim`: workers, machines and people that work the file from outside the scheduler."""

import contextlib
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

import taskcore
from taskcore import Claim, Engine, LeaseLost, TaskFailed, UnknownStatus, constant
from taskcore.testing import InlineExecutor
from tests.support.processes import heard

PATIENCE = 10  # seconds that a healthy engine never needs


def everything(raw):
    """All rows of all tables, but for our notes of who has ever claimed."""
    tables = ("task", "attempt", "edge", "key", "tag")
    return {table: raw(f"SELECT * FROM taskcore_{table}") for table in tables}


# -- claiming ------------------------------------------------------------------------------------------------------


def test_claims_come_in_order_and_never_more_than_there_are(engine):
    for n in range(4):
        engine.task("resize").options(priority=int(n == 2)).submit(n)
    engine.submit("other")
    assert [task.attempts for task in engine.tasks] == [0] * 5
    assert [claim.task.args for claim in engine.claim("resize", n=3)] == [(2,), (0,), (1,)]
    assert [claim.task.args for claim in engine.claim("resize", n=50)] == [(3,)]
    assert engine.claim("resize", n=50) == []
    assert engine.tasks.where(name="other").counts() == {"ready": 1}


def test_a_claim_takes_one_unless_told_otherwise(engine):
    for n in range(3):
        engine.submit("f", n)
    (claim,) = engine.claim("f")
    assert isinstance(claim, Claim)
    assert claim.task.args == (0,)


def test_several_names_or_none_for_any(engine):
    for name in ("a", "b", "c", "a"):
        engine.submit(name)
    assert [claim.task.name for claim in engine.claim("a", "c", n=9)] == ["a", "c", "a"]
    assert [claim.task.name for claim in engine.claim(n=9)] == ["b"]
    assert engine.claim() == [] == engine.claim("unheard of")


def test_a_claim_counts_the_attempt_and_sets_the_end_of_the_lease(engine, clock):
    future = engine.submit("f")
    clock.advance(5)
    (claim,) = engine.claim("f", lease=60, worker="robot 1")
    task = future.snapshot()
    assert (task.phase, task.attempts, task.worker, task.greenfield) == ("running", 1, "robot 1", 1065)
    assert (task.started_at, task.first_started_at, task.finished_at) == (1005, 1005, None)
    assert claim.expires_at == 1065
    assert claim.task == task
    (attempt,) = future.history()
    assert (attempt.number, attempt.worker, attempt.outcome) == (1, "robot 1", "running")


def test_without_more_a_claim_has_the_engines_lease_and_name(path, clock):
    with contextlib.closing(Engine(path, workers=0, clock=clock, lease=7, name="desk")) as engine:
        engine.submit("f")
        (claim,) = engine.claim()
        assert (claim.expires_at, claim.task.worker) == (1007, "desk")


def test_a_claim_has_the_values_of_its_arguments(engine):
    upstream = engine.submit("up")
    engine.submit("f", upstream, [upstream], k={"x": upstream})
    assert engine.claim("f") == []
    engine.claim("up")[0].succeed((1, 2))
    (claim,) = engine.claim("f")
    assert (claim.task.args, claim.task.kwargs) == (((1, 2), [(1, 2)]), {"k": {"x": (1, 2)}})
    again = engine.claimed(claim.token)
    assert (again.task.args, again.task.kwargs) == (claim.task.args, claim.task.kwargs)


def test_only_what_is_ready_is_claimed(engine, clock):
    engine.task("f").options(delay=10).submit("delayed")
    engine.submit("f", engine.submit("up"))
    engine.submit("f", "paused").pause()
    engine.submit("f", "cancelled").cancel()
    assert engine.claim("f", n=9) == []
    clock.advance(10)
    assert [claim.task.args for claim in engine.claim("f", n=9)] == [("delayed",)]


def test_many_claimers_never_get_the_same_task(path):
    with (
        contextlib.closing(Engine(path, workers=0)) as one,
        contextlib.closing(Engine(path, workers=0)) as two,
        ThreadPoolExecutor(4) as pool,
    ):
        with one.transaction():
            for n in range(200):
                one.submit("f", n)

        def work(engine):
            mine = []
            while claims := engine.claim("f", n=7):
                for claim in claims:
                    mine.append(claim.task.id)
                    claim.succeed(claim.task.args[0])
            return mine

        got = [task for mine in pool.map(work, [one, two, one, two]) for task in mine]
        assert sorted(got) == list(range(1, 201))
        assert one.tasks.counts() == {"succeeded": 200}


def test_names_that_wait_in_masses_do_not_stand_in_front_of_others(engine):
    with engine.transaction():
        for n in range(500):
            engine.task("masses").options(priority=5).submit(n)
        engine.submit("one")
    assert [claim.task.name for claim in engine.claim("one", n=9)] == ["one"]


@pytest.mark.parametrize(
    "arguments, error, word",
    [
        ({"n": 0}, ValueError, "n"),
        ({"n": -1}, ValueError, "n"),
        ({"n": 1.5}, (TypeError, ValueError), "n"),
        ({"n": True}, (TypeError, ValueError), "n"),
        ({"lease": 0}, ValueError, "lease"),
        ({"lease": -1}, ValueError, "lease"),
        ({"lease": float("inf")}, ValueError, "lease"),
        ({"lease": "60"}, TypeError, "lease"),
        ({"worker": ""}, ValueError, "worker"),
        ({"worker": 5}, TypeError, "worker"),
        ({"names": [5]}, TypeError, "name"),
        ({"names": [["a"]]}, TypeError, "name"),
        ({"names": [""]}, ValueError, "name"),
    ],
    ids=str,
)
def test_a_claim_that_makes_no_sense_is_refused_and_takes_nothing(engine, arguments, error, word):
    engine.submit("a")
    arguments = dict(arguments)
    names = arguments.pop("names", [])
    with pytest.raises(error, match=word):
        engine.claim(*names, **arguments)
    assert engine.tasks.counts() == {"ready": 1}


# -- the verbs -----------------------------------------------------------------------------------------------------


def test_succeed_ends_it_with_its_result(engine, clock):
    future = engine.submit("f")
    (claim,) = engine.claim("f", worker="robot")
    clock.advance(2)
    assert claim.succeed({"pages": (1, 2)}) is None
    task = future.snapshot()
    assert (task.phase, task.status, task.result) == ("succeeded", "succeeded", {"pages": (1, 2)})
    assert (task.finished_at, task.progress, task.greenfield, task.worker) == (1002, 1.0, None, "robot")
    assert future.result() == {"pages": (1, 2)}


@pytest.mark.parametrize(
    "status, phase, label",
    [("good", "succeeded", "good"), ("succeeded", "succeeded", "succeeded"), ("bad", "failed", "bad"),
     ("failed", "failed", "failed")],
)  # fmt: skip
def test_succeed_may_give_a_label_of_either_good_or_bad_end(engine, status, phase, label):
    future = engine.task("f", max_attempts=5).submit()
    engine.claim("f")[0].succeed("kept", status=status)
    task = future.snapshot()
    assert (task.phase, task.status, task.result) == (phase, label, "kept")
    if phase == "failed":
        with pytest.raises(TaskFailed) as caught:
            future.result()
        assert (caught.value.status, caught.value.result) == (label, "kept")


@pytest.mark.parametrize("status", ["unheard of", "busy", "running", "cancelled", "pending", "finished", ""])
def test_a_label_that_is_no_end_is_refused_and_changes_nothing(engine, raw, status):
    engine.submit("f")
    (claim,) = engine.claim("f")
    before = everything(raw)
    with pytest.raises(UnknownStatus):
        claim.succeed(1, status=status)
    assert everything(raw) == before
    claim.succeed(1)


def test_a_result_that_cannot_be_stored_is_refused_and_changes_nothing(engine, raw):
    engine.submit("f")
    (claim,) = engine.claim("f")
    before = everything(raw)
    with pytest.raises(TypeError, match="object"):
        claim.succeed(object())
    assert everything(raw) == before
    claim.succeed("storable")


def test_fail_is_tried_again_while_attempts_are_left(engine, clock):
    future = engine.task("f", max_attempts=2, backoff=constant(30)).submit()
    (claim,) = engine.claim("f", worker="robot")
    clock.advance(1)
    assert claim.fail("lens broken") is None
    task = future.snapshot()
    assert (task.phase, task.failures, task.attempts, task.worker) == ("scheduled", 1, 1, None)
    assert (task.greenfield, task.waiting_for, task.last_error) == (1031, "backoff", "lens broken")
    assert engine.claim("f") == []
    clock.advance(30)
    engine.claim("f")[0].fail(OSError(5, "sensor"))
    task = future.snapshot()
    assert (task.phase, task.failures, task.attempts) == ("failed", 2, 2)
    assert task.last_error == "OSError: [Errno 5] sensor"
    assert [(a.outcome, a.error, a.worker) for a in future.history()] == [
        ("failed", "lens broken", "robot"),
        ("failed", "OSError: [Errno 5] sensor", engine.name),
    ]
    with pytest.raises(TaskFailed, match="sensor") as caught:
        future.result()
    assert (caught.value.error_type, caught.value.message) == ("OSError", "[Errno 5] sensor")


def test_fail_for_good_is_not_tried_again(engine):
    future = engine.task("f", max_attempts=None, failed_status="bad").submit()
    engine.claim("f")[0].fail("no such sample", retry=False)
    task = future.snapshot()
    assert (task.phase, task.status, task.failures) == ("failed", "bad", 1)
    with pytest.raises(TaskFailed, match="no such sample") as caught:
        future.result()
    assert (caught.value.error_type, caught.value.message) == (None, "no such sample")


def test_an_exception_that_was_raised_keeps_its_traceback(engine):
    future = engine.submit("f")
    (claim,) = engine.claim("f")
    try:
        {}["lens"]
    except KeyError as error:
        claim.fail(error)
    assert '{}["lens"]' in future.history()[0].traceback


@pytest.mark.parametrize("error", [None, 5, KeyError, b"x"])
def test_fail_takes_a_text_or_an_exception(engine, error):
    future = engine.submit("f")
    (claim,) = engine.claim("f")
    with pytest.raises(TypeError, match="error"):
        claim.fail(error)
    assert future.snapshot().phase == "running"


def test_snooze_spends_no_attempt(engine, clock):
    future = engine.task("f", max_attempts=1).submit()
    assert engine.claim("f")[0].snooze(60) is None
    task = future.snapshot()
    assert (task.phase, task.attempts, task.failures, task.worker) == ("scheduled", 0, 0, None)
    assert (task.greenfield, task.waiting_for) == (1060, "snooze")
    clock.advance(60)
    engine.claim("f")[0].succeed()
    assert future.snapshot().attempts == 1


def test_release_is_as_if_it_had_never_been_claimed(engine, raw):
    future = engine.submit("f")
    before = future.snapshot()
    (claim,) = engine.claim("f")
    assert claim.release() is None
    assert future.snapshot() == before
    assert future.history() == []
    (again,) = engine.claim("f")
    assert again.token != claim.token


def test_extend_counts_from_now_and_never_shortens(engine, clock):
    future = engine.submit("f")
    (claim,) = engine.claim("f", lease=60)
    clock.advance(10)
    claim.extend(100)
    assert claim.expires_at == future.snapshot().greenfield == 1110
    claim.extend(5)
    assert claim.expires_at == future.snapshot().greenfield == 1110
    clock.advance(99)
    claim.extend(2)
    assert claim.expires_at == future.snapshot().greenfield == 1111
    clock.advance(1.5)
    claim.succeed()


@pytest.mark.parametrize("verb", ["extend", "snooze"])
@pytest.mark.parametrize(
    "seconds, error",
    [(-1, ValueError), (float("nan"), ValueError), (float("inf"), ValueError), ("5", TypeError), (None, TypeError)],
)
def test_a_time_that_makes_no_sense_is_refused(engine, raw, verb, seconds, error):
    engine.submit("f")
    (claim,) = engine.claim("f")
    before = everything(raw)
    with pytest.raises(error):
        getattr(claim, verb)(seconds)
    assert everything(raw) == before


def test_what_waits_for_it_goes_on_in_the_same_moment(engine):
    future = engine.submit("f", engine.submit("up"))
    engine.claim("up")[0].succeed(7)
    (claim,) = engine.claim("f")
    assert claim.task.args == (7,)
    claim.release()
    engine.task("g").options(after=future).submit()
    engine.claim("f")[0].fail("broken")
    assert engine.tasks.where(name="g").counts() == {"skipped": 1}


# -- tokens --------------------------------------------------------------------------------------------------------


def test_a_token_gives_the_claim_back_in_another_process(path, clock):
    with contextlib.closing(Engine(path, workers=0, clock=clock)) as engine:
        engine.submit("f", "x")
        (claim,) = engine.claim("f", lease=60)
        token = claim.token
    assert isinstance(token, str)
    clock.advance(20)
    with contextlib.closing(Engine(path, workers=0, clock=clock)) as engine:
        again = engine.claimed(token)
        assert (again.token, again.expires_at, again.task) == (token, 1060, claim.task)
        again.extend(100)
        again.release()
        assert engine.tasks.counts() == {"ready": 1}
        with pytest.raises(LeaseLost):
            engine.claimed(token)


def test_two_claims_of_one_token_are_one_claim(engine):
    engine.submit("f")
    (claim,) = engine.claim("f")
    engine.claimed(claim.token).succeed()
    with pytest.raises(LeaseLost):
        claim.succeed()


@pytest.mark.parametrize("token", ["", "x", "1", "1.", ".1", "1.x", "-1.1", "1.-1", "1.1.1", " 1.1", None, 5, b"1.1"])
def test_what_is_no_token_is_refused(engine, token):
    engine.submit("f")
    engine.claim("f")
    with pytest.raises((ValueError, TypeError), match="token"):
        engine.claimed(token)


@pytest.mark.parametrize("token", ["99.1", "1.2", "1.0", "0.0", f"{10**30}.{10**30}"])
def test_a_token_that_holds_nothing_is_lease_lost(engine, token):
    engine.submit("f")
    engine.claim("f")
    with pytest.raises(LeaseLost):
        engine.claimed(token)


# -- leases --------------------------------------------------------------------------------------------------------

VERBS = {
    "extend": lambda claim: claim.extend(60),
    "succeed": lambda claim: claim.succeed("late"),
    "succeed with a label": lambda claim: claim.succeed("late", status="bad"),
    "fail": lambda claim: claim.fail("late"),
    "fail for good": lambda claim: claim.fail("late", retry=False),
    "snooze": lambda claim: claim.snooze(5),
    "release": lambda claim: claim.release(),
}
LOSSES = {
    "time ran out": lambda engine, clock, claim: clock.advance(60),
    "claimed by another": lambda engine, clock, claim: (clock.advance(60), engine.claim("f", worker="other")),
    "succeeded": lambda engine, clock, claim: engine.claimed(claim.token).succeed(1),
    "failed": lambda engine, clock, claim: engine.claimed(claim.token).fail("x", retry=False),
    "to be retried": lambda engine, clock, claim: engine.claimed(claim.token).fail("x"),
    "snoozed": lambda engine, clock, claim: engine.claimed(claim.token).snooze(500),
    "released": lambda engine, clock, claim: engine.claimed(claim.token).release(),
    "released and claimed": lambda engine, clock, claim: (claim.release(), engine.claim("f")),
    "rerun": lambda engine, clock, claim: (claim.succeed(1), engine.tasks.where(name="f").rerun()),
    "rerun and claimed": lambda engine, clock, claim: (
        claim.succeed(1), engine.tasks.where(name="f").rerun(), engine.claim("f"),
    ),
    "deleted": lambda engine, clock, claim: (
        claim.fail("x", retry=False), engine.tasks.where(downstream_of=1).cancel(), engine.tasks.delete(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_claim_that_is_no_longer_held_is_lease_lost_and_changes_nothing(engine, clock, raw, verb, loss):
    future = engine.task("f", max_attempts=3, tags=["t"]).submit()
    engine.submit("below", future)
    (claim,) = engine.claim("f", lease=60)
    LOSSES[loss](engine, clock, claim)
    engine.claim("nobody")  # whoever comes by sees to it that time has moved what it moves
    before = everything(raw)
    with pytest.raises(LeaseLost) as caught:
        VERBS[verb](claim)
    assert (caught.value.task_id, f"{caught.value.task_id}.{caught.value.token}") == (future.id, claim.token)
    with pytest.raises(LeaseLost):
        engine.claimed(claim.token)
    assert everything(raw) == before


def test_a_claim_is_over_at_its_end_though_nobody_has_looked(engine, clock):
    future = engine.submit("f")
    (claim,) = engine.claim("f", lease=60)
    clock.advance(60)
    with pytest.raises(LeaseLost):
        claim.succeed("late")
    task = future.snapshot()
    assert (task.phase, task.result, task.finished_at) == ("ready", None, None)


def test_a_claim_lasts_to_its_end_and_no_longer(engine, clock):
    future = engine.submit("f")
    (claim,) = engine.claim("f", lease=60)
    clock.advance(59.9)
    assert engine.claim("f") == []
    assert engine.claimed(claim.token).task.id == future.id
    clock.advance(0.1)
    (second,) = engine.claim("f", worker="other")
    task = future.snapshot()
    assert (task.attempts, task.lapses, task.failures, task.worker) == (2, 1, 0, "other")
    assert [(a.number, a.outcome) for a in future.history()] == [(1, "lapsed"), (2, "running")]
    second.succeed()
    assert [(a.number, a.outcome) for a in future.history()] == [(1, "lapsed"), (2, "succeeded")]


def test_priority_goes_before_what_was_tried_already_of_whatever_name(engine):
    tried = engine.task("tried", max_attempts=9, backoff=taskcore.constant(0), retry_first=True)
    tried.submit()
    engine.claim("tried")[0].fail("x")
    most = engine.task("urgent").options(priority=6).submit()
    more = tried.options(priority=5).submit()
    tried.options(priority=-5).submit()
    assert engine.claim("urgent", "tried")[0].task.id == most.id
    assert [engine.claim("tried")[0].task.id for _ in range(3)] == [more.id, 1, 4]


def test_a_lapse_is_told_once_and_the_last_one_fails_the_task(engine, clock):
    future = engine.task("f", max_lapses=1).submit()
    below = engine.submit("g", future)
    told = []
    future.add_done_callback(told.append)
    for _ in range(2):
        assert len(engine.claim("f", lease=10)) == 1
        clock.advance(10)
    engine.claim()
    engine.claim()
    task = future.snapshot()
    assert (task.phase, task.attempts, task.lapses, task.failures) == ("failed", 2, 2, 0)
    heard(told, [future])
    assert below.snapshot().phase == "skipped"
    assert [a.outcome for a in future.history()] == ["lapsed", "lapsed"]
    with pytest.raises(TaskFailed, match="lease"):
        future.result()


def test_a_claim_goes_on_when_the_process_that_made_it_has_ended(path, clock):
    with contextlib.closing(Engine(path, clock=clock, executor=InlineExecutor())) as engine:
        future = engine.submit("robot")
        (claim,) = engine.claim("robot", lease=60)
        assert engine.run() == {"running": 1}
    with contextlib.closing(Engine(path, clock=clock, executor=InlineExecutor())) as engine:
        engine.task(lambda: "by itself", name="robot")
        clock.advance(59)
        assert engine.future(future.id).snapshot().phase == "running"
        engine.claimed(claim.token).succeed("by the robot")
        assert engine.future(future.id).result() == "by the robot"


def test_a_running_engine_takes_what_a_silent_worker_left(path, clock):
    with contextlib.closing(Engine(path, clock=clock, executor=InlineExecutor())) as engine:
        future = engine.submit("robot")
        engine.claim("robot", lease=60)
        engine.task(lambda: "by itself", name="robot")
        clock.advance(60)
        assert engine.run() == {"succeeded": 1}
        assert (future.result(), future.snapshot().lapses) == ("by itself", 1)


# -- with the scheduler --------------------------------------------------------------------------------------------


def test_what_the_scheduler_has_is_not_claimed_and_the_other_way_round(path):
    with contextlib.closing(Engine(path, workers=1)) as engine:
        inside, go = threading.Event(), threading.Event()

        @engine.task
        def gate():
            inside.set()
            assert go.wait(PATIENCE)
            return "ran"

        future = gate.submit()
        assert inside.wait(PATIENCE)
        assert engine.claim("gate") == []
        elsewhere = engine.submit("robot")
        (claim,) = engine.claim()
        assert claim.task.id == elsewhere.id
        go.set()
        assert future.result(PATIENCE) == "ran"
        claim.succeed("done")
        assert elsewhere.result(PATIENCE) == "done"


def test_a_task_held_by_a_token_cannot_be_ended_by_a_bodys_late_report(path, clock):
    with contextlib.closing(Engine(path, clock=clock, executor=InlineExecutor())) as engine:
        seen = []

        @engine.task
        def body():
            run = taskcore.current()
            seen.append(engine.claim("body"))
            return run.task.attempts

        assert body.submit().result() == 1
        assert seen == [[]]


# -- cancelling ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "report, phase",
    [
        (lambda claim, clock: claim.fail("x"), "cancelled"),
        (lambda claim, clock: claim.snooze(5), "cancelled"),
        (lambda claim, clock: claim.release(), "cancelled"),
        (lambda claim, clock: clock.advance(60), "cancelled"),
        (lambda claim, clock: claim.succeed("done"), "succeeded"),
        (lambda claim, clock: claim.succeed("done", status="good"), "succeeded"),
        (lambda claim, clock: claim.succeed("done", status="bad"), "failed"),
    ],
    ids=["retry", "snooze", "release", "lapse", "succeed", "good", "bad"],
)
def test_a_request_to_cancel_wins_over_all_but_a_result(engine, clock, report, phase):
    future = engine.task("f", max_attempts=9).submit()
    (claim,) = engine.claim("f", lease=60)
    assert future.cancel("not needed") is False
    task = engine.claimed(claim.token).task
    assert (task.phase, task.cancel_requested_at) == ("running", 1000)
    report(claim, clock)
    engine.claim("nobody")
    task = future.snapshot()
    assert task.phase == phase
    assert task.finished_at is not None
    if phase == "cancelled":
        with pytest.raises(CancelledError):
            future.result()
    else:
        assert task.result == "done"


def test_a_cancelled_task_that_is_rerun_is_not_cancelled_again(engine):
    future = engine.submit("f")
    (claim,) = engine.claim("f")
    future.cancel()
    claim.release()
    again = future.rerun()
    (claim,) = engine.claim("f")
    assert claim.task.cancel_requested_at is None
    claim.fail("x", retry=False)
    assert again.snapshot().phase == "failed"
