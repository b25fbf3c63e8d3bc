"""The life of a task: the table whole, what the file refuses by itself, and what counters, requests, keys
and the order of claims add up to. At the end the scenarios of three of the five systems (A-Lab, sosw, PyFarm)."""

import inspect
import random
import sqlite3

import pytest

import taskcore
from taskcore import (
    Abort,
    Cancelled,
    Done,
    Engine,
    InvalidTransition,
    KeyConflict,
    LeaseLost,
    Retry,
    Snooze,
    TaskFailed,
    TaskNotFound,
    UnknownStatus,
    constant,
)
from taskcore.core import lifecycle
from taskcore.core.ends import Outcome, Sleep
from taskcore.store import claims, dependencies, due, hierarchy, operations, reports, settle, suspension, workers
from taskcore.testing import ManualClock

LEASE = 30.0


# -- the table -----------------------------------------------------------------------------------------------------


class World:
    """A file with the task T in some phase, and the tasks that a test moves it by.

    T wants U to be "pending". As long as U is, that holds nothing up; once U is claimed, T is blocked, and the release
    rule does not free it, so that the phase that a verb itself leads to can be seen. For the verbs of jobs T is a job
    with a child C.
    """

    def __init__(self, path):
        self.clock = ManualClock(1000.0)
        self.engine = Engine(path, workers=0, lease=LEASE, clock=self.clock, name="tests")
        self.raw = sqlite3.connect(path, isolation_level=None)
        self.raw.row_factory = sqlite3.Row
        self.upstream = self.engine.submit("u")
        self.other = self.engine.submit("v")
        self.doomed = self.child = self.held = None

    def bring(self, phase, verb=None, **options):
        """T, newly come into this phase. `verb`: what is to be tried on it."""
        after = {self.upstream: "pending"}
        if phase == "waiting":
            after[self.other] = "succeeded"
        if phase == "scheduled":
            options["delay"] = 100
        if phase == "skipped":
            self.doomed = self.engine.submit("w")
            after[self.doomed] = "succeeded"
        self.job = (phase, verb) in OF_JOBS or (verb in VERBS_OF_JOBS and phase not in ("ready", "running"))
        if self.job:
            with self.engine.job("t", after=after, **options) as self.task:
                self.child = self.engine.submit("c")
            self._bring_job(phase)
        elif (phase, verb) == ("paused", "skip"):
            with self.engine.job("j", after=self.other):
                self.task = self.engine.task("t").options(after=after).submit()
            assert self.task.pause()
        else:
            self.task = self.engine.task("t").options(after=after, **options).submit()
            self._bring(phase)
        assert self.phase == phase

    def _bring(self, phase):
        if phase in ("running", "suspended", "succeeded", "failed"):
            (claim,) = self.engine.claim("t")
        if phase == "suspended":
            sleep = Sleep(suspension.waiting_for("go"), signal="go")
            asleep = Outcome(self.task.id, self.row()["token"], verb="suspend", sleep=sleep)
            assert self.write(reports.report, asleep, self.clock.now())
        elif phase == "paused":
            assert self.task.pause()
        elif phase == "succeeded":
            claim.succeed()
        elif phase == "failed":
            claim.fail("broke", retry=False)
        elif phase == "cancelled":
            assert self.task.cancel()
        elif phase == "skipped":
            assert self.doomed.cancel()

    def _bring_job(self, phase):
        if phase == "paused":
            (self.held,) = self.engine.claim("c")
            assert self.task.pause()
        elif phase in ("succeeded", "failed"):
            (claim,) = self.engine.claim("c")
            claim.succeed() if phase == "succeeded" else claim.fail("broke", retry=False)
        elif phase == "cancelled":
            assert self.task.cancel()
        elif phase == "skipped":
            assert self.doomed.cancel()

    def row(self):
        return dict(self.raw.execute("SELECT * FROM taskcore_task WHERE id = ?", (self.task.id,)).fetchone())

    def attempts(self):
        return [tuple(row) for row in self.raw.execute("SELECT * FROM taskcore_attempt ORDER BY task, number")]

    @property
    def phase(self):
        return self.row()["phase"]

    def report(self, verb):
        """Through the store, with the token that is the row's, so that the phase alone decides."""
        return self.write(reports.report, Outcome(self.task.id, self.row()["token"], verb=verb), self.clock.now())

    def write(self, work, *args, **kwargs):
        return self.engine._file.write(work, *args, **kwargs)

    def close(self):
        self.raw.close()
        self.engine.close()


@pytest.fixture
def world(path):
    world = World(path)
    yield world
    world.close()


def free(world):
    """All that T waited for is met, and the one release rule is asked."""
    (claim,) = world.engine.claim("v")
    claim.succeed()
    world.write(dependencies.release, [world.task.id], world.clock.now())


def promote(world):
    """Time passes; for a claim not enough for it to lapse, which is another verb."""
    world.clock.advance(LEASE / 2 if world.phase == "running" else 1000)
    world.engine.claim("nobody")


def block(world):
    assert len(world.engine.claim("u", lease=100_000)) == 1


def skip(world):
    """By what it depends on; a paused one alone by the job that it is a child of."""
    assert (world.other if world.phase == "paused" else world.upstream).cancel()


def claim(world):
    return [claim.task.id for claim in world.engine.claim("t", n=10)] == [world.task.id]


def succeed(world):
    done = Outcome(world.task.id, world.row()["token"], '"x"')
    return not world.write(reports.succeed, [done], world.clock.now(), look_first=True)


def lapse(world):
    if world.phase == "running":
        world.clock.advance(LEASE)
        world.engine.claim("nobody")
    else:
        world.write(reports.lapse, [world.task.id], world.clock.now(), "its process died")


def suspend(world):
    asleep = Outcome(
        world.task.id, world.row()["token"], verb="suspend", sleep=Sleep(suspension.waiting_for("go"), signal="go")
    )
    return world.write(reports.report, asleep, world.clock.now())


def wake(world):
    """By the signal that it waits for, if it does."""
    if world.phase == "suspended":
        assert world.task.signal("go")
    else:
        world.write(suspension.wake, [world.task.id], world.clock.now())


def open_job(world):
    """All that it waited for is there: what it depends on, the time, or whoever held it."""
    if world.phase == "waiting":
        free(world)
    elif world.phase == "scheduled":
        promote(world)
    elif world.phase == "paused":
        assert world.task.resume()
    else:
        world.write(dependencies.release, [world.task.id], world.clock.now())
    world.write(settle.settle, world.clock.now())


