"""Jobs and parents: children and job in one commit, how a job opens, ends and is opened again, and the verbs that reach
what is below it."""

import base64
import contextlib
import json
import pickle
import threading
from concurrent.futures import CancelledError
from concurrent.futures import wait as wait_for_all

import pytest

import taskcore
from taskcore import (
    DependencyCycle,
    Engine,
    InvalidTransition,
    KeyConflict,
    TaskFailed,
    TaskNotFound,
    TaskSkipped,
    UnknownStatus,
    constant,
)
from taskcore.testing import InlineExecutor, ManualClock
from tests.support.processes import heard

LONG = 1e9
"""A lease that never ends."""

PATIENCE = 10  # seconds that a healthy engine never needs


class Ouch(Exception):
    """What a test raises itself."""


def claim(engine, name):
    """The one claim there is of this name."""
    (claim,) = engine.claim(name, lease=LONG)
    return claim


def end(engine, *names):
    """The next task of each of these names succeeds."""
    for name in names:
        engine.claim(name, lease=LONG)[0].succeed()


def fail(engine, name):
    engine.claim(name, lease=LONG)[0].fail("broke", retry=False)


def phases(*tasks):
    return [task.snapshot().phase for task in tasks]


def ready(engine):
    return [task.name for task in engine.tasks.where(phase="ready")]


@pytest.fixture
def job(engine):
    """An open job with two children, `a` and `b`."""
    with engine.job("night") as job:
        engine.submit("a")
        engine.submit("b")
    return job


# -- the block -----------------------------------------------------------------------------------------------------


def test_a_job_and_its_children_are_stored_in_one_commit(engine, raw):
    with engine.job("night 12") as job:
        children = [engine.submit("a"), engine.task("b").options(delay=5, tags=["x"]).submit(1)]
        assert raw("SELECT id FROM taskcore_task") == []
        assert phases(job, *children) == ["suspended", "ready", "scheduled"]
    assert raw("SELECT id, parent, phase FROM taskcore_task") == [
        {"id": job.id, "parent": None, "phase": "suspended"},
        {"id": children[0].id, "parent": job.id, "phase": "ready"},
        {"id": children[1].id, "parent": job.id, "phase": "scheduled"},
    ]
    row = job.snapshot()
    assert (row.name, row.waiting_for, row.progress, row.result) == ("night 12", "children", 0.0, None)
    assert [task.id for task in engine.tasks.where(parent=job)] == [child.id for child in children]


def test_what_is_submitted_after_the_block_is_no_child(engine):
    with engine.job("night"):
        inside = engine.submit("a")
    outside = engine.submit("b")
    assert inside.snapshot().parent_id == 1
    assert outside.snapshot().parent_id is None


def test_a_thousand_children_by_map_and_in_the_block(engine):
    with engine.job("night") as job:
        results = engine.map("a", range(1000))
        for n in range(1000):
            engine.submit("b", n)
    assert engine.tasks.where(parent=job).counts() == {"ready": 2000}
    assert len(engine.tasks.where(parent=job, name="a")) == 1000
    del results


def test_an_exception_in_the_block_stores_nothing(engine, raw):
    with pytest.raises(Ouch), engine.job("night") as job:
        child = engine.submit("a")
        raise Ouch
    assert raw("SELECT 1 FROM taskcore_task") == []
    for gone in (job, child):
        assert gone.cancelled()
        with pytest.raises(CancelledError):
            gone.result()
    with engine.job("night") as again:
        pass
    assert again.result() == {}


def test_an_exception_in_a_block_inside_another_stores_nothing_of_the_inner_one(engine):
    with engine.job("outer") as outer:
        engine.submit("a")
        with pytest.raises(Ouch), engine.job("inner") as inner:
            gone = engine.submit("b")
            raise Ouch
        child = engine.submit("c")
    assert engine.tasks.where(parent=outer).counts() == {"ready": 2}
    assert child.snapshot().parent_id == outer.id
    for handle in (inner, gone):
        with pytest.raises(TaskNotFound):
            handle.snapshot()
    end(engine, "a", "c")
    assert outer.result() == {"succeeded": 2}


def test_a_block_inside_a_transaction_whose_exception_is_caught_outside_of_it_stores_nothing_of_its_own(engine, raw):
    with engine.transaction() as db:
        db.execute("CREATE TABLE mine (x)")
        before = engine.submit("before")
        with contextlib.suppress(Ouch), engine.job("night", serial="s", key="k"):
            engine.task("a").options(after=before, tags=["x"], key="k", serial="t").submit()
            db.execute("INSERT INTO mine VALUES (1)")
            raise Ouch
        after = engine.submit("after")
    assert [task.name for task in engine.tasks] == ["before", "after"]
    assert phases(before, after) == ["ready", "ready"]
    for table in ("mine", "taskcore_edge", "taskcore_tag", "taskcore_key", "taskcore_queue", "taskcore_tally"):
        assert raw(f"SELECT * FROM {table}") == [], table
    with engine.job("night", key="k", serial="s") as night:
        engine.submit("a")
    assert phases(night) == ["suspended"]


def test_a_block_inside_a_transaction_that_is_rolled_back_stores_nothing(engine, raw):
    with contextlib.suppress(Ouch), engine.transaction():
        with engine.job("night") as job:
            engine.submit("a")
        raise Ouch
    assert raw("SELECT 1 FROM taskcore_task") == []
    assert job.cancelled()


def test_a_block_inside_a_transaction_is_committed_with_it(engine, raw):
    with engine.transaction():
        with engine.job("night") as job:
            child = engine.submit("a")
        assert raw("SELECT 1 FROM taskcore_task") == []
        outside = engine.submit("b")
    assert [task.parent_id for task in engine.tasks] == [None, job.id, None]
    assert phases(job, child, outside) == ["suspended", "ready", "ready"]


def test_no_result_is_waited_for_inside_the_block(engine):
    done = engine.submit("a")
    end(engine, "a")
    with engine.job("night") as job:
        child = engine.submit("b")
        for handle in (job, child, done):
            with pytest.raises(RuntimeError, match="inside"):
                handle.result()
    assert done.result() is None


def test_a_job_without_children_succeeds_at_once(engine):
    with engine.job("night") as job:
        assert phases(job) == ["suspended"]
    row = job.snapshot()
    assert (row.phase, row.result, row.progress, row.finished_at, row.attempts) == ("succeeded", {}, 1.0, 1000.0, 0)
    assert job.result() == {}


def test_a_job_of_which_all_children_are_skipped_at_once_ends_with_its_block(engine):
    broken = engine.submit("a")
    broken.cancel()
    with engine.job("night") as job:
        engine.task("b").options(after=broken).submit()
    assert job.result() == {"skipped": 1}


def test_a_block_is_entered_once(engine):
    scope = engine.job("night")
    with scope, pytest.raises(RuntimeError, match="once"), scope:
        pass
    with pytest.raises(RuntimeError, match="once"), scope:
        pass


@pytest.mark.parametrize(
    "option",
    [
        {"max_attempts": 2}, {"backoff": constant(1)}, {"retry_on": (OSError,)}, {"timeout": 5}, {"max_lapses": 0},
        {"retry_first": True}, {"failed_status": "bad"}, {"avoid_failed_worker": True},
    ],
)  # fmt: skip
def test_options_that_only_a_body_can_have_are_refused(engine, option):
    with pytest.raises(TypeError, match=next(iter(option))):
        engine.job("night", **option)


