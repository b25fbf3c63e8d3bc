"""What goes wrong inside: one bad row stops nothing but its task, an error of our own ends the waiting, and what users'
code does to the engine's threads does not end them."""

import contextlib
import json
import logging
import sqlite3
import threading
import time
from concurrent.futures import Executor

import pytest

import taskcore
from taskcore import Engine, EngineClosed, InvalidTransition, TaskFailed, TaskNotFound
from taskcore.runtime import loop
from taskcore.store import claims, due
from tests.support.processes import PATIENCE, until


def spoil(path, *statements):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement)


# -- one task's fault ----------------------------------------------------------------------------------------------

BAD_OPTIONS = {
    "a time limit that is a text": {"timeout": "soon"},
    "a time limit below nothing": {"timeout": -1},
    "a label that there is not": {"failed_status": "lost in space"},
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_a_task_whose_options_make_no_sense_fails_with_that_reason_and_the_others_go_on(path, case):
    with contextlib.closing(Engine(path, workers=0)) as engine:
        engine.task("bad", max_attempts=2).submit()
        for n in range(5):
            engine.submit("good", n)
    said = json.dumps({"max_attempts": 2, "max_lapses": 3, **BAD_OPTIONS[case]}, sort_keys=True)
    spoil(path, f"UPDATE taskcore_kind SET options = '{said}', max_attempts = 1 WHERE name = 'bad'")

    def fails():
        raise ValueError("no")

    with contextlib.closing(Engine(path, workers=2)) as engine:
        engine.task(fails, name="bad")
        engine.task(lambda n: n, name="good")
        assert engine.run(progress=False) == {"failed": 1, "succeeded": 5}
        assert engine.health == "ok"
        (bad,) = engine.tasks.where(name="bad")
        assert "it cannot be run" in bad.last_error or "its end could not be stored" in bad.last_error


def test_a_step_that_cannot_be_read_is_that_tasks_failure(path):
    def body():
        run = taskcore.current()
        return run.step("look", lambda: 7), run.wait_for("go")

    with contextlib.closing(Engine(path, workers=2)) as engine:
        futures = [engine.task(body, name="body", max_attempts=1).submit() for _ in range(3)]
        engine.run(progress=False)
    spoil(path, "UPDATE taskcore_step SET result = CAST(x'ff' AS TEXT) WHERE task = 2 AND kind = 'step'")
    with contextlib.closing(Engine(path, workers=2)) as engine:
        engine.task(body, name="body", max_attempts=1)
        for future in futures:
            engine.future(future.id).signal("go", "now")
        assert engine.run(progress=False) == {"failed": 1, "succeeded": 2}
        assert engine.health == "ok"
        assert "no UTF-8" in engine.future(2).snapshot().last_error


def test_arguments_that_cannot_be_read_are_that_tasks_failure(path):
    with contextlib.closing(Engine(path, workers=0)) as engine:
        for n in range(3):
            engine.submit("t", n)
    spoil(path, "UPDATE taskcore_task SET args = '[[1' WHERE id = 2")
    with contextlib.closing(Engine(path, workers=2)) as engine:
        engine.task(lambda n: n, name="t")
        assert engine.run(progress=False) == {"succeeded": 2, "failed": 1}
        with pytest.raises(TaskFailed):
            engine.future(2).result(PATIENCE)


def test_a_result_that_cannot_be_read_is_said_to_who_asks_and_stops_nothing(path):
    with contextlib.closing(Engine(path, workers=2)) as engine:
        task = engine.task(lambda n: n, name="t")
        first = task.submit(1)
        assert first.result(PATIENCE) == 1
        spoil(path, "UPDATE taskcore_task SET result = '{' WHERE id = 1")
        with pytest.raises((ValueError, taskcore.BadFile)):
            engine.future(1).result(PATIENCE)
        assert task.submit(2).result(PATIENCE) == 2


# -- our own fault -------------------------------------------------------------------------------------------------


class Bug(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "place"),
    [
        (Bug("a bug of ours"), (claims, "claim")),
        (ZeroDivisionError(), (due, "sweep")),
        (sqlite3.ProgrammingError("closed"), (claims, "claim")),
    ],
)
def test_an_error_of_every_turn_ends_the_waiting_within_five_seconds(path, monkeypatch, error, place, caplog):
    engine = Engine(path, workers=1)
    task = engine.task(lambda n: n, name="t")
    assert task.submit(0).result(PATIENCE) == 0

    def broken(*_, **__):
        raise error

    monkeypatch.setattr(*place, broken)
    with engine.transaction():
        future = task.options(delay=0.001).submit(1)
    since = time.monotonic()
    with pytest.raises(EngineClosed, match="stopped by itself"):
        future.result(PATIENCE)
    assert time.monotonic() - since < 5
    assert engine.health.state == "stopped" and type(error).__name__.removesuffix("ProgrammingError") in engine.health
    with pytest.raises(EngineClosed, match="stopped by itself"):
        engine.run(progress=False)
    assert caplog.text.count("Traceback") == 1, "one error is told once"
    engine.close()
    monkeypatch.undo()
    with contextlib.closing(Engine(path, workers=1)) as again:
        again.task(lambda n: n, name="t")
        assert again.run(progress=False) == {"succeeded": 2}


