"""Errors at every statement, a file that others hold, and a disk that is full."""

import contextlib
import inspect
import os
import random
import resource
import shutil
import signal
import sqlite3
import sys
import threading

import pytest

import taskcore
from taskcore import Engine
from taskcore.testing import InlineExecutor, ManualClock
from tests.support.processes import PATIENCE, Child, say, until
from tests.support.rows import rows, whole, wrongs


@pytest.fixture
def child():
    children = []

    def start(body, *args, **options):
        children.append(Child(body, *args, **options))
        return children[-1]

    yield start
    for each in children:
        each.close()


# -- the n-th statement fails ---------------------------------------------------------------------------------------


def sqlite_error(code, text):
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


FULL = "disk full", lambda: sqlite_error(sqlite3.SQLITE_FULL, "database or disk is full")  # SQLite has rolled back
IOERR = "I/O error", lambda: sqlite_error(sqlite3.SQLITE_IOERR_WRITE, "disk I/O error")
NOMEM = "no memory", MemoryError
CTRL_C = "Ctrl-C", KeyboardInterrupt  # Python raises it when the statement is done
BUSY = "busy", lambda: sqlite_error(sqlite3.SQLITE_BUSY, "database is locked")
RECOVERY = "busy with a recovery", lambda: sqlite_error(sqlite3.SQLITE_BUSY_RECOVERY, "database is locked")


def writes(connection, sql):
    """Statements that change something, or begin or end it."""
    return not sql.lstrip().startswith(("SELECT", "WITH", "PRAGMA data_version"))


FAULTS = (FULL, IOERR, NOMEM, CTRL_C)


def where(fault):
    """An I/O error may come at any statement; the others are tried where something is written."""
    return None if fault is IOERR else writes


POINTS = (*range(1, 6), *range(8, 1000, 13))
"""The statements at which a fault comes: each of the first, then one of thirteen."""


class Faulty:
    """Makes one statement fail, the n-th that runs on any connection opened meanwhile; 0: none, None: all."""

    def __init__(self, monkeypatch):
        self.count = self.at = 0
        self.fault = FULL
        self.only = None  # statements that count
        faulty, connect = self, sqlite3.connect

        class Connection(sqlite3.Connection):
            def execute(self, sql, *parameters):
                return faulty.pass_through(self, sql, super().execute, parameters)

            def executemany(self, sql, *parameters):
                return faulty.pass_through(self, sql, super().executemany, parameters)

        monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, **options, factory=Connection))

    def arm(self, at, fault=FULL, only=None):
        self.count, self.at, self.fault, self.only = 0, at, fault, only

    def calm(self):
        """Let everything pass from now on."""
        self.only = lambda *_: False

    def pass_through(self, connection, sql, run, parameters):
        if sql.startswith("PRAGMA synchronous"):
            sql = "PRAGMA synchronous = OFF"  # nobody pulls the plug here
        if self.only is not None and not self.only(connection, sql):
            return run(sql, *parameters)
        self.count += 1
        if self.at is not None and self.count != self.at:
            return run(sql, *parameters)
        if self.fault is CTRL_C:
            run(sql, *parameters)
        elif self.fault is FULL and connection.in_transaction:
            sqlite3.Connection.execute(connection, "ROLLBACK")
        raise self.fault[1]()


@pytest.fixture
def faulty(monkeypatch):
    return Faulty(monkeypatch)


def opened(path):
    engine = Engine(path, executor=InlineExecutor(), clock=ManualClock(2000), name="tester")
    engine.task(lambda n=0: n, name="work", backoff=taskcore.constant(1))  # the usual one throws dice
    engine._scheduler.block = lambda wait: None  # a turn that failed is tried again at once
    return engine


def prepare(path):
    """A file with something for each verb to move."""
    engine = Engine(path, workers=0, clock=ManualClock(1000), name="maker")
    work = engine.task("work", max_attempts=3)
    with engine.transaction() as db:
        db.execute("CREATE TABLE mine (n)")
        first = work.options(key="first", tags=["a"]).submit(1)
        second = work.options(key="second").submit(first)
        work.options(key="third", after={second: ("failed", "skip")}).submit(3)
        work.options(key="guarded", after={first: ("pending", "wait")}).submit(4)
        work.options(key="later", delay=10_000).submit(5)
        work.options(key="held").submit(6)
        for key in ("ended", "below"):
            work.options(key=key, after=engine.tasks.where(key="ended").first() or ()).submit(7)
        work.options(key="claimed").submit(8)
    engine.tasks.where(key="held").pause()
    engine.tasks.where(key="ended").cancel()
    engine.close()


