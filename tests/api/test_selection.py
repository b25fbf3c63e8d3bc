"""`engine.tasks` and `where(…)`: finding tasks, and moving many at once."""

import contextlib
import copy
import dataclasses
import datetime
import pickle

import pytest

from taskcore import Engine, Selection, Task, TaskNotFound, constant
from taskcore.store import counts, schema
from taskcore.testing import InlineExecutor


def names(selection):
    return [task.name for task in selection]


@pytest.fixture
def engine(clock):
    """As everywhere, but in memory: there are many filters."""
    statuses = {"good": "succeeded", "bad": "failed"}
    with contextlib.closing(Engine(":memory:", workers=0, clock=clock, statuses=statuses)) as engine:
        yield engine


@pytest.fixture
def zoo(engine, clock):
    """One task of each kind, by name. Submitted a second apart, from 1000 on."""
    zoo = {}

    def add(name, then=None, **options):
        zoo[name] = engine.task(name, **options).submit()
        if then is not None:
            then(engine.claim(name, worker="robot")[0])
        clock.advance(1)

    add("ready", tags=["a", "b"])
    add("succeeded", lambda claim: claim.succeed(1), tags=["a"])
    add("good", lambda claim: claim.succeed(1, status="good"), key="k")
    add("failed", lambda claim: claim.fail("broken"), hidden=True)
    add("bad", lambda claim: claim.succeed(1, status="bad"), parent=zoo["ready"])
    add("running", lambda claim: None, tags=["b"])
    add("scheduled", delay=500)
    add("waiting", after=[zoo["ready"], zoo["running"]])
    add("paused")
    zoo["paused"].pause()
    add("cancelled", after=zoo["ready"])
    zoo["cancelled"].cancel()
    add("skipped", after=zoo["failed"])
    return zoo


# -- filters -------------------------------------------------------------------------------------------------------

FOUND = [
    ({}, "ready succeeded good failed bad running scheduled waiting paused cancelled skipped"),
    ({"name": "good"}, "good"),
    ({"name": ["bad", "good"]}, "good bad"),
    ({"name": "nobody"}, ""),
    ({"name": None}, ""),
    ({"phase": "succeeded"}, "succeeded good"),
    ({"phase": "failed"}, "failed bad"),
    ({"phase": "running"}, "running"),
    ({"phase": "suspended"}, ""),
    ({"phase": ("ready", "paused", "waiting")}, "ready waiting paused"),
    ({"phase": ["succeeded", "skipped"]}, "succeeded good skipped"),
    ({"phase": None}, ""),
    ({"status": "succeeded"}, "succeeded"),
    ({"status": "good"}, "good"),
    ({"status": ["bad", "failed", "skipped"]}, "failed bad skipped"),
    ({"status": None}, ""),
    ({"status": "of an engine to come"}, ""),
    ({"key": "k"}, "good"),
    ({"key": "K"}, ""),
    ({"key": None}, "ready succeeded failed bad running scheduled waiting paused cancelled skipped"),
    ({"parent": "ready"}, "bad"),
    ({"parent": "bad"}, ""),
    ({"parent": None}, "ready succeeded good failed running scheduled waiting paused cancelled skipped"),
    ({"tag": "a"}, "ready succeeded"),
    ({"tag": ["a", "b"]}, "ready succeeded running"),
    ({"tag": "A"}, ""),
    ({"tag": None}, "good failed bad scheduled waiting paused cancelled skipped"),
    ({"worker": "robot"}, "succeeded good failed bad running"),
    ({"worker": ["robot", "nobody"], "phase": "running"}, "running"),
    ({"worker": None}, "ready scheduled waiting paused cancelled skipped"),
    ({"upstream_of": "waiting"}, "ready running"),
    ({"upstream_of": "ready"}, ""),
    ({"upstream_of": None}, ""),
    ({"downstream_of": "ready"}, "waiting cancelled"),
    ({"downstream_of": "failed"}, "skipped"),
    ({"hidden": True}, "failed"),
    ({"hidden": False, "phase": "failed"}, "bad"),
    ({"hidden": None}, ""),
    ({"submitted_after": 1008}, "cancelled skipped"),
    ({"submitted_before": 1002}, "ready succeeded"),
    ({"submitted_after": 1001, "submitted_before": 1004}, "good failed"),
    ({"submitted_after": None}, ""),
    ({"id": "paused"}, "paused"),
    ({"ids": ["paused", "good"]}, "good paused"),
    ({"ids": []}, ""),
    ({"id": None}, ""),
    ({"tag": "b", "phase": "ready"}, "ready"),
    ({"tag": "b", "phase": "failed"}, ""),
    ({"tag": "a", "worker": "robot", "status": "succeeded", "key": None, "hidden": False}, "succeeded"),
]