def end_child(report):
    """The verb by which the child's end, reported so, ends the job."""

    def verb(world):
        claims = [world.held] if world.held else world.engine.claim("c")
        for claim in claims:
            report(claim)
        if not claims and world.child is not None:
            world.child.cancel()  # an end, too, of one that never began
        world.write(hierarchy.opened, [world.task.id], world.clock.now())

    return verb


def put_right(world):
    """What was skipped would be so again, had what it needs not been put right."""
    if world.doomed is not None:
        world.doomed.rerun()
        (claim,) = world.engine.claim("w")
        claim.succeed()


def reopen(world):
    put_right(world)
    world.engine.task("c").options(parent=world.task).submit()


def rerun(world):
    put_right(world)
    try:
        world.task.rerun()
    except InvalidTransition as refused:
        return (refused.task_id, refused.phase, refused.verb) != (world.task.id, world.phase, "rerun")
    return True


VERBS = {
    "release": free,
    "schedule": free,
    "promote": promote,
    "block": block,
    "skip": skip,
    "claim": claim,
    "succeed": succeed,
    "fail": lambda world: world.report("fail"),
    "obey": lambda world: world.report("obey"),
    "retry": lambda world: world.report("retry"),
    "snooze": lambda world: world.report("snooze"),
    "give back": lambda world: world.report("give back"),
    "lapse": lapse,
    "lose": lapse,
    "pause": lambda world: world.task.pause(),
    "resume": lambda world: world.task.resume(),
    "cancel": lambda world: world.task.cancel(),
    "rerun": rerun,
    "suspend": suspend,
    "wake": wake,
    "open": open_job,
    "complete": end_child(lambda claim: claim.succeed()),
    "fall short": end_child(lambda claim: claim.fail("broke", retry=False)),
    "reopen": reopen,
}
"""Verb → the way it is applied; it says whether it moved T, or `None` where the verb does not tell."""

VERBS_OF_JOBS = {"open", "complete", "fall short", "reopen"}

OF_JOBS = {("suspended", "pause")}
"""These pairs of the table are of jobs alone, though the verb is not."""

OPTIONS = {("waiting", "schedule"): {"delay": 100}, ("running", "lose"): {"max_lapses": 0}}

REQUESTS = {
    ("running", "pause"): {"held"},
    ("running", "cancel"): {"cancel_requested_at"},
}
"""Not in the table, and yet heard: noted in the row, and obeyed when the task comes back."""

COUNTED = {
    "block": {"blockers"}, "skip": {"blockers"},
    "reopen": {"children", "open"}, "complete": {"open"}, "fall short": {"open"},
}  # fmt: skip
"""How many edges hold a task back, and how many children it has, is counted whatever its phase."""

ALL = [(phase, verb) for phase in lifecycle.PHASES for verb in VERBS]


def test_there_is_a_way_to_apply_every_verb_of_the_table():
    assert VERBS.keys() == set(lifecycle.VERBS)


def test_the_table_names_phases_alone_and_leaves_no_phase_without_a_way_out():
    assert {phase for phase, _ in lifecycle.TABLE} == set(lifecycle.PHASES)
    assert set(lifecycle.TABLE.values()) == set(lifecycle.PHASES)
    assert all((phase, "rerun") in lifecycle.TABLE for phase in lifecycle.ENDED)
    assert {verb for phase, verb in lifecycle.TABLE if phase in lifecycle.ENDED} == {"rerun", "reopen"}
    assert {phase for phase, verb in lifecycle.TABLE if verb == "claim"} == {"ready"}


@pytest.mark.parametrize("phase, verb", [pair for pair in ALL if pair in lifecycle.TABLE])
def test_a_verb_leads_where_the_table_says(world, phase, verb):
    world.bring(phase, verb, **OPTIONS.get((phase, verb), {}))
    after = lifecycle.TABLE[phase, verb]
    if after == "waiting" and verb != "block":
        block(world)
        assert world.phase == phase
    assert VERBS[verb](world) in (True, None)
    assert world.phase == after
    row = world.row()
    assert (row["finished_at"] is not None) == (after in lifecycle.ENDED)


COMING_BACK = [
    (phase, verb) for phase, verb in ALL if lifecycle.TABLE.get((phase, verb)) == "waiting" and verb != "block"
]


@pytest.mark.parametrize("phase, verb", COMING_BACK)
def test_what_comes_back_to_waiting_is_released_at_once_when_nothing_holds_it(world, phase, verb):
    world.bring(phase, verb, **OPTIONS.get((phase, verb), {}))
    assert VERBS[verb](world) in (True, None)
    assert world.phase == lifecycle.TABLE["waiting", "open" if world.job else "release"]
    assert world.phase == ("suspended" if world.job else "ready")


@pytest.mark.parametrize("phase, verb", [pair for pair in ALL if pair not in lifecycle.TABLE])
def test_a_verb_that_the_table_has_not_is_refused_and_nothing_happens(world, phase, verb):
    world.bring(phase, verb)
    before, attempts = world.row(), world.attempts()
    outcome = VERBS[verb](world)
    changed = {column for column, value in world.row().items() if value != before[column]}
    if (phase, verb) in REQUESTS:
        assert changed == REQUESTS[phase, verb]
        assert world.phase == phase
        assert outcome is (verb == "pause")  # to a cancel the answer is False: it has not ended
    else:
        # To cancel what is cancelled already is answered as `concurrent.futures` answers it.
        assert not outcome or (phase, verb) == ("cancelled", "cancel")
        assert changed <= COUNTED.get(verb, set())
    assert world.attempts() == attempts


def test_a_body_that_sleeps_is_held_when_it_comes_back(world):
    world.bring("suspended")
    before = world.row()
    assert world.task.pause()
    assert {column for column, value in world.row().items() if value != before[column]} == {"held"}
    assert world.task.signal("go")
    assert world.phase == "paused"


def test_a_paused_task_is_not_skipped_by_what_it_depends_on_before_it_is_resumed(world):
    world.bring("paused")
    assert world.upstream.cancel()
    assert world.phase == "paused"
    assert world.task.resume()
    assert world.phase == "skipped"


