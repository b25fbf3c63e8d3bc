"""Kept counts of the children of one task: right whatever moves, and no child is read twice where nothing does."""

import contextlib
import random
import sqlite3

import pytest

from taskcore import DependencyCycle, Engine
from taskcore.store import counts, queries, schema


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(schema, "BLOCK", 4)
    monkeypatch.setattr(schema, "FAN", 2)
    monkeypatch.setattr(counts, "FEW", 3)
    monkeypatch.setattr(counts, "AT_ONCE", 2)


def read_all(raw, parent, where="1"):
    rows = raw(
        f"""SELECT ifnull(label, phase) AS status, count(*) AS n FROM taskcore_task
            WHERE parent = ? AND {where} GROUP BY 1""",
        parent,
    )
    return {row["status"]: row["n"] for row in rows}


def blocks(raw, parent):
    kept = raw("SELECT DISTINCT block FROM taskcore_count WHERE parent = ?", parent)
    return [row["block"] for row in kept if 0 <= row["block"] < schema.PIECES]  # stretches and pieces aside


def pieces(raw, parent):
    kept = raw("SELECT DISTINCT block FROM taskcore_count WHERE parent = ? AND block >= ?", parent, schema.PIECES)
    return [row["block"] - schema.PIECES for row in kept]


def a_job(engine, children, name="night", **options):
    """Its id. The ids of its children follow."""
    with engine.job(name, **options) as job:
        for n in range(children):
            engine.submit("child", n)
    return job.id


def counted(engine, parent):
    return engine.tasks.where(parent=parent).counts()


def test_what_was_counted_of_a_job_is_kept_but_for_the_last_piece(engine, raw):
    job = a_job(engine, 14)  # ids 2 to 15
    assert raw("SELECT * FROM taskcore_count") == []  # nobody asked
    assert counted(engine, job) == {"ready": 14}
    assert raw("SELECT block, parent, first, n FROM taskcore_count WHERE block < ?", schema.PIECES) == [
        {"block": -1, "parent": job, "first": 2, "n": 6},  # the blocks 0 and 1 together: a stretch
        {"block": 0, "parent": job, "first": 2, "n": 2},
        {"block": 1, "parent": job, "first": 4, "n": 4},
        {"block": 2, "parent": job, "first": 8, "n": 4},
    ]
    assert pieces(raw, job) == [1, 2, 3, 4, 5, 6]
    assert counted(engine, job) == {"ready": 14} and len(engine.tasks.where(parent=job)) == 14
    assert blocks(raw, 0) == []  # of all together nobody asked


def test_nothing_is_kept_of_a_task_with_few_children(engine, raw):
    jobs = [a_job(engine, n) for n in (0, 3, 3)]
    a_job(engine, 9)
    assert [counted(engine, job) for job in jobs] == [{}, {"ready": 3}, {"ready": 3}]
    assert raw("SELECT * FROM taskcore_count") == []


def test_the_children_of_a_task_that_is_no_job_are_kept_while_it_runs(engine, raw):
    parent = engine.submit("parent")
    (claim,) = engine.claim("parent")
    for n in range(14):
        engine.task("child").options(parent=parent).submit(n)
    for _ in range(2):
        assert counted(engine, parent.id) == {"ready": 14} and blocks(raw, parent.id) == [0, 1, 2]
    assert engine.tasks.counts() == {"running": 1, "ready": 14} and blocks(raw, 0) == [1, 2]
    claim.succeed()
    assert counted(engine, parent.id) == {"ready": 14} and engine.tasks.counts() == {"succeeded": 1, "ready": 14}


def test_where_a_child_runs_the_children_are_read_and_where_others_run_they_are_kept(engine, raw):
    with engine.transaction(), engine.job("night") as job:
        for _ in range(8):
            engine.submit("child")
            engine.task("other").options(parent=None).submit()
    other = a_job(engine, 8, "other")
    for _ in range(8):
        engine.submit("alone")
    engine.claim("alone", n=8)
    assert counted(engine, job.id) == {"ready": 16}
    assert blocks(raw, job.id) == [0, 1, 2, 3, 4]
    (claim,) = engine.claim("child", n=1)
    assert blocks(raw, job.id) == [1, 2, 3, 4]
    assert counted(engine, job.id) == {"ready": 15, "running": 1} and blocks(raw, job.id) == [1, 2, 3, 4]
    assert counted(engine, other) == {"ready": 8} and len(blocks(raw, other)) >= 2
    claim.succeed()
    assert counted(engine, job.id) == {"ready": 15, "succeeded": 1} and blocks(raw, job.id) == [0, 1, 2, 3, 4]


