"""Long arguments: written once, and there wherever short ones are."""

import contextlib
import os
import sqlite3

import pytest

from taskcore import Engine, KeyConflict, current
from taskcore.store.columns import LONG
from taskcore.testing import InlineExecutor

TEXT = "x" * LONG


def rows(raw):
    return {row["task"]: row["args"] for row in raw("SELECT * FROM taskcore_text")}


def test_a_body_gets_them_however_the_task_came(inline, raw):
    echo = inline.task(lambda *texts: [len(text) for text in texts], name="echo")
    alone = echo.submit(TEXT)
    with inline.transaction():
        bulk = [echo.submit(TEXT * n) for n in range(3)]
    keyed = echo.options(key=True, tags=["t"]).submit("s", TEXT)
    with inline.job("j"):
        child = echo.submit(TEXT, alone)
    parent = inline.task(lambda: current().gather(echo, ["a", TEXT]), name="parent").submit()
    inline.run(progress=False)
    assert [alone.result(), keyed.result(), parent.result()] == [[LONG], [1, LONG], [[1], [LONG]]]
    assert [future.result() for future in bulk] == [[0], [LONG], [2 * LONG]]
    assert child.result() == [LONG, 1]
    assert len(rows(raw)) == 6 and inline.check() == []
    assert alone.snapshot().args == (TEXT,) and inline.tasks.where(id=bulk[2])[0].args == (TEXT * 2,)
    assert raw("SELECT length(args) AS n FROM taskcore_v_task WHERE id = ?", bulk[1].id) == [{"n": LONG + 9}]


def test_a_claim_and_a_rerun_have_them_and_a_deleted_task_leaves_none(engine, raw):
    future = engine.submit("heat", TEXT)
    (claim,) = engine.claim("heat")
    assert claim.task.args == (TEXT,) and engine.claimed(claim.token).task.args == (TEXT,)
    claim.succeed()
    future.rerun()
    (claim,) = engine.claim("heat")
    assert claim.task.args == (TEXT,)
    claim.succeed()
    assert engine.tasks.delete() == 1 and rows(raw) == {}


def test_a_key_knows_other_long_arguments_from_the_same(engine):
    task = engine.task("heat").options(key="k")
    first = task.submit(TEXT)
    assert task.submit(TEXT).id == first.id
    with pytest.raises(KeyConflict):
        task.submit(TEXT + "!")


def test_a_long_text_is_written_once_in_the_life_of_its_task(made):
    with contextlib.closing(Engine(made, workers=0)) as engine:
        engine._file._connection.execute("PRAGMA wal_autocheckpoint = 0")

        def written():
            return os.path.getsize(f"{made}-wal")

        engine.submit("heat", "warm up")
        engine.claim("heat")[0].succeed()
        before = written()
        future = engine.submit("heat", "x" * 1_000_000)
        assert 1_000_000 < written() - before < 1_200_000
        before = written()
        engine.claim("heat")[0].fail("no")
        future.rerun()
        engine.claim("heat")[0].succeed()
        assert written() - before < 200_000


def test_where_they_are_lost_the_task_fails_and_the_others_go_on(inline, made):
    echo = inline.task(len, name="echo")
    lost, other = echo.submit(TEXT), echo.submit(TEXT)
    with contextlib.closing(sqlite3.connect(made)) as connection, connection:
        connection.execute("DELETE FROM taskcore_text WHERE task = ?", (lost.id,))
    assert any("arguments cannot be read" in finding.what for finding in inline.check())
    assert inline.run(progress=False) == {"failed": 1, "succeeded": 1} and other.result() == LONG


def test_they_survive_a_salvage(engine, made, tmp_path):
    from taskcore.store.salvage import salvage

    engine.submit("heat", TEXT)
    engine.close()
    assert not any(table.lost for table in salvage(str(made), str(tmp_path / "new.db")))
    with contextlib.closing(Engine(tmp_path / "new.db", executor=InlineExecutor())) as engine:
        engine.task(len, name="heat")
        assert engine.run(progress=False) == {"succeeded": 1}