def test_bad_words_are_refused_with_nothing_stored(engine):
    for bad in ({"failures": "sometimes"}, {"priority": 1001}, {"serial": ""}, {"key": ""}, {"delay": -1}):
        with pytest.raises(ValueError):
            engine.job("night", **bad)
    for bad in ({"colour": "red"}, {"key": 5}, {"after": "a"}):
        with pytest.raises(TypeError):
            engine.job("night", **bad)
    for name, error in (("", ValueError), (5, TypeError), (None, TypeError)):
        with pytest.raises(error):
            engine.job(name)
    with pytest.raises(TaskNotFound), engine.job("night", after=99):
        pass
    with pytest.raises(TaskNotFound), engine.job("night", parent=99):
        pass
    with pytest.raises(UnknownStatus), engine.job("night", after=engine.submit("a"), on="unheard of"):
        pass
    assert engine.tasks.counts() == {"ready": 1}


def test_a_job_is_claimed_by_nobody(engine, job):
    assert [claim.task.name for claim in engine.claim(n=10)] == ["a", "b"]
    assert engine.claim("night", n=10) == []


def test_a_job_has_tags_priority_and_may_be_hidden_as_other_tasks(engine):
    with engine.job("night", tags=["dark"], priority=7, hidden=True) as job:
        engine.submit("a")
    row = engine.tasks.where(tag="dark").first()
    assert (row.id, row.priority, row.hidden) == (job.id, 7, True)


def test_what_must_wait_for_a_job_may_be_named_by_it(engine):
    later = engine.submit("later")
    with engine.job("night", before=later) as job:
        assert phases(later) == ["waiting"]
        engine.submit("a")
    assert phases(job, later) == ["suspended", "waiting"]
    end(engine, "a")
    assert phases(job, later) == ["succeeded", "ready"]


# -- its end -------------------------------------------------------------------------------------------------------


def test_a_job_ends_with_its_last_child_and_its_result_is_the_counts(engine, clock, job):
    end(engine, "a")
    assert phases(job) == ["suspended"]
    clock.advance(5)
    end(engine, "b")
    row = job.snapshot()
    assert (row.phase, row.result, row.finished_at) == ("succeeded", {"succeeded": 2}, 1005.0)
    assert job.result() == {"succeeded": 2}


def test_the_last_child_and_its_job_end_in_one_commit(engine, job):
    seen, told = [], engine._file.on_commit
    engine._file.on_commit = lambda tx: (told(tx), seen.append(engine.tasks.counts()))
    end(engine, "a", "b")
    assert seen[-1] == {"succeeded": 3}
    assert all(counts.get("succeeded", 0) != 2 for counts in seen)


def test_a_job_fails_when_a_child_has_failed_for_good_and_not_before_all_have_ended(engine, clock):
    with engine.job("night") as job:
        retried = engine.task("a", max_attempts=2, backoff=constant(10)).submit()
        engine.submit("b")
    claim(engine, "a").fail("broke")
    assert phases(job, retried) == ["suspended", "scheduled"]
    clock.advance(10)
    claim(engine, "a").fail("broke")
    assert phases(job, retried) == ["suspended", "failed"]
    end(engine, "b")
    row = job.snapshot()
    assert (row.phase, row.result) == ("failed", {"failed": 1, "succeeded": 1})
    assert (row.failures, row.last_error) == (0, "1 of 2 children failed")


def test_a_failed_job_raises_with_its_counts(engine, job):
    fail(engine, "a")
    end(engine, "b")
    with pytest.raises(TaskFailed) as failed:
        job.result()
    error = failed.value
    assert (error.task_id, error.status, error.result) == (job.id, "failed", {"failed": 1, "succeeded": 1})
    assert "1 of 2 children failed" in str(error)


def test_failures_may_be_ignored(engine):
    with engine.job("night", failures="ignore") as job:
        engine.submit("a")
        engine.submit("b")
    fail(engine, "a")
    end(engine, "b")
    assert (job.result(), job.snapshot().last_error) == ({"failed": 1, "succeeded": 1}, None)


def test_children_that_were_cancelled_or_skipped_are_no_failures(engine):
    with engine.job("night") as job:
        first = engine.submit("a")
        engine.task("b").options(after=first).submit()
        engine.submit("c")
    assert first.cancel()
    end(engine, "c")
    assert job.result() == {"cancelled": 1, "skipped": 1, "succeeded": 1}


def test_the_counts_are_by_status_and_a_label_of_phase_failed_fails_the_job(engine):
    with engine.job("night") as job:
        for name in "abc":
            engine.submit(name)
    claim(engine, "a").succeed(status="good")
    claim(engine, "b").succeed(status="bad")
    end(engine, "c")
    row = job.snapshot()
    assert (row.phase, row.result) == ("failed", {"bad": 1, "good": 1, "succeeded": 1})


def test_a_child_lost_for_good_ends_its_job(engine, clock):
    with engine.job("night") as job:
        engine.task("a", max_lapses=0).submit()
    engine.claim("a", lease=10)
    clock.advance(10)
    engine.claim("nobody")
    assert job.snapshot().result == {"failed": 1}


def test_progress_is_ended_over_children_and_1_only_at_the_end(engine):
    with engine.job("night") as job:
        children = [engine.submit("a") for _ in range(4)]
    seen = [job.snapshot().progress]
    for child in children:
        assert job.snapshot().progress < 1
        end(engine, "a")
        seen.append(job.snapshot().progress)
        assert child.done()
    assert seen == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_progress_is_below_1_as_long_as_a_job_has_not_ended_though_all_its_children_have(engine):
    with engine.job("night", delay=10) as job:
        engine.submit("a").cancel()
        engine.submit("b")
    engine.tasks.where(name="b").cancel()
    assert phases(job) == ["scheduled"]
    assert 0 < job.snapshot().progress < 1


def test_of_two_jobs_one_ends_when_its_chained_tasks_end_and_the_other_is_untouched(engine):
    with engine.job("one") as one:
        engine.task("b").options(after=engine.submit("a")).submit()
    with engine.job("two") as two:
        engine.submit("c")
    before = two.snapshot()
    end(engine, "a")
    assert phases(one) == ["suspended"]
    end(engine, "b")
    assert phases(one) == ["succeeded"]
    assert two.snapshot() == before


def test_a_body_that_raises_closes_its_job(inline):
    def body():
        raise ValueError("no")

    with inline.job("night") as job:
        child = inline.task(body).submit()
    inline.run()
    assert phases(job, child) == ["failed", "failed"]
    assert "ValueError: no" in child.history()[0].traceback


def test_jobs_run_to_their_end_by_themselves(inline):
    body = inline.task(lambda n: n, name="body")
    with inline.job("night") as job:
        children = [body.submit(n) for n in range(50)]
    assert job.result() == {"succeeded": 50}
    assert [child.result() for child in children] == list(range(50))
    assert inline.run() == {"succeeded": 51}


def test_jobs_run_to_their_end_by_threads_and_every_handle_is_told(path):
    with contextlib.closing(Engine(path, workers=2)) as engine:
        body = engine.task(lambda n: n, name="body")
        jobs = []
        for n in range(20):
            with engine.job("night") as job:
                for m in range(n):
                    body.submit(m)
            jobs.append(job)
        assert not wait_for_all(jobs, timeout=30).not_done
        assert [job.result() for job in jobs] == [{"succeeded": n} if n else {} for n in range(20)]