def one(engine, key):
    return engine.future(engine.tasks.where(key=key).first().id)


def in_a_transaction(engine):
    with engine.transaction() as db:
        db.execute("INSERT INTO mine VALUES (1)")
        a = engine.submit("work", 1)
        engine.submit("work", a)
        db.executemany("INSERT INTO mine VALUES (?)", [(2,), (3,)])
        one(engine, "later").cancel()


def claimed(engine, end):
    (claim,) = engine.claim("work", lease=10)
    return end(claim)


OPERATIONS = {
    "submit": lambda e: e.submit("work", 1),
    "submit of a new kind": lambda e: e.task("new", timeout=5).submit(1),
    "submit with all": lambda e: (
        e.task("work").options(key="new", tags=["x", "y"], after=one(e, "first"), before=one(e, "held")).submit(1)
    ),
    "map": lambda e: e.map("work", range(30)),
    "transaction": in_a_transaction,
    "cancel": lambda e: e.tasks.where(key=["second", "later", "held"]).cancel("no"),
    "pause": lambda e: e.tasks.where(key=["first", "later"]).pause(),
    "resume": lambda e: one(e, "held").resume(),
    "rerun": lambda e: one(e, "ended").rerun(downstream=True),
    "set_priority": lambda e: e.tasks.where(key=["first", "held"]).set_priority(5),
    "delete": lambda e: e.tasks.where(key=["below", "ended"]).delete(),
    "depends_on": lambda e: one(e, "later").depends_on(one(e, "held"), on="finished"),
    "claim": lambda e: e.claim("work", n=3, lease=10),
    "look": lambda e: (list(e.tasks), e.tasks.counts(), one(e, "second").dependencies(), one(e, "ended").history()),
}
SEVERAL = {
    "claim and succeed": lambda e: claimed(e, lambda claim: claim.succeed(5)),
    "claim and fail": lambda e: claimed(e, lambda claim: claim.fail("no")),
    "claim and snooze": lambda e: claimed(e, lambda claim: claim.snooze(5)),
    "claim and release": lambda e: claimed(e, lambda claim: claim.release()),
}
"""These are two transactions: a fault may fall between them."""


