"""What a task costs in statements and commits, and how SQLite finds the rows of each: held without a clock."""

import contextlib
import re
import threading

import pytest

import taskcore.runtime.scheduler
from taskcore import Engine, constant, current
from taskcore.body import context
from taskcore.testing import InlineExecutor
from tests.support.processes import PATIENCE, rests, until

SMALL = r"json_each|taskcore_(meta|status|kind|worker|limit|rate|hold|schedule|count)\b|\(|CONSTANT ROW|VALUES"
"""What may be read from one end to the other: lists that were given, and tables that do not grow with the tasks."""


class Statements(list):
    """Those that the engine's connection ran, as they were run."""

    def of(self, call, *args):
        del self[:]
        call(*args)
        return self

    @property
    def commits(self):
        """Writes outside of BEGIN … COMMIT commit by themselves."""
        inside, n = False, 0
        for text in self:
            if text.startswith("BEGIN"):
                inside = True
            elif text == "COMMIT" or (not inside and re.match("INSERT|UPDATE|DELETE", text)):
                inside, n = False, n + 1
        return n


@pytest.fixture
def traced(made, clock, monkeypatch):
    monkeypatch.setattr(taskcore.runtime.scheduler, "monotonic", lambda: 0.0)  # looks come twice a second on any clock
    with contextlib.closing(Engine(made, clock=clock, executor=InlineExecutor())) as engine:
        seen = Statements()
        engine._file._connection.set_trace_callback(lambda text: seen.append(" ".join(text.split())))
        yield engine, seen
        engine._file._connection.set_trace_callback(None)


def test_a_submit_is_one_statement_and_one_commit(traced):
    engine, seen = traced
    task = engine.task("f")
    task.submit(0)  # the first one makes the kind
    seen.of(task.submit, 1)
    assert (len(seen), seen.commits) == (1, 1), seen


def test_a_thousand_submits_in_a_transaction_are_one_commit(traced):
    engine, seen = traced

    def bulk():
        with engine.transaction():
            for n in range(1000):
                engine.submit("f", n)

    seen.of(bulk)
    assert seen.commits == 1
    assert len([text for text in seen if not text.startswith("INSERT INTO taskcore_task")]) <= 6, seen


def test_tasks_in_a_batch_share_their_statements(made):
    n, seen = 3000, Statements()
    with contextlib.closing(Engine(made, workers=2)) as engine:
        with engine.transaction():
            for number in range(n):
                engine.submit("f", number)
        engine._file._connection.set_trace_callback(seen.append)
        engine.task(lambda number: number, name="f")
        assert engine.run(progress=False) == {"succeeded": n}
        engine._file._connection.set_trace_callback(None)
    assert seen.commits < n / 5, f"{seen.commits} commits for {n} tasks"
    assert len(seen) < 16 * seen.commits, f"{len(seen)} statements in {seen.commits} commits"


def test_short_results_are_read_a_hundred_at_a_time_and_long_ones_alone(traced):
    engine, seen = traced
    task = engine.task(lambda length: "x" * length, name="text")
    short, long = ([task.submit(length).id for _ in range(150)] for length in (10, 3000))
    engine.run(progress=False)
    for ids, reads in ((short, 2), (long, 150), (short, 2)):
        futures = [engine.future(task_id) for task_id in ids]
        seen.of(futures[0].result)
        assert len(seen) <= 3, seen
        seen.of(lambda futures=futures: [future.result() for future in futures])
        assert len(seen) <= reads, seen


def test_a_step_is_one_commit(traced):
    engine, seen = traced
    spent = []

    @engine.task
    def body():
        run = current()
        run.step("first", lambda: 0)
        for _ in range(2):
            seen.of(run.step, "one", lambda: 1)
            spent.append((len(seen), seen.commits))

    body.submit()
    engine.run(progress=False)
    assert spent[-1] == (1, 1), seen


def test_a_tracked_item_that_took_long_is_one_statement_as_a_step_is(traced, monkeypatch):
    engine, seen = traced
    monkeypatch.setattr(context, "WORTH_A_COMMIT", 0.0)
    each = []

    @engine.task
    def tracks():
        for _ in current().track(range(5)):
            each.append(list(seen))
            del seen[:]

    tracks.submit()
    engine.run(progress=False)
    assert [len(said) for said in each[2:]] == [1, 1, 1], each  # the first comes with what was pending


def test_a_body_that_goes_on_reads_no_file_of_its_own(traced):
    """What it has behind it comes with its claim."""
    engine, seen = traced

    @engine.task
    def body():
        seen.append("begins")
        text = "-".join(current().step("short", lambda n=n: str(n)) for n in range(4))
        text += current().wait_for("go")
        seen.append("has it")
        return text

    future = body.submit()
    engine.run(progress=False)
    future.signal("go", "!")
    seen.of(engine.run, False)
    assert future.result() == "0-1-2-3!"
    assert seen.index("has it") == seen.index("begins") + 1, seen