@pytest.mark.parametrize("verb", ["succeed", "fail", "retry", "snooze", "release", "extend"])
def test_a_report_whose_token_is_not_the_current_one_changes_nothing(world, verb):
    world.bring("ready")
    (stale,) = world.engine.claim("t")
    stale.release()
    (current,) = world.engine.claim("t")
    report = {
        "succeed": lambda claim: claim.succeed(1),
        "fail": lambda claim: claim.fail("no", retry=False),
        "retry": lambda claim: claim.fail("no"),
        "snooze": lambda claim: claim.snooze(5),
        "release": lambda claim: claim.release(),
        "extend": lambda claim: claim.extend(500),
    }[verb]
    before, attempts = world.row(), world.attempts()
    with pytest.raises(LeaseLost) as lost:
        report(stale)
    assert (lost.value.task_id, lost.value.token) == (world.task.id, 1)
    assert (world.row(), world.attempts()) == (before, attempts)
    report(current)
    assert world.row() != before
    with pytest.raises(LeaseLost):
        world.engine.claimed(stale.token)


@pytest.mark.parametrize("verb", ["fail", "obey", "retry", "snooze", "give back", "lapse"])
def test_the_store_moves_nothing_for_a_token_that_is_not_the_current_one(world, verb):
    world.bring("running")
    before = world.row()
    for token in (0, before["token"] - 1, before["token"] + 1):
        failure = Outcome(world.task.id, token, verb=verb)
        assert world.write(reports.report, failure, world.clock.now()) is False
    assert (world.row(), world.attempts()) == (before, [])


@pytest.mark.parametrize("n", [1, 40], ids=["few", "many that end alike"])
def test_a_batch_of_successes_with_stale_ones_settles_the_others_and_says_which_were_stale(engine, n):
    tasks = [engine.submit("t") for _ in range(3 * n)]
    engine.claim("t", n=3 * n)
    stale = tasks[n : 2 * n]
    batch = [Outcome(task.id, 2 if task in stale else 1, "1") for task in tasks]
    with pytest.raises(reports.StaleReport):
        engine._file.write(reports.succeed, batch, 5.0)
    assert engine.tasks.counts() == {"running": 3 * n}
    given = engine._file.write(reports.succeed, batch, 5.0, look_first=True)
    assert given == {(task.id, 2) for task in stale}
    assert [task.snapshot().phase for task in tasks] == ["succeeded"] * n + ["running"] * n + ["succeeded"] * n


def test_in_a_batch_of_successes_each_gets_its_own_end(engine):
    """Those that end alike are settled together, the others beside them."""
    ends = [("1", None)] * 40 + [(str(n), None) for n in range(40)] + [("1", "good")] * 40 + [("2", "good")]
    random.Random(1).shuffle(ends)
    tasks = [engine.submit("t") for _ in ends]
    engine.claim("t", n=len(tasks))
    batch = [Outcome(task.id, 1, result, label) for task, (result, label) in zip(tasks, ends, strict=True)]
    assert engine._file.write(reports.succeed, batch, 5.0) == set()
    found = [task.snapshot() for task in tasks]
    assert [(str(task.result), task.status) for task in found] == [(text, label or "succeeded") for text, label in ends]


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "rerun"])
@pytest.mark.parametrize("phase", lifecycle.PHASES)
def test_a_selection_moves_those_whose_phase_allows_it_and_counts_them(world, phase, verb):
    world.bring(phase)
    moved = (phase, verb) in lifecycle.TABLE or (verb == "pause" and (phase, verb) in REQUESTS)
    assert getattr(world.engine.tasks.where(name="t"), verb)() == int(moved)
    if phase == "skipped":
        assert world.phase == "skipped"  # again, since what it needs has not changed
    elif (phase, verb) in OF_JOBS:
        assert (world.phase, world.row()["held"]) == (phase, 1)  # a body; it is held when it comes back
    else:
        after = lifecycle.TABLE.get((phase, verb), phase)
        assert world.phase == ("ready" if after == "waiting" != phase else after)


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "rerun"])
@pytest.mark.parametrize("phase", [phase for phase in lifecycle.PHASES if phase not in ("ready", "running")])
def test_a_selection_moves_jobs_with_their_children_and_counts_all(world, phase, verb):
    world.bring(phase, "open")
    moved = (phase, verb) in lifecycle.TABLE
    asked = (phase, verb) == ("paused", "cancel")
    assert getattr(world.engine.tasks.where(name="t"), verb)() == (2 if moved and not asked else 0)
    if asked:
        assert (world.phase, world.child.snapshot().phase) == ("paused", "running")  # as soon as the child obeys
        world.held.release()
        assert (world.phase, world.child.snapshot().phase) == ("cancelled", "cancelled")
    elif phase != "skipped":
        after = lifecycle.TABLE.get((phase, verb), phase)
        assert world.phase == ("suspended" if after == "waiting" != phase else after)


# -- the file refuses ----------------------------------------------------------------------------------------------

