"""Files of older formats: opened, copied first, brought to this one, and drained; newer ones are left alone."""

import contextlib
import gzip
import pathlib
import shutil
import sqlite3
import threading

import pytest

from taskcore import BadFile, Engine, current
from taskcore.core import lifecycle
from taskcore.store import migrations, schema
from taskcore.store.shape import fault, shape
from tests.support.processes import PATIENCE, until

FORMAT_1 = pathlib.Path(__file__).parents[1] / "data" / "format-1.db.gz"
"""Written by the code of format 1: tasks in every phase, functions among their options, jobs, a body that sleeps, a
schedule, a claim from outside."""


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "old.db"
    with gzip.open(FORMAT_1) as packed, open(path, "wb") as file:
        shutil.copyfileobj(packed, file)
    return path


def rows(path, sql, *values):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql, values).fetchall()


TASKS = "SELECT id, phase, label, priority, attempts, failures, args, result, key, serial, parent FROM taskcore_task"


def test_the_old_file_has_a_task_in_every_phase(old):
    found = {phase for (phase,) in rows(old, "SELECT DISTINCT phase FROM taskcore_task")}
    assert found == set(lifecycle.PHASES)
    assert rows(old, "SELECT value FROM taskcore_meta WHERE key = 'format'") == [("1",)]


def test_a_file_of_format_1_is_copied_and_brought_to_this_format(old):
    before = rows(old, TASKS)
    with Engine(old, workers=0) as engine:
        assert engine.check() == []
        assert rows(old, TASKS) == before
    assert rows(old, "SELECT value FROM taskcore_meta WHERE key = 'format'") == [(schema.FORMAT,)]
    with contextlib.closing(sqlite3.connect(old)) as connection:
        assert fault(shape(connection)) is None
    copy = old.with_name("old.db.format-1")
    assert rows(copy, TASKS) == before and copy.stat().st_mode & 0o077 == 0
    assert rows(copy, "SELECT value FROM taskcore_meta WHERE key = 'format'") == [("1",)]
    with Engine(old, workers=0):  # nothing more to do
        assert not old.with_name("old.db.format-1-1").exists()


def test_kinds_no_longer_say_where_functions_lay_in_memory(old):
    assert any("0x" in text for (text,) in rows(old, "SELECT options FROM taskcore_kind"))
    Engine(old, workers=0).close()
    kinds = rows(old, "SELECT name, options FROM taskcore_kind ORDER BY id")
    assert not any("0x" in text or "retry_on" in text or "backoff" in text for _, text in kinds)
    assert len(set(kinds)) == len(kinds)
    assert rows(old, "SELECT count(*) FROM taskcore_task WHERE kind NOT IN (SELECT id FROM taskcore_kind)") == [(0,)]
    attempts = dict(rows(old, "SELECT t.id, k.max_attempts FROM taskcore_task t JOIN taskcore_kind k ON k.id = t.kind"))
    assert (attempts[1], attempts[2], attempts[3], attempts[4]) == (1, 2, 5, 5)


def test_an_old_file_drains_under_the_new_format(old):
    token = rows(old, "SELECT id, token FROM taskcore_task WHERE phase = 'running'")[0]
    with Engine(old, workers=2, statuses={"odd": "failed"}) as engine:
        engine.task(lambda a, b: a + b, name="add")
        engine.task(lambda what: what, name="fit")

        @engine.task
        def sleeper():
            first = current().step("one", lambda: pytest.fail("a kept step runs again"))
            return first + current().wait_for("go")["n"]

        paused = [task.id for task in engine.tasks.where(phase="paused")]
        assert len(paused) == 1
        engine.tasks.where(phase="paused").resume()
        (asleep,) = [task.id for task in engine.tasks.where(name="sleeper")]
        engine.future(asleep).signal("go", {"n": 1})
        engine.claimed("{}.{}".format(*token)).succeed("carried")
        counts = engine.run(progress=False)
        left = {task.phase for task in engine.tasks if task.finished_at is None}
        assert left <= {"scheduled", "waiting"}, counts
        assert engine.future(asleep).result() == 42
        assert engine.future(token[0]).result() == "carried"
        assert engine.check() == []


COUNT_OF_FORMAT_3 = """CREATE TABLE taskcore_count (
    block INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    phase TEXT NOT NULL,
    label TEXT NOT NULL,
    hidden INTEGER NOT NULL,
    first INTEGER NOT NULL,
    n INTEGER NOT NULL CHECK (n > 0),
    PRIMARY KEY (block, kind, phase, label, hidden)
) STRICT, WITHOUT ROWID"""


