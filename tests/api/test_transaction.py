"""`engine.transaction()`: the user's SQL and any submits, together or not at all."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import pytest

from taskcore import Engine, EngineClosed, KeyConflict, TaskNotFound
from taskcore.testing import InlineExecutor
from tests.support.processes import heard, until

PATIENCE = 10  # seconds that a healthy engine never needs


@pytest.fixture
def stars(engine):
    """A table of the application's own."""
    with engine.transaction() as db:
        db.execute("CREATE TABLE stars (name TEXT PRIMARY KEY, magnitude REAL)")


# -- together or not at all ----------------------------------------------------------------------------------------


def test_rows_and_tasks_are_in_the_file_together(engine, stars, raw):
    with engine.transaction() as db:
        db.execute("INSERT INTO stars VALUES (?, ?)", ("Vega", 0.03))
        future = engine.submit("observe", "Vega")
        db.executemany("INSERT INTO stars VALUES (:name, :m)", [{"name": n, "m": 1} for n in ("Deneb", "Altair")])
        assert raw("SELECT count(*) AS n FROM stars") == [{"n": 0}]
        assert raw("SELECT count(*) AS n FROM taskcore_task") == [{"n": 0}]
    assert raw("SELECT count(*) AS n FROM stars") == [{"n": 3}]
    assert raw("SELECT id, phase FROM taskcore_task") == [{"id": future.id, "phase": "ready"}]


class Unwanted(Exception):
    pass