def test_blocks_without_a_child_cost_nothing_and_nothing_is_kept_of_them(engine, raw):
    with engine.transaction():
        with engine.job("night") as job:
            for _ in range(4):
                engine.submit("child")
        for _ in range(30):
            engine.submit("alone")
        with engine.job("night", key="k") as other:
            engine.submit("child")
        for _ in range(5):
            engine.task("child").options(parent=job).submit()
        for _ in range(10):
            engine.submit("alone")
    for _ in range(2):
        assert counted(engine, job.id) == {"ready": 9} and counted(engine, other.id) == {"ready": 1}
        assert blocks(raw, job.id) == [0, 1, 9, 10]


def test_children_that_come_later_are_found_and_counted(engine, raw):
    job = a_job(engine, 6)
    for n in range(1, 20):
        assert counted(engine, job) == {"ready": 5 + n}
        engine.task("child").options(parent=job).submit(n)
        if n % 3 == 0:
            engine.submit("alone")
    assert counted(engine, job) == {"ready": 25} and blocks(raw, job) == list(range(8))
    with engine.transaction():
        engine.task("child").options(parent=job).submit()
        assert counted(engine, job) == {"ready": 26}  # its own, not yet committed


def test_whatever_filter_the_kept_counts_answer_they_answer_it_as_the_rows_do(engine, raw):
    with engine.job("night", failures="ignore") as job:
        for n in range(40):
            engine.task("ab"[n % 2]).options(hidden=n % 5 == 0).submit(n)
    a_job(engine, 20)
    for n, claim in enumerate(engine.claim("a", "b", n=12)):
        claim.succeed(n, "good") if n % 3 else claim.fail("no")
    children = engine.tasks.where(parent=job)
    children.where(hidden=True).cancel()
    kinds = {name: f"kind IN (SELECT id FROM taskcore_kind WHERE name = '{name}')" for name in "ab"}
    for _ in range(2):  # read, and then from what is kept
        assert children.counts() == read_all(raw, job.id)
        assert children.where(name="a").counts() == read_all(raw, job.id, kinds["a"])
        assert children.where(hidden=False, name="b").counts() == read_all(raw, job.id, f"hidden = 0 AND {kinds['b']}")
        assert children.where(phase="succeeded").counts() == {"good": 8}
        assert children.where(status=["good", "ready"]).counts() == {"good": 8, "ready": 23}
        assert len(children.where(phase="failed")) == 4
        assert children.where(key=None).counts() == read_all(raw, job.id)  # what no kept count answers
        assert children.where(parent=job.id + 1).counts() == children.where(parent=None).counts() == {}
        assert engine.tasks.where(parent=None).where(parent=job).counts() == {}
        found = engine._context.by_name(queries.where([("parent", (job.id,)), ("name", ("b",))]))
        assert {status: n for (_, status), n in found.pop("b").items()} == read_all(raw, job.id, kinds["b"])
        assert found == {}
        assert engine._context.by_phase(children.where(phase=["succeeded", "failed"])._where) == {
            ("succeeded", "good"): 8, ("failed", "failed"): 4,
        }  # fmt: skip
    assert blocks(raw, job.id)


def test_ids_that_no_task_has_have_no_children(engine, raw):
    a_job(engine, 12)
    assert engine.tasks.counts() == {"suspended": 1, "ready": 12}
    for nobody in (0, -1, 99, 2**63, -(2**63), 10**30):
        assert counted(engine, nobody) == {} and len(engine.tasks.where(parent=nobody)) == 0


def test_the_statuses_come_in_the_order_of_the_first_children(engine):
    job = a_job(engine, 12)
    engine.tasks.where(ids=[2, 9]).cancel()
    for _ in range(2):
        assert list(counted(engine, job).items()) == [("cancelled", 2), ("ready", 10)]


