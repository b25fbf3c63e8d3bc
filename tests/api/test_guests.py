"""Bodies on executors: in other processes of this machine and on others, and executors that break."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
import types
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

import taskcore
from taskcore import Engine, EngineClosed, TaskFailed, constant
from taskcore.api import visit
from taskcore.runtime import guests
from taskcore.store import identity
from taskcore.testing import InlineExecutor
from tests.support import away
from tests.support.away import Away
from tests.support.processes import until

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60  # seconds that a healthy pool never needs
STATUSES = {"busy": "running"}
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


@pytest.fixture
def elsewhere(made):
    """Its bodies run as if in another process, while somebody waits."""
    with contextlib.closing(Engine(made, executor=Away(), statuses=STATUSES)) as engine:
        yield engine


@pytest.fixture(autouse=True)
def forks():
    """What a test forked ends with it: it holds all that the process has open, such as a shard's socket, and where that
    process ends without a word, nobody would tell it to end."""
    yield
    forked = [process for process in multiprocessing.active_children() if type(process).__name__ == "ForkProcess"]
    until(lambda: not any(process.is_alive() for process in forked), "what was forked has ended")


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


# -- in another process ----------------------------------------------------------------------------------------------


def test_no_body_in_the_callers_thread_takes_a_lock_that_a_ctrl_c_would_leave_held(made, monkeypatch):
    with contextlib.closing(Engine(made, executor=InlineExecutor())) as engine:
        monkeypatch.delattr(engine._context.scheduler.custody.crew._known, "_cond")  # as if somebody had it
        assert engine.submit(away.square, 4).result() == 16


def has_all_of_it(engine, path):
    future = engine.submit(away.all_of_it, 5)
    found = future.result(PATIENCE)
    assert (found["saved"], found["args"]) == (5, [5])
    task = future.snapshot()
    assert (task.message, task.progress, task.step) == ("at work", 1.0, "insert")
    assert [line.text for line in future.log()] == ["printed 5", "logged 5"]
    assert [(step.name, step.result) for step in future.steps()] == [("pid", found["pid"]), ("insert", 5)]
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT value FROM mine").fetchall() == [(5,)]
    assert engine.check() == []
    return found["pid"]


@pytest.mark.parametrize("way", ["fork", "forkserver"])
def test_a_body_in_another_process_has_all_that_needs_no_waiting(path, way):
    if way not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {way}")
    context = multiprocessing.get_context(way)
    with Engine(path, executor=lambda: ProcessPoolExecutor(1, mp_context=context), statuses=STATUSES) as engine:
        pid = has_all_of_it(engine, path)
        assert pid in [process.pid for process in multiprocessing.active_children()] or way == "forkserver"


def test_a_body_in_a_spawned_process_has_it_too_and_the_pool_stays_its_owners(path, pool):
    with Engine(path, executor=pool, statuses=STATUSES) as engine:
        has_all_of_it(engine, path)
    assert pool.submit(abs, -3).result(PATIENCE) == 3


def test_what_a_body_shows_in_another_process_is_seen_while_it_runs_and_a_cancel_is_heard_there(path, pool, tmp_path):
    shown, go_on = tmp_path / "shown", tmp_path / "go on"
    with Engine(path, executor=pool) as engine:
        future = engine.submit(away.shows, str(shown), str(go_on))
        until(shown.exists, "the body runs")
        until(lambda: future.snapshot().message == "look at me", "its message is seen")
        assert not future.cancel()
        go_on.touch()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(PATIENCE)


def test_a_process_opens_a_file_once_and_lets_go_of_one_that_is_gone(tmp_path):
    for number in range(3):
        path = tmp_path / f"{number}.db"
        with contextlib.closing(Engine(path, executor=Away(), statuses=STATUSES)) as engine:
            for _ in range(3):
                engine.submit(away.all_of_it, 5).result(PATIENCE)
            (there,) = [file for key, file in visit._files.items() if key[1] == str(path)]
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    assert [key[1] for key in visit._files if key[1].startswith(str(tmp_path))] == [str(path)]
    visit._close_all()
    with pytest.raises(EngineClosed):
        there.read(lambda connection: connection.execute("SELECT 1").fetchall())
    visit._files.clear()


def test_steps_done_in_another_process_are_passed_over_when_the_body_is_tried_again(elsewhere, path, tmp_path):
    ledger = tmp_path / "ledger"
    body = elsewhere.task(away.fails_behind_a_step, max_attempts=2, retry_on=OSError, backoff=constant(0))
    assert body.submit(str(ledger)).result(PATIENCE) == 2
    assert ledger.read_text() == "done\n"
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM mine").fetchall() == [(1,)]


@pytest.mark.parametrize("lost", [True, False])
def test_a_body_whose_claim_is_lost_hears_of_it_in_another_process_and_writes_nothing(elsewhere, path, raw, lost):
    sql = f"UPDATE taskcore_task SET token = token + {lost:d}, message = 'another one has it'"
    away.SEEN.clear()
    future = elsewhere.submit(away.lost, str(path), sql)

    def ended():
        with contextlib.suppress(TimeoutError):
            future.result(0.02)
        return future.done() or (lost and len(away.SEEN) == 3)

    until(ended, "the body has tried all it can")
    assert future.done() is not lost
    (row,) = raw("SELECT phase, message FROM taskcore_task")
    kept = [step["name"] for step in raw("SELECT name FROM taskcore_step")]
    there = raw("SELECT name FROM sqlite_schema WHERE name = 'mine'")
    if lost:
        gone = f"LeaseLost: claim 1 of task #{future.id} is no longer held; nothing was changed"
        assert list(away.SEEN) == [gone, gone, "Cancelled: asked to stop: its claim has ended"]
        assert (row, kept, there) == ({"phase": "running", "message": "another one has it"}, [], [])
    else:
        assert away.SEEN == ["done"] * 3
        assert (row["phase"], kept, len(there)) == ("succeeded", ["one", "two"], 1)


def test_a_call_that_a_cluster_runs_twice_transacts_once(path):
    """A cluster that lost a worker calls again what ran on it, and it may have been alive all the same."""

    class Twice(Away):
        def submit(self, fn, /, *args, **kwargs):
            first = Stopped()
            thread = threading.Thread(target=first.submit, args=(fn,))
            thread.start()
            assert first.inside.wait(PATIENCE)
            answer = super().submit(fn)
            first.go.set()
            thread.join()
            ends.append(first.end)
            return answer

    class Stopped(Away):
        """Before it transacts, when it has read what is kept."""

        def __init__(self):
            self.inside, self.go = threading.Event(), threading.Event()

        def submit(self, fn, /, *args, **kwargs):
            away.AT_THE_DOOR.hook = lambda: (self.inside.set(), self.go.wait(PATIENCE))
            self.end = super().submit(fn).result()

    ends = []
    with contextlib.closing(Engine(path, executor=Twice())) as engine:
        assert engine.submit(away.transacts).result(PATIENCE) == 1
    ((answer,),) = ends
    assert answer.end.error_type == "LeaseLost"
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM mine").fetchall() == [(1,)]


def test_a_call_that_a_cluster_runs_again_passes_over_the_steps_of_the_first(path, tmp_path):
    class Again(Away):
        def submit(self, fn, /, *args, **kwargs):
            super().submit(fn).result()
            return super().submit(fn)

    noted = tmp_path / "noted"
    with contextlib.closing(Engine(path, executor=Again())) as engine:
        engine.submit(away.notes_in_a_step, str(noted)).result(PATIENCE)
    assert len(noted.read_text().splitlines()) == 1


def test_what_would_wait_is_refused_in_another_process_with_the_reason(elsewhere, path):
    said = elsewhere.submit(away.waits, str(path)).result(PATIENCE)
    assert list(said) == ["sleep", "wait", "gather", "wait_for", "submit"]
    for name, text in said.items():
        assert text.startswith(name) and "another one, on an executor" in text and "processes=" in text
    assert len(elsewhere.tasks) == 1


def test_on_another_machine_current_says_so_before_anything_is_done(elsewhere, monkeypatch, raw):
    sent = identity.machine()
    machines = iter(["workstation 1", *["node7 2"] * 3])
    monkeypatch.setattr(identity, "machine", lambda: next(machines))
    said = elsewhere.submit(away.asks).result(PATIENCE)
    assert said == (
        "this body runs on another machine (node7) than its engine (workstation): current() works there only"
    )
    assert raw("SELECT message FROM taskcore_task") == [{"message": None}]
    monkeypatch.undo()
    assert identity.machine() == sent


def test_where_the_path_leads_to_another_file_and_in_memory_there_is_no_current_task(elsewhere, monkeypatch):
    numbers = iter([(1, 2), (3, 4)])
    there = types.SimpleNamespace(machine=identity.machine, find=lambda path: next(numbers))
    monkeypatch.setattr(visit, "identity", there)
    assert "is not its engine's file" in elsewhere.submit(away.asks).result(PATIENCE)
    monkeypatch.undo()
    with contextlib.closing(Engine(":memory:", executor=Away())) as engine:
        assert "is not a file" in engine.submit(away.asks).result(PATIENCE)


# -- what cannot go there, and what cannot come back -----------------------------------------------------------------


@pytest.mark.parametrize("which", ["there", "made", "pool"])
def test_what_another_process_would_not_find_is_refused_at_submit(path, pool, which):
    executor = {"there": Away(), "made": Away, "pool": pool}[which]
    with contextlib.closing(Engine(path, executor=executor)) as engine:

        def nested():
            """In this test."""

        for fn, why in [(lambda: 1, "a lambda"), (nested, "inside a function"), (print, None), (Away().submit, "else")]:
            task = engine.task(fn, name="task")
            if why is None:
                assert task.submit()
                continue
            with pytest.raises(TypeError, match=rf"'task' would not be found where .*{why}.*define it with def"):
                task.submit()
        assert len(engine.tasks) == 1


def test_what_was_submitted_elsewhere_fails_with_that_reason_when_it_runs(elsewhere, path):
    with contextlib.closing(Engine(path, workers=0)) as other:
        other.submit("step")
    elsewhere.task(lambda: 1, name="step", max_attempts=9)
    elsewhere.run(progress=False)
    (task,) = elsewhere.tasks
    assert (task.phase, task.attempts) == ("failed", 1)
    assert "the function is not found where the executor runs it: it is a lambda" in task.last_error


def test_a_function_of_a_notebook_is_refused_where_its_processes_do_not_import_it(path, monkeypatch):
    def cell():
        """Of a notebook."""

    cell.__module__, cell.__qualname__ = "__main__", "cell"
    main = types.ModuleType("__main__")
    main.cell = cell
    monkeypatch.setitem(sys.modules, "__main__", main)
    with contextlib.closing(Engine(path, executor=Away())) as engine:
        with pytest.raises(TypeError, match="a notebook, which is not imported there"):
            engine.task(cell).submit()
        main.__file__ = "script.py"
    with contextlib.closing(Engine(path, executor=Away(), workers=1)) as engine:
        assert engine.task(cell).submit().result(PATIENCE) is None


class Threads(Executor):
    """One of the user's own: a thread a call."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        threading.Thread(target=lambda: future.set_result(fn(*args, **kwargs))).start()
        return future