SET = "UPDATE taskcore_task SET {} WHERE id = :id"
IMPOSSIBLE = [
    # a row that is no task's
    ("ready", SET.format("phase = 'lost'")),
    ("ready", SET.format("phase = NULL")),
    ("ready", SET.format("kind = 999")),
    ("ready", SET.format("kind = NULL")),
    ("ready", SET.format("parent = 999")),
    ("ready", SET.format("priority = 1001")),
    ("ready", SET.format("priority = -1001")),
    ("ready", SET.format("priority = 'high'")),
    ("ready", SET.format("priority = 1.5")),
    ("ready", SET.format("ahead = 2")),
    ("ready", SET.format("held = 2")),
    ("ready", SET.format("hidden = 2")),
    ("ready", SET.format("attempts = -1")),
    ("ready", SET.format("failures = -1")),
    ("ready", SET.format("lapses = -1")),
    ("ready", SET.format("blockers = -1")),
    ("ready", SET.format("args = NULL")),
    ("ready", SET.format("args = x'00'")),
    ("ready", SET.format("submitted_at = NULL")),
    ("ready", SET.format("submitted_at = 'noon'")),
    ("running", SET.format("progress = 1.5")),
    ("running", SET.format("progress = -0.1")),
    # finished_at is set exactly when a task has ended
    *[(phase, SET.format("finished_at = NULL")) for phase in lifecycle.ENDED],
    *[(phase, SET.format("finished_at = 5")) for phase in lifecycle.PHASES if phase not in lifecycle.ENDED],
    *[("ready", SET.format(f"phase = '{phase}'")) for phase in lifecycle.ENDED],
    *[("succeeded", SET.format(f"phase = '{phase}'")) for phase in lifecycle.PHASES if phase not in lifecycle.ENDED],
    # running is a claim
    ("ready", SET.format("phase = 'running'")),
    ("running", SET.format("greenfield = NULL")),
    ("running", SET.format("worker = NULL")),
    ("running", SET.format("worker = 999")),
    ("running", SET.format("token = 0")),
    ("running", SET.format("started_at = NULL")),
    # time moves what waits for it, and nothing else
    ("scheduled", SET.format("greenfield = NULL")),
    ("ready", SET.format("phase = 'scheduled'")),
    *[(phase, SET.format("greenfield = 5")) for phase in ("ready", *lifecycle.ENDED)],
    # nothing blocks what may run
    ("ready", SET.format("blockers = 1")),
    ("scheduled", SET.format("blockers = 1")),
    # paused is held
    ("paused", SET.format("held = 0")),
    ("ready", SET.format("phase = 'paused'")),
    # a label belongs to its phase
    ("ready", SET.format("label = 'good'")),
    ("ready", SET.format("label = 'unheard of'")),
    ("succeeded", SET.format("label = 'bad'")),
    ("failed", SET.format("label = 'good'")),
    ("failed", SET.format("label = 'failed'")),
    ("succeeded", SET.format("phase = 'failed', label = 'good'")),
    # families, queues and sleepers
    ("suspended", SET.format("job = 'sometimes'")),
    ("ready", SET.format("open = -1")),
    ("ready", "INSERT INTO taskcore_tally VALUES (999, 'failed', 'failed', 1)"),
    ("ready", "INSERT INTO taskcore_queue VALUES ('x', 1, 999)"),
    ("ready", "INSERT INTO taskcore_queue VALUES ('x', 1, :id), ('x', 2, :id)"),
    ("ready", "INSERT INTO taskcore_queue VALUES ('x', 1, :id), ('x', 1, (SELECT min(id) FROM taskcore_task))"),
    ("suspended", "INSERT INTO taskcore_join VALUES (999, :id)"),
    ("suspended", "INSERT INTO taskcore_join VALUES (:id, :id), (:id, :id)"),
    ("suspended", "INSERT INTO taskcore_signal (task, name, payload, sent_at) VALUES (999, 'go', 'null', 0)"),
    # what others point at stays
    ("waiting", "DELETE FROM taskcore_task WHERE id IN (SELECT upstream FROM taskcore_edge)"),
    ("ready", "DELETE FROM taskcore_kind"),
    ("running", "DELETE FROM taskcore_worker"),
    ("ready", "INSERT INTO taskcore_task SELECT * FROM taskcore_task WHERE id = :id"),
    # edges
    ("waiting", "UPDATE taskcore_edge SET upstream = task WHERE task = :id"),
    ("waiting", "UPDATE taskcore_edge SET upstream = 999 WHERE task = :id"),
    ("waiting", "UPDATE taskcore_edge SET task = 999 WHERE task = :id"),
    ("waiting", "UPDATE taskcore_edge SET otherwise = 'maybe' WHERE task = :id"),
    ("waiting", "UPDATE taskcore_edge SET verdict = 'perhaps' WHERE task = :id"),
    ("waiting", "UPDATE taskcore_edge SET wants = NULL WHERE task = :id"),
    ("waiting", "INSERT INTO taskcore_edge SELECT * FROM taskcore_edge"),
    # labels, kinds, workers, keys, tags, attempts
    *[
        ("ready", f"INSERT INTO taskcore_status VALUES ('new', '{phase}')")
        for phase in lifecycle.PHASES
        if phase not in lifecycle.LABELLED
    ],
    *[("ready", f"INSERT INTO taskcore_status VALUES ('{label}', 'failed')") for label in sorted(lifecycle.RESERVED)],
    ("ready", "INSERT INTO taskcore_status VALUES ('good', 'failed')"),
    ("ready", "UPDATE taskcore_kind SET max_attempts = 0"),
    ("ready", "UPDATE taskcore_kind SET max_lapses = -1"),
    ("ready", "UPDATE taskcore_kind SET max_lapses = NULL"),
    ("ready", "INSERT INTO taskcore_kind SELECT id + 100, name, 1, 1, options FROM taskcore_kind"),
    ("running", "INSERT INTO taskcore_worker (name, started_at) SELECT name, 0 FROM taskcore_worker"),
    ("ready", "INSERT INTO taskcore_worker (name, lane, started_at) VALUES ('a', 0, 0), ('b', 0, 0)"),
    ("ready", "INSERT INTO taskcore_key VALUES ('t', 'k', 999)"),
    ("ready", "INSERT INTO taskcore_key VALUES ('t', 'k', :id), ('t', 'k', :id)"),
    ("ready", "INSERT INTO taskcore_tag VALUES (999, 0, 'tag')"),
    ("failed", "UPDATE taskcore_attempt SET outcome = 'lost'"),
    ("failed", "UPDATE taskcore_attempt SET task = 999"),
    ("failed", "INSERT INTO taskcore_attempt SELECT * FROM taskcore_attempt"),
    ("ready", "INSERT INTO taskcore_meta VALUES ('format', '2')"),
    ("ready", "UPDATE taskcore_meta SET value = NULL"),
]


def test_the_file_itself_refuses_impossible_rows(path):
    assert {phase for phase, _ in IMPOSSIBLE} == set(lifecycle.PHASES)
    labels = [("good", "succeeded"), ("bad", "failed"), ("busy", "running")]
    for phase in lifecycle.PHASES:
        world = World(path.with_name(f"{phase}.db"))
        world.raw.execute("PRAGMA foreign_keys = ON")
        world.raw.executemany("INSERT INTO taskcore_status VALUES (?, ?)", labels)
        world.bring(phase)
        before = list(world.raw.iterdump())
        for sql in [sql for of, sql in IMPOSSIBLE if of == phase]:
            with pytest.raises(sqlite3.IntegrityError):
                world.raw.execute(sql, {"id": world.task.id})
                pytest.fail(f"{phase}: the file took {sql}")
        assert list(world.raw.iterdump()) == before
        world.close()