def test_both_kinds_of_what_is_kept_of_a_block_go_when_a_task_moves(engine, raw):
    job = a_job(engine, 14)
    assert counted(engine, job) == {"ready": 14} and engine.tasks.counts() == {"suspended": 1, "ready": 14}
    engine.future(5).cancel()
    assert blocks(raw, job) == [0, 2] and 1 not in blocks(raw, 0)
    assert counted(engine, job) == {"ready": 13, "cancelled": 1} and blocks(raw, job) == [0, 1, 2]


def test_of_a_job_that_was_deleted_nothing_is_kept(engine, raw):
    job = a_job(engine, 14)
    engine.tasks.where(parent=job).cancel()
    for _ in range(5):
        engine.submit("alone")
    assert counted(engine, job) == {"cancelled": 14} and blocks(raw, job) == [0, 1, 2, 3]
    assert engine.tasks.delete() == 15
    assert counted(engine, job) == {} and raw("SELECT * FROM taskcore_count") == []


# -- the model ------------------------------------------------------------------------------------------------------


def verbs(engine, other, parents, pick, clock):
    """Everything that may move a child, or bring one, or take one away; here, and from another process's engine."""
    some, theirs = engine.tasks.where(ids=pick()), other.tasks.where(ids=pick())
    job = engine.tasks.where(ids=parents[:1])
    return [
        lambda: [claim.succeed(1) for claim in engine.claim(n=4)],
        lambda: [claim.succeed(1, "good") for claim in other.claim(n=3)],
        lambda: engine.claim(n=2),  # and they go on running
        lambda: other.claim(n=1, lease=3),
        lambda: [claim.fail("no") for claim in engine.claim(n=2)],
        lambda: [claim.snooze(3) for claim in other.claim(n=1)],
        lambda: [claim.release() for claim in engine.claim(n=2)],
        some.cancel, theirs.cancel, some.pause, some.resume, theirs.rerun, lambda: some.rerun(downstream=True),
        some.hide, lambda: theirs.hide(False), theirs.delete, job.pause, job.resume, job.cancel, job.rerun,
        lambda: engine.prune(older_than=20),
        lambda: [engine.task("child").options(parent=parent).submit() for parent in parents[:2]],
        lambda: [other.task("slow").options(parent=parent, delay=2).submit() for parent in parents[-2:]],
        lambda: [engine.task("s").options(parent=parent, serial="one").submit() for parent in parents[1:3]],
        lambda: other.task("l").options(parent=parents[0], after={one.id: ("failed", "wait") for one in some}).submit(),
        lambda: engine.task("k").options(parent=parents[-1], key="k", key_scope="succeeded", hidden=True).submit(),
        lambda: [engine.submit("alone") for _ in range(3)],
        lambda: clock.advance(5),
    ]  # fmt: skip


def some_of(chance, ids):
    return chance.sample(ids, min(len(ids), chance.randint(1, 5)))


@pytest.mark.parametrize("seed", range(4))
def test_kept_counts_are_those_that_a_look_at_the_rows_finds_after_every_verb(made, raw, clock, seed):
    chance = random.Random(seed)
    with (
        contextlib.closing(Engine(made, workers=0, clock=clock, statuses={"good": "succeeded"})) as engine,
        contextlib.closing(Engine(made, workers=0, clock=clock)) as other,
    ):
        made_anew, kept = 0, set()
        for step in range(150):
            parents = [row["parent"] for row in raw("SELECT DISTINCT parent FROM taskcore_task WHERE parent > 0")]
            if len(parents) < 4:
                a_job(engine, chance.randint(3, 12), f"night {made_anew}", failures=chance.choice(["fail", "ignore"]))
                made_anew += 1
                continue
            ids = [row["id"] for row in raw("SELECT id FROM taskcore_task")]
            chance.shuffle(parents)
            verb = chance.choice(verbs(engine, other, parents, lambda ids=ids: some_of(chance, ids), clock))
            with contextlib.suppress(DependencyCycle):  # a child cannot wait for its own job
                verb()
            assert engine._context.read(counts.wrong) == [], (seed, step)
            for parent in parents:
                if chance.random() < 0.6:
                    looks = chance.choice([engine, other])
                    assert counted(looks, parent) == read_all(raw, parent), (seed, step, parent)
                    kept.update((parent, block) for block in blocks(raw, parent))
            if chance.random() < 0.3:
                assert sum(engine.tasks.counts().values()) == len(list(engine.tasks)), (seed, step)
            assert engine._context.read(counts.wrong) == [], (seed, step)
        assert engine.check() == [], seed
        assert len(kept) > 15, (seed, len(kept))


