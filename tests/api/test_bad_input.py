"""Every promise of an error: that it is raised, says what is wrong, and that nothing was stored or moved."""

import contextlib
import datetime
import itertools
import pickle
import sqlite3
import threading
from concurrent.futures import CancelledError
from types import SimpleNamespace

import pytest

import taskcore
from taskcore import (
    BadFile,
    DependencyCycle,
    Engine,
    EngineClosed,
    InvalidTransition,
    KeyConflict,
    LeaseLost,
    NotInTask,
    TaskcoreError,
    TaskFailed,
    TaskNotFound,
    TaskSkipped,
    UnknownStatus,
)

PATIENCE = 10  # seconds that a healthy engine never needs


def module_level(x):
    return x


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A task in a file of somebody else."""
    with contextlib.closing(Engine(tmp_path_factory.mktemp("theirs") / "other.db", workers=0)) as other:
        yield other.submit("theirs")


@pytest.fixture
def world(engine, clock, theirs):
    """A file in which something of every kind has happened."""
    world = SimpleNamespace(engine=engine, clock=clock)
    world.ready = engine.task("ready").options(key="k", tags=["t"]).submit(1)
    world.chain = [world.ready]
    for _ in range(3):
        world.chain.append(engine.submit("chain", world.chain[-1]))
    world.done, world.failed = engine.submit("done"), engine.submit("failed")
    engine.claim("done")[0].succeed(1)
    engine.claim("failed")[0].fail("broken", retry=False)
    world.skipped = engine.submit("skipped", world.failed)
    world.cancelled = engine.submit("cancelled")
    world.cancelled.cancel()
    world.running, world.lost = engine.submit("running"), engine.submit("lost")
    (world.claim,) = engine.claim("running", lease=600)
    (world.stale,) = engine.claim("lost")
    world.stale.release()
    world.theirs = theirs
    return world


def rows(raw, *, kinds):
    tables = ["task", "edge", "key", "tag", "attempt", "status"] + ["kind"] * kinds
    return {table: raw(f"SELECT * FROM taskcore_{table}") for table in tables}


def nested():
    def inside():
        return 1

    return inside


NAIVE = datetime.datetime(2030, 1, 1)  # noqa: DTZ001

REFUSED = {
    # submit
    "a lambda": (lambda w: w.engine.submit(lambda: 1), TypeError, "task"),
    "a nested function": (lambda w: w.engine.submit(nested()), TypeError, "task"),
    "no function": (lambda w: w.engine.submit(5), TypeError, "5"),
    "no name": (lambda w: w.engine.submit(""), ValueError, "name"),
    "an argument that cannot be stored": (
        lambda w: w.engine.submit(module_level, object()), TypeError, r"argument 1 \(x\)",
    ),
    "a keyword that cannot be stored": (
        lambda w: w.engine.submit("f", 1, colour=object()), TypeError, "'colour'",
    ),
    "an argument that would come back as another": (
        lambda w: w.engine.submit("f", type("Sub", (int,), {})(3)), TypeError, "int",
    ),
    "map of what cannot be stored": (lambda w: w.engine.map("f", [object(), 1]), TypeError, "argument 1"),
    "map in no chunks": (lambda w: w.engine.map("f", [1], chunksize=0), ValueError, "chunksize"),
    "map with an odd timeout": (lambda w: w.engine.map("f", [1], timeout="2"), TypeError, "timeout"),
    "a future of another file": (lambda w: w.engine.submit("f", w.theirs), ValueError, "other"),
    "an upstream of another file": (
        lambda w: w.engine.task("f").options(after=w.theirs).submit(), ValueError, "other",
    ),
    # definitions and options
    "a task of nothing": (lambda w: w.engine.task(5), TypeError, "5"),
    "a task without a name": (lambda w: w.engine.task(type("C", (), {"__call__": id})()), TypeError, "name"),
    "an empty name": (lambda w: w.engine.task(print, name=""), ValueError, "name"),
    "a name that is none": (lambda w: w.engine.task(print, name=5), TypeError, "name"),
    "an unknown option": (lambda w: w.engine.task("f", colour="red"), TypeError, "colour"),
    "an unknown option later": (lambda w: w.engine.task("f").options(colour="red"), TypeError, "colour"),
    "a bad value": (lambda w: w.engine.task("f", max_attempts=0), ValueError, "max_attempts"),
    "a bad value later": (lambda w: w.engine.task("f").options(max_attempts="3"), TypeError, "max_attempts"),
    "a priority above": (lambda w: w.engine.task("f").options(priority=1001), ValueError, "1000"),
    "a priority below": (lambda w: w.engine.task("f").options(priority=-1001), ValueError, "1000"),
    "a moment without a zone": (lambda w: w.engine.task("f").options(at=NAIVE), ValueError, "zone"),
    "an unknown failed_status": (
        lambda w: w.engine.task("f").options(failed_status="odd").submit(), UnknownStatus,
        "'odd' is no status of phase failed; there are: 'failed'",
    ),
    "a failed_status that is no failure": (
        lambda w: w.engine.task("f").options(failed_status="good").submit(), UnknownStatus, "'good'",
    ),
    "an unknown on": (
        lambda w: w.engine.task("f").options(after=w.ready, on="odd").submit(), UnknownStatus, "'odd'",
    ),
    "an unknown on of an argument": (
        lambda w: w.engine.task("f").options(on="odd").submit(w.ready), UnknownStatus, "'odd'",
    ),
    "an upstream that is not there": (
        lambda w: w.engine.task("f").options(after=99).submit(), TaskNotFound, "#99",
    ),
    "a downstream that is not there": (
        lambda w: w.engine.task("f").options(before=99).submit(), TaskNotFound, "#99",
    ),
    "a downstream that has begun": (
        lambda w: w.engine.task("f").options(before=[w.ready, w.running]).submit(), InvalidTransition, "running",
    ),
    "a downstream that has ended": (
        lambda w: w.engine.task("f").options(before=w.done).submit(), InvalidTransition, "succeeded",
    ),
    "before its own upstream": (
        lambda w: w.engine.task("f").options(before=w.ready, after=w.chain[2]).submit(), DependencyCycle, "cycle",
    ),
    "a parent that is not there": (
        lambda w: w.engine.task("f").options(parent=99).submit(), TaskNotFound, "#99",
    ),
    "a key with other arguments": (
        lambda w: w.engine.task("ready").options(key="k").submit(2), KeyConflict, "'k'",
    ),
    "a task that is run elsewhere, called": (lambda w: w.engine.task("f")(1), TypeError, "elsewhere"),
    # handles
    "a task that is not there": (lambda w: w.engine.future(99), TaskNotFound, "#99"),
    "an id that is none": (lambda w: w.engine.future("1"), TypeError, "'1'"),
    "an id that is a bool": (lambda w: w.engine.future(True), TypeError, "True"),
    "rerun of what is ready": (lambda w: w.ready.rerun(), InvalidTransition, "ready"),
    "rerun of what runs": (lambda w: w.running.rerun(), InvalidTransition, "running"),
    "rerun of what waits": (lambda w: w.chain[1].rerun(downstream=True), InvalidTransition, "waiting"),
    "a dependency on itself": (lambda w: w.ready.depends_on(w.ready), DependencyCycle, "cycle"),
    "a dependency on what depends on it": (
        lambda w: w.ready.depends_on(w.chain[3]), DependencyCycle, "cycle",
    ),
    "a dependency of what runs": (lambda w: w.running.depends_on(w.ready), InvalidTransition, "running"),
    "a dependency of what has ended": (lambda w: w.done.depends_on(w.ready), InvalidTransition, "succeeded"),
    "a dependency on nothing": (lambda w: w.ready.depends_on(99), TaskNotFound, "#99"),
    "a dependency on another file": (lambda w: w.ready.depends_on(w.theirs), ValueError, "other"),
    "a dependency on an odd status": (lambda w: w.ready.depends_on(w.lost, on="odd"), UnknownStatus, "'odd'"),
    "a dependency with an odd otherwise": (
        lambda w: w.ready.depends_on(w.lost, otherwise="odd"), ValueError, "otherwise",
    ),
    "a dependency on no task": (lambda w: w.ready.depends_on("1"), TypeError, "'1'"),
    # selections
    "an unknown filter": (lambda w: w.engine.tasks.where(colour="red"), TypeError, "colour"),
    "an unknown phase": (lambda w: w.engine.tasks.where(phase="odd"), ValueError, "'odd'"),
    "a task of another file": (lambda w: w.engine.tasks.where(id=w.theirs), ValueError, "other"),
    "a priority beyond": (lambda w: w.engine.tasks.set_priority(1001), ValueError, "priority"),
    "a priority that is none": (lambda w: w.engine.tasks.set_priority(None), TypeError, "priority"),
    "a reason that is no text": (lambda w: w.engine.tasks.cancel(5), TypeError, "reason"),
    # claims
    "claiming none": (lambda w: w.engine.claim(n=0), ValueError, "n"),
    "claiming an odd name": (lambda w: w.engine.claim(5), TypeError, "name"),
    "claiming for no time": (lambda w: w.engine.claim(lease=0), ValueError, "lease"),
    "claiming as nobody": (lambda w: w.engine.claim(worker=""), ValueError, "worker"),
    "a token that is none": (lambda w: w.engine.claimed("x"), ValueError, "token"),
    "a token of nothing": (lambda w: w.engine.claimed("99.1"), LeaseLost, "#99"),
    "a token that is lost": (lambda w: w.engine.claimed(w.stale.token), LeaseLost, "no longer held"),
    "succeed of a lost claim": (lambda w: w.stale.succeed(1), LeaseLost, "no longer held"),
    "fail of a lost claim": (lambda w: w.stale.fail("x"), LeaseLost, "no longer held"),
    "snooze of a lost claim": (lambda w: w.stale.snooze(1), LeaseLost, "no longer held"),
    "release of a lost claim": (lambda w: w.stale.release(), LeaseLost, "no longer held"),
    "extend of a lost claim": (lambda w: w.stale.extend(1), LeaseLost, "no longer held"),
    "succeed with an odd status": (lambda w: w.claim.succeed(1, status="odd"), UnknownStatus, "'odd'"),
    "succeed with a running status": (lambda w: w.claim.succeed(1, status="busy"), UnknownStatus, "'busy'"),
    "succeed with what cannot be stored": (lambda w: w.claim.succeed(object()), TypeError, "object"),
    "fail with nothing": (lambda w: w.claim.fail(None), TypeError, "error"),
    "snooze into the past": (lambda w: w.claim.snooze(-1), ValueError, "snooze"),
    "extend into the past": (lambda w: w.claim.extend(-1), ValueError, "extension"),
    # bodies, outside of one
    "current() outside": (lambda w: taskcore.current(), NotInTask, "body"),
    "a retry in the past": (lambda w: taskcore.Retry(-1), ValueError, "delay"),
    "a snooze of a text": (lambda w: taskcore.Snooze("5"), TypeError, "delay"),  # type: ignore[arg-type]
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_says_why_and_changes_nothing(world, raw, case):
    call, error, words = REFUSED[case]
    before = rows(raw, kinds=True)
    with pytest.raises(error, match=words):
        call(world)
    assert rows(raw, kinds=True) == before


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_inside_a_transaction_leaves_the_rest_of_it(world, raw, case):
    call, error, words = REFUSED[case]
    before = rows(raw, kinds=False)
    with world.engine.transaction() as db:
        with pytest.raises(error, match=words):
            call(world)
        assert db.execute("SELECT 1").fetchall() == [(1,)]
    assert rows(raw, kinds=False) == before
    with world.engine.transaction():
        kept = world.engine.submit("kept", 1)
        with pytest.raises(error, match=words):
            call(world)
    assert kept.snapshot().args == (1,)
    assert world.engine.tasks.where(id=kept).delete() == 0
    assert [task.id for task in world.engine.tasks if task.id > kept.id] == []


def test_a_map_that_fails_half_way_stores_nothing(world, raw):
    before = rows(raw, kinds=True)
    with pytest.raises(TypeError, match="argument 1"):
        world.engine.map("f", [1, 2, object(), 3])
    assert rows(raw, kinds=True) == before


@pytest.mark.parametrize("text", ["", "a\0b", "a\ud800b", "ü" * 1_000_000], ids=range(4))
def test_a_reason_or_error_may_be_any_text(engine, text):
    cancelled, failed = engine.submit("f"), engine.submit("g")
    cancelled.cancel(text)
    engine.claim("g")[0].fail(text)
    assert {cancelled.snapshot().phase, failed.snapshot().phase} == {"cancelled", "failed"}
    assert cancelled.snapshot().last_error[:1] == failed.snapshot().last_error[:1] == text[:1]
    assert len(cancelled.snapshot().last_error) < 100_000


RESULTS = {
    "failed": (TaskFailed, "broken"),
    "skipped": (TaskSkipped, "failed"),
    "cancelled": (CancelledError, "cancelled"),
    "ready": (TimeoutError, "not ended"),
    "running": (TimeoutError, "not ended"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_that_there_is_not_raises_what_there_is(world, name):
    error, words = RESULTS[name]
    with pytest.raises(error, match=words):
        getattr(world, name).result(timeout=0)


IN_TRANSACTION = {
    "a result": lambda w: w.ready.result(),
    "an exception": lambda w: w.ready.exception(1),
    "run": lambda w: w.engine.run(),
    "shutdown": lambda w: w.engine.shutdown(),
    "close": lambda w: w.engine.close(),
    "a transaction": lambda w: w.engine.transaction().__enter__(),
}


@pytest.mark.parametrize("case", IN_TRANSACTION)
def test_what_would_wait_for_ever_inside_a_transaction_is_refused_at_once(world, raw, case):
    before = rows(raw, kinds=True)
    with world.engine.transaction(), pytest.raises(RuntimeError, match="transaction"):
        IN_TRANSACTION[case](world)
    assert rows(raw, kinds=True) == before


AFTER_CLOSE = {
    "snapshot": lambda w: w.ready.snapshot(),
    "history": lambda w: w.ready.history(),
    "dependencies": lambda w: w.ready.dependencies(),
    "cancel": lambda w: w.ready.cancel(),
    "pause": lambda w: w.ready.pause(),
    "rerun": lambda w: w.done.rerun(),
    "depends_on": lambda w: w.ready.depends_on(w.lost),
    "result": lambda w: w.ready.result(),
    "submit": lambda w: w.engine.submit("f"),
    "submit of a task": lambda w: w.engine.task("f").submit(),
    "map": lambda w: w.engine.map("f", [1]),
    "transaction": lambda w: w.engine.transaction().__enter__(),
    "tasks": lambda w: list(w.engine.tasks),
    "future": lambda w: w.engine.future(1),
    "claim": lambda w: w.engine.claim(),
    "claimed": lambda w: w.engine.claimed(w.claim.token),
    "claim.succeed": lambda w: w.claim.succeed(),
    "run": lambda w: w.engine.run(),
    "start": lambda w: w.engine.start(),
}


@pytest.mark.parametrize("case", AFTER_CLOSE)
def test_after_close_everything_is_engine_closed_and_nothing_moves(world, raw, case):
    before = rows(raw, kinds=True)
    world.engine.close()
    with pytest.raises(EngineClosed):
        AFTER_CLOSE[case](world)
    assert rows(raw, kinds=True) == before


# -- losing a race is no error -------------------------------------------------------------------------------------


def test_what_others_did_first_is_a_return_value(world, raw):
    before = rows(raw, kinds=True)
    assert world.engine.claim("done", "failed", "nobody", n=9) == []
    assert (world.done.cancel(), world.done.pause(), world.done.resume()) == (False, False, False)
    assert world.ready.resume() is False
    ended = world.engine.tasks.where(phase=["succeeded", "failed", "skipped"])
    assert (ended.cancel(), ended.pause(), ended.resume(), ended.set_priority(5)) == (0, 0, 0, 0)
    assert world.engine.tasks.where(phase=["ready", "running"]).rerun() == 0
    assert world.engine.tasks.where(phase=["ready", "running", "waiting"]).delete() == 0
    assert rows(raw, kinds=True) == before


def test_a_locked_file_is_waited_for_and_no_error(path):
    with contextlib.closing(Engine(path, workers=1)) as engine:
        engine.submit(module_level, 0).result(PATIENCE)
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.15, other.execute, ["COMMIT"]).start()
        futures = [engine.submit(module_level, n) for n in range(5)]
        assert [future.result(PATIENCE) for future in futures] == list(range(5))
        assert engine.tasks.counts() == {"succeeded": 6}
        other.close()


def test_a_locked_file_is_never_the_outcome_of_a_task(path):
    with contextlib.closing(Engine(path, workers=1)) as engine:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

        @engine.task
        def locks():
            other.execute("BEGIN IMMEDIATE")
            threading.Timer(0.15, other.execute, ["ROLLBACK"]).start()
            return "done"

        future = locks.submit()
        assert future.result(PATIENCE) == "done"
        assert future.snapshot().attempts == 1
        other.close()


# -- the errors themselves -----------------------------------------------------------------------------------------

ERRORS = [
    (TaskNotFound(7), LookupError, {"task_id": 7}),
    (InvalidTransition(7, "ready", "rerun"), TaskcoreError, {"task_id": 7, "phase": "ready", "verb": "rerun"}),
    (LeaseLost(7, 2), TaskcoreError, {"task_id": 7, "token": 2}),
    (DependencyCycle([1, 2, 1]), ValueError, {"path": [1, 2, 1]}),
    (KeyConflict("f", "k", 7), ValueError, {"name": "f", "key": "k", "task_id": 7}),
    (UnknownStatus("odd", ["good"]), ValueError, {"label": "odd", "known": ["good"]}),
    (
        TaskFailed(7, "KeyError", "'x'", "Traceback…", 3, "bad", [1]),
        TaskcoreError,
        {
            "task_id": 7, "error_type": "KeyError", "message": "'x'", "traceback": "Traceback…", "attempts": 3,
            "status": "bad", "result": [1],
        },
    ),
    (TaskSkipped(7, "#3 is failed"), TaskcoreError, {"task_id": 7, "reason": "#3 is failed"}),
    (NotInTask(), RuntimeError, {}),
    (BadFile("/a.db", "it is damaged"), TaskcoreError, {"path": "/a.db", "reason": "it is damaged"}),
    (EngineClosed("/a.db"), RuntimeError, {"path": "/a.db"}),
]  # fmt: skip


@pytest.mark.parametrize("error, base, facts", ERRORS, ids=lambda value: type(value).__name__)
def test_an_error_has_its_facts_as_attributes_and_a_sentence(error, base, facts):
    assert isinstance(error, TaskcoreError) and isinstance(error, base) and isinstance(error, Exception)
    assert {name: getattr(error, name) for name in facts} == facts
    assert len(str(error)) > 10
    for name, fact in facts.items():
        if isinstance(fact, (str, int)) and name != "traceback":
            assert str(fact) in str(error)


@pytest.mark.parametrize("error, base, facts", ERRORS, ids=lambda value: type(value).__name__)
def test_an_error_crosses_to_another_process_whole(error, base, facts):
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(again) is type(error)
    assert (str(again), again.args) == (str(error), error.args)
    assert {name: getattr(again, name) for name in facts} == facts


def test_a_cycle_is_told_with_its_path(world):
    with pytest.raises(DependencyCycle) as caught:
        world.ready.depends_on(world.chain[3])
    ids = [future.id for future in world.chain]
    path = caught.value.path
    assert path[0] == path[-1] and set(path) == set(ids) and len(path) == 5
    edges = {(edge.task_id, edge.upstream_id) for future in world.chain for edge in future.dependencies()}
    steps = set(itertools.pairwise(path))
    assert len(steps - edges) == 1  # all of it is there but the one edge that was asked for
    with pytest.raises(DependencyCycle) as caught:
        world.ready.depends_on(world.ready)
    assert caught.value.path == [world.ready.id, world.ready.id]