def test_labels_of_ones_own_fit_where_their_phase_is(path):
    """The other half: what the last test saw refused is not refused for some other reason."""
    world = World(path)
    world.raw.execute("PRAGMA foreign_keys = ON")
    world.raw.execute("INSERT INTO taskcore_status VALUES ('good', 'succeeded')")
    world.bring("succeeded")
    world.raw.execute(SET.format("label = 'good'"), {"id": world.task.id})
    assert world.task.snapshot().status == "good"
    with pytest.raises(sqlite3.IntegrityError):
        world.raw.execute("DELETE FROM taskcore_status")
    world.close()


# -- what the counters add up to -----------------------------------------------------------------------------------


def test_attempts_are_claims_without_those_released_and_snoozed(engine, clock):
    task = engine.task("t").options(max_attempts=None).submit()
    kept = 0
    for verb in ("release", "fail", "snooze", "lapse", "release", "release", "fail", "snooze", "lapse", "fail"):
        (claim,) = engine.claim("t")
        assert claim.task.attempts == kept + 1
        if verb == "fail":
            claim.fail("no")
        elif verb == "snooze":
            claim.snooze(10)
        elif verb == "release":
            claim.release()
        clock.advance(LEASE if verb == "lapse" else 5000)
        engine.claim("nobody")
        kept += verb in ("fail", "lapse")
        assert task.snapshot().attempts == kept
    row = task.snapshot()
    assert (row.attempts, row.failures, row.lapses, row.phase) == (5, 3, 2, "ready")
    assert [(a.number, a.outcome) for a in task.history()] == [
        (1, "failed"), (2, "lapsed"), (3, "failed"), (4, "lapsed"), (5, "failed"),
    ]  # fmt: skip


def test_a_claim_given_back_before_it_ever_began_leaves_no_trace_but_its_token(engine, raw):
    task = engine.submit("t")
    (before,) = raw("SELECT * FROM taskcore_task")
    (claim,) = engine.claim("t")
    claim.release()
    (after,) = raw("SELECT * FROM taskcore_task")
    assert after == {**before, "token": 1}
    assert task.history() == []


def test_tokens_strictly_increase_whatever_happens_between(engine, clock, raw):
    task = engine.task("t").options(max_attempts=None, max_lapses=100).submit()
    tokens = []
    for round in range(24):
        (claim,) = engine.claim("t")
        tokens.append(int(claim.token.partition(".")[2]))
        match round % 6:
            case 0:
                claim.release()
            case 1:
                claim.snooze(0)
            case 2:
                claim.fail("no")
            case 3:
                pass  # lapses
            case 4:
                claim.succeed()
            case 5:
                claim.fail("no", retry=False)
        clock.advance(4000)
        engine.claim("nobody")
        if task.snapshot().phase in lifecycle.ENDED:
            task = task.rerun()
    assert tokens == sorted(set(tokens))
    assert raw("SELECT token FROM taskcore_task") == [{"token": 24}]


def test_finished_at_is_set_exactly_when_a_task_has_ended(engine, clock):
    task = engine.task("t").options(max_attempts=2).submit()
    ends = []
    for _ in range(2):
        clock.advance(1)
        (claim,) = engine.claim("t")
        assert task.snapshot().finished_at is None
        claim.fail("no")
        ends.append(task.snapshot().finished_at)
        clock.advance(10)
    assert ends == [None, clock.now() - 10]
    task = task.rerun()
    assert task.snapshot().finished_at is None
    assert task.cancel()
    assert task.snapshot().finished_at == clock.now()


def test_ids_are_never_given_again_even_when_the_newest_is_deleted(path, clock):
    given = []
    for _ in range(3):
        with Engine(path, workers=0, clock=clock) as engine:
            for _ in range(3):
                task = engine.submit("t")
                given.append(task.id)
                task.cancel()
                if task.id % 2:
                    assert engine.tasks.where(id=task).delete() == 1
            assert engine.tasks.delete() == len(engine.tasks.where(phase="cancelled")) + 1 or not len(engine.tasks)
            with engine.transaction():
                given.extend(engine.submit("t").id for _ in range(2))
            engine.tasks.cancel()
            engine.tasks.delete()
    assert given == list(range(1, len(given) + 1))


def test_a_rolled_back_submit_does_not_leave_an_id_that_a_handle_may_mistake(engine):
    with pytest.raises(ZeroDivisionError):
        with engine.transaction():
            lost = engine.submit("t")
            raise ZeroDivisionError
    kept = engine.submit("t")
    assert lost.cancelled() and lost.cancel()
    for verb in (lost.snapshot, lost.rerun, lost.pause, lost.resume, lost.history, lost.dependencies):
        with pytest.raises(TaskNotFound):
            verb()
    assert kept.snapshot().phase == "ready"


def test_last_error_is_what_failed_last_and_is_cleared_by_success(engine, clock):
    task = engine.task("t").options(max_attempts=3, backoff=constant(0)).submit()
    (claim,) = engine.claim("t")
    claim.fail(ValueError("first"))
    clock.advance(3600)
    assert task.snapshot().last_error == "ValueError: first"
    (claim,) = engine.claim("t")
    assert claim.task.last_error == "ValueError: first"
    clock.advance(LEASE)
    engine.claim("nobody")
    assert task.snapshot().last_error == "its lease ran out"
    (claim,) = engine.claim("t")
    claim.succeed(7)
    row = task.snapshot()
    assert (row.phase, row.last_error, row.result) == ("succeeded", None, 7)
    assert [attempt.outcome for attempt in task.history()] == ["failed", "lapsed", "succeeded"]


def test_a_rerun_keeps_attempts_and_begins_failures_and_lapses_anew(engine, clock):
    task = engine.task("t").options(max_attempts=3, max_lapses=5).submit()
    (claim,) = engine.claim("t")
    clock.advance(LEASE)
    for _ in range(3):
        (claim,) = engine.claim("t")
        claim.fail("no")
        clock.advance(3600)
    row = task.snapshot()
    assert (row.phase, row.attempts, row.failures, row.lapses) == ("failed", 4, 3, 1)
    again = task.rerun()
    row = again.snapshot()
    assert (row.phase, row.attempts, row.failures, row.lapses) == ("ready", 4, 0, 0)
    for _ in range(2):
        (claim,) = engine.claim("t")
        claim.fail("no")
        clock.advance(3600)
    row = again.snapshot()
    assert (row.attempts, row.failures, row.phase) == (6, 2, "scheduled")
    assert [attempt.number for attempt in again.history()] == [1, 2, 3, 4, 5, 6]