class Between:
    """At each step of whoever counts (look, mark, count, keep), before it and behind it, something else may happen:
    a verb of one engine or the other, or another count, which is interrupted in the same way."""

    STEPS = ("open_pieces", "mark", "tally", "keep")

    def __init__(self, monkeypatch, chance, happens):
        self.chance, self.happens, self.depth, self.kept = chance, happens, 0, 0
        for name in self.STEPS:
            monkeypatch.setattr(counts, name, self.interrupted(getattr(counts, name)))

    def interrupted(self, step):
        def between(*args):
            self.perhaps()
            done = step(*args)
            self.perhaps()
            self.kept += step.__name__ == "keep" and bool(done)
            return done

        return between

    def perhaps(self):
        if self.depth < 2 and self.chance.random() < 0.3:
            self.depth += 1
            self.happens()
            self.depth -= 1


@pytest.mark.parametrize("seed", range(3))
def test_nothing_wrong_is_kept_whatever_happens_while_somebody_counts(made, raw, clock, monkeypatch, seed):
    chance = random.Random(seed)
    with (
        contextlib.closing(Engine(made, workers=0, clock=clock, statuses={"good": "succeeded"})) as engine,
        contextlib.closing(Engine(made, workers=0, clock=clock)) as other,
    ):
        for n in range(4):
            a_job(engine, 8, f"night {n}", failures=chance.choice(["fail", "ignore"]))

        def parents():
            found = [row["parent"] for row in raw("SELECT DISTINCT parent FROM taskcore_task WHERE parent > 0")]
            return chance.sample(found, len(found))

        def move():
            ids = [row["id"] for row in raw("SELECT id FROM taskcore_task")]
            if len(parents()) > 2:
                with contextlib.suppress(DependencyCycle):
                    chance.choice(verbs(engine, other, parents(), lambda: some_of(chance, ids), clock))()

        def look():
            for parent in [None, *parents()][: chance.randint(1, 3)]:
                looks = chance.choice([engine, other])
                looks.tasks.counts() if parent is None else counted(looks, parent)

        between = Between(monkeypatch, chance, lambda: move() if chance.random() < 0.6 else look())
        for step in range(50):
            move()
            look()
            assert engine._context.read(counts.wrong) == [], (seed, step)
        assert engine.check() == [] and between.kept > 50, (seed, between.kept)


# -- what it costs, and what it must not ----------------------------------------------------------------------------