class Bench:
    """A prepared file, copied for each attempt."""

    def __init__(self, tmp_path, faulty, prepared):
        self.faulty, self.folder = faulty, tmp_path
        self.made, self.before = prepared

    def attempt(self, call, at, fault=FULL, only=None):
        """→ (what it raised, the rows afterwards, whether the fault came), the engine still being usable."""
        path = self.folder / "tasks.db"
        for leftover in ("", "-wal", "-shm", "-taskcore"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{path}{leftover}")
        shutil.copy(self.made, path)
        engine, raised = opened(path), None
        try:
            self.faulty.arm(at, fault, only)
            try:
                call(engine)
            except (sqlite3.Error, MemoryError, KeyboardInterrupt) as error:
                raised = error
            came = self.faulty.count >= at
            self.faulty.arm(0)
            found, self.fates = whole(path), fates(path)
            with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
                other.execute("BEGIN IMMEDIATE")  # nothing is left open
                other.execute("ROLLBACK")
            engine.submit("work", "probe")
            assert len(engine.tasks.where(name="work")) > 0
        finally:
            self.faulty.arm(0)
            engine.close(1)
        assert wrongs(path) == []
        return raised, found, came


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    path = tmp_path_factory.mktemp("prepared") / "tasks.db"
    prepare(path)
    return path, whole(path)


@pytest.fixture
def bench(tmp_path, faulty, prepared):
    return Bench(tmp_path, faulty, prepared)


@pytest.mark.parametrize(
    "name, fault",
    [(name, fault) for name in OPERATIONS for fault in FAULTS if fault is not NOMEM or name in ("map", "transaction")],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_an_operation_with_an_error_at_any_statement_is_whole_or_undone(bench, name, fault):
    is_whole_or_undone(bench, name, fault, POINTS)


@pytest.mark.storm
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault[0])
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_same_at_really_every_statement(bench, name, fault):
    is_whole_or_undone(bench, name, fault, range(1, 1000))


def is_whole_or_undone(bench, name, fault, points):
    raised, after, _ = bench.attempt(OPERATIONS[name], 0)
    assert raised is None
    for at in points:
        raised, found, came = bench.attempt(OPERATIONS[name], at, fault, where(fault))
        what = f"{name}, {fault[0]} at statement {at}, raised {raised!r}"
        assert found in (bench.before, after), f"{what}: it is done by half"
        assert found == after or raised is not None, f"{what}: it is not done"
        if not came:
            assert raised is None and found == after
            break
        assert fault is not CTRL_C or raised is not None, f"{what}: the Ctrl-C is lost"
    assert at > 1 or name == "look"


@pytest.mark.parametrize("fault", [FULL, IOERR, CTRL_C], ids=lambda fault: fault[0])
@pytest.mark.parametrize("name", SEVERAL)
def test_a_claim_and_its_report_are_each_whole_or_undone(bench, name, fault):
    _, after, _ = bench.attempt(SEVERAL[name], 0)
    _, between, _ = bench.attempt(lambda e: claimed(e, lambda claim: None), 0)
    for at in POINTS:
        raised, found, came = bench.attempt(SEVERAL[name], at, fault, where(fault))
        assert found in (bench.before, between, after), f"{name}, {fault[0]} at statement {at}, raised {raised!r}"
        assert found == after or raised is not None
        if not came:
            break
    assert at > 1


def waits_for_others(connection, sql):
    """Where SQLite says "busy": at the way in and out of a transaction, and at what runs outside of one."""
    return not connection.in_transaction or sql == "COMMIT"


@pytest.mark.parametrize("name", [*OPERATIONS, *SEVERAL])
def test_a_file_that_is_busy_at_any_statement_is_waited_for_and_nobody_hears_of_it(bench, name):
    call = {**OPERATIONS, **SEVERAL}[name]
    _, after, _ = bench.attempt(call, 0)
    for at in POINTS:
        raised, found, came = bench.attempt(call, at, BUSY, waits_for_others)
        assert raised is None, f"{name}, busy at statement {at}"
        assert found == after
        if not came:
            break
    assert at > 1


@pytest.mark.parametrize("fault", [FULL, NOMEM, BUSY], ids=lambda fault: fault[0])
def test_a_run_with_an_error_at_any_statement_goes_on_to_the_same_end(bench, fault):
    """The scheduler keeps what bodies returned, and settles it when it can; nobody hears of it."""
    only = waits_for_others if fault is BUSY else in_a_turn

    def run(engine):
        ran = []
        engine.task(lambda n: ran.append(taskcore.body.work.current_task(engine._file)) or n, name="work")
        engine.run()
        assert len(ran) == len(set(ran)), f"a body ran twice: {ran}"
        assert engine.health == "ok"

    bench.attempt(run, 0, fault, only)
    end = bench.fates
    for at in POINTS:
        raised, _, came = bench.attempt(run, at, fault, only)
        assert raised is None, f"{fault[0]} at statement {at}"
        assert bench.fates == end, f"{fault[0]} at statement {at}"
        if not came:
            break
    assert at > (5 if fault is BUSY else 20)


def fates(path):
    """What the tasks came to, but for the number of tries that it took to write it down."""
    return rows(path, "SELECT id, kind, phase, label, failures, blockers, held, result FROM taskcore_task ORDER BY id")


def in_a_turn(connection, sql):
    """Not what `run()` looks at between turns: if that cannot be read, its caller is told."""
    return connection.in_transaction or sql == "BEGIN IMMEDIATE"


@contextlib.contextmanager
def at_most(seconds, what):
    def too_long(*_):
        pytest.fail(f"{what()}: it does not end")

    before = signal.signal(signal.SIGALRM, too_long)
    try:
        yield lambda: signal.setitimer(signal.ITIMER_REAL, seconds)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Cut:
    """A run that is cut off, and then another that is not."""

    def __init__(self, engine):
        self.engine, self.ran, self.heard = engine, [], []
        engine.task(self.body, name="work")
        for task in engine.tasks.where(phase=["ready", "waiting"]):
            engine.future(task.id).add_done_callback(lambda future: self.heard.append(future.id))

    def body(self, n):
        self.ran.append(taskcore.body.work.CURRENT.get()[1].claim)
        return n

    def run(self, calm):
        try:
            with contextlib.suppress(KeyboardInterrupt, sqlite3.Error):
                self.engine.run()
        finally:
            calm()
        self.engine.run()
        assert len(self.ran) == len(set(self.ran)), "a claim ran twice"
        with pytest.raises(taskcore.NotInTask):
            taskcore.current()


@pytest.mark.parametrize("fault", [IOERR, CTRL_C], ids=lambda fault: fault[0])
def test_a_run_with_an_error_at_any_statement_at_all_can_be_run_again(bench, fault):
    def run(engine):
        bench.faulty.calm()
        cut = Cut(engine)
        bench.faulty.arm(at, fault)
        cut.run(bench.faulty.calm)
        found.append((sorted(cut.heard), fates(engine.path)))

    at, found = 0, []
    with at_most(10, lambda: f"{fault[0]} statement {at}") as alarm:
        bench.attempt(run, 0)
        for at in POINTS:
            alarm()
            _, _, came = bench.attempt(run, at, fault)
            assert found[-1] == found[0], f"{fault[0]} statement {at}"
            if not came:
                break
    assert len(found[0][0]) > 2 and at > 20


class Interrupt:
    """A Ctrl-C at the n-th of the places in taskcore where Python looks for one: when a call begins or has ended. Not
    where a generator goes on: an error in the profiler there would end it without its `finally`, as no Ctrl-C does."""

    def __init__(self, at):
        self.at, self.count = at, 0

    def __call__(self, frame, event, arg):
        code = frame.f_code
        here = event == "c_return" or (event == "call" and not code.co_flags & inspect.CO_GENERATOR)
        if here and code.co_filename.startswith(HERE):
            self.count += 1
            if self.count == self.at:
                sys.setprofile(None)
                raise KeyboardInterrupt


HERE = os.path.dirname(taskcore.__file__)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a generator, say, that only ended
def test_a_run_with_a_ctrl_c_anywhere_can_be_run_again(bench):
    def run(engine):
        nonlocal count
        cut, interrupt = Cut(engine), Interrupt(at)
        sys.setprofile(interrupt)
        cut.run(lambda: sys.setprofile(None))
        count = interrupt.count
        assert not {"ready", "running"} & set(engine.tasks.counts())
        if not rows(engine.path, "SELECT 1 FROM taskcore_attempt WHERE error_type = 'KeyboardInterrupt'"):
            ends.append({task.key: task.phase for task in engine.tasks})  # else it came in a body, which fails by it

    at, count, ends, dice = 0, 0, [], random.Random(1)
    with at_most(10, lambda: f"Ctrl-C at the {at}th place") as alarm:
        bench.attempt(run, 0)
        for at in dice.sample(range(1, count), 40):
            alarm()
            bench.attempt(run, 0)
            assert ends[-1] == ends[0], f"Ctrl-C at the {at}th place"
    assert len(ends) > 20


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a generator that only ended
@pytest.mark.parametrize("error", [None, ValueError("unwanted")])
@pytest.mark.parametrize("block", [Engine.transaction, lambda engine: engine.job("night")], ids=["transaction", "job"])
def test_a_block_that_a_ctrl_c_leaves_while_it_ends_lets_others_write(path, block, error):
    def left():
        with block(engine):
            engine.submit("f")
            sys.setprofile(interrupt)
            if error is not None:
                raise error

    at, ended = 0, False
    while not ended:
        at += 1
        interrupt = Interrupt(at)
        engine = Engine(path, workers=0)
        try:
            left()
        except (KeyboardInterrupt, ValueError):
            pass
        finally:
            sys.setprofile(None)
        ended = interrupt.count < at
        other = threading.Thread(target=engine.submit, args=("g",), daemon=True)
        other.start()
        other.join(PATIENCE)
        assert not other.is_alive(), f"Ctrl-C at the {at}th place"
        engine.close()
    assert at > 10


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault[0])
def test_an_opening_that_fails_at_any_statement_leaves_a_file_that_can_be_opened(tmp_path, faulty, fault):
    for at in POINTS:
        path = tmp_path / f"{at}.db"
        faulty.arm(at, fault, where(fault))
        try:
            Engine(path, workers=0, statuses={"good": "succeeded"}).close()
            came = False
        except (sqlite3.Error, MemoryError, KeyboardInterrupt, taskcore.BadFile):
            came = True
        broke = faulty.count >= at
        faulty.arm(0)
        with contextlib.closing(Engine(path, workers=0, statuses={"good": "succeeded"})) as engine:
            engine.submit("work", 1)
        assert wrongs(path) == []
        path.unlink()
        if not broke:
            assert not came
            break
    assert at > 20