def test_the_handle_of_a_job_calls_back_when_it_ends(engine, job):
    called = []
    job.add_done_callback(called.append)
    end(engine, "a")
    assert called == []
    end(engine, "b")
    assert job.done()
    heard(called, [job])


def test_how_a_job_ended_is_known_after_a_restart(path, clock, engine, job):
    fail(engine, "a")
    end(engine, "b")
    engine.close()
    with contextlib.closing(Engine(path, workers=0, clock=clock)) as again:
        with pytest.raises(TaskFailed) as failed:
            again.future(job.id).result()
        assert failed.value.result == {"failed": 1, "succeeded": 1}


# -- jobs below jobs -----------------------------------------------------------------------------------------------


def test_a_job_ends_only_when_what_is_below_its_children_has_ended_too(engine):
    with engine.job("outer") as outer:
        with engine.job("inner") as inner:
            engine.submit("a")
        engine.submit("b")
    assert inner.snapshot().parent_id == outer.id
    end(engine, "b")
    assert phases(outer, inner) == ["suspended", "suspended"]
    end(engine, "a")
    assert phases(outer, inner) == ["succeeded", "succeeded"]
    assert (outer.result(), inner.result()) == ({"succeeded": 2}, {"succeeded": 1})


def test_a_failed_inner_job_is_a_failed_child(engine):
    with engine.job("outer") as outer, engine.job("middle", failures="ignore") as middle, engine.job("inner") as inner:
        engine.submit("a")
    fail(engine, "a")
    assert phases(outer, middle, inner) == ["succeeded", "succeeded", "failed"]
    assert middle.result() == {"failed": 1}


def test_only_direct_children_are_counted(engine):
    with engine.job("outer") as outer:
        body = engine.submit("a")
    engine.task("b").options(parent=body).submit()
    end(engine, "a")
    assert phases(outer) == ["suspended"]
    assert outer.snapshot().progress == 0.0
    fail(engine, "b")
    assert outer.result() == {"succeeded": 1}


def test_an_empty_inner_job_ends_at_once_and_the_outer_one_with_its_block(engine):
    with engine.job("outer") as outer:
        with engine.job("inner") as inner:
            pass
        assert phases(outer, inner) == ["suspended", "succeeded"]
    assert outer.result() == {"succeeded": 1}


def test_a_hundred_jobs_each_inside_the_other_end_together_and_are_opened_together(engine):
    with contextlib.ExitStack() as blocks:
        outer, *_ = [blocks.enter_context(engine.job("deep")) for _ in range(100)]
        task = engine.submit("a")
    assert engine.tasks.where(name="deep").counts() == {"suspended": 100}
    end(engine, "a")
    assert engine.tasks.counts() == {"succeeded": 101}
    task.rerun()
    assert engine.tasks.where(name="deep").counts() == {"suspended": 100}
    assert engine.tasks.where(id=outer).pause() == 101
    later = engine.task("b").options(parent=task).submit()
    assert phases(later) == ["paused"]
    assert engine.tasks.where(id=outer).cancel() == 102


# -- as upstream ---------------------------------------------------------------------------------------------------


def test_what_comes_after_a_job_begins_when_the_job_has_succeeded(engine, job):
    after = engine.task("after").options(after=job).submit()
    end(engine, "a")
    assert phases(after) == ["waiting"]
    end(engine, "b")
    assert phases(job, after) == ["succeeded", "ready"]


def test_what_comes_after_a_failed_job_is_skipped_with_a_reason_that_names_it(engine, job):
    after = engine.task("after").options(after=job).submit()
    anyway = engine.task("anyway").options(after=job, on="finished").submit()
    rescue = engine.task("rescue").options(after=job, on="failed").submit()
    fail(engine, "a")
    end(engine, "b")
    assert phases(job, after, anyway, rescue) == ["failed", "skipped", "ready", "ready"]
    assert after.snapshot().last_error == f"#{job.id} is failed, not succeeded (1 of 2 children failed)"


def test_what_wants_a_job_to_be_open_begins_when_it_opens(engine):
    first = engine.submit("first")
    with engine.job("night", after=first) as job:
        engine.submit("a")
    beside = engine.task("beside").options(after=job, on="suspended").submit()
    assert phases(job, beside) == ["waiting", "waiting"]
    end(engine, "first")
    assert phases(job, beside) == ["suspended", "ready"]


def test_a_job_as_an_argument_gives_its_counts(inline):
    body = inline.task(lambda n: n, name="body")
    with inline.job("night") as job:
        body.submit(1)
        body.submit(2)
    total = inline.task(lambda counts: counts["succeeded"], name="total").submit(job)
    assert total.result() == 2


class Pickled:
    """A codec whose text is no JSON."""

    @staticmethod
    def encode(value):
        return "p" + base64.b64encode(pickle.dumps(value)).decode()

    @staticmethod
    def decode(text):
        assert text[0] == "p", text
        return pickle.loads(base64.b64decode(text[1:]))  # noqa: S301 - it is a test's own


def test_the_counts_of_a_job_come_through_a_codec_of_ones_own(path, clock):
    with contextlib.closing(Engine(path, executor=InlineExecutor(), clock=clock, codec=Pickled())) as engine:
        good, bad = engine.task(lambda: {1, 2}, name="good"), engine.task(lambda: 1 / 0, name="bad")
        with engine.job("night") as job:
            good.submit()
        with engine.job("bad night") as broken:
            bad.submit()
        got = engine.task(lambda counts, value: (counts, value), name="got").submit(job, good.submit())
        dropped = engine.task(lambda counts: counts, name="dropped").options(otherwise="drop").submit(broken)
        failed = engine.task(lambda counts: counts, name="failed").options(on="finished").submit(broken)
        assert job.result() == job.snapshot().result == {"succeeded": 1}
        assert engine.future(job.id).result() == {"succeeded": 1}
        assert got.result() == ({"succeeded": 1}, {1, 2})
        assert dropped.result() is None
        assert failed.result() == {"failed": 1}
        with pytest.raises(TaskFailed) as error:
            broken.result()
        assert error.value.result == {"failed": 1}


def test_a_child_cannot_wait_for_a_job_that_it_is_part_of(engine):
    with engine.job("outer") as outer, engine.job("inner") as inner:
        child = engine.submit("a")
        for job in (outer, inner):
            with pytest.raises(DependencyCycle):
                engine.task("b").options(after=job).submit()
    for job in (outer, inner):
        with pytest.raises(DependencyCycle):
            engine.task("b").options(after=job, parent=inner).submit()
        with pytest.raises(DependencyCycle):
            child.depends_on(job)
    with pytest.raises(InvalidTransition):
        inner.depends_on(outer)
    assert engine.tasks.counts() == {"suspended": 2, "ready": 1}


def test_a_child_cannot_wait_for_what_waits_for_a_job_that_it_is_part_of(engine):
    with engine.job("outer") as outer, engine.job("inner") as inner:
        child = engine.submit("a")
    after = engine.task("after").options(after=outer).submit()
    further = engine.task("further").options(after=after, on="finished").submit()
    before = engine.tasks.counts()
    for upstream in (after, further):
        for parent in (outer, inner, child):
            with pytest.raises(DependencyCycle):
                engine.task("b").options(after=upstream, parent=parent).submit()
        with pytest.raises(DependencyCycle):
            child.depends_on(upstream)
    with pytest.raises(DependencyCycle), engine.transaction():
        last = engine.task("last").options(after=further).submit()
        engine.task("b").options(after=last, parent=inner).submit()
    assert engine.tasks.counts() == before
    assert child.dependencies() == []
    engine.task("b").options(after=child, parent=inner).submit()
    end(engine, "a", "b", "after", "further")
    assert engine.tasks.counts() == {"succeeded": 6}