def test_who_counts_does_not_wait_until_a_program_lets_go_of_the_file(engine, raw, made):
    job = a_job(engine, 12)
    with contextlib.closing(sqlite3.connect(made, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert counted(engine, job) == {"ready": 12} and blocks(raw, job) == []
        other.execute("ROLLBACK")
    assert counted(engine, job) == {"ready": 12} and blocks(raw, job) == [0, 1, 2]


def test_what_a_lock_of_another_program_prevents_is_kept_at_the_next_look(engine, raw, made, monkeypatch):
    job, keep = a_job(engine, 22), counts.keep
    with contextlib.closing(sqlite3.connect(made, isolation_level=None)) as other:

        def locked_once(*args):
            monkeypatch.setattr(counts, "keep", keep)
            other.execute("BEGIN IMMEDIATE")
            try:
                return keep(*args)
            finally:
                other.execute("ROLLBACK")

        monkeypatch.setattr(counts, "keep", locked_once)
        assert counted(engine, job) == {"ready": 22} and blocks(raw, job) == []
        assert counted(engine, job) == {"ready": 22} and blocks(raw, job) == [0, 1, 2, 3, 4]


def test_another_process_sees_that_counts_are_kept_and_drops_what_it_changes(made, raw):
    with Engine(made, workers=0) as engine, Engine(made, workers=0) as other:
        job = a_job(engine, 12)
        other.submit("g")
        assert counted(engine, job) == {"ready": 12} and blocks(raw, job) == [0, 1, 2]
        (claim,) = other.claim("child")
        assert blocks(raw, job) == [1, 2] and counted(engine, job) == {"running": 1, "ready": 11}
        claim.succeed()
        assert counted(other, job) == {"succeeded": 1, "ready": 11} and blocks(raw, job) == [0, 1, 2]


def test_what_began_since_the_children_were_looked_at_is_not_kept(engine, raw, monkeypatch):
    job, keep = a_job(engine, 12), counts.keep

    def claimed_first(*args):
        monkeypatch.setattr(counts, "keep", keep)
        engine.claim("child")
        return keep(*args)

    monkeypatch.setattr(counts, "keep", claimed_first)
    assert counted(engine, job) == {"running": 1, "ready": 11} and blocks(raw, job) == [1, 2]


def test_what_begins_between_a_look_and_its_mark_is_not_kept(engine, raw, monkeypatch):
    job, mark = a_job(engine, 12), counts.mark

    def claimed_first(*args):
        monkeypatch.setattr(counts, "mark", mark)
        claims.extend(engine.claim("child"))
        return mark(*args)

    claims = []
    monkeypatch.setattr(counts, "mark", claimed_first)
    assert counted(engine, job) == {"running": 1, "ready": 11} and blocks(raw, job) == [1, 2]
    claims[0].succeed()
    assert counted(engine, job) == {"succeeded": 1, "ready": 11} and engine.check() == []


def test_a_mark_of_a_program_that_died_counts_nothing_and_goes_when_the_block_is_kept(engine, raw):
    job = a_job(engine, 12)
    assert engine._context.file.read(counts.mark, engine._context.file.known, [1, 2, 3], -7)
    assert pieces(raw, -7) == [1, 2, 3] and engine.check() == []
    assert engine.tasks.counts() == {"suspended": 1, "ready": 12} and counted(engine, job) == {"ready": 12}
    assert pieces(raw, -7) == [] and blocks(raw, job) == [0, 1, 2]


def test_who_marks_what_moved_after_another_had_marked_it_lets_nobody_keep_what_was_counted_before(engine, raw):
    job, file = a_job(engine, 12), engine._context.file
    chosen = engine.tasks.where(parent=job)._where
    assert file.read(counts.mark, file.known, [0, 1, 2], -7)
    old = engine._context.look(counts.tally, chosen, [0, 1, 2])
    engine.tasks.where(id=2).cancel()
    assert file.read(counts.mark, file.known, [0, 1, 2], -8)
    assert file.read(counts.keep, chosen, [0, 1, 2], -7, old)
    assert 0 not in blocks(raw, job) and engine.check() == []
    assert counted(engine, job) == {"ready": 11, "cancelled": 1}


def test_two_that_count_the_same_children_at_once_keep_them_once(engine, made, raw, monkeypatch):
    job, keep = a_job(engine, 12), counts.keep
    with Engine(made, workers=0) as other:

        def kept_first(*args):
            monkeypatch.setattr(counts, "keep", keep)
            assert counted(other, job) == {"ready": 12} and blocks(raw, job) == [0, 1, 2]
            return keep(*args)

        monkeypatch.setattr(counts, "keep", kept_first)
        assert counted(engine, job) == {"ready": 12} and blocks(raw, job) == [0, 1, 2]
    assert engine.check() == []


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE taskcore_count SET n = n + 1 WHERE block = 1 AND parent = 1",
        "UPDATE taskcore_count SET phase = 'failed' WHERE block = 1 AND parent = 1",
        "UPDATE taskcore_count SET hidden = 1 WHERE block = 1 AND parent = 1",
        "UPDATE taskcore_count SET parent = 99 WHERE block = 1 AND parent = 1",
        "DELETE FROM taskcore_task WHERE id = 5",
        "UPDATE taskcore_count SET n = n + 1 WHERE block = -1 AND parent = 1",
        "DELETE FROM taskcore_count WHERE block = 1 AND parent = 1",  # the stretch has it still
        "UPDATE taskcore_count SET n = n + 1 WHERE block > 9 AND parent = 1",
        "INSERT INTO taskcore_count VALUES (9, 1, 1, 'ready', '', 0, 40, 4)",
        "INSERT INTO taskcore_count VALUES (-2, 1, 1, 'ready', '', 0, 8, 4)",
        "INSERT INTO taskcore_count VALUES (1, 1, 1, 'failed', '', 0, 4, 4)",
        "INSERT INTO taskcore_count VALUES (1, 5, 1, 'ready', '', 0, 4, 4)",
    ],
)
def test_check_finds_a_count_of_a_jobs_children_that_is_wrong_and_its_mend_mends_it(engine, made, harm):
    assert a_job(engine, 10) == 1
    counted(engine, 1), engine.tasks.counts()
    assert engine.check() == []
    with contextlib.closing(sqlite3.connect(made)) as connection, connection:
        assert connection.execute(harm).rowcount > 0
    (finding, *more) = [each for each in engine.check() if "counts() is not to be believed" in each.what]
    assert not more
    with contextlib.closing(sqlite3.connect(made)) as connection, connection:
        connection.execute(finding.mend.split(",")[0])
    assert not [each for each in engine.check() if "counts()" in each.what]
    assert counted(engine, 1) == {"ready": 9 if "taskcore_task" in harm else 10}