def test_history_tells_every_life_also_the_ones_that_succeeded(engine, clock):
    task = engine.submit("t")
    for outcome in ("succeeded", "failed", "succeeded", "succeeded"):
        clock.advance(1)
        (claim,) = engine.claim("t", worker=f"for {outcome}")
        clock.advance(1)
        claim.succeed() if outcome == "succeeded" else claim.fail("no", retry=False)
        last = task.history()[-1]
        assert (last.outcome, last.worker) == (outcome, f"for {outcome}")
        assert (last.started_at, last.finished_at) == (clock.now() - 1, clock.now())
        task = task.rerun()
    assert [attempt.outcome for attempt in task.history()] == ["succeeded", "failed", "succeeded", "succeeded"]
    assert [attempt.number for attempt in task.history()] == [1, 2, 3, 4]


def test_a_resolved_future_keeps_its_outcome_over_a_rerun(inline):
    answers = iter([1, 2])
    task = inline.task(lambda: next(answers), name="t")
    first = task.submit()
    assert first.result() == 1
    second = first.rerun()
    assert second.result() == 2
    assert first.result() == 1
    assert inline.future(first.id).result() == 2


# -- requests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["retry", "snooze", "release", "lapse"])
def test_a_request_to_cancel_wins_over_coming_back(engine, clock, how):
    task = engine.task("t").options(max_attempts=5).submit()
    below = engine.task("below").options(after={task: "cancelled"}).submit()
    (claim,) = engine.claim("t")
    clock.advance(1)
    assert task.cancel("not needed") is False
    row = task.snapshot()
    assert (row.phase, row.cancel_requested_at, row.last_error) == ("running", 1001.0, "not needed")
    clock.advance(1)
    assert task.cancel("again") is False
    assert task.snapshot().cancel_requested_at == 1001.0
    if how == "retry":
        claim.fail("no")
    elif how == "snooze":
        claim.snooze(10)
    elif how == "release":
        claim.release()
    else:
        clock.advance(LEASE)
        engine.claim("nobody")
    row = task.snapshot()
    assert (row.phase, row.status, row.finished_at) == ("cancelled", "cancelled", clock.now())
    assert task.cancelled()
    assert below.snapshot().phase == "ready"
    again = task.rerun()
    assert again.snapshot().cancel_requested_at is None
    (claim,) = engine.claim("t")
    claim.snooze(0)
    assert again.snapshot().phase == "ready"


@pytest.mark.parametrize("status, phase", [(None, "succeeded"), ("good", "succeeded"), ("bad", "failed")])
def test_a_request_to_cancel_loses_to_a_returned_result(engine, status, phase):
    task = engine.submit("t")
    (claim,) = engine.claim("t")
    assert task.cancel() is False
    claim.succeed({"x": 1}, status=status)
    row = task.snapshot()
    assert (row.phase, row.status, row.result) == (phase, status or phase, {"x": 1})


def test_a_body_that_returns_although_asked_to_stop_has_its_result_kept(inline):
    @inline.task
    def stubborn():
        task.cancel("please")
        assert taskcore.current().cancelled
        return "done all the same"

    task = stubborn.submit()
    assert task.result() == "done all the same"
    assert task.snapshot().phase == "succeeded"


def test_a_body_that_obeys_ends_as_cancelled(inline):
    @inline.task
    def obedient():
        task.cancel("please")
        taskcore.current().check()

    task = obedient.submit()
    inline.run()
    assert task.cancelled()
    assert [attempt.outcome for attempt in task.history()] == ["cancelled"]


def test_a_body_may_end_itself_as_cancelled(inline):
    @inline.task(max_attempts=3)
    def unwilling():
        raise Cancelled("no use")

    task = unwilling.submit()
    inline.run()
    row = task.snapshot()
    assert (row.phase, row.last_error, row.failures) == ("cancelled", "no use", 0)


@pytest.mark.parametrize("how", ["retry", "snooze", "release", "lapse"])
def test_pausing_a_running_task_holds_it_when_it_comes_back(engine, clock, how):
    task = engine.task("t").options(max_attempts=5).submit()
    (claim,) = engine.claim("t")
    assert task.pause() is True
    assert task.pause() is False
    assert task.snapshot().phase == "running"
    if how == "retry":
        claim.fail("no")
    elif how == "snooze":
        claim.snooze(10)
    elif how == "release":
        claim.release()
    else:
        clock.advance(LEASE)
        engine.claim("nobody")
    assert task.snapshot().phase == "paused"
    clock.advance(5000)
    assert engine.claim("t") == []
    assert task.resume() is True
    assert task.snapshot().phase == "ready"
    assert task.resume() is False


def test_pausing_a_running_task_does_not_stand_in_the_way_of_its_end(engine):
    task = engine.submit("t")
    (claim,) = engine.claim("t")
    task.pause()
    claim.succeed()
    assert task.snapshot().phase == "succeeded"
    again = task.rerun()
    assert again.snapshot().phase == "ready"


def test_resuming_a_running_task_lets_it_come_back_as_if_it_had_never_been_paused(engine):
    task = engine.submit("t")
    (claim,) = engine.claim("t")
    assert task.pause() and task.resume()
    claim.release()
    assert task.snapshot().phase == "ready"


def test_a_delay_goes_on_while_a_task_is_paused(engine, clock):
    early, late = (engine.task("t").options(delay=delay).submit() for delay in (10, 100))
    assert engine.tasks.pause() == 2
    assert [task.phase for task in engine.tasks] == ["paused", "paused"]
    clock.advance(50)
    assert engine.tasks.resume() == 2
    assert early.snapshot().phase == "ready"
    assert (late.snapshot().phase, late.snapshot().greenfield) == ("scheduled", 1100.0)
    clock.advance(50)
    assert [claim.task.id for claim in engine.claim("t", n=5)] == [early.id, late.id]


# -- the order of claims -------------------------------------------------------------------------------------------


def test_claims_go_by_priority_and_among_equals_by_submission(engine):
    priorities = [0, 5, -3, 5, 0, 1000, -1000, -3, 1]
    for number, priority in enumerate(priorities):
        engine.task("ab"[number % 2]).options(priority=priority).submit(number)
    wanted = sorted(range(len(priorities)), key=lambda number: (-priorities[number], number))
    got = []
    while claims := engine.claim("a", "b", n=2):
        got.extend(claim.task.args[0] for claim in claims)
    assert got == wanted