def test_a_body_with_more_behind_it_reads_it_once_and_finds_all(traced):
    engine, seen = traced
    task = engine.task(lambda n: [current().step("s", lambda i=i: i) for i in range(n)][-1:] + [
        current().wait_for("go")
    ], name="many")
    futures = {n: task.submit(n) for n in (0, 1, 7, 8, 9, 30)}
    engine.run(progress=False)
    for future in futures.values():
        future.signal("go", "!")
    seen.of(engine.run, False)
    for n, future in futures.items():
        assert future.result() == [*range(n)][-1:] + ["!"]
        assert len(future.steps()) == n
    assert not [text for text in seen if re.match("(INSERT|REPLACE).* taskcore_step", text)]


def test_a_signal_to_a_sleeper_is_one_commit_and_five_statements(traced):
    engine, seen = traced
    futures = [engine.task(lambda: current().wait_for("go"), name="waits").submit() for _ in range(2)]
    engine.run(progress=False)
    futures[0].signal("go", 1)
    seen.of(futures[1].signal, "go", 2)
    assert (len(seen), seen.commits) == (5, 1), seen


def test_a_signal_of_many_in_a_transaction_is_two_statements_and_no_commit_of_its_own(traced):
    engine, seen = traced
    wait, n = engine.task(lambda: current().wait_for("go"), name="waits"), 100
    futures = [wait.submit() for _ in range(n)]
    engine.run(progress=False)

    def all_of_them():
        with engine.transaction():
            assert [future.signal("go", 1) for future in futures] == [True] * n

    seen.of(all_of_them)
    assert seen.commits == 1 and len(seen) <= 2 * n + 5, seen
    assert engine.run(progress=False) == {"succeeded": n}


def test_children_of_a_gather_are_stored_by_one_statement(traced):
    engine, seen = traced
    engine.task(lambda n: n, name="child")
    future = engine.task(lambda: sum(current().gather("child", range(1000))), name="parent").submit()
    seen.of(engine.run, False)
    assert future.result() == sum(range(1000))
    assert len([text for text in seen if text.startswith("INSERT INTO taskcore_task ")]) == 1


@pytest.fixture
def idle(made, clock, monkeypatch):
    """An engine with threads that has nothing to do."""
    with contextlib.closing(Engine(made, clock=clock, workers=2)) as engine:
        engine.submit(abs, -1).result(PATIENCE)
        rests(engine)
        seen = Statements()
        engine._file._connection.set_trace_callback(lambda text: seen.append(" ".join(text.split())))
        yield engine, seen
        engine._file._connection.set_trace_callback(None)


def test_a_task_that_comes_alone_is_made_and_settled_by_one_statement_each_the_second_in_its_thread(idle):
    engine, _ = idle
    seen, names = Statements(), []
    both = lambda text: (seen.append(text.strip()), names.append(threading.current_thread().name))  # noqa: E731
    engine._file._connection.set_trace_callback(both)
    assert engine.submit(abs, -2).result(PATIENCE) == 2
    assert [text.split()[0] for text in seen[:2]] == ["INSERT", "UPDATE"]
    assert seen.commits == 2 and names[1] == "taskcore-worker"


def test_a_submit_behind_another_engines_learns_what_is_new_and_takes_no_transaction(traced, made, clock):
    engine, seen = traced
    task = engine.task(lambda: None, name="f")
    task.submit()
    with contextlib.closing(Engine(made, clock=clock, workers=0)) as other:
        theirs = other.submit("theirs")
        seen.of(task.submit)
    said = [text.split()[0] for text in seen]
    assert (said[0], said[-1], said.count("INSERT"), "BEGIN" in said) == ("INSERT", "INSERT", 2, False), seen
    assert max(task.id for task in engine.tasks) == theirs.id + 1


@pytest.mark.parametrize("hangs", ["an edge", "a parent", "a queue", "a sleeper", "a failure", "something to show"])
def test_one_on_which_something_hangs_is_settled_with_it(idle, hangs):
    engine, seen = idle
    go = threading.Event()

    @engine.task
    def body():
        seen.append("ran")
        if hangs == "something to show":
            current().message("done")
        elif hangs in ("an edge", "a sleeper"):
            assert go.wait(PATIENCE)
        elif hangs == "a failure":
            raise ValueError("no")

    other = engine.submit("other", 1)  # nobody runs it here
    with engine.job("all") if hangs == "a parent" else contextlib.nullcontext() as job:
        first = body.options(serial="one" if hangs == "a queue" else None).submit()
    if hangs == "a sleeper":
        sleeper = engine.task(lambda task: current().wait(engine.future(task)), name="sleeper").submit(first.id)
        until(lambda: sleeper.snapshot().phase == "suspended", "it does not sleep")
    if hangs == "an edge":
        other.depends_on(first)
        until(lambda: not engine._scheduler._ready, "the loop does not turn")
    go.set()
    first.exception(PATIENCE)
    assert "COMMIT" in seen[seen.index("ran") + 1 :]
    assert first.snapshot().phase == ("failed" if hangs == "a failure" else "succeeded")
    if hangs == "an edge":
        assert other.snapshot().phase == "ready" and other.dependencies()[0].met
    if hangs == "a sleeper":
        assert sleeper.result(PATIENCE) == [None]
    if hangs == "a parent":
        assert job.result(PATIENCE) == {"succeeded": 1}
    if hangs == "a queue":
        assert body.options(serial="one").submit().result(PATIENCE) is None
    if hangs == "something to show":
        assert first.snapshot().message == "done"