@pytest.mark.parametrize("make", [lambda: ThreadPoolExecutor(1), InlineExecutor, Threads])
def test_where_bodies_run_in_threads_of_this_process_any_function_will_do(path, make):
    executor = make()
    with contextlib.closing(Engine(path, executor=executor)) as engine:
        assert engine.task(lambda: taskcore.current().step("one", lambda: 7), name="lambda").submit().result(9) == 7
    getattr(executor, "shutdown", bool)()


def test_results_and_exceptions_that_cannot_travel_fail_the_task_with_the_name_of_their_type(path, pool):
    with Engine(path, executor=pool) as engine:
        result = engine.submit(away.returns_what_cannot_travel).exception(PATIENCE)
        error = engine.submit(away.raises_what_cannot_travel).exception(PATIENCE)
        assert isinstance(result, TypeError) and "lock" in str(result)
        assert isinstance(error, TaskFailed) and error.error_type == "Broken" and error.message == "one"
        assert "raise Broken" in error.traceback
        assert engine.submit(away.square, 3).result(PATIENCE) == 9
        assert engine.health == "ok"


@pytest.mark.parametrize(
    "kind, retry_on, ends",
    [
        ("wanted", away.Wanted, ("failed", 2)), ("wanted", Exception, ("failed", 2)),
        ("wanted", OSError, ("failed", 1)), ("retry", OSError, ("failed", 2)), ("abort", Exception, ("failed", 1)),
        ("snooze", OSError, ("scheduled", 0)),
    ],
)  # fmt: skip
def test_what_a_body_raises_in_another_process_is_tried_again_as_here(elsewhere, kind, retry_on, ends):
    task = elsewhere.task(away.raises, max_attempts=2, retry_on=retry_on, backoff=constant(0))
    future = task.submit(kind)
    elsewhere.run(progress=False)
    row = future.snapshot()
    assert (row.phase, row.failures) == (ends[0], ends[1])