def test_a_change_of_priority_counts_at_the_next_claim(engine):
    first, second, third = (engine.submit("t") for _ in range(3))
    assert engine.tasks.where(id=third).set_priority(1) == 1
    assert engine.tasks.where(id=first).set_priority(-1) == 1
    assert [claim.task.id for claim in engine.claim("t", n=3)] == [third.id, second.id, first.id]
    for bad in (-1001, 1001):
        with pytest.raises(ValueError):
            engine.tasks.set_priority(bad)
    for bad in (1.0, "1", True, None):
        with pytest.raises(TypeError):
            engine.tasks.set_priority(bad)


def test_a_released_task_has_its_old_place(engine):
    tasks = [engine.submit("t") for _ in range(3)]
    (claim,) = engine.claim("t")
    claim.release()
    assert [claim.task.id for claim in engine.claim("t", n=3)] == [task.id for task in tasks]


@pytest.mark.parametrize("retry_first, order", [(True, [9, 2, 0, 1, 3]), (False, [9, 0, 1, 2, 3])])
def test_retry_first_puts_a_retried_task_ahead_of_its_equals_but_of_no_higher_priority(
    engine, clock, retry_first, order
):
    name = engine.task("t").options(max_attempts=3, retry_first=retry_first)
    tasks = [name.submit(number) for number in range(3)]
    assert tasks[0].pause() and tasks[1].pause()
    (claim,) = engine.claim("t")
    claim.fail("no")
    name.submit(3)
    name.options(priority=1).submit(9)
    clock.advance(5000)
    engine.tasks.resume()
    assert [claim.task.args[0] for claim in engine.claim("t", n=9)] == order


def test_a_claim_of_many_takes_all_that_there_are_over_several_names(engine):
    for number in range(101):
        engine.submit("much", number)
    engine.submit("little")
    engine.task("much").options(max_attempts=7).submit("another kind")
    assert len(engine.claim(n=100)) == 100
    assert len(engine.claim(n=100)) == 3
    assert engine.claim(n=100) == []


def test_avoid_failed_worker_gives_a_task_to_another(engine, clock):
    task = engine.task("t").options(max_attempts=4, avoid_failed_worker=True, backoff=constant(0)).submit()
    for worker in ("x", "y", "z"):
        for known in ("x", "y", "z")[: ("x", "y", "z").index(worker)]:
            assert engine.claim("t", worker=known) == []
            assert engine.claim(worker=known) == []
        (claim,) = engine.claim("t", worker=worker)
        claim.fail("no")
        clock.advance(5000)
    assert [engine.claim("t", worker=worker) for worker in ("x", "y", "z")] == [[], [], []]
    engine.submit("t", "another")
    (other,) = engine.claim("t", worker="x")
    assert other.task.args == ("another",)
    (claim,) = engine.claim("t", worker="w")
    claim.succeed()
    assert task.snapshot().worker == "w"


def test_a_rerun_may_go_to_a_worker_that_the_task_failed_on_before(engine, clock):
    broken = engine.task("t").options(max_attempts=3, avoid_failed_worker=True, backoff=constant(0)).submit()
    for worker in ("x", "y", "y's neighbour"):
        engine.claim("t", worker=worker)[0].fail("the scene is broken")
    assert broken.snapshot().phase == "failed"
    broken.rerun()
    (claim,) = engine.claim("t", worker="y")
    claim.fail("broken still")
    assert engine.claim("t", worker="y") == [], "of this life it is avoided again"
    engine.claim("t", worker="x", lease=1)
    clock.advance(1)
    assert engine.claim("t", worker="x") == [], "a lapse counts too"
    (claim,) = engine.claim("t", worker="z")
    claim.succeed()
    broken.rerun()
    assert len(engine.claim("t", worker="z")) == 1


# -- lapses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [0, 1, 3])
def test_a_task_lapses_as_often_as_max_lapses_allows_and_one_more_loses_it(engine, clock, most):
    task = engine.task("t").options(max_lapses=most, max_attempts=1).submit()
    for lapses in range(1, most + 2):
        (claim,) = engine.claim("t")
        clock.advance(LEASE)
        assert engine.claim("nobody") == []
        row = task.snapshot()
        assert (row.lapses, row.attempts, row.failures) == (lapses, lapses, 0)
        assert row.phase == ("ready" if lapses <= most else "failed")
    assert row.finished_at == clock.now()
    assert "lost" in row.last_error
    assert engine.claim("t") == []
    with pytest.raises(TaskFailed, match="lost"):
        task.result(timeout=5)
    with pytest.raises(LeaseLost):
        claim.succeed()
    assert [attempt.outcome for attempt in task.history()] == ["lapsed"] * (most + 1)


def test_a_lease_that_is_extended_holds_that_much_longer(engine, clock):
    task = engine.submit("t")
    (claim,) = engine.claim("t", lease=10)
    assert claim.expires_at == 1010.0
    clock.advance(9)
    assert claim.extend(0.5) == 1010.0  # never earlier than before
    assert claim.extend(20) == 1029.0 == claim.expires_at == task.snapshot().greenfield
    clock.advance(19.5)
    engine.claim("nobody")
    assert task.snapshot().phase == "running"
    clock.advance(0.5)
    with pytest.raises(LeaseLost):
        claim.extend(100)
    assert task.snapshot().phase == "ready"


def test_a_claim_goes_on_in_another_request_by_its_token(path, clock):
    with Engine(path, workers=0, clock=clock) as engine:
        engine.submit("t", 1, x=[2])
        token = engine.claim("t")[0].token
    with Engine(path, workers=0, clock=clock) as engine:
        claim = engine.claimed(token)
        assert (claim.token, claim.task.args, claim.task.kwargs, claim.expires_at) == (token, (1,), {"x": [2]}, 1030.0)
        claim.succeed("done")
        assert engine.tasks.first().result == "done"
        with pytest.raises(LeaseLost):
            engine.claimed(token)
        for bad in ("", "1", "1.x", "x.1", None, 7):
            with pytest.raises(ValueError):
                engine.claimed(bad)


# -- keys ----------------------------------------------------------------------------------------------------------


def test_a_name_and_key_have_at_most_one_task(engine):
    name = engine.task("t").options(key="k")
    first = name.submit(1, x={"a": 1, "b": 2})
    assert name.submit(1, x={"b": 2, "a": 1}).id == first.id
    with pytest.raises(KeyConflict) as conflict:
        name.submit(2)
    assert (conflict.value.name, conflict.value.key, conflict.value.task_id) == ("t", "k", first.id)
    assert engine.task("other").options(key="k").submit(2).id != first.id
    assert engine.task("t").options(key="l").submit(2).id != first.id
    (claim,) = engine.claim("t")
    claim.succeed(5)
    assert name.submit(1, x={"a": 1, "b": 2}).result() == 5
    assert len(engine.tasks) == 3
    assert first.snapshot().key == "k"