@pytest.mark.parametrize("filters, found", FOUND, ids=[str(filters) for filters, _ in FOUND])
def test_a_selection_is_what_all_its_filters_let_pass(engine, zoo, filters, found):
    given = {
        name: [zoo[one] for one in value]
        if name == "ids"
        else zoo[value]
        if name in ("id", "parent", "upstream_of", "downstream_of") and value
        else value
        for name, value in filters.items()
    }
    selection = engine.tasks.where(**given)
    assert names(selection) == found.split()
    assert len(selection) == len(found.split())
    assert (selection.first().name if selection else None) == next(iter(found.split()), None)
    assert sum(selection.counts().values()) == len(selection)


def test_filters_one_after_the_other_narrow_as_all_at_once(engine, zoo):
    tasks = engine.tasks
    assert names(tasks.where(phase="failed").where(hidden=True)) == ["failed"]
    assert names(tasks.where(phase=["failed", "ready"]).where(phase=["ready", "paused"])) == ["ready"]
    assert names(tasks.where(phase="failed").where(phase="ready")) == []
    assert names(tasks.where(key="k").where(key=None)) == []
    assert names(tasks.where(submitted_after=1001).where(submitted_after=1008)) == ["cancelled", "skipped"]
    assert names(tasks.where(submitted_before=1002).where(submitted_before=1008)) == ["ready", "succeeded"]
    assert names(tasks.where(id=zoo["good"]).where(id=zoo["good"].id)) == ["good"]
    assert names(tasks.where(ids=[1, 2, 3]).where(ids=[3, 4]).where(id=3)) == ["good"]


def test_filters_of_what_a_task_has_several_of_can_be_asked_for_together(engine, zoo):
    tasks = engine.tasks
    assert names(tasks.where(tag="a").where(tag="b")) == ["ready"]
    assert names(tasks.where(tag="a").where(tag=["b", "c"]).where(tag="c")) == []
    both = engine.task("both").options(after=[zoo["ready"], zoo["failed"]], otherwise="wait").submit()
    assert names(tasks.where(downstream_of=zoo["ready"]).where(downstream_of=zoo["failed"])) == ["both"]
    assert names(tasks.where(upstream_of=both).where(upstream_of=zoo["waiting"])) == ["ready"]


def test_a_task_is_given_by_handle_id_or_row(engine, zoo):
    future = zoo["waiting"]
    for given in (future, future.id, future.snapshot(), engine.future(future.id)):
        assert names(engine.tasks.where(id=given)) == ["waiting"]
        assert names(engine.tasks.where(upstream_of=given)) == ["ready", "running"]
    assert names(engine.tasks.where(ids=(zoo["good"], 1, future.snapshot()))) == ["ready", "good", "waiting"]
    assert names(engine.tasks.where(ids=engine.tasks.where(tag="a"))) == ["ready", "succeeded"]


def test_times_may_be_aware_datetimes(engine, zoo):
    at = datetime.datetime.fromtimestamp(1008, datetime.timezone(datetime.timedelta(hours=5)))
    assert names(engine.tasks.where(submitted_after=at)) == ["cancelled", "skipped"]