def test_an_error_that_passes_is_forgotten(path, monkeypatch):
    with contextlib.closing(Engine(path, workers=1)) as engine:
        task, claim, times = engine.task(lambda n: n, name="t"), claims.claim, iter(range(3))

        def broken(*args):
            if next(times, None) is not None:
                raise Bug("for a while")
            return claim(*args)

        with monkeypatch.context() as patch:
            patch.setattr(claims, "claim", broken)
            with engine.transaction():
                future = task.submit(1)
            assert future.result(PATIENCE) == 1
        assert engine.health == "ok"


def test_where_memory_is_short_health_says_so_in_words_and_it_is_tried_again(path, monkeypatch):
    with contextlib.closing(Engine(path, workers=1)) as engine:
        task, claim, short = engine.task(lambda n: n, name="t"), claims.claim, threading.Event()

        def broken(*args):
            if not short.is_set():
                raise MemoryError
            return claim(*args)

        monkeypatch.setattr(claims, "claim", broken)
        with engine.transaction():
            future = task.submit(1)
        until(lambda: engine.health == "degraded: MemoryError", "it says so")
        assert engine.health.since <= time.time() and engine.health.reason == "MemoryError"
        short.set()
        assert future.result(PATIENCE) == 1


# -- users' code ---------------------------------------------------------------------------------------------------


class Raises(logging.Handler):
    def emit(self, record):
        raise OSError("the disk of the log is full")


def test_a_logging_handler_that_raises_ends_no_thread_of_ours(path, monkeypatch):
    handler = Raises()
    logging.getLogger().addHandler(handler)
    try:
        with contextlib.closing(Engine(path, workers=2)) as engine:
            task, write, troubles = engine.task(lambda n: n, name="t"), engine._file.write, iter(range(2))
            assert task.submit(1).result(PATIENCE) == 1

            def passing(*args, **kwargs):
                if next(troubles, None) is not None:
                    raise sqlite3.OperationalError("disk I/O error")
                return write(*args, **kwargs)

            with engine.transaction():
                futures = [task.submit(2), task.submit(3)]
            monkeypatch.setattr(engine._file, "write", passing)
            futures[0].add_done_callback(lambda _: 1 / 0)
            assert [future.result(PATIENCE) for future in futures] == [2, 3]
            assert engine._loop._thread.is_alive()
    finally:
        logging.getLogger().removeHandler(handler)


# -- numbers -------------------------------------------------------------------------------------------------------

GREAT = [2**63, 2**64, 10**400, -(2**63) - 1, -(10**400), 1e309, float("nan"), -float("inf"), 1e308]