@pytest.mark.parametrize("error", [Unwanted, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_inside_takes_everything_back(engine, stars, raw, error):
    kept = engine.submit("kept")
    with pytest.raises(error), engine.transaction() as db:
        db.execute("INSERT INTO stars VALUES ('Vega', 0)")
        db.execute("CREATE TABLE planets (name TEXT)")
        engine.task("observe").options(after=kept, tags=["x"], key="k").submit()
        kept.cancel()
        raise error
    assert raw("SELECT count(*) AS n FROM stars") == [{"n": 0}]
    assert raw("SELECT 1 FROM sqlite_master WHERE name = 'planets'") == []
    assert [task.phase for task in engine.tasks] == ["ready"]
    assert raw("SELECT (SELECT count(*) FROM taskcore_edge) + (SELECT count(*) FROM taskcore_tag) AS n") == [{"n": 0}]
    assert engine.task("observe").options(key="k").submit(1).snapshot().args == (1,)  # the key is free again


def test_futures_of_a_rolled_back_transaction_are_cancelled(engine):
    told = []
    with pytest.raises(Unwanted), engine.transaction():
        asked, unasked = engine.submit("a"), engine.submit("b")
        asked.add_done_callback(told.append)
        assert not asked.done()
        raise Unwanted
    heard(told, [asked])
    for future in (asked, unasked):
        assert future.cancelled() and future.done() and not future.running()
        with pytest.raises(CancelledError):
            future.result()
        with pytest.raises(CancelledError):
            future.exception(0)
        assert future.cancel() is True
        with pytest.raises(TaskNotFound):
            future.snapshot()


def test_a_rolled_back_future_is_never_taken_for_the_task_that_got_its_id(engine):
    with pytest.raises(Unwanted), engine.transaction():
        lost = engine.submit("a")
        raise Unwanted
    real = engine.submit("b")
    assert real.id == lost.id
    engine.claim("b")[0].succeed("real")
    assert lost.cancelled()
    assert real.result() == "real"
    with pytest.raises(TaskNotFound):
        engine.submit("c", lost)
    with pytest.raises(TaskNotFound):
        engine.task("c").options(after=[lost]).submit()
    with pytest.raises(TaskNotFound):
        lost.rerun()


@pytest.mark.parametrize("ends", ["before it is told", "afterwards"])
@pytest.mark.parametrize("asked", [True, False])
def test_a_rolled_back_future_takes_nothing_from_the_task_that_got_its_id(engine, asked, ends):
    """Another thread submits at once, before the futures are told that they were rolled back."""
    told, leave = [], engine._file.leave

    def submit():
        engine.submit("b").add_done_callback(told.append)
        if ends == "before it is told":
            engine.claim("b")[0].succeed("real")

    def leave_and_be_overtaken(commit):
        leave(commit)
        if not len(engine.tasks):
            other = threading.Thread(target=submit)
            other.start()
            other.join()

    engine._file.leave = leave_and_be_overtaken
    with pytest.raises(Unwanted), engine.transaction():
        lost = engine.submit("a")
        if asked:
            assert not lost.done()
        raise Unwanted
    assert lost.cancelled()
    if ends == "afterwards":
        engine.claim("b")[0].succeed("real")
    until(lambda: told, "its callback is called")
    assert [future.result() for future in told] == ["real"] and len(engine._futures) == 0


def test_a_key_that_was_there_before_keeps_its_future_when_the_transaction_fails(engine):
    task = engine.task("f").options(key="k")
    first = task.submit()
    with pytest.raises(Unwanted), engine.transaction():
        same = task.submit()
        raise Unwanted
    assert same.id == first.id
    assert not same.cancelled()
    assert same.snapshot().phase == "ready"


def test_a_submit_refused_inside_can_be_survived(engine, stars):
    with engine.transaction() as db:
        engine.submit("before")
        with pytest.raises(TypeError):
            engine.submit("refused", object())
        with pytest.raises(TaskNotFound):
            engine.task("refused").options(parent=99).submit()
        task = engine.task("keyed").options(key="k")
        task.submit(1)
        with pytest.raises(KeyConflict):
            task.submit(2)
        with pytest.raises(sqlite3.IntegrityError):
            db.executemany("INSERT INTO stars VALUES (?, 1)", [("Vega",), ("Vega",)])
        engine.submit("after")
    assert [task.name for task in engine.tasks] == ["before", "keyed", "after"]


def test_a_process_that_dies_inside_leaves_nothing(path, stars, engine, raw):
    code = """
import os, sys, taskcore
engine = taskcore.Engine(sys.argv[1], workers=0)
with engine.transaction() as db:
    db.execute("INSERT INTO stars VALUES ('Vega', 0)")
    for _ in range(2500):
        engine.submit("observe")
    os._exit(7)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    assert subprocess.run([sys.executable, "-c", code, path], env=environment, timeout=60).returncode == 7
    assert len(engine.tasks) == 0
    assert raw("SELECT count(*) AS n FROM stars") == [{"n": 0}]


# -- what is seen inside -------------------------------------------------------------------------------------------


def test_reads_inside_see_what_was_written_inside(engine, stars):
    with engine.transaction() as db:
        db.execute("INSERT INTO stars VALUES ('Vega', 0)")
        assert db.execute("SELECT name FROM stars").fetchall() == [("Vega",)]
        future = engine.task("observe").options(key="k", tags=["t"]).submit(1)
        below = engine.submit("below", future)
        assert future.snapshot().args == (1,)
        assert [task.name for task in engine.tasks] == ["observe", "below"]
        assert len(engine.tasks.where(tag="t")) == 1
        assert engine.tasks.counts() == {"ready": 1, "waiting": 1}
        assert [edge.upstream_id for edge in below.dependencies()] == [future.id]
        assert db.execute("SELECT count(*) FROM taskcore_task").fetchone() == (2,)
        assert engine.future(below.id).snapshot().phase == "waiting"


def test_verbs_inside_are_part_of_it(engine):
    one, two = engine.submit("f"), engine.submit("f")
    with pytest.raises(Unwanted), engine.transaction():
        (claim,) = engine.claim("f")
        claim.succeed(5)
        two.pause()
        assert engine.tasks.counts() == {"succeeded": 1, "paused": 1}
        raise Unwanted
    assert engine.tasks.counts() == {"ready": 2}
    with engine.transaction():
        (claim,) = engine.claim("f")
        claim.succeed(5)
        two.pause()
    assert (one.result(), two.snapshot().phase) == (5, "paused")


def test_an_end_inside_is_told_only_once_it_is_committed(engine):
    future, kept = engine.submit("f"), engine.submit("f")
    told = []
    future.add_done_callback(told.append)
    with pytest.raises(Unwanted), engine.transaction():
        future.cancel()
        kept.cancel()
        assert not future.done() and not kept.done()
        assert future.cancel() is True
        raise Unwanted
    assert told == []
    assert not future.done() and not kept.done()
    assert (future.snapshot().phase, kept.snapshot().phase) == ("ready", "ready")
    with engine.transaction():
        future.cancel()
        kept.cancel()
        assert told == []
    heard(told, [future])
    assert kept.cancelled()


def test_a_future_first_asked_inside_a_transaction_hears_of_its_end(path, clock):
    with contextlib.closing(Engine(path, workers=1)) as engine:
        future = engine.task(lambda: 7, name="f").submit()
        engine.run()
        told = threading.Event()
        with engine.transaction():
            future.add_done_callback(lambda _: told.set())
        assert told.wait(PATIENCE)
        assert future.result() == 7


# -- in bulk -------------------------------------------------------------------------------------------------------


def test_thousands_of_submits_are_one_commit(engine, raw):
    commits = raw("PRAGMA data_version")
    with engine.transaction():
        futures = [engine.submit("f", n) for n in range(5003)]
        total = engine.submit("total", futures[-1])
    assert raw("PRAGMA data_version") != commits
    assert [task.args[0] for task in engine.tasks.where(name="f")] == list(range(5003))
    assert [edge.upstream_id for edge in total.dependencies()] == [futures[-1].id]
    assert raw("SELECT count(*) AS n FROM taskcore_task") == [{"n": 5004}]


def test_thousands_of_submits_are_taken_back_as_one(engine, raw):
    with pytest.raises(Unwanted), engine.transaction():
        for n in range(5003):
            engine.submit("f", n)
        raise Unwanted
    assert raw("SELECT count(*) AS n FROM taskcore_task") == [{"n": 0}]


def test_a_whole_graph_is_there_or_not(path, clock):
    with contextlib.closing(Engine(path, clock=clock, executor=InlineExecutor())) as engine:
        add = engine.task(lambda *numbers: sum(numbers), name="add")
        with engine.transaction():
            leaves = [add.submit(n) for n in range(300)]
            layer = leaves
            while len(layer) > 1:
                layer = [add.submit(*layer[n : n + 3]) for n in range(0, len(layer), 3)]
        assert layer[0].result() == sum(range(300))


def test_keys_and_commits_a_bulk_at_a_time_work_with_running_threads(path):
    with Engine(path, workers=2) as engine:
        echo = engine.task(lambda n: n, name="echo")
        for _ in range(2):
            with engine.transaction():
                futures = [echo.options(key=True).submit(n) for n in range(200)]
        assert [future.result(PATIENCE) for future in futures] == list(range(200))
        assert len(engine.tasks) == 200


# -- what is refused -----------------------------------------------------------------------------------------------

ENDS = [
    "COMMIT",
    "commit",
    "  \n\tCOMMIT",
    "COMMIT;",
    "END",
    "End Transaction",
    "ROLLBACK",
    "ROLLBACK TO verb",
    "BEGIN",
    "BEGIN IMMEDIATE",
    "SAVEPOINT mine",
    "RELEASE verb",
    "VACUUM",
    "ATTACH ':memory:' AS other",
    "DETACH other",
    "PRAGMA synchronous = OFF",
    "PRAGMA foreign_keys = OFF",
    "/* please */ COMMIT",
    "/* a */ /* b */\n-- c\nCOMMIT",
    "-- please\nROLLBACK",
    "/**/COMMIT",
    "/* -- */ COMMIT",
    "-- /*\nCOMMIT",
    ";COMMIT",
    " ; ; COMMIT",
    "/* a */;COMMIT",
    "\ufeffCOMMIT",
    "\x0cCOMMIT",
]


@pytest.mark.parametrize("sql", ENDS)
@pytest.mark.parametrize("method", ["execute", "executemany"])
def test_nothing_that_ends_the_transaction_is_executed(engine, stars, raw, sql, method):
    with engine.transaction() as db:
        db.execute("INSERT INTO stars VALUES ('Vega', 0)")
        with pytest.raises(ValueError):
            db.execute(sql) if method == "execute" else db.executemany(sql, [()])
        assert raw("SELECT count(*) AS n FROM stars") == [{"n": 0}]
    assert raw("SELECT count(*) AS n FROM stars") == [{"n": 1}]


def test_words_that_only_look_like_ends_are_no_ends(engine):
    with engine.transaction() as db:
        db.execute('CREATE TABLE commits ("BEGIN" TEXT) -- COMMIT')
        db.execute("INSERT INTO commits VALUES ('ROLLBACK; COMMIT')")
        assert db.execute("SELECT 'COMMIT' /* COMMIT */").fetchone() == ("COMMIT",)
        assert db.execute("WITH end_ AS (SELECT 1) SELECT * FROM end_").fetchone() == (1,)
        assert db.execute("EXPLAIN COMMIT").fetchall()
    with engine.transaction() as db:
        assert db.execute("SELECT * FROM commits").fetchall() == [("ROLLBACK; COMMIT",)]


def test_several_statements_at_once_are_refused_as_by_sqlite3(engine, stars):
    with engine.transaction() as db:
        with pytest.raises((sqlite3.Warning, sqlite3.ProgrammingError)):
            db.execute("SELECT 1; COMMIT")


def test_there_is_no_way_to_the_connection(engine):
    with engine.transaction() as db:
        public = {name for name in dir(db) if not name.startswith("_")}
        assert public == {"execute", "executemany"}


SPOILERS = [
    "INSERT OR ROLLBACK INTO stars VALUES ('Vega', 1)",
    "UPDATE OR ROLLBACK stars SET name = 'Vega' WHERE name = 'Deneb'",
    "INSERT INTO trap VALUES (1)",
]


@pytest.mark.parametrize("sql", SPOILERS)
def test_a_statement_that_makes_sqlite_roll_back_takes_everything_with_it(engine, stars, raw, sql):
    with engine.transaction() as db:
        db.execute("CREATE TABLE trap (x)")
        db.execute("CREATE TRIGGER spring BEFORE INSERT ON trap BEGIN SELECT RAISE(ROLLBACK, 'sprung'); END")
    with pytest.raises(RuntimeError, match="nothing of it is stored"), engine.transaction() as db:
        db.execute("INSERT INTO stars VALUES ('Vega', 0), ('Deneb', 1)")
        future = engine.submit("observe")
        with pytest.raises(sqlite3.Error):
            db.execute(sql)
        db.execute("INSERT INTO stars VALUES ('Altair', 1)")
        engine.submit("observe too")
        engine.tasks.cancel()
    assert raw("SELECT count(*) AS n FROM stars") == [{"n": 0}]
    assert len(engine.tasks) == 0
    assert future.cancelled()
    engine.submit("observe")
    assert len(engine.tasks) == 1


def test_a_transaction_inside_another_is_refused(engine):
    with engine.transaction():
        engine.submit("before")
        with pytest.raises(RuntimeError, match="transaction"), engine.transaction():
            pytest.fail("never gets here")
        engine.submit("after")
    assert len(engine.tasks) == 2


def test_a_transaction_is_entered_once(engine):
    scope = engine.transaction()
    with scope:
        pass
    with pytest.raises(RuntimeError, match="once"), scope:
        pytest.fail("never gets here")


def test_its_database_ends_with_the_block(engine):
    with engine.transaction() as db:
        pass
    for call in (lambda: db.execute("SELECT 1"), lambda: db.executemany("SELECT ?", [(1,)])):
        with pytest.raises(RuntimeError, match="ended"):
            call()


def test_it_belongs_to_its_thread(engine):
    with ThreadPoolExecutor(1) as pool, engine.transaction() as db:
        with pytest.raises(RuntimeError, match="thread"):
            pool.submit(db.execute, "SELECT 1").result(PATIENCE)


def test_other_threads_wait_for_its_end(engine):
    with ThreadPoolExecutor(1) as pool:
        with engine.transaction():
            inside = engine.submit("inside")
            outside = pool.submit(engine.submit, "outside")
            with pytest.raises(TimeoutError):
                outside.result(0.02)
        assert outside.result(PATIENCE).id == inside.id + 1


def test_a_transaction_of_a_closed_engine_is_engine_closed(path):
    engine = Engine(path, workers=0)
    engine.close()
    with pytest.raises(EngineClosed), engine.transaction():
        pytest.fail("never gets here")


def test_bad_sql_raises_what_sqlite3_raises_and_harms_nothing(engine, stars):
    with engine.transaction() as db:
        db.execute("INSERT INTO stars VALUES ('Vega', 0)")
        with pytest.raises(sqlite3.OperationalError):
            db.execute("INSERT INTO nowhere VALUES (1)")
        with pytest.raises(sqlite3.OperationalError):
            db.execute("this is no SQL")
        with pytest.raises(sqlite3.ProgrammingError):
            db.execute("SELECT ?", (1, 2))
        with pytest.raises(sqlite3.IntegrityError):
            db.execute("INSERT INTO stars VALUES ('Vega', 1)")
        engine.submit("observe")
    assert len(engine.tasks) == 1


# -- results of statements -----------------------------------------------------------------------------------------


def test_a_statement_gives_rows_as_a_cursor_does(engine, stars):
    with engine.transaction() as db:
        inserted = db.execute("INSERT INTO stars VALUES ('Vega', 0), ('Deneb', 1)")
        assert inserted.rowcount == 2
        found = db.execute("SELECT name, magnitude FROM stars ORDER BY name")
        assert [column[0] for column in found.description] == ["name", "magnitude"]
        assert found.fetchone() == ("Deneb", 1.0)
        assert list(found) == [("Vega", 0.0)]
        assert found.fetchone() is None and found.fetchall() == []
        db.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, line TEXT)")
        assert db.execute("INSERT INTO log (line) VALUES ('x')").lastrowid == 1
        assert db.execute("INSERT INTO log (line) VALUES ('y') RETURNING id").fetchall() == [(2,)]
        assert db.executemany("UPDATE stars SET magnitude = ?", [(1,), (2,)]).rowcount == 4


def test_changes_that_sqlite_is_told_to_make_to_our_tables_keep_to_our_rules(engine):
    future = engine.submit("f")
    with engine.transaction() as db:
        with pytest.raises(sqlite3.IntegrityError):
            db.execute("UPDATE taskcore_task SET phase = 'succeeded'")
    assert future.snapshot().phase == "ready"
