"""`Engine(path, processes=N)`: bodies in worker processes, which die, hang, find nothing, and end with their parent."""

import ast
import contextlib
import errno
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import taskcore
from taskcore import Engine, EngineClosed, TaskFailed
from taskcore.api import overtime, processes
from taskcore.api.assembly import employ
from taskcore.testing import ManualClock
from tests.support import elsewhere
from tests.support.processes import PATIENCE, ROOT, children, until
from tests.support.rows import wrongs

if not hasattr(signal, "SIGKILL"):
    pytest.skip("this system has no SIGKILL", allow_module_level=True)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """With two worker processes; most tests can share them."""
    path = tmp_path_factory.mktemp("processes") / "tasks.db"
    with contextlib.closing(Engine(path, processes=2, workers=2)) as engine:
        yield engine
    assert wrongs(path) == []


class Sample:
    def __init__(self, weight):
        self.weight = weight

    def weigh(self):
        return self.weight, os.getpid()


def alive(engine):
    """The processes of the engine → the names of their engines."""
    return {place.process.pid: place.name for place in engine._context.processes._places if place.process is not None}


# -- where bodies run -----------------------------------------------------------------------------------------------


def test_worker_processes_open_the_file_as_the_engine_did_that_has_them(path):
    how = {"durability": "full", "allow_network_filesystem": True}
    with contextlib.closing(Engine(path, workers=1, **how)) as engine:
        employ(engine._context, 1)  # as the command line does with an engine that has none of its own
        settings = engine._context.processes._given.settings
        assert {name: settings[name] for name in how} == how


def test_bodies_run_in_worker_processes_with_all_that_they_may_do(engine):
    double = engine.task(elsewhere.double)
    future = engine.task(elsewhere.family).submit(3)
    first, *doubled, pid = future.result(PATIENCE)
    assert (first, doubled) == (4, [0, 2, 4]) and pid in alive(engine)
    assert [step.name for step in future.steps()] == ["first"]
    assert [line.text for line in future.log()] == ["said by 3"]
    task = future.snapshot()
    assert task.message == "half way" and task.worker == alive(engine)[pid]
    assert list(double.map(range(5), timeout=PATIENCE)) == [0, 2, 4, 6, 8]
    assert engine.submit(elsewhere.process).result(PATIENCE) in alive(engine), "a plain function, too"


def test_what_worker_processes_do_not_find_runs_here_and_explain_says_so(engine, caplog):
    here = engine.task(lambda: os.getpid(), name="nameless")
    assert here.submit().result(PATIENCE) == os.getpid()
    engine.pause("nameless")
    text = here.submit().explain()
    engine.resume("nameless")
    assert "only this process runs it: worker processes do not find" in text and "not defined at the top" in text
    warnings = [record.getMessage() for record in caplog.records if "'nameless'" in record.getMessage()]
    assert len(warnings) == 1 and "runs in this process only" in warnings[0]


def test_the_newest_definition_of_a_name_wins_wherever_it_runs(engine):
    first = engine.task(elsewhere.process, name="moves").submit()
    assert first.result(PATIENCE) != os.getpid()
    moved = engine.task(lambda: -os.getpid(), name="moves")
    until(lambda: moved.submit().result(PATIENCE) == -os.getpid(), "the cell's function runs")
    moved = engine.task(lambda: -1, name="moves")
    until(lambda: moved.submit().result(PATIENCE) == -1, "the cell was run again")  # each process hears by itself
    engine.task(elsewhere.process, name="moves")
    until(lambda: moved.submit().result(PATIENCE) in alive(engine), "the module's function runs again")


def test_functions_and_classes_among_the_options_go_with_a_definition(engine):
    fails = engine.task(elsewhere.fails, max_attempts=3, backoff=taskcore.constant(0), retry_on=KeyError)
    futures = [fails.submit("key"), fails.submit("value")]
    for future in futures:
        with pytest.raises(TaskFailed):
            future.result(PATIENCE)
    assert [future.snapshot().attempts for future in futures] == [3, 1]
    odd = engine.task(elsewhere.process, name="odd", backoff=lambda failures: 0).submit()
    assert odd.result(PATIENCE) == os.getpid()
    assert "cannot be passed on" in engine._context.processes.here["odd"]
    bound = engine.task(Sample(3).weigh, name="bound").submit()
    assert bound.result(PATIENCE) == (3, os.getpid()), "its object is in this process only"


