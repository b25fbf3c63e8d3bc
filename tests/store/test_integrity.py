"""`engine.check()`: nothing is said of a sound file, whatever was done to it; each wrong is found, and named with its
mend; and the mends that it names do mend."""

import ast
import collections
import contextlib
import sqlite3

import pytest

from taskcore import BadFile, Engine, Finding, current
from taskcore.core.ends import Outcome, Sleep
from taskcore.store import integrity as rules
from taskcore.testing import InlineExecutor
from tests.support.families import Walk


@pytest.fixture
def spoil(path):
    """`spoil(sql, …)` does what the file would refuse."""

    def run(sql, *values):
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            assert connection.execute(sql, values).rowcount > 0

    return run


def said(engine):
    return [finding.what for finding in engine.check()]


def the(engine):
    (finding,) = engine.check()
    assert isinstance(finding, Finding) and finding.mend
    return finding.what


def test_a_new_file_is_sound(engine):
    assert engine.check() == []


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_said_of_a_file_that_only_the_verbs_have_written(tmp_path, seed):
    walk = Walk(str(tmp_path / "walk.db"), seed, collections.Counter(), 40)
    try:
        for n in range(120):
            did = walk.step()
            if n % 10 == 0 and not walk.building:
                assert walk.engine.check() == [], f"seed {seed}, step {n}: after {did}"
    finally:
        walk.close()


class Literals:
    """A codec that is no JSON."""

    def encode(self, value):
        return f"value: {value!r}"

    def decode(self, text):
        if not text.startswith("value: "):
            raise ValueError(f"this codec did not write {text!r}")
        return ast.literal_eval(text.removeprefix("value: "))


def test_nothing_is_said_of_what_a_codec_of_ones_own_need_not_read(path, clock):
    def body():
        run = current()
        for n in run.track([1, 2]):
            run.step("s", lambda n=n: n)
        items = run.gather("child", [1, 2])
        run.sleep(1)
        items.append(run.wait_for("go", timeout=5))
        with contextlib.suppress(TimeoutError):
            run.wait_for("go", timeout=5)
        return [*items, run.wait_for("go")]

    with contextlib.closing(Engine(path, clock=clock, executor=InlineExecutor(), codec=Literals())) as engine:
        engine.task(lambda n: -n, name="child")
        future = engine.task(body, name="body").submit()
        for seconds in (0, 1, 0, 5):
            clock.advance(seconds)
            engine.run(progress=False)
            assert engine.check() == [], future.snapshot().waiting_for
            if future.snapshot().waiting_for == "signal go":
                future.signal("go", seconds)
        engine.run(progress=False)
        assert engine.check() == [] and future.result()[:2] == [-1, -2]


def test_a_check_changes_nothing(engine, path):
    engine.submit("work")
    with contextlib.closing(sqlite3.connect(path)) as other:
        before = other.execute("PRAGMA data_version").fetchone()
        engine.check()
        assert other.execute("PRAGMA data_version").fetchone() == before


def test_a_memory_file_is_checked(clock):
    with contextlib.closing(Engine(":memory:", workers=0, clock=clock)) as engine:
        engine.submit("work")
        assert engine.check() == []


def test_every_rule_reads_and_says_what_mends():
    for rule in rules.RULES:
        assert rule.sql.lstrip().startswith("SELECT") and rule.what and rule.mend


# -- each wrong -----------------------------------------------------------------------------------------------------


def test_a_wrong_count_of_blockers_is_found(engine, spoil):
    engine.task("second").submit(engine.submit("first"))
    spoil("UPDATE taskcore_task SET blockers = 2 WHERE id = 2")
    assert the(engine).endswith("than what does: #2 (2 instead of 1)")


def test_a_stale_edge_is_found_and_depending_again_mends_it(engine, spoil):
    first = engine.submit("first")
    second = engine.task("second").submit(first)
    engine.claim("first")[0].succeed()
    spoil("UPDATE taskcore_edge SET verdict = 'unmet'")
    spoil("UPDATE taskcore_task SET blockers = 1, phase = 'waiting' WHERE id = 2")
    assert the(engine).endswith("noted of it: #2 (on #1)")
    second.depends_on(first)
    assert engine.check() == [] and second.snapshot().phase == "ready"


def test_a_doomed_task_is_found_and_cancelling_mends_it(engine, spoil):
    engine.task("second").submit(engine.submit("first"))
    spoil("UPDATE taskcore_task SET phase = 'failed', finished_at = 1 WHERE id = 1")
    spoil("UPDATE taskcore_edge SET verdict = 'doomed'")
    assert the(engine).endswith("were not skipped: #2 (on #1)")
    engine.future(2).cancel()
    assert engine.check() == []


def test_a_task_that_waits_for_nothing_is_found_and_pause_and_resume_mend_it(engine, spoil):
    task = engine.submit("work")
    spoil("UPDATE taskcore_task SET phase = 'waiting'")
    assert the(engine) == "tasks that are waiting, and nothing holds them back: #1"
    task.pause()
    task.resume()
    assert engine.check() == [] and task.snapshot().phase == "ready"