def test_a_job_cannot_wait_for_what_is_below_it(engine):
    with engine.job("outer", delay=50) as outer, engine.job("inner") as inner:
        child = engine.submit("a")
    below = engine.task("b").options(after=child).submit()
    for upstream in (inner, child, below):
        with pytest.raises(DependencyCycle):
            outer.depends_on(upstream)
    for parent in (outer, inner):
        with pytest.raises(DependencyCycle):
            engine.task("c").options(parent=parent, before=outer).submit()
    assert outer.dependencies() == []
    assert len(engine.tasks) == 4


# -- children that come later --------------------------------------------------------------------------------------


def test_a_child_is_given_to_a_job_by_handle_row_or_id(engine, job):
    for parent in (job, job.snapshot(), job.id):
        engine.task("c").options(parent=parent).submit()
    assert len(engine.tasks.where(parent=job)) == 5
    end(engine, "a", "b", "c", "c")
    assert phases(job) == ["suspended"]
    end(engine, "c")
    assert job.result() == {"succeeded": 5}


def test_a_child_of_no_task_is_refused(engine):
    with pytest.raises(TaskNotFound):
        engine.task("a").options(parent=99).submit()
    with pytest.raises(TaskNotFound), engine.job("night") as job:
        engine.task("a").options(parent=job.id + 1).submit()
    assert len(engine.tasks) == 0


def test_a_child_under_an_ended_job_opens_it_again(engine, clock, job):
    end(engine, "a", "b")
    assert job.result() == {"succeeded": 2}
    clock.advance(5)
    child = engine.task("c").options(parent=job).submit()
    row = job.snapshot()
    assert (row.phase, row.finished_at, row.result, row.waiting_for) == ("suspended", None, None, "children")
    assert row.progress == 2 / 3
    assert job.result() == {"succeeded": 2}, "a resolved future keeps its outcome"
    fail(engine, "c")
    assert phases(job, child) == ["failed", "failed"]
    with pytest.raises(TaskFailed) as failed:
        engine.future(job.id).result()
    assert failed.value.result == {"failed": 1, "succeeded": 2}


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_a_job_that_ended_otherwise_is_opened_again_too(engine, job, how):
    if how == "failed":
        fail(engine, "a")
        end(engine, "b")
    else:
        assert job.cancel("enough")
    assert phases(job) == [how]
    engine.task("c").options(parent=job).submit()
    row = job.snapshot()
    assert (row.phase, row.cancel_requested_at, row.last_error) == ("suspended", None, None)
    end(engine, "c")
    assert phases(job) == ["failed" if how == "failed" else "succeeded"]


def test_a_new_child_opens_all_ended_jobs_above(engine):
    with engine.job("outer") as outer, engine.job("inner") as inner:
        body = engine.submit("a")
    end(engine, "a")
    assert phases(outer, inner) == ["succeeded", "succeeded"]
    engine.task("b").options(parent=body).submit()
    assert phases(outer, inner, body) == ["suspended", "suspended", "succeeded"]
    end(engine, "b")
    assert (engine.future(outer.id).result(), phases(inner)) == ({"succeeded": 1}, ["succeeded"])


def test_dependants_of_a_reopened_job_that_have_not_begun_wait_again(engine, job):
    unbegun, begun, over, paused = (engine.task(name).options(after=job).submit() for name in "wxyz")
    further = engine.task("further").options(after=over).submit()
    end(engine, "a", "b")
    claim(engine, "x")
    end(engine, "y")
    paused.pause()
    engine.task("c").options(parent=job).submit()
    assert phases(unbegun, begun, over, paused, further) == ["waiting", "running", "succeeded", "paused", "ready"]
    paused.resume()
    assert phases(paused) == ["waiting"]
    end(engine, "c")
    assert phases(unbegun, paused) == ["ready", "ready"]


def test_what_was_skipped_for_a_failed_job_stays_so_when_the_job_is_opened_again(engine, job):
    after = engine.task("after").options(after=job).submit()
    fail(engine, "a")
    end(engine, "b")
    engine.tasks.where(name="a").rerun()
    end(engine, "a")
    assert phases(job, after) == ["succeeded", "skipped"]
    after.rerun()
    assert phases(after) == ["ready"]


def test_with_the_key_of_an_existing_job_the_block_adds_to_it(engine):
    with engine.job("night", key="12", failures="ignore", tags=["first"]) as first:
        engine.task("a").options(key="x").submit(1)
    with engine.job("night", key="12", failures="fail", tags=["second"]) as second:
        assert second is first
        again = engine.task("a").options(key="x").submit(1)
        engine.submit("b")
    assert len(engine.tasks.where(parent=first)) == 2
    assert again.snapshot().parent_id == first.id
    assert engine.tasks.where(name="night").first().tags == ("first",)
    end(engine, "a")
    fail(engine, "b")
    assert first.result() == {"failed": 1, "succeeded": 1}


def test_adding_nothing_to_an_ended_job_leaves_it_as_it_is(engine):
    with engine.job("night", key="12") as job:
        engine.task("a").options(key="x").submit()
    end(engine, "a")
    before = job.snapshot()
    with engine.job("night", key="12"):
        engine.task("a").options(key="x").submit()
    assert job.snapshot() == before
    with engine.job("night", key="12"):
        engine.submit("b")
    assert phases(job) == ["suspended"]


def test_a_key_that_holds_while_unfinished_makes_a_new_job_after_the_end(engine):
    with engine.job("night", key="12", key_scope="unfinished") as first:
        engine.submit("a")
    with engine.job("night", key="12", key_scope="unfinished") as same:
        pass
    end(engine, "a")
    with engine.job("night", key="12", key_scope="unfinished") as second:
        engine.submit("a")
    assert (same.id, phases(first, second)) == (first.id, ["succeeded", "suspended"])


def test_a_new_child_of_a_job_whose_key_another_has_taken_does_not_take_it_back(engine):
    scope = {"key": "12", "key_scope": "unfinished"}
    with engine.job("night", **scope) as first:
        engine.submit("a")
    end(engine, "a")
    with engine.job("night", **scope) as second:
        engine.submit("b")
    engine.task("c").options(parent=first).submit()
    assert phases(first, second) == ["suspended", "suspended"]
    with engine.job("night", **scope) as found:
        pass
    assert found.id == second.id


def test_a_key_of_a_task_that_is_no_job_is_refused(engine):
    engine.task("night").options(key="12").submit()
    with pytest.raises(KeyConflict), engine.job("night", key="12"):
        engine.submit("a")
    assert engine.tasks.counts() == {"ready": 1}


# -- jobs that are not open ----------------------------------------------------------------------------------------


def family(engine, **options):
    """→ (job, child, inner job, its child) of a job with these options."""
    with engine.job("night", **options) as job:
        child = engine.submit("a")
        with engine.job("inner") as inner:
            below = engine.submit("b")
    return job, child, inner, below


