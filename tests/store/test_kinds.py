"""Kinds: what tasks of a name share is stored once, holds nothing of this process, and goes when no task has it."""

import contextlib
import json
import sqlite3

import pytest

from taskcore import Engine, constant
from taskcore.core import clock as core_clock
from taskcore.store.cache import Known


@pytest.fixture
def engine(path):
    with contextlib.closing(Engine(path, workers=0)) as engine:
        yield engine


def kinds(raw):
    return [tuple(row.values()) for row in raw("SELECT id, name, options FROM taskcore_kind ORDER BY id")]


def test_functions_among_the_options_leave_no_trace_in_the_file(engine, raw):
    task = engine.task("t")
    for seconds in range(20):
        task.options(backoff=lambda n, seconds=seconds: seconds, retry_on=(ValueError, KeyError)).submit()
    ((_, name, text),) = kinds(raw)
    assert name == "t" and json.loads(text) == {"max_attempts": 1, "max_lapses": 3}
    assert not any("0x" in str(value) for row in raw("SELECT * FROM taskcore_task") for value in row.values())


def test_each_task_has_the_functions_that_were_given_to_it(inline, clock):
    def fail():
        raise ValueError("no")

    task = inline.task(fail, name="t", max_attempts=2, backoff=constant(100))
    five = task.options(backoff=lambda n: 500).submit()
    nine = task.options(backoff=lambda n: 900).submit()
    plain = task.submit()
    never = task.options(retry_on=KeyError).submit()
    inline.run()
    dues = {t.id: t.greenfield for t in inline.tasks.where(phase="scheduled")}
    now = clock.now()
    assert dues == {five.id: now + 500, nine.id: now + 900, plain.id: now + 100}
    assert never.snapshot().phase == "failed"


def test_a_task_keeps_its_functions_though_the_next_submit_finds_that_another_process_was_quicker(inline, made, clock):
    plain = inline.task(lambda: None, name="plain")
    fails = inline.task(lambda: 1 / 0, name="fails", max_attempts=2, backoff=constant(100))
    plain.submit()
    with contextlib.closing(Engine(made, clock=clock, workers=0)) as other:
        future = fails.options(backoff=lambda n: 500).submit()
        other.submit("nobody's")
        plain.submit()
    inline.run()
    assert future.snapshot().greenfield == clock.now() + 500