def test_a_held_task_that_is_not_paused_is_found_and_pausing_mends_it(engine, spoil):
    task = engine.submit("work")
    spoil("UPDATE taskcore_task SET held = 1")
    assert the(engine).endswith("and are not: #1 (ready)")
    task.pause()
    assert engine.check() == []


def job_of_one(engine):
    with engine.job("night") as job:
        child = engine.submit("child")
    return job, child


def test_a_child_that_waits_for_an_open_job_is_found_and_pause_and_resume_of_the_job_mend_it(engine, spoil):
    job, child = job_of_one(engine)
    spoil("UPDATE taskcore_task SET gated = 1, blockers = 1, phase = 'waiting' WHERE id = 2")
    assert the(engine).endswith("nobody back: #2 (of #1)")
    job.pause()
    job.resume()
    assert engine.check() == [] and child.snapshot().phase == "ready"


def test_a_wrong_count_of_unfinished_children_is_found(engine, spoil):
    job_of_one(engine)
    spoil("UPDATE taskcore_task SET open = 2 WHERE id = 1")
    assert the(engine).endswith("than they have: #1 (2 instead of 1)")


def test_a_wrong_count_of_children_is_found(engine, spoil):
    job_of_one(engine)
    spoil("UPDATE taskcore_task SET children = 0 WHERE id = 1")
    assert the(engine).endswith("than they have: #1 (0 instead of 1)")


def test_a_job_that_ended_too_early_is_found(engine, spoil):
    job_of_one(engine)
    spoil("UPDATE taskcore_task SET phase = 'succeeded', finished_at = 1 WHERE id = 1")
    assert the(engine).endswith("before their children: #1 (succeeded)")
    for claim in engine.claim():
        claim.succeed()
    assert engine.check() == []


def test_a_job_that_should_have_ended_is_found_and_cancelling_mends_it(engine, spoil):
    job, _ = job_of_one(engine)
    engine.claim()[0].succeed()
    spoil("UPDATE taskcore_task SET phase = 'suspended', finished_at = NULL WHERE id = 1")
    assert the(engine).endswith("should have ended: #1 (suspended)")
    job.cancel()
    assert engine.check() == []


def test_a_job_that_forgot_how_a_child_ended_is_found_and_a_rerun_mends_it(engine, spoil):
    job_of_one(engine)
    engine.claim()[0].succeed()
    spoil("DELETE FROM taskcore_tally")
    assert the(engine).endswith("children ended: #1")


def test_a_serial_task_out_of_its_queue_is_found_and_cancel_and_rerun_mend_it(engine, spoil):
    task = engine.task("work").options(serial="s").submit()
    spoil("DELETE FROM taskcore_queue")
    assert the(engine).endswith("though they have ended: #1 (ready)")
    task.cancel()
    task.rerun()
    assert engine.check() == []


def test_a_task_that_does_not_know_that_it_is_first_is_found(engine, spoil):
    for _ in range(2):
        engine.task("work").options(serial="s").submit()
    spoil("UPDATE taskcore_task SET behind = 0, blockers = 0, phase = 'ready' WHERE id = 2")
    assert the(engine).endswith("do not know that: #2")


def asleep(engine, task, **why):
    """Claim it and put it to sleep."""
    claim = engine.claim(task)[0]
    token = int(claim.token.split(".")[1])
    why = {"waiting_for": "tasks", **why}

    def work(tx):
        from taskcore.store import reports

        end = Outcome(claim.task.id, token, verb="suspend", sleep=Sleep(**why))
        assert reports.report(tx, end, engine._context.now())

    engine._context.write(work)


def test_a_sleeper_that_nobody_wakes_is_found_and_cancel_and_rerun_mend_it(engine, spoil):
    other, sleeper = engine.submit("other"), engine.submit("sleeper")
    asleep(engine, "sleeper", upstreams=[other.id])
    assert engine.check() == []
    spoil("DELETE FROM taskcore_join")
    assert the(engine) == "tasks that sleep, and nothing will wake them: #2 (tasks)"
    sleeper.cancel()
    sleeper.rerun()
    assert engine.check() == []


def test_a_sleeper_until_what_has_ended_is_found(engine, spoil):
    engine.submit("other"), engine.submit("sleeper")
    asleep(engine, "sleeper", upstreams=[1])
    spoil("UPDATE taskcore_task SET phase = 'succeeded', finished_at = 1 WHERE id = 1")
    assert the(engine).endswith("the others have ended: #2 (suspended)")
    engine.future(2).cancel()
    engine.future(2).rerun()
    assert engine.check() == []


def test_a_sleeper_that_missed_its_signal_is_found_and_another_mends_it(engine, spoil, raw):
    task = engine.submit("sleeper")
    asleep(engine, "sleeper", waiting_for="signal go", signal="go")
    spoil("INSERT INTO taskcore_signal (task, name, payload, sent_at) VALUES (1, 'go', 'null', 1)")
    assert the(engine).endswith("that has come: #1 (signal go)")
    task.signal("go")
    assert engine.check() == []