def test_children_of_a_job_that_waits_for_another_task_wait_with_it(engine):
    first = engine.submit("first")
    job, child, inner, below = family(engine, after=first)
    assert phases(job, child, inner, below) == ["waiting"] * 4
    assert [task.snapshot().waiting_for for task in (job, child, inner, below)] == ["dependencies", "job", "job", "job"]
    later = [engine.task("c").options(parent=parent).submit() for parent in (job, inner)]
    assert phases(*later) == ["waiting", "waiting"]
    assert ready(engine) == ["first"]
    end(engine, "first")
    assert phases(job, child, inner, below, *later) == ["suspended", "ready", "suspended", "ready", "ready", "ready"]


def test_a_child_that_waits_for_its_job_waits_for_its_own_dependencies_too(engine):
    first = engine.submit("first")
    with engine.job("night", after=first):
        one = engine.submit("a")
        two = engine.task("b").options(after=one).submit()
        three = engine.task("c").options(delay=10).submit()
    end(engine, "first")
    assert phases(one, two, three) == ["ready", "waiting", "scheduled"]


def test_children_of_a_delayed_job_wait_with_it(engine, clock):
    job, child, inner, below = family(engine, delay=60)
    later = engine.task("c").options(parent=job).submit()
    assert phases(job, child, inner, below, later) == ["scheduled", "waiting", "waiting", "waiting", "waiting"]
    clock.advance(60)
    assert engine.claim("nobody") == []
    assert phases(job, child, inner, below, later) == ["suspended", "ready", "suspended", "ready", "ready"]


def test_a_job_after_another_job_and_its_children_do_not_begin_before_that_one_has_succeeded(engine, job):
    second, *children = family(engine, after=job)
    end(engine, "a")
    assert phases(second, *children) == ["waiting"] * 4
    end(engine, "b")
    assert phases(job, second, *children) == ["succeeded", "suspended", "ready", "suspended", "ready"]


def test_a_job_that_waits_and_whose_children_are_all_cancelled_ends_once_it_may_begin(engine):
    first = engine.submit("first")
    with engine.job("night", after=first) as job:
        child = engine.submit("a")
    assert child.cancel()
    assert phases(job) == ["waiting"]
    end(engine, "first")
    assert job.result() == {"cancelled": 1}


def test_a_job_skipped_because_its_upstream_failed_skips_all_below_it_also_what_is_paused(engine):
    first = engine.submit("first")
    job, child, inner, below = family(engine, after=first)
    below.pause()
    after = engine.task("after").options(after=child).submit()
    fail(engine, "first")
    assert phases(job, child, inner, below, after) == ["skipped"] * 5
    assert job.snapshot().last_error == f"#{first.id} is failed, not succeeded (broke)"
    assert child.snapshot().last_error == f"#{job.id} is skipped"
    with pytest.raises(TaskSkipped):
        job.result()


def test_a_new_child_of_a_job_that_can_never_open_is_skipped_as_it_is(engine):
    first = engine.submit("first")
    job, *_ = family(engine, after=first)
    first.cancel()
    child = engine.task("c").options(parent=job).submit()
    assert phases(job, child) == ["skipped", "skipped"]


def test_a_skipped_job_comes_back_with_its_children_once_its_upstream_was_put_right(engine):
    first = engine.submit("first")
    job, child, inner, below = family(engine, after=first)
    fail(engine, "first")
    first.rerun(downstream=True)
    assert phases(first, job, child, inner, below) == ["ready", "waiting", "waiting", "waiting", "waiting"]
    end(engine, "first")
    assert phases(job, child, inner, below) == ["suspended", "ready", "suspended", "ready"]


def test_a_job_waits_again_when_its_upstream_is_rerun_before_it_opened(engine, clock):
    first = engine.submit("first")
    job, child, *_ = family(engine, after=first, delay=60)
    end(engine, "first")
    assert phases(job, child) == ["scheduled", "waiting"]
    first.rerun()
    clock.advance(100)
    assert engine.claim("nobody") == []
    assert phases(job, child) == ["waiting", "waiting"]
    end(engine, "first")
    assert phases(job, child) == ["suspended", "ready"]


def test_an_open_job_goes_on_when_its_upstream_is_rerun(engine):
    first = engine.submit("first")
    job, child, *_ = family(engine, after=first)
    end(engine, "first")
    first.rerun()
    assert phases(job, child) == ["suspended", "ready"]
    fail(engine, "first")
    end(engine, "a", "b")
    assert phases(job) == ["succeeded"]


def test_a_job_that_was_open_is_open_again_when_it_is_resumed_whatever_was_rerun_meanwhile(engine):
    first = engine.submit("first")
    job, child, inner, below = family(engine, after=first)
    end(engine, "first")
    job.pause()
    later = engine.task("c").options(parent=job).submit()
    first.rerun()
    with pytest.raises(InvalidTransition):
        job.depends_on(engine.submit("other"))
    assert job.snapshot().waiting_for == "children"
    job.resume()
    assert phases(job, child, inner, below, later) == ["suspended", "ready", "suspended", "ready", "ready"]
    fail(engine, "first")
    assert phases(job, child) == ["suspended", "ready"]


def test_a_job_that_was_paused_before_it_opened_waits_on_when_it_is_resumed(engine):
    first = engine.submit("first")
    job, child, *_ = family(engine, after=first)
    job.pause()
    end(engine, "first")
    first.rerun()
    job.resume()
    assert phases(job, child) == ["waiting", "waiting"]
    end(engine, "first")
    assert phases(job, child) == ["suspended", "ready"]


def test_a_job_that_was_paused_before_it_opened_does_not_end_before_it_is_resumed(engine):
    first = engine.submit("first")
    job, *below = family(engine, after=first)
    job.pause()
    engine.tasks.where(parent=job).cancel()
    end(engine, "first")
    assert phases(job, *below) == ["paused", "cancelled", "cancelled", "cancelled"]
    job.resume()
    assert phases(job) == ["succeeded"]


def test_no_child_waits_for_ever_for_a_job_that_was_skipped_over_the_head_of_something_below(engine):
    first = engine.submit("first")
    with engine.job("night", after=first) as job:
        child = engine.submit("a")
    below = engine.task("b").options(parent=child).submit()
    fail(engine, "first")
    assert phases(job, child, below) == ["skipped", "skipped", "ready"]
    late = engine.task("late").options(parent=job).submit()
    assert phases(job, late) == ["skipped", "skipped"]
    assert engine.tasks.where(id=child).rerun() == 1
    assert phases(job, child) == ["skipped", "skipped"]
    end(engine, "b")
    first.rerun(downstream=True)
    end(engine, "first", "a", "late")
    assert engine.future(job.id).result() == {"succeeded": 2}


# -- cancel --------------------------------------------------------------------------------------------------------


def test_cancel_ends_a_job_and_all_below_it(engine):
    job, child, inner, below = family(engine)
    body = engine.task("c").options(parent=below).submit()
    child.pause()
    assert job.cancel("clouds")
    assert phases(job, child, inner, below, body) == ["cancelled"] * 5
    assert {task.last_error for task in engine.tasks} == {"clouds"}
    assert job.snapshot().result == {"cancelled": 2}
    with pytest.raises(CancelledError):
        job.result()


def test_cancel_counts_jobs_as_other_tasks(engine):
    family(engine)
    family(engine)
    assert engine.tasks.where(name="night").cancel() == 8
    assert engine.tasks.cancel() == 0


