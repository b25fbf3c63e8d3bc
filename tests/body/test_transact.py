"""Steps whose SQL commits together with their record: there exactly once, or not at all."""

import collections
import contextlib
import sqlite3

import pytest

import taskcore
from taskcore import Engine
from tests.support.bodies import failing, kept, task
from tests.support.processes import Child, say
from tests.support.rows import rows

PATIENCE = 10  # seconds that a healthy engine never needs


def test_a_transacted_steps_sql_and_its_record_are_one_commit(inline, raw):
    raw("CREATE TABLE ledger (entry TEXT)")
    stumble, flaky = failing(), failing()

    def enter(db, entry):
        db.execute("INSERT INTO ledger VALUES (?)", (entry,))
        outside = raw("SELECT entry FROM ledger"), kept(raw)
        flaky()
        return outside

    def body():
        run = taskcore.current()
        before = run.transact("t", enter, "x")
        after = raw("SELECT entry FROM ledger"), kept(raw)
        stumble()
        return before, after

    future = task(inline, body).submit()
    before, after = future.result()
    assert before == ([], [("step", "t", 1, "failed")])  # nobody sees half of it, and what failed left only its place
    assert after == ([{"entry": "x"}], [("step", "t", 1, "kept")])
    assert future.snapshot().failures == 2
    assert raw("SELECT entry FROM ledger") == [{"entry": "x"}]


def dies_in_a_transaction(path):
    """Enters a line in a ledger, and says so before the commit, and after."""
    engine = Engine(path, workers=1)

    @engine.task(key="only", max_lapses=100)
    def body():
        run = taskcore.current()

        def enter(db, n):
            db.execute("INSERT INTO ledger VALUES (?)", (n,))
            say("entered", n)
            if sys.stdin.readline() == "die\n":  # noqa: F821 - in the child
                os.kill(os.getpid(), signal.SIGKILL)  # noqa: F821

        for n in range(4):
            run.transact("enter", enter, n)
            say("committed", n)
            if sys.stdin.readline() == "die\n":  # noqa: F821
                os.kill(os.getpid(), signal.SIGKILL)  # noqa: F821
        return "end"

    say(body.submit().result())


def test_a_transacted_steps_effects_are_there_exactly_once_wherever_its_process_is_killed(path, raw):
    Engine(path).close()
    raw("CREATE TABLE ledger (n INTEGER)")
    heard, kills = collections.Counter(), ["entered 0", "committed 0", "entered 2"]
    while not heard["end"]:
        process = Child(dies_in_a_transaction, path)
        try:
            while line := process.line():
                heard[line] += 1
                die = line in kills[:1]
                if line != "end":
                    process.tell("die" if die else "go")
                if die:
                    kills.pop(0)
                    assert process.process.wait(PATIENCE) < 0
        finally:
            process.close()
    assert rows(path, "SELECT n FROM ledger") == [(0,), (1,), (2,), (3,)]
    assert [heard[f"entered {n}"] for n in range(4)] == [2, 1, 2, 1]  # never again after the commit


def refused_in_transact(run, engine, child, future):
    return {
        "transact": lambda: run.transact("inner", print),
        "transaction": lambda: engine.transaction().__enter__(),
        "sleep": lambda: run.sleep(1),
        "wait": lambda: run.wait(future),
        "wait for": lambda: run.wait_for("x"),
        "gather": lambda: run.gather(child, [1]),
        "result": lambda: child.submit(1).result(),
        "run": lambda: engine.run(),
        "shutdown": lambda: engine.shutdown(),
        "close": lambda: engine.close(),
    }


@pytest.mark.parametrize("what", refused_in_transact(None, None, None, None))
def test_what_would_wait_in_a_transaction_is_refused_at_once(inline, what):
    child = inline.task(lambda x: x, name="child")

    def body():
        run = taskcore.current()
        future = child.submit(0)

        def fn(db):
            with pytest.raises(RuntimeError):
                refused_in_transact(run, inline, child, future)[what]()
            return "refused"

        got = run.transact("t", fn)
        run.sleep(5)
        return got, run.step("end", lambda: "end")

    future = task(inline, body).submit()
    inline.run()
    assert future.result() == ("refused", "end")


def test_calls_of_the_engine_in_a_transaction_are_part_of_its_commit(inline, raw):
    raw("CREATE TABLE ledger (n INTEGER)")
    flaky, seen, counts = failing(), [], []
    child = inline.task(lambda x: seen.append(x) or x, name="child")
    other = inline.task("robot").submit()

    def fn(db):
        run = taskcore.current()
        db.execute("INSERT INTO ledger VALUES (1)")
        made = child.submit(len(counts)).id
        with inline.job("job"):
            child.submit(-1)
        drawn = run.step("inner", lambda: len(counts))
        run.progress(1, 4)
        run.message("in it")
        run.save(drawn=drawn)
        other.signal("x", drawn)
        other.cancel() if counts else other.pause()
        counts.append(inline.tasks.counts())
        flaky()
        return [made, drawn]

    def body():
        run = taskcore.current()
        try:
            return {"got": run.transact("t", fn)}
        finally:
            counts.append(inline.tasks.counts())

    future = task(inline, body).submit()
    result = future.result()
    inline.run()
    assert counts[0] == {"paused": 1, "running": 1, "ready": 2, "suspended": 1}
    assert counts[1] == {"ready": 1, "running": 1}  # all of it was undone
    assert counts[2] == counts[3] == {"cancelled": 1, "running": 1, "ready": 2, "suspended": 1}
    made, drawn = result.pop("got")
    assert result == {"drawn": 2} and drawn == 2
    assert inline.future(made).result() == 2 and sorted(seen) == [-1, 2]
    assert raw("SELECT count(*) AS n FROM ledger") == [{"n": 1}]
    assert future.snapshot().message == "in it"


def test_a_transaction_of_the_body_that_is_rolled_back_takes_its_steps_with_it(inline):
    """They are made anew, every time, and what follows is not confused with them."""
    seen = []
    child = inline.task(lambda x: x, name="child")

    def body():
        run = taskcore.current()
        with contextlib.suppress(ValueError), inline.transaction():
            run.step("s", seen.append, "undone")
            child.submit("undone")
            raise ValueError
        with contextlib.suppress(ValueError), inline.job("job"):
            child.submit("undone")
            raise ValueError
        with inline.transaction():
            with contextlib.suppress(ValueError), inline.job("job"):
                child.submit("undone")
                raise ValueError
            run.step("s", seen.append, "done")
            made = child.submit("done")
        run.sleep(5)
        run.step("s", seen.append, "last")
        return made.result(), child.submit("last").result()

    future = task(inline, body).submit()
    inline.run()
    assert future.result() == ("done", "last")
    assert seen == ["undone", "done", "undone", "last", "undone"]
    assert [task.args for task in inline.tasks.where(name="child")] == [("done",), ("last",)]
    assert len(inline.tasks.where(name="job")) == 0


def test_what_the_transaction_says_is_what_sqlite_says(inline, raw):
    def body():
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            taskcore.current().transact("t", lambda db: db.execute("SELECT * FROM nowhere"))
        with pytest.raises(ValueError, match="COMMIT"):
            taskcore.current().transact("t", lambda db: db.execute("COMMIT"))
        return taskcore.current().transact("t", lambda db, *names: [*names, *db.execute("SELECT 1").fetchone()], "a")

    assert task(inline, body).submit().result() == ["a", 1]