def test_a_claim_of_a_worker_that_left_is_found_and_releasing_it_mends_it(engine, spoil):
    engine.submit("work")
    engine.claim()
    spoil("UPDATE taskcore_worker SET ended_at = 1")
    assert the(engine) == "tasks that run at a worker that has signed off: #1 (1.1)"
    engine.claimed("1.1").release()
    assert engine.check() == []


def test_impossible_counters_are_found(engine, spoil):
    engine.submit("work")
    spoil("UPDATE taskcore_task SET failures = 5")
    assert the(engine).endswith("than they may: #1 (0, 5, 0)")
    engine.future(1).cancel()
    engine.future(1).rerun()
    assert engine.check() == []


def test_a_key_that_leads_to_another_task_is_found(engine, spoil):
    engine.task("work").options(key="a").submit()
    spoil("UPDATE taskcore_key SET key = 'b'")
    assert len(said(engine)) == 2
    engine.future(1).cancel()
    engine.tasks.delete()
    assert engine.check() == []


def test_a_lost_key_is_found_and_cancel_and_rerun_mend_it(engine, spoil):
    task = engine.task("work").options(key="a").submit()
    spoil("DELETE FROM taskcore_key")
    assert the(engine).endswith("once more: #1 (a)")
    task.cancel()
    task.rerun()
    assert engine.check() == []


@pytest.mark.parametrize(
    ("table", "sql"),
    [
        ("tag", "INSERT INTO taskcore_tag (task, position, tag) VALUES (7, 0, 'x')"),
        ("attempt", "INSERT INTO taskcore_attempt (task, number, outcome) VALUES (7, 1, 'failed')"),
        ("signal", "INSERT INTO taskcore_signal (task, name, payload, sent_at) VALUES (7, 'x', '1', 1)"),
        ("log", "INSERT INTO taskcore_log (task, line, at, level, text) VALUES (7, 1, 1, 'INFO', 'x')"),
        ("tally", "INSERT INTO taskcore_tally (job, status, phase, n) VALUES (7, 'failed', 'failed', 1)"),
        ("queue", "INSERT INTO taskcore_queue (serial, place, task) VALUES ('s', 1, 7)"),
        ("key", "INSERT INTO taskcore_key (name, key, task) VALUES ('a', 'b', 7)"),
        ("join", "INSERT INTO taskcore_join (upstream, task) VALUES (8, 7)"),
        ("edge", "INSERT INTO taskcore_edge VALUES (8, 7, 'succeeded', 'skip', 'unmet', 0)"),
        ("step", "INSERT INTO taskcore_step VALUES (7, 0, '', 'step', 'x', 1, 'kept', NULL, 1, 1, 1, '1')"),
    ],
)
def test_what_belongs_to_a_task_that_is_not_there_is_found_and_deleting_it_mends_it(engine, spoil, table, sql):
    spoil(sql)
    (finding,) = engine.check()
    assert f"rows of taskcore_{table} refer to rows of taskcore_task that are not there" in finding.what
    assert finding.mend.startswith("delete such rows")
    spoil(f"DELETE FROM taskcore_{table}")
    assert engine.check() == []


def test_a_task_that_refers_to_what_is_lost_is_not_to_be_deleted(engine, spoil):
    engine.submit("work")
    spoil("UPDATE taskcore_task SET worker = 7")
    (finding,) = engine.check()
    assert finding.what == "1 rows of taskcore_task refer to rows of taskcore_worker that are not there"
    assert "salvage" in finding.mend


def test_rows_of_other_peoples_tables_are_theirs_to_mend(engine, spoil, raw):
    raw("CREATE TABLE plate (id INTEGER PRIMARY KEY)")
    raw("CREATE TABLE well (plate REFERENCES plate (id))")
    spoil("INSERT INTO well VALUES (5)")
    (finding,) = engine.check()
    assert finding == Finding(
        "1 rows of well refer to rows of plate that are not there", "it is a table of yours: see to its rows"
    )


def test_many_are_counted_not_listed(engine, spoil):
    with engine.transaction():
        for _ in range(25):
            engine.submit("work")
    spoil("UPDATE taskcore_task SET phase = 'waiting'")
    assert the(engine).endswith("#1, #2, #3, #4, #5, #6, #7, #8, #9, #10 and 15 more")


def test_what_the_rows_may_not_be_is_found_by_sqlite(engine, spoil):
    engine.submit("work")
    spoil("UPDATE taskcore_task SET priority = 5000")
    assert any("CHECK constraint failed" in text for text in said(engine))


def test_a_damaged_page_is_found(path, clock):
    with contextlib.closing(Engine(path, workers=0, clock=clock)) as engine, engine.transaction():
        for n in range(2000):
            engine.task("work").options(tags=["tag"], key=str(n)).submit()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'taskcore_tag'").fetchone()
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    with open(path, "r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 200)
    try:
        engine = Engine(path, workers=0, clock=clock)
    except BadFile:
        return
    with contextlib.closing(engine):
        findings = engine.check()
        assert any("damaged" in finding.what for finding in findings)
        assert all(finding.mend for finding in findings)