def test_run_waits_for_what_runs_in_worker_processes(engine):
    engine.task(elsewhere.double)
    with engine.transaction():
        futures = [engine.submit("double", n) for n in range(100)]
    engine.run(progress=False)
    assert [future.done() for future in futures] == [True] * 100


def test_what_ends_and_moves_in_worker_processes_is_told_in_the_program(engine, caplog):
    caplog.set_level(logging.INFO, "taskcore.api.ends")
    failed, moved, families = [], set(), []
    ends = engine.on_failure(failed.append), engine.on_change(lambda change: moved.update(change.ids))
    bad, family = engine.task(elsewhere.fails, name="told").submit("key"), engine.task(elsewhere.family)

    def children_are_told_of():
        future = family.submit(2)
        future.result(PATIENCE)
        families.append({task.id for task in engine.tasks.where(parent=future)})
        return any(children <= moved for children in families)

    until(children_are_told_of, "what was submitted there is told of")  # at once, but for what came before they knew
    engine.run(progress=False)
    for end in ends:
        end()
    assert [(task.id, task.last_error) for task in failed] == [(bad.id, "KeyError: 'as asked for'")]
    assert engine._futures.failures.texts == {}, "and run() has said so"
    told = {record.task_id: record.levelno for record in caplog.records if record.name == "taskcore.api.ends"}
    assert told[bad.id] == logging.WARNING
    assert {told[task] for children in families for task in children} == {logging.INFO} and len(families[0]) == 2


# -- deaths ---------------------------------------------------------------------------------------------------------


def test_a_worker_that_dies_lapses_its_own_tasks_only_and_is_started_again(engine, tmp_path):
    signs = engine.task(elsewhere.signs)
    futures = [signs.submit(str(tmp_path), n) for n in range(4)]
    until(lambda: all((tmp_path / str(n)).exists() for n in range(4)), "all have begun")
    before = alive(engine)
    victim = min(before)
    mine = [(tmp_path / str(n)).read_text() == str(victim) for n in range(4)]
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(alive(engine)) == 2 and victim not in alive(engine), "another is started")
    (tmp_path / "go").touch()
    pids = [future.result(PATIENCE) for future in futures]
    assert victim not in pids
    assert [future.snapshot().lapses for future in futures] == mine and sum(mine) == 2, "each had two threads"
    assert [future.history()[0].worker == before[victim] for future in futures] == mine
    assert engine.health == "ok"


@pytest.mark.parametrize("body", [elsewhere.deaf, elsewhere.holds_the_interpreter])
def test_a_body_that_does_not_return_in_time_costs_its_process_and_nothing_else(made, tmp_path, monkeypatch, body):
    monkeypatch.setattr(processes, "GRACE", 0.1)
    monkeypatch.setattr(overtime, "GRACE", 0.1)
    monkeypatch.setattr(processes, "TICK", 0.1)
    go = tmp_path / "go"
    with contextlib.closing(Engine(made, processes=1, workers=2)) as engine:
        beside = engine.task(elsewhere.waits).submit(str(go))
        until(lambda: beside.snapshot().phase == "running", "something runs beside it")
        (pid,) = alive(engine)
        late = engine.task(body, timeout=0.2).submit()
        with pytest.raises(TaskFailed, match="ran for more than"):
            late.result(PATIENCE)
        until(lambda: alive(engine) and pid not in alive(engine), "the process is replaced")
        go.touch()
        assert beside.result(PATIENCE) in alive(engine)
        assert (late.snapshot().lapses, beside.snapshot().lapses, beside.snapshot().failures) == (0, 0, 0)
        assert engine.health == "ok"
    assert wrongs(made) == []


def test_processes_that_do_nothing_but_die_are_given_up_and_health_and_results_say_so(made, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "MOST", 2)
    with contextlib.closing(Engine(made, processes=2, workers=1)) as engine:
        assert engine.submit(elsewhere.process).result(PATIENCE)
        dies = engine.task(elsewhere.dies, max_lapses=100).submit()
        until(lambda: engine.health.state != "ok", "one is given up")
        with pytest.raises(EngineClosed, match="no worker process is left: one ended 2 times in a row"):
            dies.result(PATIENCE)
        assert engine.health.startswith("stopped: no worker process is left")
    assert wrongs(made) == []