def test_a_link_of_a_chain_is_one_commit_and_nine_statements(traced):
    engine, seen = traced
    task = engine.task(lambda *_: 1, name="f")
    with engine.transaction():
        last = task.submit()
        for _ in range(99):
            last = task.submit(last)
    seen.of(engine.run, False)
    assert engine.tasks.counts() == {"succeeded": 100}
    assert seen.commits <= 105 and len(seen) <= 920, (seen.commits, len(seen))


def test_of_a_chain_only_the_first_is_tried_as_one_on_which_nothing_hangs(idle):
    engine, seen = idle
    go = threading.Event()
    first = last = engine.task(lambda: go.wait(PATIENCE), name="first").submit()
    for _ in range(20):
        last = engine.task(lambda: None, name="link").options(after=last).submit()
    until(lambda: first.snapshot().phase == "running" and engine._scheduler.begun, "it is begun")
    del seen[:]
    go.set()
    assert last.result(PATIENCE) is None
    tried = [text for text in seen if "NOT EXISTS (SELECT 1 FROM taskcore_edge WHERE upstream" in text]
    assert len(tried) <= 2 and last.snapshot().phase == "succeeded", tried


def of_everything(engine, clock):
    """A little of all that tasks may be told and do."""

    @engine.task(max_attempts=2, backoff=constant(1))
    def flaky(n):
        current().message("on it")
        current().step("half", lambda: n / 2)
        if current().task.attempts == 1:
            raise ValueError(n)
        return n

    @engine.task
    def family(n):
        return sum(current().gather(leaf, range(n)))

    leaf = engine.task(lambda n: n, name="leaf")
    engine.limits["gpu"] = 1
    uses = engine.task(lambda *_: 1, name="uses", limit=2).options(uses={"gpu": 1})
    first = flaky.submit(1)
    with engine.job("night", key="n") as job:
        for n in range(4):
            leaf.options(tags=["t"], key=str(n)).submit(n)
        family.options(after=first).submit(3)
    uses.options(after={job: "finished"}).submit(first)
    for _ in range(3):
        leaf.options(serial="one").submit(1)
    leaf.options(delay=5, priority=3).submit(2)
    doomed = leaf.options(after={first: "failed"}).submit(1)
    for _ in range(4):
        engine.run(progress=False)
        clock.advance(5)
    assert doomed.snapshot().phase == "skipped"
    first.rerun(downstream=True)
    engine.tasks.where(tag="t").rerun()
    engine.tasks.where(tag="t").pause()
    engine.tasks.where(tag="t").resume()
    (claim,) = engine.claim("leaf")
    claim.release()
    engine.run(progress=False)
    assert set(engine.tasks.counts()) == {"succeeded", "skipped"}


def test_no_statement_of_an_engine_at_work_reads_a_table_that_grows_from_end_to_end(traced, clock):
    """Nor does the order of the queue take a sort."""
    engine, seen = traced
    seen.of(of_everything, engine, clock)
    texts = {re.sub(r"\d+", "1", text): text for text in seen if re.match("SELECT|UPDATE|DELETE|INSERT|WITH", text)}
    assert len(texts) > 60
    slow = {}
    for text in texts.values():
        plan = engine._file._connection.execute(f"EXPLAIN QUERY PLAN {text}").fetchall()
        said = [row[3] for row in plan]
        if re.match(r"INSERT INTO taskcore_(kind|worker|task)\b", text):
            continue  # the plan has what would be done for rows that refer to a new one before it is there: none does
        scans = [line for line in said if line.startswith("SCAN") and not re.search(SMALL, line) and named(line, text)]
        sorts = [line for line in said if "TEMP B-TREE FOR ORDER BY" in line and "phase = 'ready' ORDER BY" in text]
        if scans or sorts:
            slow[text] = scans + sorts
    assert slow == {}


def named(line, text):
    """Whether what is scanned is a table of the file that grows, under whatever name the statement calls it."""
    alias = line.split()[1]
    table = alias if alias.startswith("taskcore_") else None
    found = re.search(rf"(taskcore_\w+) AS {re.escape(alias)}\b", text)
    table = found.group(1) if found else table
    return table is not None and not re.search(SMALL, table)