# -- executors that break, and functions that make them ---------------------------------------------------------------


class Fragile(ThreadPoolExecutor):
    """A pool that breaks by the body that says so."""

    def submit(self, fn, /, *args, **kwargs):
        future = super().submit(fn, *args, **kwargs)
        outer = Future()
        future.add_done_callback(lambda done: self.pass_on(done, outer))
        return outer

    def pass_on(self, done, outer):
        try:
            answer = done.result(PATIENCE)
            broken = isinstance(answer, list) and answer and answer[0].error == "break"
        except BrokenExecutor:
            broken = True
        if broken:
            self._broken = "a worker died"
            outer.set_exception(BrokenExecutor("a worker died"))
        else:
            outer.set_result(answer)


def test_a_pool_that_breaks_is_made_anew_and_what_it_held_has_lapsed(path, tmp_path):
    context, pools = multiprocessing.get_context("fork"), []

    def make():
        pools.append(ProcessPoolExecutor(2, mp_context=context))
        return pools[-1]

    with Engine(path, executor=make) as engine:
        assert pools == [], "not before it is needed"
        future = engine.submit(away.die, str(tmp_path / "flag"))
        assert future.result(PATIENCE) == "alive"
        assert [attempt.outcome for attempt in future.history()] == ["lapsed", "succeeded"]
        hopeless = engine.task(away.die, name="hopeless", max_lapses=0).submit()
        with pytest.raises(TaskFailed, match="its process died"):
            hopeless.result(PATIENCE)
        assert engine.submit(away.square, 3).result(PATIENCE) == 9
        assert engine.health == "ok" and len(pools) == 3
    for pool in pools:
        with pytest.raises(RuntimeError):
            pool.submit(abs, 1)