def test_a_key_made_from_the_arguments_is_the_same_for_equal_ones(engine):
    name = engine.task("t").options(key=True)
    upstream, another = engine.submit("u"), engine.submit("u")
    first = name.submit([1, {"a": 1, "b": (2.5, None)}], x=upstream)
    assert name.submit([1, {"b": (2.5, None), "a": 1}], x=upstream).id == first.id
    others = [
        name.submit([1, {"a": 1, "b": [2.5, None]}], x=upstream),
        name.submit([1, {"a": 1, "b": (2.5, None)}], x=another),
        name.submit([1, {"a": 1, "b": (2.5, None)}]),
        name.submit(),
    ]
    assert len({first.id, *(task.id for task in others)}) == 5


@pytest.mark.parametrize("bulk", [False, True])
def test_a_key_that_counts_only_while_its_task_is_unfinished(engine, bulk):
    name = engine.task("t").options(key="k", key_scope="unfinished")

    def submit(*args):
        if not bulk:
            return name.submit(*args)
        with engine.transaction():
            task = name.submit(*args)
            assert name.submit(*args).id == task.id
        return task

    first = submit(1)
    assert submit(1).id == first.id
    with pytest.raises(KeyConflict):
        submit(2)
    (claim,) = engine.claim("t")
    assert submit(1).id == first.id
    claim.succeed()
    second = submit(2)
    assert second.id > first.id
    assert submit(2).id == second.id
    assert len(engine.tasks.where(key="k")) == 2
    with pytest.raises(InvalidTransition):
        first.rerun()  # the newer one has the key
    assert engine.tasks.rerun() == 0
    assert second.cancel()
    again = first.rerun()
    assert submit(1).id == again.id
    assert len(engine.tasks.where(key="k", phase="ready")) == 1


def test_a_rerun_of_all_that_ever_had_a_key_brings_back_one_of_them(engine):
    name = engine.task("t").options(key="k", key_scope="unfinished")
    for _ in range(3):
        name.submit().cancel()
    assert engine.tasks.rerun() == 1
    assert [task.phase for task in engine.tasks] == ["cancelled", "cancelled", "ready"]


def test_a_deleted_task_no_longer_has_its_key(engine):
    name = engine.task("t").options(key="k")
    first = name.submit(1)
    first.cancel()
    assert engine.tasks.where(key="k").delete() == 1
    second = name.submit(2)
    assert second.id > first.id


# -- results and ends ----------------------------------------------------------------------------------------------


def test_each_way_to_end_a_body_moves_its_task_by_the_verb_of_that_name(inline, clock):
    ways = {
        "value": lambda: 5,
        "done": lambda: Done(6, status="good"),
        "done bad": lambda: Done(7, status="bad"),
        "done failed": lambda: Done(8, status="failed"),
        "raise": lambda: 1 / 0,
        "abort": lambda: raising(Abort("enough")),
        "retry": lambda: raising(Retry(5)),
        "snooze": lambda: raising(Snooze(50)),
        "cancelled": lambda: raising(Cancelled()),
        "unknown": lambda: Done(9, status="unheard of"),
        "running": lambda: Done(9, status="busy"),
        "unstorable": lambda: object(),
        "exit": lambda: raising(SystemExit(3)),
    }

    def raising(error):
        raise error

    tasks = {way: inline.task(fn, name=way, max_attempts=2, backoff=constant(500)).submit() for way, fn in ways.items()}
    inline.run()
    got = {way: (row.status, row.attempts, row.failures) for way, row in ((w, t.snapshot()) for w, t in tasks.items())}
    assert got == {
        "value": ("succeeded", 1, 0),
        "done": ("good", 1, 0),
        "done bad": ("bad", 1, 1),
        "done failed": ("failed", 1, 1),
        "raise": ("scheduled", 1, 1),
        "abort": ("failed", 1, 1),
        "retry": ("failed", 2, 2),
        "snooze": ("scheduled", 0, 0),
        "cancelled": ("cancelled", 1, 0),
        "unknown": ("scheduled", 1, 1),
        "running": ("scheduled", 1, 1),
        "unstorable": ("scheduled", 1, 1),
        "exit": ("failed", 1, 1),
    }
    assert tasks["value"].result() == 5
    assert tasks["done"].result() == 6
    with pytest.raises(TaskFailed) as failed:
        tasks["done bad"].result()
    assert (failed.value.status, failed.value.result, failed.value.task_id) == ("bad", 7, tasks["done bad"].id)
    with pytest.raises(Abort, match="enough"):
        tasks["abort"].result()
    with pytest.raises(SystemExit):
        tasks["exit"].result()
    assert "unheard of" in tasks["unknown"].snapshot().last_error
    assert tasks["snooze"].snapshot().greenfield == clock.now() - 5 + 50


def test_a_label_of_ones_own_for_what_failed_for_good(inline):
    @inline.task(failed_status="bad")
    def broken():
        raise ValueError("no")

    task = broken.submit()
    inline.run()
    assert (task.snapshot().phase, task.snapshot().status) == ("failed", "bad")
    for label in ("good", "busy", "unheard of", "cancelled", "finished"):
        with pytest.raises(UnknownStatus):
            inline.task("t").options(failed_status=label).submit()
    assert len(inline.tasks) == 1


@pytest.mark.parametrize("resolved", [False, True])
def test_a_result_that_was_deleted_is_not_waited_for(inline, resolved):
    task = inline.task(lambda: 3, name="t").submit()
    inline.run()
    if resolved:
        assert task.result() == 3
    assert inline.tasks.delete() == 1
    if resolved:
        assert task.result() == 3
    else:
        with pytest.raises(TaskNotFound):
            task.result(timeout=5)


def test_every_verb_of_the_store_has_a_sentence():
    """One verb per transition, each described in one sentence."""
    for module in (claims, reports, operations, due, workers, dependencies):
        for name, verb in vars(module).items():
            if inspect.isfunction(verb) and verb.__module__ == module.__name__ and not name.startswith("_"):
                assert verb.__doc__ or name == "hide", f"{module.__name__}.{name}"