def short(*_, **__):
    raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("what", ["SpawnContext.Pipe", "SpawnProcess.start"])
def test_where_no_process_can_be_started_for_a_while_it_is_tried_again_and_health_says_so(made, monkeypatch, what):
    monkeypatch.setattr(processes, "TICK", 0.05)
    said = "not there: no worker process can be started: OSError: [Errno 24] Too many open files; it is tried again"
    with contextlib.closing(Engine(made, processes=2, workers=1)) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(f"multiprocessing.context.{what}", short)
            future = engine.submit(elsewhere.process)
            until(lambda: engine.health == f"degraded: 2 of 2 worker processes are {said}", "it is said")
        assert future.result(PATIENCE) != os.getpid()
        until(lambda: len(alive(engine)) == 2 and engine.health == "ok", "both are there")


def test_where_the_thread_that_looks_after_them_has_no_pipe_a_submit_is_stored_and_the_next_one_starts_it(
    made, monkeypatch
):
    with contextlib.closing(Engine(made, processes=1, workers=1)) as engine:
        with monkeypatch.context() as patch:
            patch.setattr("multiprocessing.Pipe", short)
            first = engine.submit(elsewhere.process)
            assert engine.health == "degraded: no thread can be started: [Errno 24] Too many open files"
        second = engine.submit(elsewhere.process)
        assert first.result(PATIENCE) == second.result(PATIENCE) != os.getpid()


def test_processes_that_can_never_be_started_are_given_up(made, monkeypatch):
    def missing(*_):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "python")

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", missing)
    with contextlib.closing(Engine(made, processes=2, workers=1)) as engine:
        with pytest.raises(EngineClosed, match="no worker process is left: no worker process can be started: FileNot"):
            engine.submit(elsewhere.process).result(PATIENCE)


def test_an_engine_is_closed_in_time_though_a_body_in_a_worker_process_hears_of_nothing(made):
    with contextlib.closing(Engine(made, processes=1, workers=1)) as engine:
        deaf = engine.task(elsewhere.deaf).submit()
        until(lambda: deaf.snapshot().phase == "running", "it runs")
        (pid,) = alive(engine)
        began = time.monotonic()
        engine.close(timeout=0.1)
        assert time.monotonic() - began < 2
        until(lambda: not os.path.exists(f"/proc/{pid}"), "its process is gone")
    with contextlib.closing(Engine(made, workers=0)) as engine:
        until(lambda: engine.tasks.first().phase in ("running", "ready"), "it is not lost")
        assert engine.tasks.first().lapses == 0


def test_a_close_without_a_time_does_not_wait_for_a_stopped_process_longer_than_its_bodies_may_take(made, monkeypatch):
    monkeypatch.setattr(overtime, "GRACE", 0.1)
    monkeypatch.setattr(processes, "TICK", 0.1)
    with contextlib.closing(Engine(made, processes=1, workers=1)) as engine:
        engine.task(elsewhere.stops, timeout=0.2).submit()
        until(lambda: alive(engine), "the process is started")
        (pid,) = alive(engine)
        until(lambda: ") T " in Path(f"/proc/{pid}/stat").read_text(), "it is stopped")
        engine._context.processes._places[0].ready = False  # as where the body began before its process could say so
        closing = threading.Thread(target=engine.close, daemon=True)
        closing.start()
        closing.join(PATIENCE)
        if forever := closing.is_alive():
            os.kill(pid, signal.SIGKILL)
        assert not forever
    with contextlib.closing(Engine(made, workers=0)) as engine:
        (task,) = engine.tasks
        assert (task.phase, task.lapses) == ("failed", 0) and "ran for more than" in task.last_error
    assert wrongs(made) == []


def test_an_engine_whose_file_was_deleted_leaves_no_process_behind_its_close(made):
    with contextlib.closing(Engine(made, processes=2, workers=1)) as engine:
        engine.submit(elsewhere.process).result(PATIENCE)
        until(lambda: len(alive(engine)) == 2, "both are started")
        pids = alive(engine)
        made.unlink()
        until(lambda: engine.health.state == "stopped", "it is seen")
        engine.close()
        assert not {str(pid) for pid in pids} & children()