def breaks():
    raise RuntimeError("break")


def test_after_many_executors_that_broke_in_a_row_no_other_is_made(path, monkeypatch):
    monkeypatch.setattr(guests, "LONGEST_DELAY", 0.001)
    made = []
    with contextlib.closing(Engine(path, executor=lambda: made.append(1) or Fragile(1))) as engine:
        future = engine.task(breaks, max_lapses=100).submit()
        with pytest.raises(EngineClosed, match=f"{guests.ENOUGH} executors in a row broke: .*a worker died"):
            future.result(PATIENCE)
        assert (engine.health.state, len(made), future.snapshot().phase) == ("stopped", guests.ENOUGH, "ready")
    with Engine(path, workers=1) as engine:
        engine.task(lambda: "mended", name="breaks")
        assert engine.run(progress=False) == {"succeeded": 1}


UNGUARDED = """
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
import taskcore
from taskcore.runtime import guests

guests.LONGEST_DELAY = 0.001

def pool():
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

engine = taskcore.Engine(sys.argv[1], executor=pool if sys.argv[2] == "a function" else pool())
engine.submit(abs, 1).result()
"""


@pytest.mark.parametrize("executor", ["a function", "a pool"])
def test_a_script_without_the_guard_ends_and_its_processes_say_why_and_submit_nothing(path, tmp_path, executor):
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    run = subprocess.run(
        [sys.executable, str(script), str(path), executor], capture_output=True, text=True, timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stdout) == (1, "") and "\ntaskcore.core.errors.EngineClosed: " in run.stderr
    assert "RuntimeError: the script submits or runs tasks while a worker process imports it" in run.stderr
    assert "terminated abruptly while the future was running or pending; its tasks are in" in run.stderr
    with contextlib.closing(Engine(path, workers=0)) as engine:
        assert len(engine.tasks) == 1


def test_an_executor_that_cannot_be_made_is_told_of_in_one_line(path):
    def make():
        raise RuntimeError("\n    An attempt has been made.\n    This probably means that …")

    with contextlib.closing(Engine(path, executor=make)) as engine:
        engine.submit(away.square, 3)
        until(lambda: engine.health.state == "degraded", "it has been tried")
        assert "no executor can be made (RuntimeError: An attempt has been made); tried again" in engine.health.reason


def test_executors_that_break_before_they_run_anything_cost_no_task_a_lapse(path, monkeypatch):
    monkeypatch.setattr(guests, "LONGEST_DELAY", 0.001)

    def initializer():
        raise ValueError("there is no such device")

    with contextlib.closing(Engine(path, executor=lambda: ThreadPoolExecutor(1, initializer=initializer))) as engine:
        future = engine.submit(away.square, 3)
        with pytest.raises(EngineClosed, match="executors in a row broke"):
            future.result(PATIENCE)
        assert (future.snapshot().phase, future.snapshot().lapses) == ("ready", 0)


