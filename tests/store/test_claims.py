"""What claims learn, and what becomes of the claims of workers that die or fall silent, statement by statement."""

import pytest

from taskcore import TaskFailed
from taskcore.store import claims, due, workers
from tests.support.processes import until


class OneLane:
    """The side file, as the test says it is: one engine whose process is gone."""

    def __init__(self, dead=(0,), begun=(), since_boot=True):
        self.dead, self.marked, self.booted = set(dead), begun, since_boot

    def hold(self):
        pass

    def is_dead(self, lane):
        return lane in self.dead

    def begun(self, lane, worker):
        return None if self.marked is None else set(self.marked)

    def since_boot(self, lane):
        return self.booted

    def spared(self, lane, worker, task):
        return False


@pytest.fixture
def write(engine):
    return engine._context.write


def engine_row(raw, lane=0):
    """A worker with a lane, as an engine that runs tasks has one."""
    raw("INSERT INTO taskcore_worker (name, lane, started_at) VALUES ('other', ?, 0)", lane)
    return raw("SELECT max(id) AS id FROM taskcore_worker")[0]["id"]


def take(write, engine, worker, *names, n=10, lease=30.0):
    kinds = [(kind.id, n, None) for kind in engine._file.known.kinds.values() if kind.name in names]
    now = engine._context.now()
    return write(claims.claim, kinds, n, worker, now, now + lease)


def phases(engine):
    return [(task.phase, task.lapses, task.attempts) for task in engine.tasks]


# -- a worker's death ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("since_boot, after", [(True, ("ready", 0, 0)), (False, ("failed", 1, 1))])
def test_a_task_that_may_run_once_and_was_only_claimed_ahead_stays_ready_unless_marks_may_be_lost(
    engine, raw, write, since_boot, after
):
    engine.task("once", max_lapses=0).submit()
    take(write, engine, engine_row(raw), "once")
    write(workers.bury, OneLane(since_boot=since_boot), engine._context.now())
    assert phases(engine) == [after]


def test_of_a_dead_worker_what_had_begun_lapses_and_the_rest_is_given_back(engine, raw, write):
    task = engine.task("t")
    first, second = task.submit(), task.submit()
    worker = engine_row(raw)
    take(write, engine, worker, "t")
    assert write(workers.bury, OneLane(begun=[first.id]), engine._context.now()) == 1
    assert phases(engine) == [("ready", 1, 1), ("ready", 0, 0)]
    assert raw("SELECT ended_at IS NOT NULL AS over FROM taskcore_worker WHERE id = ?", worker) == [{"over": 1}]
    assert write(workers.bury, OneLane(), engine._context.now()) == 0, "nobody is buried twice"
    assert second.snapshot().phase == "ready"


def test_without_marks_all_that_a_dead_worker_held_has_lapsed(engine, raw, write):
    engine.submit("t")
    take(write, engine, engine_row(raw), "t")
    write(workers.bury, OneLane(begun=None), engine._context.now())
    assert phases(engine) == [("ready", 1, 1)]


def test_nobody_buries_himself(engine, raw, write):
    engine.submit("t")
    worker = engine_row(raw)
    take(write, engine, worker, "t")
    write(workers.bury, OneLane(), engine._context.now(), worker)
    assert phases(engine) == [("running", 0, 1)]


def test_the_lease_of_an_engine_that_lives_ends_nothing_whatever_else_is_due(engine, raw, write, clock):
    """Stopped, say: the lane tells that it lives."""
    engine.submit("outside")
    engine.claim("outside", lease=7)
    engine.submit("t")
    take(write, engine, engine_row(raw), "t", lease=5)
    engine.task("later").options(delay=10).submit()
    clock.advance(20)
    write(due.sweep, clock.now())
    assert [(task.phase, task.lapses) for task in engine.tasks] == [("ready", 1), ("running", 0), ("ready", 0)]


def test_whoever_waits_hears_of_a_task_that_was_lost_for_good(engine, clock):
    lost = engine.task("t", max_lapses=0).submit()
    below = engine.task("below").options(after=lost).submit()
    with engine.job("j") as job:
        child = engine.task("c", max_lapses=0).submit()
    engine.claim("t", "c", n=2, lease=1)
    heard = []
    lost.add_done_callback(lambda _: heard.append("lost"))
    assert not lost.done()
    clock.advance(5)
    engine.claim("nobody")
    until(lambda: heard, "it is told")
    assert heard == ["lost"] and lost.done()
    with pytest.raises(TaskFailed, match="lost: its lease ran out"):
        lost.result(0)
    assert (below.snapshot().phase, child.snapshot().phase, job.snapshot().phase) == ("skipped", "failed", "failed")


# -- what a claim learns -------------------------------------------------------------------------------------------


def test_what_was_tried_before_goes_first_within_one_kind(engine, clock):
    task = engine.task("t", max_attempts=3, retry_first=True)
    for n in range(3):
        task.submit(n)
    first, second = engine.claim("t", n=2)
    second.fail("again")
    first.release()
    clock.advance(4000)
    assert [claim.task.id for claim in engine.claim("t", n=3)] == [2, 1, 3]


def test_a_claim_that_saw_only_a_part_of_the_queue_says_that_there_may_be_more(engine, write, raw):
    with engine.transaction():
        for _ in range(30):
            engine.submit("many")
        engine.submit("few").cancel()
        engine.submit("none").cancel()
    taken = take(write, engine, engine_row(raw), "many", "few", "none", n=40)
    assert len(taken.tasks) == 26 and taken.more, "two thirds of what was asked for are read of each of three"
    taken = take(write, engine, engine_row(raw, 1), "many", "few", "none", n=40)
    assert len(taken.tasks) == 4 and not taken.more and not taken.short and taken.until is None


def test_a_claim_that_saw_all_says_so(engine, write, raw):
    with engine.transaction():
        for name in ("a", "b"):
            for _ in range(3):
                engine.submit(name)
    taken = take(write, engine, engine_row(raw), "a", "b", n=10)
    assert [task.id for task in taken.tasks] == [1, 2, 3, 4, 5, 6] and not taken.more