def test_an_id_that_is_no_tasks_finds_nothing(engine, zoo):
    for number in (0, -1, 99, 2**63, 10**30):
        assert names(engine.tasks.where(id=number)) == []
        assert engine.tasks.where(ids=[number], parent=None).cancel() == 0


@pytest.mark.parametrize(
    "filters, error, word",
    [
        ({"colour": "red"}, TypeError, "colour"),
        ({"Name": "x"}, TypeError, "Name"),
        ({"args": ()}, TypeError, "args"),
        ({"phase": "redy"}, ValueError, "redy"),
        ({"phase": ["ready", "good"]}, ValueError, "good"),
        ({"phase": 5}, TypeError, "phase"),
        ({"name": 5}, TypeError, "name"),
        ({"name": ["a", None]}, TypeError, "name"),
        ({"status": b"x"}, TypeError, "status"),
        ({"tag": True}, TypeError, "tag"),
        ({"key": 1.5}, TypeError, "key"),
        ({"worker": object()}, TypeError, "worker"),
        ({"id": "1"}, TypeError, "task"),
        ({"id": True}, TypeError, "task"),
        ({"id": [1]}, TypeError, "task"),
        ({"ids": 1}, TypeError, "ids"),
        ({"ids": "12"}, TypeError, "ids"),
        ({"ids": [1, "2"]}, TypeError, "task"),
        ({"parent": "x"}, TypeError, "task"),
        ({"upstream_of": 1.0}, TypeError, "task"),
        ({"hidden": 1}, TypeError, "hidden"),
        ({"hidden": "no"}, TypeError, "hidden"),
        ({"submitted_after": "today"}, TypeError, "submitted_after"),
        ({"submitted_before": True}, TypeError, "submitted_before"),
        ({"submitted_before": datetime.datetime(2030, 1, 1)}, TypeError, "submitted_before"),  # noqa: DTZ001
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_filter_that_makes_no_sense_is_refused(engine, zoo, filters, error, word):
    with pytest.raises(error, match=word):
        engine.tasks.where(**filters)


def test_a_selection_is_indexed_and_sliced_in_order_of_the_numbers(engine):
    for n in range(6):
        engine.submit("even" if n % 2 == 0 else "odd", n)
    odd = engine.tasks.where(name="odd")
    assert [odd[0].id, odd[2].id, odd[-1].id, odd[-3].id] == [2, 6, 6, 2]
    assert [[task.id for task in odd[part]] for part in (slice(1, None), slice(None, None, -2), slice(5, 9))] == [
        [4, 6], [6, 2], []
    ]  # fmt: skip
    for place in (3, -4):
        with pytest.raises(IndexError, match=f"there are 3 tasks, and none at {place}"):
            odd[place]


def test_a_selection_shows_what_it_selects_and_how_many_that_are(engine):
    engine.submit("f")
    assert repr(engine.tasks) == "<Selection 1 task>"
    some = engine.tasks.where(name="f", phase=["ready", "failed"], ids=range(9), parent=None)
    assert repr(some) == (
        "<Selection name='f', phase=['ready', 'failed'], ids=[0, 1, 2, 3, 4, …], parent=None: 1 task>"
    )
    engine.close()
    assert repr(some).endswith("parent=None>")


def test_a_handle_knows_the_name_and_status_of_its_task(engine):
    future = engine.submit("f")
    assert (future.name, future.status) == ("f", "ready")
    future.cancel()
    assert future.status == "cancelled"


def test_a_row_has_all_that_a_task_has_and_is_a_value_like_any_other(engine, zoo):
    for row in engine.tasks:
        assert vars(row).keys() == {field.name for field in dataclasses.fields(row)}
        assert Task(**vars(row)) == dataclasses.replace(row) == copy.deepcopy(row) == row
        assert pickle.loads(pickle.dumps(row)) == row  # noqa: S301 - our own
        assert row != dataclasses.replace(row, message="otherwise")
        with pytest.raises(dataclasses.FrozenInstanceError):
            row.status = "good"


def test_no_text_becomes_sql(engine, zoo):
    for text in ("'; DROP TABLE taskcore_task; --", "%", "_", "*", 'a" OR 1', "a' OR '1'='1", "ready\\", "[1]", '"'):
        for name in ("name", "status", "key", "tag", "worker"):
            assert names(engine.tasks.where(**{name: text})) == []
    odd = engine.task('o\'dd "name" %').options(tags=["'t'", "]", '"'], key='"k"').submit()
    assert [task.id for task in engine.tasks.where(name='o\'dd "name" %', tag='"', key='"k"')] == [odd.id]


# -- reading -------------------------------------------------------------------------------------------------------


def test_many_tasks_are_read_page_by_page_in_the_order_of_ids(engine):
    with engine.transaction():
        for n in range(2103):
            engine.task("f").options(tags=["even"] if n % 2 == 0 else [], priority=n % 7).submit(n)
    assert [task.args[0] for task in engine.tasks] == list(range(2103))
    assert [task.args[0] for task in engine.tasks.where(tag="even")] == list(range(0, 2103, 2))
    assert [task.args[0] for task in engine.tasks.where(name="f", phase="ready")] == list(range(2103))
    assert len(engine.tasks) == 2103
    assert engine.tasks.where(tag="even").cancel() == 1052
    assert engine.tasks.counts() == {"cancelled": 1052, "ready": 1051}


@pytest.mark.parametrize("filters", [{}, {"phase": ["ready", "cancelled"]}])
def test_what_changes_while_iterating_is_seen_as_it_is_then(engine, filters):
    with engine.transaction():
        for n in range(1200):
            engine.submit("f", n)
    seen = []
    for task in engine.tasks.where(**filters):
        seen.append(task)
        if len(seen) == 1:
            engine.tasks.cancel()
            engine.submit("f", "new")
    assert [task.id for task in seen][:1200] == list(range(1, 1201))
    assert (seen[0].phase, seen[1199].phase) == ("ready", "cancelled")


def test_a_selection_is_found_anew_at_each_use(engine):
    ready = engine.tasks.where(phase="ready")
    assert (len(ready), ready.first(), ready.counts(), list(ready), bool(ready)) == (0, None, {}, [], False)
    future = engine.submit("f")
    assert (len(ready), ready.first(), ready.counts(), bool(ready)) == (1, future.snapshot(), {"ready": 1}, True)
    future.cancel()
    assert list(ready) == []


def test_counts_are_by_status_of_what_there_is(engine, zoo):
    assert engine.tasks.counts() == {
        "ready": 1, "succeeded": 1, "good": 1, "failed": 1, "bad": 1, "running": 1, "scheduled": 1, "waiting": 1,
        "paused": 1, "cancelled": 1, "skipped": 1,
    }  # fmt: skip
    assert engine.tasks.where(phase="failed").counts() == {"failed": 1, "bad": 1}


def test_a_selection_says_what_it_is_of(engine):
    assert isinstance(engine.tasks.where(name="f"), Selection)
    assert "name" in repr(engine.tasks.where(name="f"))


# -- verbs ---------------------------------------------------------------------------------------------------------


def test_cancel_ends_what_does_not_run_and_says_how_many(engine, zoo):
    assert engine.tasks.where(phase=["scheduled", "paused", "succeeded"]).cancel("no more") == 2
    assert [zoo[name].snapshot().last_error for name in ("scheduled", "paused")] == ["no more", "no more"]
    assert engine.tasks.cancel() == 2
    assert engine.tasks.cancel() == 0
    task = zoo["running"].snapshot()
    assert (task.phase, task.cancel_requested_at) == ("running", 1011)
    assert engine.tasks.where(name=["ready", "waiting"]).counts() == {"cancelled": 2}


def test_pause_holds_and_resume_lets_go(engine, zoo):
    assert engine.tasks.where(phase=["ready", "scheduled", "waiting", "paused"]).pause() == 3
    assert engine.tasks.counts()["paused"] == 4
    assert engine.claim() == []
    assert engine.tasks.where(phase="paused").resume() == 4
    counts = engine.tasks.counts()
    assert (counts["ready"], counts["scheduled"], counts["waiting"]) == (2, 1, 1)
    assert zoo["scheduled"].snapshot().greenfield == 1506
    assert engine.tasks.where(phase="ready").resume() == 0


def test_pausing_a_running_task_holds_it_when_it_comes_back(engine):
    future = engine.task("f", max_attempts=2, backoff=constant(0)).submit()
    (claim,) = engine.claim("f")
    assert engine.tasks.pause() == 1
    assert engine.tasks.pause() == 0
    assert future.snapshot().phase == "running"
    claim.fail("broken")
    assert future.snapshot().phase == "paused"
    assert future.resume()
    assert future.snapshot().phase == "ready"
    (claim,) = engine.claim("f")
    assert (future.pause(), future.resume(), future.resume()) == (True, True, False)
    claim.release()
    assert future.snapshot().phase == "ready"


def test_a_paused_task_is_not_freed_by_what_it_waits_for(engine):
    upstream = engine.submit("up")
    future = engine.submit("f", upstream)
    assert future.pause()
    engine.claim("up")[0].succeed()
    assert future.snapshot().phase == "paused"
    future.resume()
    assert future.snapshot().phase == "ready"


def test_rerun_brings_back_what_has_ended(engine, zoo):
    assert engine.tasks.where(phase=["failed", "cancelled", "running", "ready"]).rerun() == 3
    assert {name: zoo[name].snapshot().phase for name in ("failed", "bad", "cancelled")} == {
        "failed": "ready", "bad": "ready", "cancelled": "waiting",
    }  # fmt: skip
    task = zoo["failed"].snapshot()
    assert (task.failures, task.lapses, task.attempts, task.finished_at, task.status) == (0, 0, 1, None, "ready")
    assert engine.tasks.where(phase="succeeded").rerun() == 2
    assert zoo["good"].snapshot().result is None


def test_rerun_downstream_takes_along_every_ended_task_below(engine):
    first = engine.submit("a")
    second = engine.submit("b", first)
    engine.submit("c", second)
    first.cancel()
    assert engine.tasks.counts() == {"cancelled": 1, "skipped": 2}
    assert engine.tasks.where(id=first).rerun(downstream=True) == 3
    assert engine.tasks.counts() == {"ready": 1, "waiting": 2}


def test_set_priority_changes_the_order_of_what_has_not_ended(engine, zoo):
    assert engine.tasks.where(phase=["ready", "succeeded", "scheduled"]).set_priority(7) == 2
    assert engine.tasks.where(phase=["ready", "succeeded", "scheduled"]).set_priority(7) == 0
    assert [zoo[name].snapshot().priority for name in ("ready", "scheduled", "succeeded", "waiting")] == [7, 7, 0, 0]
    late = engine.submit("ready")
    assert engine.tasks.where(id=late).set_priority(8) == 1
    assert [claim.task.id for claim in engine.claim("ready", n=2)] == [late.id, zoo["ready"].id]


@pytest.mark.parametrize(
    "priority, error",
    [(1001, ValueError), (-1001, ValueError), ("1", TypeError), (1.5, TypeError), (True, TypeError)],
)
def test_set_priority_keeps_to_its_bounds(engine, priority, error):
    future = engine.submit("f")
    with pytest.raises(error, match="priority"):
        engine.tasks.set_priority(priority)
    assert future.snapshot().priority == 0
    assert [engine.tasks.set_priority(bound) for bound in (1000, -1000)] == [1, 1]


def test_hide_and_show(engine, zoo):
    assert engine.tasks.where(phase="failed").hide() == 1  # the other one was hidden already
    assert engine.tasks.where(hidden=True).hide(True) == 0
    assert names(engine.tasks.where(hidden=True)) == ["failed", "bad"]
    assert engine.tasks.hide(False) == 2
    assert len(engine.tasks.where(hidden=True)) == 0


def test_delete_removes_what_has_ended_and_no_id_is_given_again(engine, zoo):
    before = len(engine.tasks)
    assert engine.tasks.where(phase=["succeeded", "cancelled", "ready", "running"]).delete() == 3
    assert len(engine.tasks) == before - 3
    assert engine.tasks.delete() == 2
    left = {task.name: task.phase for task in engine.tasks}
    assert left.pop("bad") == "failed", "its parent has not ended"
    assert set(left.values()) == {"ready", "running", "scheduled", "waiting", "paused"}
    with pytest.raises(TaskNotFound):
        zoo["good"].snapshot()
    with engine.transaction() as db:
        for table in ("attempt", "edge", "tag", "key"):
            column = "upstream" if table == "edge" else "task"
            gone = db.execute(f"SELECT 1 FROM taskcore_{table} WHERE {column} NOT IN (SELECT id FROM taskcore_task)")
            assert gone.fetchall() == [], table
    assert engine.submit("f").id == before + 1


def test_delete_spares_what_something_unfinished_needs(engine):
    done, free = engine.submit("f"), engine.submit("f")
    for claim in engine.claim("f", n=2):
        claim.succeed(claim.task.id)
    waiting = engine.submit("g", done, engine.submit("elsewhere"))
    assert engine.tasks.where(ids=[done, free]).delete() == 1
    assert done.result() == done.id
    waiting.cancel()
    assert engine.tasks.where(id=done).delete() == 1


def test_verbs_on_nothing_move_nothing(engine, zoo):
    nothing = engine.tasks.where(ids=[])
    assert [
        nothing.cancel(), nothing.pause(), nothing.resume(), nothing.rerun(), nothing.rerun(downstream=True),
        nothing.set_priority(3), nothing.hide(), nothing.delete(),
    ] == [0] * 8  # fmt: skip


def test_verbs_reach_thousands_in_one_transaction(path, clock):
    with contextlib.closing(Engine(path, clock=clock, executor=InlineExecutor())) as engine:
        with engine.transaction():
            for n in range(2500):
                engine.submit("f", n)
        assert engine.tasks.pause() == 2500
        assert engine.tasks.resume() == 2500
        assert engine.tasks.cancel("enough") == 2500
        assert engine.tasks.rerun() == 2500
        assert engine.tasks.counts() == {"ready": 2500}
        engine.task(lambda n: n, name="f")
        assert engine.run() == {"succeeded": 2500}
        assert engine.tasks.delete() == 2500


def test_the_children_of_a_job_are_counted_rightly_while_they_run(path, monkeypatch):
    monkeypatch.setattr(schema, "BLOCK", 8)
    monkeypatch.setattr(schema, "FAN", 2)
    monkeypatch.setattr(counts, "FEW", 4)
    with Engine(path, workers=2) as engine:
        double = engine.task(lambda n: 2 * n, name="double")
        with engine.job("night") as job, engine.job("day"):
            for n in range(400):
                double.options(parent=job).submit(n)
                double.submit(n)
        children = engine.tasks.where(parent=job)
        while not job.done():
            assert sum(children.counts().values()) == len(children) == 401
        assert children.counts() == {"succeeded": 401} == job.result()
        assert engine.check() == []
    with Engine(path, workers=0) as engine:
        assert engine.tasks.where(parent=job.id, name="double", phase="succeeded").counts() == {"succeeded": 400}