def test_a_function_that_cannot_make_one_yet_is_asked_again_and_health_says_why(path, monkeypatch):
    monkeypatch.setattr(guests, "LONGEST_DELAY", 0.001)
    come, seen = threading.Event(), []

    def make():
        seen.append(1)
        if not come.is_set():
            raise ConnectionError("no scheduler at 10.0.0.1")
        return seen if len(seen) % 2 else ThreadPoolExecutor(1)

    with contextlib.closing(Engine(path, executor=make)) as engine:
        future = engine.submit(away.square, 3)
        until(lambda: len(seen) > 3, "asked again")
        assert engine.health.state == "degraded"
        assert "ConnectionError: no scheduler at 10.0.0.1" in engine.health.reason
        come.set()
        assert future.result(PATIENCE) == 9
        assert engine.health == "ok"


def test_the_engine_shuts_down_what_the_function_made_and_not_what_was_brought(path):
    made = []
    with ThreadPoolExecutor(1) as brought:
        for executor in (brought, lambda: made.append(ThreadPoolExecutor(1)) or made[-1]):
            with Engine(path, executor=executor) as engine:
                engine.submit(away.square, 3)
        assert brought.submit(abs, -1).result() == 1
    assert len(made) == 1
    with pytest.raises(RuntimeError, match="after shutdown"):
        made[0].submit(abs, -1)


def test_a_class_of_executors_makes_one_and_what_makes_none_is_refused(path):
    with Engine(path, executor=ThreadPoolExecutor, workers=2) as engine:
        assert engine.submit(away.square, 3).result(PATIENCE) == 9
    with pytest.raises(TypeError, match=r"executor is a concurrent.futures.Executor, or a function .*, not 5"):
        Engine(path, executor=5)


# -- the executors of others, where they are installed ----------------------------------------------------------------


def test_short_bodies_go_several_to_a_call_where_calls_cost_more(path):
    calls = []

    class Counting(Away):
        _max_workers = 2

        def submit(self, fn, /, *args, **kwargs):
            future, waits = Future(), super().submit
            calls.append(1)
            threading.Thread(target=lambda: future.set_result(waits(fn).result())).start()
            return future

    with Engine(path, executor=Counting(), workers=64) as engine:
        assert engine.submit(away.square, 0).result(PATIENCE) == 0
        calls.clear()
        assert list(engine.map(away.square, range(300))) == [n * n for n in range(300)]
        assert len(calls) < 150


def test_bodies_run_on_loky_and_its_broken_pool_is_made_anew(path, tmp_path):
    loky = pytest.importorskip("loky")
    with Engine(path, executor=lambda: loky.ProcessPoolExecutor(1), statuses=STATUSES) as engine:
        has_all_of_it(engine, path)
        assert engine.submit(away.die, str(tmp_path / "flag")).result(PATIENCE) == "alive"


@pytest.mark.filterwarnings("ignore")  # of the cluster's own
def test_bodies_run_on_the_processes_of_a_dask_cluster(path, tmp_path):
    distributed, dask = pytest.importorskip("distributed"), pytest.importorskip("dask")
    quiet = {"distributed.scheduler.allowed-failures": 0, "logging.distributed": "critical"}
    how = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
    with dask.config.set(quiet), distributed.LocalCluster(**how) as cluster, distributed.Client(cluster) as client:
        with Engine(path, executor=client.get_executor, workers=16, statuses=STATUSES) as engine:
            has_all_of_it(engine, path)
            with pytest.raises(TypeError, match="a lambda"):
                engine.task(lambda: 1, name="lambda").submit()
            died = engine.submit(away.die, str(tmp_path / "flag"))
            assert died.result(PATIENCE) == "alive" and died.snapshot().lapses == 1
            assert sum(engine.map(away.square, range(100))) == 328350
            assert engine.health == "ok"


def test_bodies_run_on_mpi(path):
    """By `mpiexec -n 1 python -m pytest …`, which it asks for processes."""
    mpi = pytest.importorskip("mpi4py.futures")
    if not {"PMI_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID"} & {*os.environ}:
        pytest.skip("there is no mpiexec around this")
    with mpi.MPIPoolExecutor(1) as executor, Engine(path, executor=executor, statuses=STATUSES) as engine:
        has_all_of_it(engine, path)


@pytest.mark.skipif(not hasattr(concurrent.futures, "InterpreterPoolExecutor"), reason="since Python 3.14")
def test_bodies_run_in_interpreters_of_their_own(path):
    with concurrent.futures.InterpreterPoolExecutor(1) as executor:
        with Engine(path, executor=executor, statuses=STATUSES) as engine:
            has_all_of_it(engine, path)
            with pytest.raises(TypeError, match="a lambda"):
                engine.task(lambda: 1, name="lambda").submit()