TAKES_A_NUMBER = {
    "delay": lambda e, n: e.task("t").options(delay=n).submit(),
    "timeout": lambda e, n: e.task("t").options(timeout=n).submit(),
    "priority": lambda e, n: e.task("t").options(priority=n).submit(),
    "max_attempts": lambda e, n: e.task("t").options(max_attempts=n).submit(),
    "max_lapses": lambda e, n: e.task("t").options(max_lapses=n).submit(),
    "uses": lambda e, n: e.task("t").options(uses={"gpu": n}).submit(),
    "after": lambda e, n: e.task("t").options(after=n).submit(),
    "before": lambda e, n: e.task("t").options(before=[n]).submit(),
    "parent": lambda e, n: e.task("t").options(parent=n).submit(),
    "limit": lambda e, n: e.task("t", limit=n).submit(),
    "rate": lambda e, n: e.task("t", rate=f"{n}/s").submit(),
    "rate's period": lambda e, n: e.task("t", rate=f"1/{n}s").submit(),
    "limits": lambda e, n: e.limits.__setitem__("gpu", n),
    "set_priority": lambda e, n: e.tasks.set_priority(n),
    "prune": lambda e, n: e.prune(n),
    "future": lambda e, n: e.future(n),
    "where id": lambda e, n: e.tasks.where(id=n).counts(),
    "where ids": lambda e, n: e.tasks.where(ids=[n]).counts(),
    "where parent": lambda e, n: e.tasks.where(parent=n).counts(),
    "where submitted_after": lambda e, n: e.tasks.where(submitted_after=n).counts(),
    "depends_on": lambda e, n: e.submit("t").depends_on(n),
    "claim n": lambda e, n: e.claim("nobody", n=n),
    "claim lease": lambda e, n: e.claim("nobody", lease=n),
    "claimed": lambda e, n: e.claimed(f"{n}.{n}"),
    "every": lambda e, n: e.every(n)(lambda: None),
    "every as text": lambda e, n: e.every(f"{n}d")(lambda: None),
    "argument": lambda e, n: e.submit("t", n),
    "keep": lambda e, n: Engine(":memory:", workers=0, keep=n).close(),
    "lease": lambda e, n: Engine(":memory:", workers=0, lease=n).close(),
    "workers": lambda e, n: Engine(":memory:", workers=n).close(),
    "close": lambda e, n: e.close(timeout=n),
    "Retry": lambda e, n: taskcore.Retry(n),
    "Snooze": lambda e, n: taskcore.Snooze(n),
    "constant": lambda e, n: taskcore.constant(n)(1),
    "exponential": lambda e, n: taskcore.exponential(n)(3),
}  # fmt: skip


@pytest.mark.parametrize("what", TAKES_A_NUMBER)
def test_a_number_that_cannot_be_kept_is_refused_by_name_or_kept(engine, what):
    for number in GREAT:
        with contextlib.suppress(ValueError, TypeError, taskcore.TaskcoreError):  # no OverflowError, above all
            TAKES_A_NUMBER[what](engine, number)
    if what != "close":
        assert engine.check() == []


N = 50_000


@pytest.mark.parametrize("text", ["1/" + "1" * N + "x", "1" * N + "/s", "1/" + " " * N + "s", "1/1." * N])
def test_a_rate_that_is_none_is_refused_at_once(engine, text):
    since = time.process_time()
    with pytest.raises(ValueError, match="rate is starts per period") as caught:
        engine.task("t", rate=text)
    assert time.process_time() - since < 0.5 and len(str(caught.value)) < 300


# -- reasons -------------------------------------------------------------------------------------------------------


def test_a_rerun_that_another_task_of_the_key_stands_in_the_way_of_says_so(inline):
    task = inline.task(lambda: 1, name="t").options(key="k", key_scope="unfinished")
    first = task.submit()
    first.result()
    inline.pause("t")
    second = task.submit()
    with pytest.raises(InvalidTransition, match=f"cannot rerun, for task #{second.id} has its key and has not ended"):
        first.rerun()
    with pytest.raises(InvalidTransition, match=r"cannot rerun$"):
        second.rerun()


def test_a_key_whose_task_is_being_cancelled_gets_a_task_behind_it(engine):
    task = engine.task("t").options(key="k", key_scope="unfinished")
    first = task.submit(1)
    (claim,) = engine.claim("t")
    first.cancel()
    second = task.submit(2)
    third = task.submit(2)
    assert (first.id, third.id) == (1, second.id) and second.id != first.id
    assert [d.upstream_id for d in second.dependencies()] == [first.id]
    assert engine.claim("t") == []
    claim.release()
    assert first.snapshot().phase == "cancelled"
    (claim,) = engine.claim("t")
    assert claim.task.id == second.id and claim.task.args == (2,)
    forever = engine.task("u").options(key="k")
    once = forever.submit()
    engine.claim("u")
    once.cancel()
    assert forever.submit().id == once.id, "once and for all is once"


def test_what_is_said_of_a_name_that_runs_elsewhere_holds_for_a_submit_by_name(engine):
    engine.task("robot", max_attempts=7, priority=3)
    row = engine.submit("robot", 1).snapshot()
    assert (row.max_attempts, row.priority) == (7, 3)


def test_the_last_of_a_long_skipped_chain_names_the_failure_at_its_root(engine):
    with engine.transaction():
        last = root = engine.submit("root")
        for _ in range(500):
            last = engine.task("link").options(after=last).submit()
    (claim,) = engine.claim("root")
    claim.fail("it rained", retry=False)
    text = last.explain()
    assert f"because #{root.id} failed" in text and "it rained" in text
    with pytest.raises(TaskNotFound):
        engine.future(10**6).explain()