def traced(engine, call):
    """The statements that it takes on both connections of the engine, which ran them before."""
    said = []
    engine._context.look(lambda connection: connection.set_trace_callback(said.append))
    engine._file._connection.set_trace_callback(said.append)
    try:
        call()
        return list(said)
    finally:
        engine._file._connection.set_trace_callback(None)
        engine._context.look(lambda connection: connection.set_trace_callback(None))


def test_who_looks_twice_writes_once(engine, raw):
    job = engine.tasks.where(parent=a_job(engine, 22))
    first = traced(engine, job.counts)
    assert len([text for text in first if "CROSS JOIN taskcore_count AS m" in text]) == 5  # ten pieces, two at a time
    second = traced(engine, job.counts)
    assert all(text.split()[0] in ("SELECT", "WITH") for text in second) and len(second) == 4, second
    small = engine.tasks.where(parent=a_job(engine, 3))
    assert len(traced(engine, small.counts)) == 3  # and nothing is looked for that might be kept


def test_children_are_found_by_the_index_of_parents_and_kept_counts_by_their_key(engine):
    job = engine.tasks.where(parent=a_job(engine, 22), phase="ready", hidden=False)
    said = [text for text in traced(engine, job.counts) if "taskcore_count" in text]
    assert len(said) >= 4  # look, keep, drop what began, read
    steps = {
        row[3] for text in said
        for row in engine._context.look(lambda c, text=text: c.execute(f"EXPLAIN QUERY PLAN {text}").fetchall())
    }  # fmt: skip
    assert {step for step in steps if step.startswith("SCAN") and "VIRTUAL TABLE" not in step} <= {
        # Ranges; neither tasks nor all that is kept.
        "SCAN spot", "SCAN range", "SCAN unkept", "SCAN w", "SCAN b",
        "SCAN t",  # what was counted
    }  # fmt: skip
    assert {step for step in steps if step.startswith("SEARCH one")} == {
        "SEARCH one USING COVERING INDEX taskcore_task_parent (parent=?)",
        "SEARCH one USING COVERING INDEX taskcore_task_parent (parent=? AND rowid>?)",
        "SEARCH one USING COVERING INDEX taskcore_task_parent (parent=? AND rowid>? AND rowid<?)",
        "SEARCH one USING INDEX taskcore_task_parent (parent=? AND rowid>? AND rowid<?)",
    }
    assert {step for step in steps if step.startswith(("SEARCH c ", "SEARCH k ", "SEARCH taskcore_count"))} == {
        "SEARCH c USING PRIMARY KEY (block=? AND parent=?)",
        "SEARCH c USING PRIMARY KEY (block>? AND block<?)",  # the blocks of a stretch
        "SEARCH k USING PRIMARY KEY (block=? AND parent=?)",
        "SEARCH taskcore_count USING PRIMARY KEY (block=? AND parent=?)",
        "SEARCH taskcore_count USING PRIMARY KEY (block=? AND parent<?)",
    }  # fmt: skip


def test_what_is_kept_is_read_in_steps_that_do_not_grow_with_the_children(engine, monkeypatch):
    """No clock: SQLite counts its own instructions."""
    monkeypatch.setattr(schema, "BLOCK", 256)
    monkeypatch.setattr(schema, "FAN", 8)
    job = queries.where([("parent", (a_job(engine, 5001),))])

    def steps():
        taken = [0]

        def more():
            taken[0] += 1

        def asked(connection):
            connection.set_progress_handler(more, 100)
            try:
                return counts.counts(connection, job)
            finally:
                connection.set_progress_handler(None, 100)

        assert engine._context.read(asked) == {"ready": 5001}
        return taken[0]

    before = steps()
    engine._context.counts(job)
    assert steps() < before / 20