def test_cancel_of_a_job_with_running_children_is_a_request_and_it_ends_when_they_come_back(engine):
    job, child, inner, below = family(engine)
    one, two = claim(engine, "a"), claim(engine, "b")
    assert job.cancel("clouds") is False
    assert phases(job, child, inner, below) == ["suspended", "running", "suspended", "running"]
    assert all(task.snapshot().cancel_requested_at == 1000.0 for task in (job, child, inner, below))
    one.succeed(5)
    assert phases(job, child) == ["suspended", "succeeded"]
    two.fail("broke")
    assert phases(job, child, inner, below) == ["cancelled", "succeeded", "cancelled", "cancelled"]
    assert job.snapshot().result == {"cancelled": 1, "succeeded": 1}
    assert job.cancel()


@pytest.mark.parametrize("options", [{"delay": 60}, {"after": 1}, {"after": 1, "delay": 60}], ids=str)
def test_cancel_of_a_job_that_is_not_open(engine, options):
    engine.submit("first")
    job, *below = family(engine, **options)
    assert job.cancel()
    assert phases(job, *below) == ["cancelled"] * 4


def test_a_job_whose_upstream_is_cancelled_with_it_is_cancelled_and_not_skipped(engine):
    first = engine.submit("first")
    job, *below = family(engine, after=first)
    assert engine.tasks.cancel() == 5
    assert phases(first, job, *below) == ["cancelled"] * 5


def test_cancel_of_all_children_does_not_cancel_the_job(engine, job):
    assert engine.tasks.where(parent=job).cancel() == 2
    assert job.result() == {"cancelled": 2}


def test_shutdown_that_cancels_what_has_not_begun_asks_no_running_child_to_stop(path):
    engine, began, go = Engine(path, workers=1), threading.Event(), threading.Event()

    @engine.task
    def body():
        began.set()
        assert go.wait(PATIENCE)
        return taskcore.current().cancelled

    with engine.job("night") as job:
        running = body.submit()
        waiting = engine.submit("elsewhere")
    waiting.add_done_callback(lambda _: go.set())
    assert began.wait(PATIENCE)
    engine.shutdown(cancel_futures=True)
    assert (running.result(), waiting.cancelled(), job.result()) == (False, True, {"cancelled": 1, "succeeded": 1})


# -- pause and resume ----------------------------------------------------------------------------------------------


def test_pause_of_a_running_job_lets_bodies_finish_and_nothing_new_start_until_it_is_resumed(engine, clock):
    with engine.job("night") as job:
        for _ in range(4):
            engine.task("a", max_attempts=2, backoff=constant(1)).submit()
    one, two = engine.claim("a", n=2, lease=LONG)
    assert job.pause()
    one.succeed()
    two.fail("broke")
    clock.advance(10)
    assert engine.claim("a", n=10) == []
    assert engine.tasks.where(parent=job).counts() == {"succeeded": 1, "paused": 3}
    assert phases(job) == ["paused"]
    assert job.resume()
    claims = engine.claim("a", n=10, lease=LONG)
    assert len(claims) == 3
    for each in claims:
        each.succeed()
    assert job.result() == {"succeeded": 4}


@pytest.mark.parametrize("options", [{}, {"delay": 60}, {"after": 1}], ids=str)
def test_pause_reaches_all_below_also_what_comes_later_and_resume_lets_all_go(engine, clock, options):
    first = engine.submit("first")
    job, child, inner, below = family(engine, **options)
    before = phases(job, child, inner, below)
    assert engine.tasks.where(id=job).pause() == 4
    assert not job.pause()
    later = [engine.task("c").options(parent=parent, delay=5).submit() for parent in (job, inner, below)]
    with engine.job("new", parent=inner) as new:
        newest = engine.submit("d")
    assert phases(job, child, inner, below, *later, new, newest) == ["paused"] * 9
    end(engine, "first")
    clock.advance(100)
    assert engine.claim(n=10) == []
    assert engine.tasks.where(id=job).resume() == 9
    assert before[0] in ("suspended", "scheduled", "waiting")
    assert phases(job, child, inner, below, new) == ["suspended", "ready", "suspended", "ready", "suspended"]
    assert {claim.task.id for claim in engine.claim(n=10)} == {task.id for task in (child, below, *later, newest)}
    assert phases(first) == ["succeeded"]


def test_what_is_rerun_below_a_paused_job_is_paused(engine):
    job, child, inner, below = family(engine)
    deep = engine.task("c").options(parent=below).submit()
    end(engine, "a", "b", "c")
    late = engine.task("d").options(parent=job).submit()
    job.pause()
    for task in (child, deep):
        task.rerun()
    assert phases(job, child, inner, deep, late) == ["paused"] * 5
    assert phases(below) == ["succeeded"]
    job.resume()
    assert phases(job, child, inner, deep, late) == ["suspended", "ready", "suspended", "ready", "ready"]


def test_a_paused_job_whose_last_running_child_comes_back_ends(engine, job):
    one, two = engine.claim(n=2, lease=LONG)
    job.pause()
    one.succeed()
    two.succeed()
    assert phases(job) == ["succeeded"]
    assert not job.resume()


def test_what_a_body_submits_below_a_paused_job_is_paused(inline):
    def body():
        inline.future(1).pause()
        inline.submit("elsewhere")

    with inline.job("night") as job:
        inline.task(body).submit()
    inline.run()
    assert phases(job, inline.future(2), inline.future(3)) == ["paused", "succeeded", "paused"]


def test_a_child_may_be_resumed_by_itself(engine, job):
    job.pause()
    assert engine.tasks.where(name="a").resume() == 1
    end(engine, "a")
    assert phases(job) == ["paused"]
    engine.tasks.where(name="b").resume()
    end(engine, "b")
    assert job.result() == {"succeeded": 2}


def test_pause_of_a_body_does_not_reach_its_children(engine):
    body = engine.submit("a")
    child = engine.task("b").options(parent=body).submit()
    claim(engine, "a")
    assert body.pause()
    assert phases(body, child) == ["running", "ready"]


# -- rerun ---------------------------------------------------------------------------------------------------------


def test_rerun_of_an_ended_job_runs_all_its_children_again(engine, clock):
    with engine.job("night") as job:
        one = engine.submit("a")
        two = engine.task("b").options(after=one, tags=["x"]).submit(5)
        with engine.job("inner") as inner:
            three = engine.submit("c")
    fail(engine, "a")
    end(engine, "c")
    assert phases(job, one, two, inner, three) == ["failed", "failed", "skipped", "succeeded", "succeeded"]
    clock.advance(5)
    new = job.rerun()
    assert new.id == job.id
    assert phases(job, one, two, inner, three) == ["suspended", "ready", "waiting", "suspended", "ready"]
    rows = [task.snapshot() for task in (job, one, two, inner, three)]
    assert {row.failures for row in rows} == {0}
    assert {row.finished_at for row in rows} == {None}
    assert {row.submitted_at for row in rows} == {1000.0}
    assert (rows[0].progress, rows[0].last_error, rows[0].result) == (0.0, None, None)
    assert (rows[1].attempts, rows[2].tags, rows[2].args) == (1, ("x",), (5,))
    end(engine, "a", "b", "c")
    assert new.result() == {"succeeded": 3}


def test_a_selection_counts_all_that_run_again(engine):
    family(engine)
    end(engine, "a", "b")
    assert engine.tasks.where(name="night").rerun() == 4


def test_rerun_of_a_job_that_has_not_ended_is_refused(engine, job):
    end(engine, "a")
    with pytest.raises(InvalidTransition):
        job.rerun()
    assert engine.tasks.where(id=job).rerun() == 0
    assert engine.tasks.counts() == {"suspended": 1, "succeeded": 1, "ready": 1}


