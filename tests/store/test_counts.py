"""Kept counts: `counts()` and `len()` are right whatever moves, and cost little however many tasks there are."""

import contextlib
import random
import sqlite3

import pytest

from taskcore import Engine
from taskcore.api import glance
from taskcore.store import counts, queries, schema


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(schema, "BLOCK", 4)
    monkeypatch.setattr(schema, "FAN", 2)


def read_all(raw, where="1"):
    rows = raw(f"SELECT ifnull(label, phase) AS status, count(*) AS n FROM taskcore_task WHERE {where} GROUP BY 1")
    return {row["status"]: row["n"] for row in rows}


def blocks(raw):
    kept = [row["block"] for row in raw("SELECT DISTINCT block FROM taskcore_count ORDER BY 1")]
    return [block for block in kept if 0 <= block < schema.PIECES]


def stretches(raw):
    kept = raw("SELECT DISTINCT block FROM taskcore_count WHERE block < 0 ORDER BY 1 DESC")
    return [-1 - row["block"] for row in kept]


def pieces(raw):
    kept = raw("SELECT DISTINCT block FROM taskcore_count WHERE block >= ? ORDER BY 1", schema.PIECES)
    return [row["block"] - schema.PIECES for row in kept]


def test_what_was_counted_is_kept_but_for_blocks_in_which_something_is_paused_or_will_be_born(engine, raw):
    for n in range(18):
        engine.submit("waits" if n == 9 else "ready", n)
    engine.tasks.where(name="waits").pause()
    assert raw("SELECT * FROM taskcore_count") == []  # nobody asked
    assert engine.tasks.counts() == {"ready": 17, "paused": 1}
    assert blocks(raw) == [0, 1, 3]  # ids 8 to 11 have the paused one; from 16 on there is room for new ones
    assert engine.tasks.counts() == {"ready": 17, "paused": 1} and len(engine.tasks) == 18


def test_of_a_block_in_which_something_runs_the_pieces_are_kept_in_which_nothing_does(engine, raw):
    for n in range(12):
        engine.submit("f", n)
    claims = engine.claim(n=4)  # ids 1 to 4
    assert engine.tasks.counts() == {"running": 4, "ready": 8} and blocks(raw) == [2] and pieces(raw) == [3, 4, 5]
    for claim in claims[:3]:
        claim.succeed()
    for _ in range(2):
        assert engine.tasks.counts() == {"succeeded": 3, "running": 1, "ready": 8} and blocks(raw) == [0, 2]
        assert pieces(raw) == [3, 4, 5]
    claims[3].succeed()
    assert engine.tasks.counts() == {"succeeded": 4, "ready": 8} and blocks(raw) == [0, 1, 2] and stretches(raw) == [0]


def test_what_begins_takes_from_what_is_kept_only_its_piece_and_what_that_is_part_of(engine, raw):
    for n in range(16):
        engine.submit("f", n)
    assert engine.tasks.counts() == {"ready": 16} and blocks(raw) == [0, 1, 2, 3] and stretches(raw) == [0, 1]
    (claim,) = engine.claim(n=1)
    assert pieces(raw) == [1, 2, 3, 4, 5, 6, 7] and blocks(raw) == [1, 2, 3] and stretches(raw) == [1]
    claim.succeed()
    assert engine.tasks.counts() == read_all(raw) and blocks(raw) == [0, 1, 2, 3] and stretches(raw) == [0, 1]


def test_the_pieces_of_a_block_in_which_all_has_ended_are_let_go_of(engine, raw):
    for n in range(12):
        engine.submit("f", n)
    engine.tasks.where(ids=range(9)).cancel()  # but ids 9 to 12
    assert engine.tasks.counts() == {"cancelled": 8, "ready": 4} and blocks(raw) == [0, 1, 2] and pieces(raw) == [4, 5]
    assert engine.tasks.where(id=3).rerun() == 1 and blocks(raw) == [1, 2]
    assert engine.tasks.counts() == read_all(raw) and blocks(raw) == [0, 1, 2] and pieces(raw) == [0, 1, 4, 5]