def test_a_task_keeps_its_functions_though_a_ctrl_c_comes_before_the_next_transaction_has_begun(
    inline, path, clock, monkeypatch
):
    def interrupt(seconds):
        raise KeyboardInterrupt

    fails = inline.task(lambda: 1 / 0, name="fails", max_attempts=2, backoff=constant(100))
    future = fails.options(backoff=lambda n: 500).submit()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as program:
        program.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(core_clock, "pause", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fails.options(backoff=lambda n: 700).submit()
        monkeypatch.undo()
    inline.run()
    assert [task.greenfield for task in inline.tasks] == [clock.now() + 500]
    assert future.snapshot().phase == "scheduled"


def test_what_was_rolled_back_leaves_its_functions_to_no_other_task(inline, clock):
    def fail():
        raise ValueError("no")

    task = inline.task(fail, name="t", max_attempts=2, backoff=constant(100))
    with contextlib.suppress(RuntimeError), inline.transaction():
        task.options(backoff=lambda n: 770).submit()
        raise RuntimeError("not these")
    task.submit()
    inline.run()
    assert [t.greenfield for t in inline.tasks.where(phase="scheduled")] == [clock.now() + 100]
    assert all(task_id in {t.id for t in inline.tasks} for task_id in inline._file.known.behaviours)


def test_a_part_that_was_rolled_back_leaves_its_functions_to_no_other_task(engine):
    task = engine.task("t")
    with engine.transaction():
        kept = task.options(backoff=lambda n: 500).submit()
        with pytest.raises(Exception, match="#999"):
            task.options(backoff=lambda n: 7, before=999).submit()
        plain = task.options(tags=["x"]).submit()
    assert list(engine._file.known.behaviours) == [kept.id] != [plain.id]


def test_prune_removes_the_kinds_that_no_task_has(engine, raw):
    for night in range(30):
        with engine.job(f"night {night}"):
            engine.submit("look", night)
    claims = engine.claim("look", n=29)
    for claim in claims:
        claim.succeed()
    assert len(kinds(raw)) == 31
    engine.prune(0)
    assert [name for _, name, _ in kinds(raw)] == ["look", "night 29"]
    assert engine.check() == []
    (claim,) = engine.claim("look")
    claim.succeed()
    engine.prune(0)
    assert [name for _, name, _ in kinds(raw)] == ["night 29"], "the newest stays: its id must not be given again"


def test_another_engine_that_remembers_a_removed_kind_submits_as_before(path, engine, raw):
    with contextlib.closing(Engine(path, workers=0)) as other:
        for name in ("a", "b", "c"):
            other.submit(name).cancel()
        engine.prune(0)
        assert [name for _, name, _ in kinds(raw)] == ["c"]
        alone = other.submit("a", 1)
        with other.transaction():
            together = [other.submit("b", n) for n in range(3)]
        tagged = other.task("a").options(tags=["x"]).submit(2)
        assert [t.name for t in engine.tasks] == ["a", "b", "b", "b", "a"]
        for task in (alone, *together, tagged):
            assert task.snapshot().phase == "ready"
        assert engine.check() == []
    ids = [kind for kind, _, _ in kinds(raw)]
    assert len(ids) == len(set(ids)) == 3


def test_another_engine_that_remembers_a_removed_kind_stores_a_transaction_of_it(path, engine):
    with contextlib.closing(Engine(path, workers=0)) as other:
        for name in ("a", "b", "c"):
            other.submit(name).cancel()
        engine.prune(0)
        with other.transaction():
            for name in ("a", "b"):
                other.submit(name)
                other.task(name).options(tags=["x"]).submit()
        assert [t.name for t in engine.tasks] == ["a", "a", "b", "b"] and engine.check() == []


def test_the_functions_of_what_was_rolled_back_never_go_to_a_task_of_another_process(path, engine):
    task = engine.task("t")
    with contextlib.suppress(RuntimeError), engine.transaction():
        lost = task.options(backoff=lambda n: 77).submit()
        raise RuntimeError("not this")
    with contextlib.closing(Engine(path, workers=0)) as other:
        assert other.submit("t").id == lost.id
    task.submit()
    assert engine._file.known.behaviours == {}


def test_a_kind_that_a_schedule_has_stays(engine, raw):
    engine.every("1d", name="nightly")(lambda: None)
    engine.submit("nightly").cancel()
    engine.submit("other").cancel()
    engine.submit("newest").cancel()
    engine.prune(0)
    assert [name for _, name, _ in kinds(raw)] == ["nightly", "newest"]


def test_an_engine_that_keeps_tasks_for_a_while_removes_kinds_as_it_idles(path, clock):
    with contextlib.closing(Engine(path, workers=0, clock=clock)) as engine:
        from taskcore.runtime.pruner import Pruning

        for night in range(30):
            with engine.job(f"night {night}"):
                engine.submit("look", night).cancel()
        clock.advance(100)
        pruning = Pruning(engine._file, keep=50, lull=0)
        for _ in range(100):
            pruning._rests_until = 0.0
            pruning.turn(clock.now())
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT name FROM taskcore_kind").fetchall() == [("night 29",)]
        assert engine.check() == []


def test_the_kinds_of_jobs_cost_an_engine_nothing_at_opening(path):
    with contextlib.closing(Engine(path, workers=0)) as engine:
        with engine.transaction():
            for night in range(300):
                with engine.job(f"night {night}"):
                    engine.submit("look", night)
    with contextlib.closing(Engine(path, workers=0)) as engine:
        assert [kind.name for kind in engine._file.known.kinds.values()] == ["look"]
        plan = engine._file.read(
            lambda c: c.execute(
                """EXPLAIN QUERY PLAN SELECT id FROM taskcore_kind
                   WHERE id > ? AND instr(options, '"job": "') = 0""", (0,)
            ).fetchall()
        )
        assert "taskcore_kind_job" in plan[0][3] and "SCAN" not in plan[0][3]
        with engine.job("night 7") as job:  # the same kind again
            engine.submit("look")
        assert job.snapshot().name == "night 7"
        assert len([k for k in engine._file.known.kinds.values() if k.job]) == 1


def test_a_capacity_called_job_makes_no_job_of_a_task(path):
    with contextlib.closing(Engine(path, workers=0, limits={"job": 1})) as engine:
        engine.task("t").options(uses={"job": 1}).submit()
    with contextlib.closing(Engine(path, workers=0)) as engine:
        assert [claim.task.name for claim in engine.claim("t")] == ["t"]


def test_options_of_a_kind_that_cannot_be_read_are_said_at_opening(path):
    from taskcore import BadFile

    with contextlib.closing(Engine(path, workers=0)) as engine:
        engine.submit("t")
    for spoilt in ("not json", "[1]", ""):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE taskcore_kind SET options = ?", (spoilt,))
            connection.commit()
        with pytest.raises(BadFile, match="the file is damaged"):
            Engine(path, workers=0)


def test_what_is_remembered_of_functions_goes_with_their_success(inline):
    task = inline.task(lambda: 1, name="t")
    for _ in range(10):
        task.options(backoff=lambda n: 500).submit()
    assert len(inline._file.known.behaviours) == 10
    inline.run()
    assert inline._file.known.behaviours == {} == Known().behaviours