def test_rerun_of_a_job_leaves_what_a_body_of_it_had_made_to_that_body(engine):
    with engine.job("night") as job:
        body = engine.submit("a")
    made = engine.task("b").options(parent=body).submit()
    end(engine, "a", "b")
    job.rerun()
    assert phases(job, body, made) == ["suspended", "ready", "succeeded"]


def test_rerun_of_one_child_opens_its_job_again_and_leaves_the_others(engine, job):
    after = engine.task("after").options(after=job, otherwise="wait").submit()
    fail(engine, "a")
    end(engine, "b")
    assert phases(job, after) == ["failed", "waiting"]
    assert engine.tasks.where(parent=job, phase="failed").rerun() == 1
    assert phases(job) == ["suspended"]
    assert job.snapshot().progress == 0.5
    end(engine, "a")
    assert engine.future(job.id).result() == {"succeeded": 2}
    assert phases(after) == ["ready"]


def test_rerun_below_an_ended_body_opens_the_job_above_it(engine):
    with engine.job("night") as job:
        body = engine.submit("a")
    made = engine.task("b").options(parent=body).submit()
    end(engine, "a", "b")
    made.rerun()
    assert phases(job, body, made) == ["suspended", "succeeded", "ready"]


def test_rerun_of_a_job_and_of_a_child_at_once_counts_each_once(engine):
    job, *_ = family(engine)
    end(engine, "a", "b")
    assert engine.tasks.rerun() == 4
    end(engine, "a", "b")
    assert engine.future(job.id).result() == {"succeeded": 2}


def test_a_rerun_job_waits_for_its_upstream_if_that_is_no_longer_met(engine):
    first = engine.submit("first")
    job, child, *_ = family(engine, after=first)
    end(engine, "first", "a", "b")
    first.rerun()
    assert phases(job) == ["succeeded"]
    job.rerun()
    assert phases(job, child) == ["waiting", "waiting"]
    end(engine, "first")
    assert phases(job, child) == ["suspended", "ready"]


def test_rerun_of_a_cancelled_job_forgets_the_request(engine, job):
    job.cancel("clouds")
    job.rerun()
    end(engine, "a", "b")
    assert phases(job) == ["succeeded"]


def test_rerun_of_a_job_whose_key_another_has_taken_moves_nothing(engine):
    scope = {"key": "12", "key_scope": "unfinished"}
    with engine.job("night", **scope) as first:
        engine.submit("a")
    end(engine, "a")
    with engine.job("night", **scope) as second:
        engine.submit("b")
    assert engine.tasks.where(id=first).rerun() == 0
    assert phases(first, second) == ["succeeded", "suspended"]
    assert ready(engine) == ["b"]


def test_a_job_whose_key_is_being_cancelled_gets_a_job_behind_it(engine):
    scope = {"key": "12", "key_scope": "unfinished"}
    with engine.job("night", **scope) as first:
        engine.submit("a")
    (claim,) = engine.claim("a")
    first.cancel()
    with engine.job("night", **scope) as second:
        engine.submit("b")
    with engine.job("night", **scope) as third:
        engine.submit("c")
    assert third.id == second.id != first.id
    assert (phases(first, second), ready(engine)) == (["suspended", "waiting"], [])
    claim.release()
    assert (phases(first, second), ready(engine)) == (["cancelled", "suspended"], ["b", "c"])
    end(engine, "b", "c")
    assert phases(second) == ["succeeded"]


# -- rerun with what is downstream ---------------------------------------------------------------------------------


def test_skipped_dependants_come_back_with_what_they_were_skipped_for(engine):
    a = engine.submit("a")
    b = engine.task("b").options(after=a).submit()
    c = engine.task("c").options(after=b).submit()
    fail(engine, "a")
    assert phases(a, b, c) == ["failed", "skipped", "skipped"]
    new = a.rerun(downstream=True)
    assert (new.id, phases(a, b, c)) == (a.id, ["ready", "waiting", "waiting"])
    end(engine, "a", "b", "c")
    assert phases(a, b, c) == ["succeeded"] * 3


def test_of_a_branch_only_that_runs_again_which_depends_on_something_rerun(engine):
    bad, fine = engine.submit("bad"), engine.submit("fine")
    after_bad = engine.task("after bad").options(after=bad).submit()
    after_fine = engine.task("after fine").options(after=fine).submit()
    both = engine.task("both").options(after=[bad, fine], otherwise="drop").submit()
    below = engine.task("below").options(after=both).submit()
    end(engine, "fine", "after fine")
    fail(engine, "bad")
    end(engine, "both", "below")
    assert engine.tasks.where(phase="failed").rerun(downstream=True) == 4
    assert phases(bad, after_bad, both, below) == ["ready", "waiting", "waiting", "waiting"]
    assert phases(fine, after_fine) == ["succeeded", "succeeded"]
    assert after_fine.snapshot().attempts == 1


def test_what_runs_or_waits_downstream_is_left_as_it_is_and_what_is_below_it_runs_again(engine):
    a = engine.submit("a")
    running = engine.task("running").options(after=a).submit()
    end(engine, "a")
    claim(engine, "running")
    below = engine.task("below").options(after=running, on="running").submit()
    end(engine, "below")
    assert engine.tasks.where(id=a).rerun(downstream=True) == 2
    assert phases(a, running, below) == ["ready", "running", "ready"]


def test_without_downstream_what_was_skipped_or_has_succeeded_stays_so(engine):
    a, z = engine.submit("a"), engine.submit("z")
    skipped = engine.task("b").options(after=a).submit()
    done = engine.task("c").options(after=z).submit()
    fail(engine, "a")
    end(engine, "z", "c")
    assert engine.tasks.where(ids=[a, z]).rerun() == 2
    assert phases(a, z, skipped, done) == ["ready", "ready", "skipped", "succeeded"]


def test_downstream_goes_through_jobs_that_are_opened_again(engine, job):
    child = engine.tasks.where(name="a").first()
    after = engine.task("after").options(after=job).submit()
    fail(engine, "a")
    end(engine, "b")
    assert phases(job, after) == ["failed", "skipped"]
    assert engine.tasks.where(id=child).rerun(downstream=True) == 2
    assert phases(job, after) == ["suspended", "waiting"]
    assert ready(engine) == ["a"], "the job's other child has succeeded, and depends on nothing rerun"
    end(engine, "a")
    assert phases(job, after) == ["succeeded", "ready"]


def test_downstream_goes_through_the_children_of_jobs_that_run_again(engine):
    first = engine.submit("first")
    job, child, inner, below = family(engine, after=first)
    of_child = engine.task("c").options(after=child).submit()
    of_below = engine.task("d").options(after=below).submit()
    further = engine.task("e").options(after=of_below).submit()
    other = engine.submit("f")
    end(engine, "first", "a", "b", "c", "d", "e", "f")
    assert engine.tasks.where(id=first).rerun(downstream=True) == 8
    assert phases(first, job, child, inner, below, of_child, of_below, further) == ["ready"] + ["waiting"] * 7
    assert phases(other) == ["succeeded"]
    end(engine, "first", "a", "b", "c", "d", "e")
    assert engine.tasks.counts() == {"succeeded": 9}