def test_a_job_that_was_paused_before_it_opened_is_sound_when_its_last_child_has_ended(engine):
    upstream = engine.submit("u")
    with engine.job("j", after=upstream) as job:
        child = engine.submit("c")
    assert job.pause()
    child.cancel()
    (claim,) = engine.claim("u")
    claim.succeed()
    assert engine.check() == []
    job.resume()
    assert job.snapshot().phase == "succeeded" and engine.check() == []


# -- what users bring ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["-wal", "-shm", "-taskcore", "-journal"])
def test_a_backup_never_takes_the_place_of_a_file_that_belongs_to_the_database(path, end):
    with contextlib.closing(Engine(path, workers=1)) as engine:
        engine.task(lambda: 1, name="t").submit().result()
        with pytest.raises(FileExistsError, match="belongs to the file itself"):
            engine.backup(f"{path}{end}")
        assert engine.health.state == "ok"


class Unspeakable:
    def __repr__(self):
        raise ValueError

    def __call__(self, future):
        raise SystemExit


def test_a_callback_that_cannot_even_be_named_ends_no_thread(path):
    heard = []
    with Engine(path, workers=1) as engine:
        work = engine.task(lambda n: n, name="t")
        for n in range(3):
            future = work.submit(n)
            future.add_done_callback(Unspeakable())
            future.add_done_callback(lambda future: heard.append(future.result()))
    assert heard == [0, 1, 2]


class Exits(logging.Handler):
    def emit(self, record):
        raise SystemExit


def test_a_log_handler_that_exits_ends_no_thread(path):
    logger, handler = logging.getLogger("taskcore"), Exits()
    logger.addHandler(handler)
    try:
        with Engine(path, workers=1) as engine:
            work = engine.task(lambda n: 1 // n, name="t")
            assert isinstance(work.submit(0).exception(10), ZeroDivisionError)
            assert work.submit(1).result(10) == 1
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize("raised", [SystemExit, GeneratorExit, KeyboardInterrupt])
def test_a_clock_that_raises_what_ends_threads_stops_the_engine_with_its_reason(path, raised):
    class Clock:
        broken = False

        def now(self):
            if self.broken and threading.current_thread() is not threading.main_thread():
                raise raised("the clock")
            return time.time()

    clock = Clock()
    with contextlib.closing(Engine(path, workers=1, clock=clock)) as engine:
        work = engine.task(lambda: 1, name="t")
        assert work.submit().result(10) == 1
        clock.broken = True
        with pytest.raises(EngineClosed, match="the clock"):
            work.submit().result(10)
        assert engine.health.state == "stopped"


@pytest.mark.parametrize("said", [None, "noon", float("nan"), 10**400, True.__class__])
def test_a_clock_that_tells_no_time_is_named(path, said):
    clock = type("Clock", (), {"now": lambda self: said})()
    with pytest.raises(ValueError, match=r"the clock .* says"), contextlib.closing(
        Engine(path, workers=0, clock=clock)
    ) as engine:
        engine.submit("t")


class Strange(Executor):
    """Takes a body, and gives back what is no future."""

    def __init__(self, way):
        self.way = way

    def submit(self, fn, /, *args, **kwargs):
        if self.way == "exit":
            raise SystemExit("the executor")
        return None


@pytest.mark.parametrize("way", ["none", "exit"])
def test_an_executor_that_gives_no_future_leaves_nothing_running(path, way):
    with contextlib.closing(Engine(path, workers=1, executor=Strange(way))) as engine:
        future = engine.task(print, name="t").submit()
        with pytest.raises(EngineClosed, match="the executor takes no more"):
            future.result(10)
        assert (engine.health.state, future.snapshot().phase) == ("stopped", "ready")


def test_a_turn_that_does_not_end_is_said_in_the_log_and_by_health(path, monkeypatch, caplog):
    monkeypatch.setattr(loop, "STUCK", 0.1)
    go = threading.Event()
    try:
        with contextlib.closing(Engine(path, workers=1)) as engine:
            hangs = engine.task(
                lambda: go.wait(30), name="hangs", timeout=0.05, max_attempts=2, backoff=lambda n: go.wait(30) and 0
            )
            future = hangs.submit()
            with pytest.raises(TimeoutError):
                future.result(3)
            assert engine.health.state == "degraded" and "does not come to the end of a turn" in engine.health.reason
            assert "the loop has been in one turn for" in caplog.text
            go.set()
    finally:
        go.set()