@pytest.mark.parametrize("fault", [BUSY, RECOVERY], ids=lambda fault: fault[0])
def test_an_opening_that_finds_the_file_busy_at_any_statement_waits(tmp_path, faulty, fault):
    for at in POINTS:
        path = tmp_path / f"{at}.db"
        faulty.arm(at, fault, waits_for_others)
        Engine(path, workers=0, statuses={"good": "succeeded"}).close()
        broke = faulty.count >= at
        faulty.arm(0)
        assert wrongs(path) == []
        if not broke:
            break
    assert at > 10


# -- a file that somebody holds -------------------------------------------------------------------------------------


def holds_the_file(path):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    say("held")
    sys.stdin.readline()
    connection.execute("ROLLBACK")
    say("let go")
    sys.stdin.readline()


def test_a_file_that_another_process_holds_is_waited_for_by_everybody(path, child):
    with Engine(path, workers=2) as engine, contextlib.ExitStack() as held:
        inside, go = threading.Semaphore(0), threading.Event()

        def body(n):
            inside.release()
            go.wait(PATIENCE)
            return n

        work = engine.task(body, name="work")
        running = [work.submit(n) for n in range(2)]
        assert inside.acquire(timeout=PATIENCE) and inside.acquire(timeout=PATIENCE)
        other = child(holds_the_file, path)
        held.callback(other.process.kill)
        other.hears("held")
        go.set()  # the results cannot be settled now
        begun, made, problems = threading.Semaphore(0), [], []

        def calls(call):
            begun.release()
            try:
                made.append(call())
            except BaseException as error:
                problems.append(error)

        def in_bulk():
            with engine.transaction():
                return [work.submit(n) for n in range(5)]

        writes = [
            lambda: work.submit(5).result(PATIENCE), in_bulk, lambda: engine.tasks.where(name="nobody's").cancel(),
            lambda: list(work.map(range(3))), lambda: engine.claim("nobody's"), lambda: engine.run(),
            lambda: Engine(path, workers=0, statuses={"mine": "failed"}).close(), lambda: running[0].result(PATIENCE),
        ]  # fmt: skip
        crowd = [threading.Thread(target=calls, args=(call,)) for call in writes]
        for thread in crowd:
            thread.start()
        for _ in crowd:
            assert begun.acquire(timeout=PATIENCE)
        threading.Event().wait(0.3)
        assert all(thread.is_alive() for thread in crowd)
        other.tell("go")
        other.hears("let go")
        for thread in crowd:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        assert problems == []
        assert [future.result(PATIENCE) for future in running] == [0, 1]
        assert engine.run() == {"succeeded": 2 + 1 + 5 + 3}
        assert {task.attempts for task in engine.tasks} == {1}
        other.tell("end")
    assert wrongs(path) == []


