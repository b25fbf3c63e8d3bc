"""`prune` and `keep`: what goes, what stays because something needs it, and that the file gets smaller."""

import contextlib
import itertools
import os
import sqlite3

import pytest

from taskcore import Engine, TaskNotFound
from taskcore.runtime.pruner import Pruning
from taskcore.store import retention
from taskcore.testing import InlineExecutor
from tests.support.rows import wrongs

DAY = 86400.0


def end(engine, verb="succeed", n=10_000):
    """Claim and end all that is ready."""
    for claim in engine.claim(n=n):
        claim.succeed() if verb == "succeed" else claim.fail("no", retry=False)


def ids(engine):
    return [task.id for task in engine.tasks]


def turns(pruning, clock, most=1000):
    """Let it work until it has nothing to do. → how many slices that took."""
    for n in range(1, most):
        pruning._rests_until = 0.0
        if pruning.turn(clock.now()) >= 1:
            return n
    raise AssertionError(f"still at it after {most} slices")


def test_what_ended_long_ago_is_deleted_and_the_rest_stays(engine, clock, path):
    old = [engine.submit("work").id for _ in range(3)]
    end(engine)
    clock.advance(10)
    new, unfinished = engine.submit("work").id, engine.submit("other").id
    end_of = engine.claim("work")[0]
    end_of.succeed()
    assert engine.prune(older_than=5) == 3
    assert ids(engine) == [new, unfinished]
    with pytest.raises(TaskNotFound):
        engine.future(old[0])
    assert wrongs(path) == []


@pytest.mark.parametrize("verb", ["succeed", "fail"])
def test_every_end_is_an_end(engine, verb):
    engine.submit("work")
    end(engine, verb)
    engine.submit("work").cancel()
    assert engine.prune(older_than=0) == 2


def test_a_period_may_be_a_text(engine, clock):
    engine.submit("work")
    end(engine)
    clock.advance(30 * DAY - 1)
    assert engine.prune(older_than="30d") == 0
    clock.advance(1)
    assert engine.prune("30d") == 1


def test_without_a_period_it_is_that_of_the_engine_and_one_must_be_said(path, clock):
    with contextlib.closing(Engine(path, workers=0, clock=clock, keep="1h")) as engine:
        engine.submit("work")
        end(engine)
        assert engine.prune() == 0
        clock.advance(3600)
        assert engine.prune() == 1
    with (
        contextlib.closing(Engine(path, workers=0, clock=clock)) as engine,
        pytest.raises(ValueError, match="keeps ended tasks for ever"),
    ):
        engine.prune()


@pytest.mark.parametrize(
    ("bad", "error"),
    [(0, ValueError), (-1, ValueError), ("soon", ValueError), (True, TypeError), ([], TypeError)],
)
def test_a_bad_period_is_refused_before_the_file_is_made(new, bad, error):
    with pytest.raises(error):
        Engine(new, workers=0, keep=bad)
    assert not new.exists()


def test_a_bad_age_is_refused(engine):
    for bad, error in ((-1, ValueError), ("soon", ValueError), (True, TypeError)):
        with pytest.raises(error):
            engine.prune(older_than=bad)


# -- what stays -----------------------------------------------------------------------------------------------------


def test_what_something_unfinished_depends_on_stays(engine, clock, path):
    above = engine.submit("first")
    end(engine)
    below = engine.task("second").submit(above)
    assert engine.prune(older_than=0) == 0
    end(engine)
    assert engine.prune(older_than=0) == 2
    assert ids(engine) == [] and below.done()
    assert wrongs(path) == []


def test_children_of_an_open_job_stay_until_it_ends(engine, path):
    child = engine.task("child")
    with engine.job("night") as job:
        for _ in range(3):
            child.submit()
    end(engine, n=2)
    assert engine.prune(older_than=0) == 0
    end(engine)
    assert job.result() == {"succeeded": 3}
    assert engine.prune(older_than=0) == 4
    assert wrongs(path) == []


def test_a_parent_stays_as_long_as_a_child_of_it_does(engine, clock):
    child = engine.task("child")
    with engine.job("night") as job:
        young = child.submit()
        child.submit()
    claims = engine.claim(n=2, lease=1000)
    claims[1].succeed()
    clock.advance(100)
    claims[0].succeed()
    assert engine.prune(older_than=50) == 1
    assert ids(engine) == [job.id, young.id]


def test_a_family_however_deep_goes_in_one_call(engine):
    parent = None
    for _ in range(60):
        parent = engine.task("member").options(parent=parent).submit()
    end(engine)
    assert engine.prune(older_than=0) == 60