def test_of_the_newest_block_all_but_the_last_piece_is_kept_whatever_is_born_there(engine, raw):
    for n in range(1, 20):
        engine.submit("f", n)
        assert engine.tasks.counts() == {"ready": n}
        assert pieces(raw) == list(range(n // 2)) and blocks(raw) == list(range(n // 4))


def test_a_stretch_is_added_up_when_all_its_blocks_are_kept_and_dropped_with_any_of_them(engine, raw):
    for n in range(24):
        engine.submit("f", n)
    (claim,) = engine.claim(n=1)
    assert engine.tasks.counts() == {"running": 1, "ready": 23} and blocks(raw) == [1, 2, 3, 4, 5]
    assert stretches(raw) == [1, 2]
    claim.succeed()
    assert engine.tasks.counts() == read_all(raw) and stretches(raw) == [0, 1, 2]
    engine.tasks.where(id=13).cancel()
    assert blocks(raw) == [0, 1, 2, 4, 5] and stretches(raw) == [0, 2]
    assert engine.tasks.counts() == read_all(raw) and stretches(raw) == [0, 1, 2]
    engine.tasks.where(ids=range(12, 16)).cancel()
    engine.tasks.where(ids=range(12, 16)).delete()
    assert engine.tasks.counts() == read_all(raw) and blocks(raw) == [0, 1, 2, 4, 5] and engine.check() == []


@pytest.mark.parametrize("n", [70, 300, 1030])
def test_one_range_is_read_for_every_stretch_of_tasks_and_few_more(engine, monkeypatch, n):
    monkeypatch.setattr(schema, "BLOCK", 16)
    monkeypatch.setattr(schema, "FAN", 4)
    with engine.transaction():
        for _ in range(n):
            engine.submit("f")
    assert engine.tasks.counts() == {"ready": n}

    def read(connection):
        ranges = counts._among(counts._RANGES, True)
        ranges += "SELECT count(*), count(*) FILTER (WHERE kept IS NULL) FROM range"
        return connection.execute(ranges, counts._values(0)).fetchall()

    ((ranges, unkept),) = engine._context.look(read)
    assert ranges <= n // 64 + 3 + 3 + 1 and unkept == 1  # and of the last stretch its blocks, of the last block pieces


def test_whatever_filter_the_kept_counts_answer_they_answer_it_as_the_rows_do(engine, raw):
    for n in range(40):
        engine.task("ab"[n % 2]).options(hidden=n % 5 == 0).submit(n)
    for n, claim in enumerate(engine.claim(n=12)):
        claim.succeed(n, "good") if n % 3 else claim.fail("no")
    engine.tasks.where(hidden=True).cancel()
    kinds = {name: f"kind IN (SELECT id FROM taskcore_kind WHERE name = '{name}')" for name in "ab"}
    for _ in range(2):  # read, and then from what is kept
        assert engine.tasks.counts() == read_all(raw)
        assert engine.tasks.where(name="a").counts() == read_all(raw, kinds["a"])
        assert engine.tasks.where(hidden=False, name="b").counts() == read_all(raw, f"hidden = 0 AND {kinds['b']}")
        assert engine.tasks.where(phase="succeeded").counts() == {"good": 8}
        assert engine.tasks.where(status=["good", "ready"]).counts() == {"good": 8, "ready": 23}
        assert len(engine.tasks.where(phase="failed")) == 4
        for name, its in engine._context.by_name(queries.ALL).items():
            assert {status: n for (_, status), n in its.items()} == read_all(raw, kinds[name])
        assert engine._context.by_phase(queries.where([("name", ("a",)), ("phase", ("succeeded", "failed"))])) == {
            ("succeeded", "good"): 4, ("failed", "failed"): 2,
        }  # fmt: skip
    assert blocks(raw)


def test_a_status_that_another_engine_named_meanwhile_is_counted_by_its_phase(engine, made):
    engine.submit("f"), engine.submit("f")
    with Engine(made, workers=0, statuses={"odd": "succeeded"}) as other:
        other.claim()[0].succeed(1, "odd")
    (name,) = glance.names_of(engine._context)
    assert glance.summed([name]) == {("ready", "ready"): 1, ("succeeded", "odd"): 1} and name.left == 1


def test_the_statuses_come_in_the_order_of_their_first_tasks(engine):
    for n in range(12):
        engine.submit("f", n)
    engine.tasks.where(ids=[1, 9]).cancel()
    for _ in range(2):
        assert list(engine.tasks.counts().items()) == [("cancelled", 2), ("ready", 10)]


def add_to_a_job(engine):
    with engine.job("night", key="1"):
        first = engine.submit("child")
        engine.submit("child", first)


def verbs(engine, pick):
    """Everything that may move a task out of a block that is kept."""
    some = engine.tasks.where(ids=pick())
    return [
        lambda: [claim.succeed(1) for claim in engine.claim(n=3)],
        lambda: [claim.release() for claim in engine.claim(n=2)],
        lambda: [claim.fail("no") for claim in engine.claim(n=1)],
        some.cancel, some.pause, some.resume, some.rerun, lambda: some.rerun(downstream=True), some.hide,
        lambda: some.hide(False), some.delete,
        lambda: engine.submit("f", [engine.future(task) for task in some]),
        lambda: engine.task("s").options(serial="one").submit(),
        lambda: add_to_a_job(engine), lambda: engine.tasks.where(name="night").pause(),
        lambda: engine.tasks.where(name="night").resume(),
        lambda: engine.task("later").options(after={task.id: ("failed", "wait") for task in some}).submit(),
        lambda: engine.task("k").options(key=str(len(pick())), key_scope="succeeded", tags=["t"]).submit(),
        lambda: engine.task("guard").options(after={task.id: "pending" for task in some}).submit(),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_kept_counts_are_right_after_every_verb(made, raw, seed):
    chance = random.Random(seed)
    with Engine(made, workers=0) as engine:
        for n in range(30):
            engine.submit("f", n)
        for step in range(40):
            ids = [task.id for task in engine.tasks]
            verb = chance.choice(verbs(engine, lambda ids=ids: chance.sample(ids, min(len(ids), chance.randint(1, 4)))))
            verb()
            if chance.random() < 0.7:
                assert engine.tasks.counts() == read_all(raw), (seed, step)
            assert engine._context.read(counts.wrong) == [], (seed, step)
        assert engine.check() == []


def test_what_waits_is_counted_anew_when_a_success_or_a_job_lets_it_go(engine, raw):
    first = engine.submit("first")
    for _ in range(11):
        engine.submit("f", first)
    assert engine.tasks.counts() == {"ready": 1, "waiting": 11} and blocks(raw) == [0, 1, 2]
    engine.claim("first")[0].succeed()
    assert engine.tasks.counts() == read_all(raw) == {"succeeded": 1, "ready": 11}
    gate = engine.submit("gate")
    with engine.job("night", after=gate):
        for _ in range(12):
            engine.submit("child")
    assert engine.tasks.counts() == read_all(raw) and len(blocks(raw)) == 6
    engine.claim("gate")[0].succeed()
    assert engine.tasks.counts() == read_all(raw) and engine.tasks.counts()["ready"] == 23


def test_what_waits_is_counted_anew_when_a_failure_lets_it_go(engine, raw):
    first = engine.task("first", max_attempts=1).submit()
    for _ in range(11):
        engine.task("f").options(after={first: "failed"}).submit()
    assert engine.tasks.counts() == {"ready": 1, "waiting": 11} and blocks(raw) == [0, 1, 2]
    engine.claim("first")[0].fail("no")
    assert engine.tasks.counts() == read_all(raw) == {"failed": 1, "ready": 11} and engine.check() == []


def test_what_gets_a_dependency_late_is_counted_anew(engine, raw):
    tasks = [engine.submit("f", n) for n in range(9)]
    assert engine.tasks.counts() == {"ready": 9}
    tasks[1].depends_on(tasks[6])
    assert engine.tasks.counts() == read_all(raw) == {"ready": 8, "waiting": 1}


def test_who_counts_does_not_wait_until_a_program_lets_go_of_the_file(engine, raw, made):
    for n in range(12):
        engine.submit("f", n)
    with contextlib.closing(sqlite3.connect(made, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert engine.tasks.counts() == {"ready": 12} and blocks(raw) == []
        other.execute("ROLLBACK")
    assert engine.tasks.counts() == {"ready": 12} and blocks(raw) == [0, 1, 2]


def test_another_process_sees_that_counts_are_kept_and_drops_what_it_changes(made, raw):
    with Engine(made, workers=0) as engine, Engine(made, workers=0) as other:
        for n in range(12):
            engine.submit("f", n)
        other.submit("g")
        assert engine.tasks.counts() == {"ready": 13} and blocks(raw) == [0, 1, 2]
        (claim,) = other.claim("f")
        assert blocks(raw) == [1, 2] and engine.tasks.counts() == {"ready": 12, "running": 1}
        claim.succeed()
        assert other.tasks.counts() == {"succeeded": 1, "ready": 12} and blocks(raw) == [0, 1, 2]


def test_check_finds_a_count_that_is_wrong_and_its_mend_mends_it(engine, raw, made):
    for n in range(9):
        engine.submit("f", n)
    engine.tasks.counts()
    with contextlib.closing(sqlite3.connect(made)) as connection, connection:
        connection.execute("UPDATE taskcore_count SET n = n + 1 WHERE block = 1")
    (finding,) = engine.check()
    assert "counts() is not to be believed" in finding.what
    with contextlib.closing(sqlite3.connect(made)) as connection, connection:
        connection.execute(finding.mend.split(",")[0])
    assert engine.check() == [] and engine.tasks.counts() == {"ready": 9}


def test_what_is_kept_is_read_in_steps_that_do_not_grow_with_the_tasks(engine, raw, monkeypatch):
    """No clock: SQLite counts its own instructions."""
    monkeypatch.setattr(schema, "BLOCK", 256)
    monkeypatch.setattr(schema, "FAN", 8)
    with engine.transaction():
        for n in range(5001):
            engine.submit("f", n)

    def steps():
        taken = [0]

        def more():
            taken[0] += 1

        def asked(connection):
            connection.set_progress_handler(more, 100)
            try:
                return counts.counts(connection, queries.where(()))
            finally:
                connection.set_progress_handler(None, 100)

        assert engine._context.read(asked) == {"ready": 5001}
        return taken[0]

    before = steps()
    engine.tasks.counts()
    assert steps() < before / 20


def test_a_selection_is_read_beside_a_transaction_that_is_held_open(engine):
    """A reader of its own: no submit and no turn waits for whoever looks."""
    for n in range(5):
        engine.submit("f", n)
    reads = []
    engine._file.reader.read, original = lambda *a: reads.append(a[0]) or original(*a), engine._file.reader.read
    assert len(list(engine.tasks)) == 5 and engine.tasks.first().args == (0,) and engine.future(1).history() == []
    assert len(reads) >= 3
    del reads[:]
    with engine.transaction():
        engine.submit("g")
        assert len(engine.tasks) == 6  # its own, not yet committed
    assert reads == []


def test_what_is_asked_of_the_rows_narrows_no_block_down_by_an_index(engine):
    """As the planner would: then all tasks of a phase are read, also of blocks that are kept."""
    engine.submit("f", 1)
    said = []
    engine._context.look(lambda connection: connection.set_trace_callback(said.append))
    assert len(engine.tasks.where(phase="ready", hidden=False)) == 1
    engine._context.look(lambda connection: connection.set_trace_callback(None))
    plan = engine._context.look(lambda connection: connection.execute("EXPLAIN QUERY PLAN " + said[-1]).fetchall())
    assert [row[3] for row in plan if row[3].startswith(("SEARCH one", "SCAN one"))] == [
        "SEARCH one", "SEARCH one USING INTEGER PRIMARY KEY (rowid>?)",  # the first id of all, and of each block
        "SEARCH one USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
    ]  # fmt: skip