# -- a disk that is full --------------------------------------------------------------------------------------------


def fills_the_disk(path, ledger):
    """What a full disk does to an engine: a limit on the size of files stands for it."""
    import resource

    log = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    engine = Engine(path, workers=2)
    inside, go = threading.Semaphore(0), threading.Event()

    @engine.task
    def work(n):
        os.write(log, f"{n}\n".encode())
        inside.release()
        go.wait()
        return "x" * 10_000

    futures = [work.submit(n) for n in range(2)]
    for _ in futures:
        inside.acquire()
    behind = [work.submit(n) for n in range(2, 6)]
    biggest = max(os.stat(path + end).st_size for end in ("", "-wal"))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (biggest, hard))
    go.set()
    while engine.health == "ok":
        threading.Event().wait(0.01)
    say(engine.health)
    refused = stored = 0
    for n in range(6, 30):
        try:
            futures.append(work.submit(n))
            stored += 1
        except sqlite3.OperationalError:
            refused += 1
    say("refused", refused > 0, "done", any(future.done() for future in futures[:2]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    for future in (*futures, *behind):
        if future.result(20) != "x" * 10_000:
            say("a result is not what was returned")
    while engine.health != "ok":
        threading.Event().wait(0.01)
    engine.run()
    say(engine.health, stored, *engine.tasks.counts().items())
    engine.close()


def test_a_full_disk_keeps_finished_results_and_settles_them_when_there_is_room(new, tmp_path, child):
    if not hasattr(resource, "RLIMIT_FSIZE"):
        pytest.skip("no limit on the size of files here")
    filling = child(fills_the_disk, new, tmp_path / "ledger")
    said = filling.end(quiet=False)
    assert said[0].startswith("degraded: "), said
    assert said[1] == "refused True done False", said
    ok, stored, *_ = said[2].split()
    assert ok == "ok"
    with Engine(new, workers=0) as engine:
        assert engine.tasks.counts() == {"succeeded": 6 + int(stored)}
        assert {task.attempts for task in engine.tasks} == {1}
    ran = (tmp_path / "ledger").read_text().split()
    assert len(ran) == len(set(ran)) == 6 + int(stored), "no body ran twice, and each one once"
    assert wrongs(new) == []


def test_an_engine_whose_writes_fail_for_a_while_is_degraded_and_then_well_again(path, faulty):
    failing = threading.Event()

    def fails(connection, sql):
        return failing.is_set() and sql == "BEGIN IMMEDIATE"

    with Engine(path, workers=2) as engine:
        inside, go, runs = threading.Semaphore(0), threading.Event(), []

        def body(n):
            runs.append(n)
            inside.release()
            go.wait(PATIENCE)
            return n

        work = engine.task(body, name="work")
        futures = [work.submit(n) for n in range(2)]
        assert inside.acquire(timeout=PATIENCE) and inside.acquire(timeout=PATIENCE)
        faulty.arm(None, FULL, fails)
        failing.set()
        go.set()
        until(lambda: engine.health.startswith("degraded"), "the engine says that it is not well")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            work.submit(2)
        assert not futures[0].done()
        assert engine.tasks.counts() == {"running": 2}, "it can still be looked at"
        failing.clear()
        assert [future.result(PATIENCE) for future in futures] == [0, 1]
        until(lambda: engine.health == "ok", "the engine is well again")
        assert work.submit(3).result(PATIENCE) == 3
        assert sorted(runs) == [0, 1, 3]
    assert wrongs(path) == []


def test_signals_of_a_transaction_are_all_sent_or_none_wherever_a_ctrl_c_comes(tmp_path, faulty):
    """Also where the block goes on as if nothing had been."""
    faulty.calm()
    for at in range(1, 12):
        engine = opened(tmp_path / f"{at}.db")
        waits = engine.task(lambda: taskcore.current().wait_for("go"), name="waits")
        sleepers = [waits.submit() for _ in range(3)]
        engine.run(progress=False)
        with contextlib.suppress(RuntimeError), engine.transaction() as db:
            for future in (*sleepers, *sleepers):
                future.signal("go", at)
            faulty.arm(at, CTRL_C, writes)
            with contextlib.suppress(KeyboardInterrupt):
                db.execute("SELECT 1")
            came = faulty.count >= at
            faulty.calm()
        kept = rows(engine.path, "SELECT (SELECT count(*) FROM taskcore_step WHERE state = 'kept') AS n")
        left = rows(engine.path, "SELECT count(*) FROM taskcore_signal")
        assert (kept, left) in (([(0,)], [(0,)]), ([(3,)], [(3,)])) and engine.check() == []
        assert came == (kept == [(0,)])
        engine.close()
        if not came:
            return
    raise AssertionError("a Ctrl-C came at each of them")