def test_what_belonged_to_a_task_goes_with_it(engine, raw):
    for n in range(3):
        engine.task("work").options(tags=["a", "b"], key=str(n), serial="s", max_attempts=2).submit()
        for claim in engine.claim():
            claim.fail("no")
        engine.tasks.where(phase="scheduled").cancel()
    engine.prune(older_than=0)
    for table in ("task", "edge", "key", "tag", "attempt", "step", "join", "signal", "tally", "queue", "log"):
        assert raw(f"SELECT * FROM taskcore_{table}") == [], table


def test_a_number_is_not_given_again(path, clock):
    for n in range(1, 6):
        with contextlib.closing(Engine(path, workers=0, clock=clock)) as engine:
            assert engine.submit("work").id == n
            end(engine)
            assert engine.prune(older_than=0) == 1


def test_what_was_run_again_since_it_was_seen_stays(engine, clock, path):
    """Between the look and the commit another process may have moved it."""
    task = engine.submit("work")
    end(engine)
    clock.advance(100)
    found = engine._file.read(retention.look, 0, clock.now() - 50)
    assert found.old == [task.id]
    task.rerun()
    end(engine)
    assert engine._file.write(retention.delete, found.old, clock.now() - 50) == 0
    assert ids(engine) == [task.id]


# -- the file -------------------------------------------------------------------------------------------------------


def filled(engine, n=3000, text="x" * 300):
    with engine.transaction():
        for _ in range(n):
            engine.submit("work", text)
    end(engine)