def test_downstream_of_an_outer_job_whose_inner_child_is_rerun(engine):
    with engine.job("outer") as outer, engine.job("inner") as inner:
        engine.submit("a")
        engine.submit("b")
    after = engine.task("after").options(after=outer).submit()
    beside = engine.task("beside").options(after=inner).submit()
    fail(engine, "a")
    end(engine, "b")
    assert phases(outer, inner, after, beside) == ["failed", "failed", "skipped", "skipped"]
    assert engine.tasks.where(name="a").rerun(downstream=True) == 3
    assert phases(outer, inner, after, beside) == ["suspended", "suspended", "waiting", "waiting"]
    end(engine, "a")
    assert phases(outer, inner, after, beside) == ["succeeded", "succeeded", "ready", "ready"]


# -- in a body -----------------------------------------------------------------------------------------------------


def test_a_job_inside_a_body_is_a_child_and_a_step(path, clock):
    made, ran = [], []
    with contextlib.closing(Engine(path, executor=InlineExecutor(), clock=clock)) as engine:
        part = engine.task(lambda n: ran.append(n), name="part")

        def body():
            with engine.job("parts") as job:
                part.submit(1)
                part.submit(2)
            made.append(job.id)
            if len(made) < 3:
                raise OSError
            return taskcore.current().wait(job)

        whole = engine.task(body, max_attempts=3, backoff=constant(1)).submit()
        assert whole.result() == [{"succeeded": 2}]
        (job,) = engine.tasks.where(name="parts")
        assert made == [job.id] * len(made)
        assert (job.parent_id, sorted(ran)) == (whole.id, [1, 2])
        assert [task.parent_id for task in engine.tasks.where(name="part")] == [job.id, job.id]


def test_when_a_body_is_retried_only_what_failed_in_its_job_runs_again(path, clock):
    ran = []
    with contextlib.closing(Engine(path, executor=InlineExecutor(), clock=clock)) as engine:

        @engine.task
        def part(n):
            ran.append(n)
            if n == 2 and ran.count(2) == 1:
                raise OSError("the first time")
            return n

        @engine.task(max_attempts=2, backoff=constant(1))
        def whole():
            with engine.job("parts") as job:
                for n in range(4):
                    part.submit(n)
            return taskcore.current().wait(job)

        assert whole.submit().result() == [{"succeeded": 4}]
        assert sorted(ran) == [0, 1, 2, 2, 3]
        assert len(engine.tasks) == 6


def test_a_block_that_raises_inside_a_body_stores_nothing_and_is_made_again(path, clock):
    with contextlib.closing(Engine(path, executor=InlineExecutor(), clock=clock)) as engine:
        part = engine.task(lambda: None, name="part")
        runs = []

        @engine.task(max_attempts=2, backoff=constant(1))
        def whole():
            runs.append(1)
            with engine.job("parts") as job:
                part.submit()
                if len(runs) == 1:
                    raise OSError
            return taskcore.current().wait(job)

        assert whole.submit().result() == [{"succeeded": 1}]
        assert engine.tasks.counts() == {"succeeded": 3}


def test_a_body_that_is_killed_between_two_children_of_its_block_has_none_of_them(engine):
    whole = engine.submit("whole")
    with contextlib.suppress(Ouch), engine.job("parts", parent=whole):
        engine.submit("part")
        raise Ouch
    assert engine.tasks.counts() == {"ready": 1}


def test_a_body_is_a_parent_that_its_children_do_not_end(inline):
    def whole():
        inline.submit("elsewhere")
        return "made one"

    with inline.job("night") as job:
        task = inline.task(whole).submit()
    inline.run()
    assert phases(job, task) == ["suspended", "succeeded"]
    end(inline, "elsewhere")
    assert inline.future(job.id).result() == {"succeeded": 1}


# -- delete --------------------------------------------------------------------------------------------------------


def test_ended_children_stay_as_long_as_their_parent_has_not_ended(engine, job):
    end(engine, "a")
    assert engine.tasks.delete() == 0
    end(engine, "b")
    assert engine.tasks.where(name="a").delete() == 1
    assert engine.tasks.delete() == 2


def test_parents_stay_as_long_as_a_child_does(engine, job):
    end(engine, "a", "b")
    assert engine.tasks.where(id=job).delete() == 0
    assert engine.tasks.where(name=["night", "a"]).delete() == 1
    assert engine.tasks.where(name=["night", "b"]).delete() == 2


def test_an_ended_body_stays_as_long_as_something_below_it_has_not_ended(engine):
    body = engine.submit("a")
    child = engine.task("b").options(parent=body).submit()
    end(engine, "a")
    assert engine.tasks.delete() == 0
    child.cancel()
    assert engine.tasks.delete() == 2


def test_the_counts_of_a_job_outlast_its_children(engine, job):
    fail(engine, "a")
    end(engine, "b")
    assert engine.tasks.where(parent=job).delete() == 2
    assert job.snapshot().result == {"failed": 1, "succeeded": 1}


# -- what it costs -------------------------------------------------------------------------------------------------


def steps_of(engine, work):
    """How many instructions of SQLite's machine this takes."""
    connection, count = engine._file._connection, [0]

    def tick():
        count[0] += 1

    connection.set_progress_handler(tick, 1)
    try:
        work()
    finally:
        connection.set_progress_handler(None, 1)
    return count[0]


def big(size):
    """An engine, and an open job in it with so many children."""
    engine = Engine(":memory:", workers=0, clock=ManualClock(1000.0))
    with engine.job("night", key="12") as job:
        for n in range(size):
            engine.submit("a", n)
    return engine, job, engine.task("after").options(after=job).submit()


def add(engine):
    with engine.job("night", key="12"):
        engine.submit("b")


def costs(size):
    """Verb → what it costs in a job with so many children."""
    engine, job, after = big(size)
    one, two, three, four = engine.claim("a", n=4, lease=LONG)
    costs = {
        "succeed": steps_of(engine, one.succeed),
        "fail": steps_of(engine, lambda: two.fail("no", retry=False)),
        "ask to stop": steps_of(engine, lambda: engine.future(three.task.id).cancel()),
        "obey": steps_of(engine, three.release),
        "give back": steps_of(engine, four.release),
        "pause": steps_of(engine, lambda: engine.future(four.task.id).pause()),
        "resume": steps_of(engine, lambda: engine.future(four.task.id).resume()),
        "cancel": steps_of(engine, lambda: engine.future(four.task.id).cancel()),
        "rerun": steps_of(engine, engine.tasks.where(id=two.task.id).rerun),
        "add": steps_of(engine, lambda: engine.task("b").options(parent=job).submit()),
        "add by key": steps_of(engine, lambda: add(engine)),
    }
    engine.close()
    engine, job, after = big(size)
    *claims, last = engine.claim("a", n=size, lease=LONG)
    with engine.transaction():
        for claim in claims:
            claim.succeed()
    assert phases(job, after) == ["suspended", "waiting"]
    costs["the last one ends"] = steps_of(engine, last.succeed)
    assert phases(job, after) == ["succeeded", "ready"]
    costs["one more opens it again"] = steps_of(engine, lambda: engine.task("b").options(parent=job).submit())
    assert phases(job, after) == ["suspended", "waiting"]
    engine.close()
    return costs


def test_what_a_child_does_costs_the_same_in_a_job_of_ten_and_of_thousands():
    few, many = costs(10), costs(2_000)
    assert {verb: (few[verb], many[verb]) for verb in few if abs(many[verb] - few[verb]) > few[verb] / 50} == {}


def test_the_counts_are_read_as_json(engine, job, raw):
    end(engine, "a", "b")
    assert json.loads(raw("SELECT result FROM taskcore_task WHERE job IS NOT NULL")[0]["result"]) == {"succeeded": 2}