def bring_on(path, number):
    """To a format before this one."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for step in migrations.STEPS[1:number]:
            step(connection)
        if number == 3:
            connection.execute("DROP TABLE taskcore_count")
            connection.execute(COUNT_OF_FORMAT_3)
            connection.execute("INSERT INTO taskcore_count VALUES (0, 1, 'ready', '', 0, 1, 4096)")
        if number == 4:
            connection.execute(
                """INSERT INTO taskcore_count (parent, block, kind, phase, label, hidden, first, n)
                   VALUES (0, 0, 1, 'ready', '', 0, 1, 4096)"""
            )
        connection.execute("UPDATE taskcore_meta SET value = ? WHERE key = 'format'", (str(number),))


@pytest.mark.parametrize("number", range(2, int(schema.FORMAT)))
def test_a_file_of_each_format_since_is_copied_and_brought_to_this_one_and_drains(old, number):
    bring_on(old, number)
    before = rows(old, TASKS)
    with Engine(old, workers=2, statuses={"odd": "failed"}) as engine:
        assert rows(old, TASKS) == before and rows(old, "SELECT * FROM taskcore_count") == []
        assert engine.check() == [] and sum(engine.tasks.counts().values()) == len(before)
        for job, n in rows(old, "SELECT parent, count(*) FROM taskcore_task WHERE parent IS NOT NULL GROUP BY 1"):
            assert sum(engine.tasks.where(parent=job).counts().values()) == n
        engine.task(lambda a, b: a + b, name="add")
        engine.task(lambda what: what, name="fit")
        engine.run(progress=False)
        assert not engine.tasks.where(phase="ready", name=["add", "fit"])
        assert engine.check() == []
    assert rows(old, "SELECT value FROM taskcore_meta WHERE key = 'format'") == [(schema.FORMAT,)]
    with contextlib.closing(sqlite3.connect(old)) as connection:
        assert fault(shape(connection)) is None
    copy = old.with_name(f"old.db.format-{number}")
    assert rows(copy, TASKS) == before
    assert rows(copy, "SELECT value FROM taskcore_meta WHERE key = 'format'") == [(str(number),)]


def test_ten_threads_that_open_an_old_file_at_once_bring_it_on_once(old):
    errors = []

    def look():
        try:
            Engine(old, workers=0).close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=look) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [path.name for path in sorted(old.parent.glob("old.db.format*"))] == ["old.db.format-1"]


def test_where_no_copy_can_be_made_the_old_file_stays_as_it_is(old, monkeypatch):
    before = rows(old, TASKS)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(migrations.backup, "write", full)
    with pytest.raises(BadFile, match=r"format 1, and no copy of it could be made first \(.*No space left"):
        Engine(old, workers=0)
    assert rows(old, TASKS) == before
    assert rows(old, "SELECT value FROM taskcore_meta WHERE key = 'format'") == [("1",)]


def test_a_step_that_fails_leaves_the_old_file_as_it_is(old, monkeypatch):
    before = rows(old, "SELECT * FROM taskcore_kind"), rows(old, "SELECT name, sql FROM sqlite_master ORDER BY name")

    def breaks(connection):
        migrations._to_2(connection)
        raise MemoryError

    monkeypatch.setattr(migrations, "STEPS", (migrations.STEPS[0], breaks))
    with pytest.raises(MemoryError):
        Engine(old, workers=0)
    after = rows(old, "SELECT * FROM taskcore_kind"), rows(old, "SELECT name, sql FROM sqlite_master ORDER BY name")
    assert after == before
    monkeypatch.undo()
    with Engine(old, workers=0) as engine:
        assert engine.check() == []


def test_an_old_file_with_a_foreign_column_is_refused_and_stays_as_it_is(old):
    with contextlib.closing(sqlite3.connect(old)) as connection:
        connection.execute("ALTER TABLE taskcore_task ADD COLUMN colour TEXT")
    with pytest.raises(BadFile, match=r"of format 1, and there is a column taskcore_task.colour"):
        Engine(old, workers=0)
    assert rows(old, "SELECT value FROM taskcore_meta WHERE key = 'format'") == [("1",)]


@pytest.mark.parametrize("format", ["0", "-1", "1.5", "²", "", "10000000000"])
def test_a_format_that_never_was_is_refused(old, format):
    with contextlib.closing(sqlite3.connect(old)) as connection:
        connection.execute("UPDATE taskcore_meta SET value = ? WHERE key = 'format'", (format,))
        connection.commit()
    with pytest.raises(BadFile, match="format"):
        Engine(old, workers=0)


def test_a_newer_file_is_refused_with_both_numbers(old):
    with contextlib.closing(sqlite3.connect(old)) as connection:
        connection.execute("UPDATE taskcore_meta SET value = '7' WHERE key = 'format'")
        connection.commit()
    with pytest.raises(BadFile, match=rf"newer taskcore \(format 7, here {schema.FORMAT}\)"):
        Engine(old, workers=0)


def test_an_engine_that_works_stops_where_its_file_was_brought_to_a_newer_format(tmp_path):
    path = tmp_path / "x.db"
    with contextlib.closing(Engine(path, workers=1)) as engine:
        once = engine.task(lambda: None, name="once")
        once.submit().result(PATIENCE)
        before = rows(path, TASKS)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE taskcore_meta SET value = '7' WHERE key = 'format'")
            connection.commit()
        until(lambda: engine.health.state == "stopped", "it stops")
        assert "format 7" in engine.health.reason
        for attempt in (once.submit, once.options(tags=["x"]).submit):
            with pytest.raises(BadFile, match="brought it to format 7"):
                attempt()
    assert rows(path, TASKS) == before


def test_an_engine_whose_file_was_brought_to_a_newer_format_meanwhile_writes_nothing_more(tmp_path):
    path = tmp_path / "x.db"
    with Engine(path, workers=0) as engine:
        engine.submit("t")
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE taskcore_meta SET value = '7' WHERE key = 'format'")
            connection.commit()
        for attempt in (lambda: engine.submit("t"), lambda: engine.task("t").options(tags=["x"]).submit()):
            with pytest.raises(BadFile, match="brought it to format 7"):
                attempt()
    assert rows(path, "SELECT count(*) FROM taskcore_task") == [(1,)]