def test_the_file_gets_smaller(engine, path):
    before = path.stat().st_size
    filled(engine)
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    full = path.stat().st_size
    assert full > 1_000_000
    assert engine.prune(older_than=0) == 3000
    assert path.stat().st_size < max(before, full // 4)
    assert os.path.getsize(f"{path}-wal") == 0
    assert wrongs(path) == []


def test_a_file_of_somebody_else_is_pruned_though_it_cannot_shrink(path, clock):
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
    with contextlib.closing(Engine(path, workers=0, clock=clock)) as engine:
        filled(engine, 300)
        assert engine.prune(older_than=0) == 300
    assert wrongs(path) == []


def test_a_memory_file_is_pruned(clock):
    with contextlib.closing(Engine(":memory:", workers=0, clock=clock)) as engine:
        filled(engine, 300)
        assert engine.prune(older_than=0) == 300


def test_pruning_inside_a_transaction_is_a_part_of_it(engine):
    engine.submit("work")
    end(engine)
    with contextlib.suppress(ZeroDivisionError), engine.transaction():
        assert engine.prune(older_than=0) == 1
        raise ZeroDivisionError
    assert len(engine.tasks) == 1


def test_a_slice_that_is_cut_off_anywhere_leaves_all_or_nothing_of_it(engine, path):
    """At each statement of the one transaction."""
    child = engine.task("child")
    with engine.job("night"):
        above = child.options(tags=["x"], key="k").submit()
        child.submit(above)
    for _ in range(2):
        end(engine)
    everyone, at = ids(engine), 0
    while True:
        left = at

        class Cut(Exception):
            pass

        def work(tx):
            execute = tx.execute

            def counted(sql, values=()):
                nonlocal left
                if not left:
                    raise Cut
                left -= 1
                return execute(sql, values)

            tx.execute = counted
            return retention.delete(tx, everyone, 1e9)

        try:
            assert engine._file.write(work) == len(everyone)
            break
        except Cut:
            at += 1
        assert ids(engine) == everyone
        assert wrongs(path) == []
    assert at > 10 and ids(engine) == [] and wrongs(path) == []


# -- keep -----------------------------------------------------------------------------------------------------------


def test_an_engine_with_keep_prunes_when_it_idles(path, clock):
    with contextlib.closing(Engine(path, executor=InlineExecutor(), clock=clock, keep="30d")) as engine:
        task = engine.task(lambda: 1, name="work")
        task.submit().result()
        clock.advance(30 * DAY - 1)
        task.submit().result()
        assert len(engine.tasks) == 2
        clock.advance(61)
        engine.run()
        assert ids(engine) == [2]


def test_without_keep_they_stay_for_ever(path, clock):
    with contextlib.closing(Engine(path, executor=InlineExecutor(), clock=clock)) as engine:
        engine.task(lambda: 1, name="work").submit().result()
        clock.advance(10_000 * DAY)
        engine.run()
        assert len(engine.tasks) == 1


def test_an_engine_that_runs_nothing_prunes_nothing_by_itself(path, clock):
    with contextlib.closing(Engine(path, workers=0, clock=clock, keep=1)) as engine:
        engine.submit("work")
        end(engine)
        clock.advance(1000)
        engine.run()
        assert len(engine.tasks) == 1


def test_a_thread_of_an_idle_engine_prunes(path, clock):
    with Engine(path, workers=1, clock=clock, keep=10) as engine:
        task = engine.task(lambda: 1, name="work")
        done = [task.submit() for _ in range(5)]
        for future in done:
            future.result(30)
        clock.advance(4000)
        engine._loop.wait(lambda: len(engine.tasks) == 0, None, hurry=False)


def test_a_pass_begins_at_most_once_a_minute(engine, clock):
    pruning = Pruning(engine._file, keep=5)
    turns(pruning, clock)
    engine.submit("work")
    end(engine)
    clock.advance(59)
    assert pruning.turn(clock.now()) == pytest.approx(1)
    assert len(engine.tasks) == 1
    clock.advance(1)
    turns(pruning, clock)
    assert len(engine.tasks) == 0


def test_a_busy_engine_does_not_prune(engine, clock):
    engine.submit("work")
    end(engine)
    clock.advance(100)
    pruning = Pruning(engine._file, keep=50, lull=1000)
    assert pruning.turn(clock.now(), idle=False) > 900
    assert pruning.turn(clock.now()) > 900, "it has just been busy"
    assert len(engine.tasks) == 1


def test_between_two_slices_most_of_the_time_is_left_to_others(engine, clock, monkeypatch):
    monkeypatch.setattr("taskcore.runtime.pruner.MOMENT", 1000.0)
    monkeypatch.setattr(retention, "AT_ONCE", 1)
    for _ in range(3):
        engine.submit("work")
    end(engine)
    clock.advance(100)
    pruning = Pruning(engine._file, keep=50)
    for _ in range(3):
        assert pruning.turn(clock.now()) > 900
    assert len(engine.tasks) == 2


def test_a_pass_goes_on_in_small_slices_where_the_last_one_stopped(engine, clock, monkeypatch):
    monkeypatch.setattr(retention, "LOOKED_AT", 10)
    monkeypatch.setattr(retention, "AT_ONCE", 4)
    with engine.transaction():
        for _ in range(50):
            engine.submit("work")
    end(engine)
    clock.advance(100)
    pruning, left = Pruning(engine._file, keep=50), [50]
    while left[-1]:
        pruning._rests_until = 0.0
        pruning.turn(clock.now())
        left.append(len(engine.tasks))
    assert {before - after for before, after in itertools.pairwise(left)} <= {4, 2}


def test_a_pass_begins_again_from_the_start(engine, clock):
    """What something needed the last time may go this time."""
    above = engine.submit("first")
    end(engine)
    engine.task("second").submit(above)
    clock.advance(100)
    pruning = Pruning(engine._file, keep=50)
    turns(pruning, clock)
    assert len(engine.tasks) == 2
    end(engine)
    clock.advance(60)
    turns(pruning, clock)
    assert len(engine.tasks) == 0


def test_families_go_from_below_pass_by_pass(engine, clock, monkeypatch):
    monkeypatch.setattr(retention, "LOOKED_AT", 1)
    with engine.job("night"):
        engine.submit("child")
    end(engine)
    clock.advance(100)
    pruning = Pruning(engine._file, keep=50)
    turns(pruning, clock)
    assert len(engine.tasks) == 1
    clock.advance(60)
    turns(pruning, clock)
    assert len(engine.tasks) == 0


def test_nothing_is_looked_at_before_something_may_be_old(engine, clock):
    engine.submit("work")
    end(engine)
    pruning = Pruning(engine._file, keep=600)
    turns(pruning, clock)
    assert pruning.turn(clock.now()) == pytest.approx(600)
    clock.advance(600)
    turns(pruning, clock)
    assert len(engine.tasks) == 0


def test_a_clock_that_is_set_back_does_not_stop_it(engine, clock):
    clock.advance(10 * DAY)
    pruning = Pruning(engine._file, keep=600)
    turns(pruning, clock)
    clock.set(1000.0)
    assert pruning.turn(clock.now()) <= 60


def test_two_that_prune_the_same_file_are_harmless(engine, path, clock, monkeypatch):
    monkeypatch.setattr(retention, "AT_ONCE", 7)
    filled(engine, 100, "")
    clock.advance(100)
    with contextlib.closing(Engine(path, workers=0, clock=clock)) as other:
        both = Pruning(engine._file, keep=50), Pruning(other._file, keep=50)
        for _ in range(100):
            for pruning in both:
                pruning._rests_until = 0.0
                pruning.turn(clock.now())
        assert len(engine.tasks) == len(other.tasks) == 0
    assert wrongs(path) == []


def test_an_idle_engine_gives_the_space_back(engine, path, clock):
    filled(engine)
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    full = path.stat().st_size
    clock.advance(100)
    turns(Pruning(engine._file, keep=50), clock)
    assert path.stat().st_size < full // 4