# -- scripts --------------------------------------------------------------------------------------------------------

SCRIPT = """
import os, sys, time, taskcore

engine = taskcore.Engine(sys.argv[1], processes=2, workers=1)

@engine.task
def waits(n):
    print("inside", os.getpid(), flush=True)
    run = taskcore.current()
    while True:
        run.check()
        time.sleep(0.005)

@engine.task
def deaf(n):
    print("inside", os.getpid(), flush=True)
    time.sleep(1000)

if __name__ == "__main__":
    futures = [function.submit(1) for function in (waits, deaf)]
    futures[0].result()
"""


def started(text, tmp_path, *args):
    script = tmp_path / "script.py"
    script.write_text(text)
    return subprocess.Popen(
        [sys.executable, str(script), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def inside(process):
    """The processes that it says bodies are in."""
    lines = [process.stdout.readline() for _ in range(2)]
    assert all(line.startswith("inside ") for line in lines), process.stderr.read()
    return {int(line.split()[1]) for line in lines}


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_worker_processes_end_with_their_parent_and_nobody_pays_for_it(made, tmp_path, number):
    """A Ctrl-C goes to all processes of a terminal; a second one does not wait for what does not hear."""
    with started(SCRIPT, tmp_path, made) as process:
        pids = inside(process)
        assert len(pids) == 2 and process.pid not in pids
        if number == signal.SIGKILL:
            process.kill()
        else:
            os.killpg(process.pid, number)
            until(lambda: any(map(gone, pids)), "the one that hears has ended")
            os.killpg(process.pid, number)
        errors = process.stderr.read()
        assert process.wait(PATIENCE) == -number
        until(lambda: all(map(gone, pids)), "they end, too", patience=5)
        said = errors.count("Traceback")  # the second Ctrl-C may come while the first one's is being told
        assert said in ((1, 2) if number == signal.SIGINT else (0,)), errors
    with contextlib.closing(Engine(made, workers=1)) as engine:
        engine.start()
        until(lambda: {task.phase for task in engine.tasks} == {"ready"}, "both are given back")
        assert [task.lapses for task in engine.tasks] == [0, 0]
    assert wrongs(made) == []


TOLD_TWICE = """
import os, signal, sys, taskcore
from tests.support.processes import signals_come_again

signals_come_again()
engine = taskcore.Engine(sys.argv[1], processes=1, workers=1)

@engine.task
def process():
    return os.getpid()

if __name__ == "__main__":
    first = process.submit().result(20)
    os.kill(first, signal.SIGTERM)
    while process.submit().result(20) == first:
        pass
    print("another")
"""


def test_a_worker_that_is_told_to_end_while_it_hears_that_makes_room_for_another(made, tmp_path):
    with started(TOLD_TWICE, tmp_path, made) as process:
        try:
            out, errors = process.communicate(timeout=PATIENCE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a worker that hears nothing more would outlive the test
    assert (out, errors, process.returncode) == ("another\n", "", 0)


def test_a_script_without_the_guard_is_told_of_it_in_one_sentence(made, tmp_path):
    text = SCRIPT.replace('if __name__ == "__main__":', "if True:")
    with started(text, tmp_path, made) as process:
        out, errors = process.communicate(timeout=PATIENCE)
        assert out == "" and process.returncode == 1
        assert errors.count("Traceback") == 1
        (said,) = (line for line in errors.splitlines() if line.startswith("taskcore.core.errors.EngineClosed: "))
        assert "the script submits or runs tasks while a worker process imports it" in said
        assert 'belongs under `if __name__ == "__main__":`' in said
    with contextlib.closing(Engine(made, workers=0)) as engine:
        assert len(engine.tasks) == 2, "nobody else submitted"


def test_a_script_that_processes_cannot_import_is_not_said_to_lack_the_guard(made, tmp_path):
    text = SCRIPT.replace("processes=2", "processes=1").replace("@", 'assert __name__ == "__main__", "mine"\n\n@', 1)
    with started(text, tmp_path, made) as process:
        out, errors = process.communicate(timeout=PATIENCE)
    assert (out, process.returncode) == ("", 1)
    assert errors.count("AssertionError: mine") == 2, "each of them said so"
    assert "EngineClosed: no worker process is left: one ended 2 times in a row, at last by exit code 1" in errors


def test_a_script_that_ends_at_once_has_its_tasks_run_by_its_processes_first(made, tmp_path):
    text = SCRIPT.partition("@engine.task\ndef waits")[0].replace("processes=2", "processes=1") + (
        "@engine.task\ndef process():\n    return os.getpid()\n\n"
        'if __name__ == "__main__":\n    print(process.submit().id, os.getpid())\n'
    )
    with started(text, tmp_path, made) as process:
        out, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, errors) == (0, "")
    with contextlib.closing(Engine(made, workers=0)) as engine:
        assert engine.tasks.first().result != int(out.split()[1])


FROZEN = """#!{python}
import multiprocessing.spawn, os, sys

if "-c" in sys.argv:
    sys.exit(exec(sys.argv[sys.argv.index("-c") + 1]))
sys.frozen = True
multiprocessing.spawn.set_executable(__file__)

import taskcore

engine = taskcore.Engine("{path}", processes=1, workers=1)

@engine.task
def inner(n):
    return os.getpid()

@engine.task
def outer():
    return *taskcore.current().wait(inner.submit(1)), os.getpid(), os.getppid()

if __name__ == "__main__":
    multiprocessing.spawn.freeze_support()
    print(os.getpid(), *outer.submit().result({patience}))
"""


def test_a_frozen_program_runs_itself_anew_for_its_processes(made, tmp_path):
    """As PyInstaller's do, which bring no script that could be imported."""
    program = tmp_path / "program"
    program.write_text(FROZEN.format(python=sys.executable, path=made, patience=PATIENCE))
    program.chmod(0o700)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([program], capture_output=True, text=True, timeout=PATIENCE, env=environment)
    first, second, third, fourth = done.stdout.split() or [done.stderr]
    assert first == fourth != second == third, "nor has its process any of its own"


def test_what_is_typed_at_a_prompt_runs_there(made):
    code = (
        "import os, sys, taskcore\n"
        "engine = taskcore.Engine(sys.argv[1], processes=1)\n"
        "typed = engine.task(lambda: os.getpid(), name='typed')\n"
        "print(os.getpid(), typed.submit().result(30), engine.submit(len, 'abc').result(30))\n"
        "print(engine.tasks[1].worker != engine.tasks[0].worker)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(made)], capture_output=True, text=True, timeout=PATIENCE, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    first, second, third, other = done.stdout.split()
    assert (first == second, third, other) == (True, "3", "True")


# -- bad values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"processes": 0}, ValueError, "processes is a whole number from 1 on, not 0"),
        ({"processes": -1}, ValueError, "processes is a whole number from 1 on, not -1"),
        ({"processes": True}, TypeError, "processes is a whole number, not True"),
        ({"processes": "4"}, TypeError, "processes is a whole number, not '4'"),
        ({"processes": 2, "executor": "pool"}, ValueError, "processes and executor exclude each other"),
        ({"processes": 2, "clock": ManualClock()}, ValueError, "processes go by the machine's clock"),
        ({"processes": 2, "workers": 0}, ValueError, "with workers=0 nothing runs"),
    ],
)
def test_bad_values_are_named_and_no_file_is_made(new, given, error, said):
    if "executor" in given:
        import concurrent.futures

        given = {**given, "executor": concurrent.futures.ThreadPoolExecutor(1)}
    with pytest.raises(error, match=said):
        Engine(new, **given)
    assert not new.exists()
    with pytest.raises(ValueError, match="memory"):
        Engine(":memory:", processes=2)


def test_no_process_is_started_before_there_is_something_to_run_and_none_is_left_behind(made):
    before = children()
    with contextlib.closing(Engine(made, processes=2)) as engine:
        engine.task(elsewhere.process)
        assert children() == before
        engine.submit("process").result(PATIENCE)
        assert len(children() - before) >= 1
        pids = {str(pid) for pid in alive(engine)}
    assert not pids & children()


def test_the_tests_bodies_import_nothing_slow():
    """A worker process imports them at each start."""
    tree = ast.parse(Path(elsewhere.__file__).read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert names <= {"os", "signal", "threading", "time", "taskcore"}
