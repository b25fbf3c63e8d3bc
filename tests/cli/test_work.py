"""`python -m taskcore FILE work MODULE`: what it runs, what it says, how it ends, and what it refuses."""

import contextlib
import os
import pty
import signal
import subprocess
import sys

import pytest

from taskcore import Engine
from taskcore.cli.main import main
from tests.support.processes import PATIENCE, ROOT, until
from tests.support.rows import wrongs

MODULE = """
import taskcore

engine = taskcore.Engine("tasks.db", workers=0)
twin = taskcore.Engine("other.db", workers=0)

@engine.task
def weigh(n):
    if n < 0:
        raise ValueError("there is no such sample \\x1b[31m")
    return 2 * n
"""


@pytest.fixture
def module(made, monkeypatch):
    """The name of a module beside the file."""
    monkeypatch.chdir(made.parent)
    name = f"survey_{os.urandom(4).hex()}"
    (made.parent / f"{name}.py").write_text(MODULE)
    yield name
    loaded = sys.modules.pop(name, None)
    for engine in (loaded.engine, loaded.twin) if loaded is not None else ():
        engine.close()
    with contextlib.suppress(ValueError):
        sys.path.remove(str(made.parent))


@contextlib.contextmanager
def working(folder, *words):
    """The command, with its stderr a terminal; → the process and the terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "taskcore", "tasks.db", "work", *words], cwd=folder, stderr=theirs,
        stdout=subprocess.DEVNULL, start_new_session=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        os.close(theirs)
        try:
            yield process, ours
        finally:
            process.kill()
            os.close(ours)


def said(terminal):
    """All that is said until the other end is closed."""
    text = b""
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 65536):
            text += piece
    return text.decode().splitlines()


def test_a_worker_runs_what_its_module_registers_and_says_how_each_task_ended(made, module):
    with contextlib.closing(Engine(made, workers=0)) as engine, working(made.parent, module) as (process, terminal):
        assert engine.submit("weigh", 4).result(PATIENCE) == 8
        assert engine.submit("weigh", -1).exception(PATIENCE) is not None
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        lines = [line.partition(" ")[2] for line in said(terminal)]
    assert lines[0] == f"working on {made}: weigh"
    assert lines[1].startswith("task #1 is succeeded: weigh, in ")
    assert lines[2:] == ["task #2 is failed: weigh: ValueError: there is no such sample \\x1b[31m"]
    assert wrongs(made) == []


def test_two_workers_on_one_file_are_fine_and_a_quiet_one_says_nothing(made, module, raw):
    def works(process):
        return raw("SELECT 1 FROM taskcore_worker WHERE name LIKE ?", f"%-{process.pid}-%")

    quiet = working(made.parent, f"{module}:engine", "--processes", "1", "--threads", "2", "-q")
    with contextlib.closing(Engine(made, workers=0)) as engine, quiet as (process, terminal):
        with working(made.parent, module, "--threads", "1", "-q") as (other, _):
            assert [engine.submit("weigh", n).result(PATIENCE) for n in range(3)] == [0, 2, 4]
            until(lambda: works(other), "it works: one that is not there yet would be ended in the middle of an import")
            os.killpg(other.pid, signal.SIGINT)
            assert other.wait(PATIENCE) == 0
        future = engine.submit("weigh", -1)
        assert future.exception(PATIENCE) is not None
        worker = future.history()[0].worker
        assert worker.rpartition(".")[2].startswith("1-"), "a worker process of the one that is left"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        assert process.wait(PATIENCE) == 0
        assert said(terminal) == []
        until(lambda: not alive(process.pid), "nobody of it is left")
    assert wrongs(made) == []


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_worker_that_is_told_to_end_while_its_module_is_imported_has_nothing_to_give_back(made, module, number):
    with (made.parent / f"{module}.py").open("a") as source:
        source.write(f"import signal\nsignal.raise_signal(signal.{number})\nsignal.pause()\n")
    with working(made.parent, module) as (process, terminal):
        assert process.wait(PATIENCE) == 0
        assert said(terminal) == []


def test_a_worker_that_is_told_to_end_once_more_while_the_interpreter_ends_has_given_all_back(made, module):
    with (made.parent / f"{module}.py").open("a") as source:
        source.write("import atexit, signal\natexit.register(lambda: signal.raise_signal(signal.SIGTERM))\n")
    with contextlib.closing(Engine(made, workers=0)) as engine, working(made.parent, module, "-q") as (process, _):
        assert engine.submit("weigh", 4).result(PATIENCE) == 8
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert wrongs(made) == []


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("survye", "there is no module 'survye'"),
        ("{}.py", "there is no module '{}.py'; say '{}'"),
        ("", "there is no module ''"),
        ("a..b", "there is no module 'a..b'"),
        ("{}:enigne", "{} has no engine 'enigne'; there are: engine, twin"),
        ("json:engine", "json has no engine 'engine'; there is none at all"),
    ],
)
def test_a_mistyped_module_or_engine_is_named(module, capsys, word, why):
    assert main(["tasks.db", "work", word.format(module)]) == 2
    assert capsys.readouterr().err == f"taskcore: {why.format(module, module)}\n"


def test_an_engine_works_on_the_file_that_it_was_made_on_only(made, module, capsys):
    folder = made.parent
    assert main(["else.db", "work", module]) == 2
    on = f"{folder}/other.db, {folder}/tasks.db"
    why = "an engine works on the file that it was made on"
    assert capsys.readouterr().err == f"taskcore: {module} makes no engine on {folder}/else.db, but on {on}: {why}\n"
    assert main(["tasks.db", "work", f"{module}:twin"]) == 2
    assert f"makes no engine on {folder}/tasks.db, but on {folder}/other.db" in capsys.readouterr().err
    assert not (folder / "else.db").exists()


def test_two_engines_on_the_file_must_be_told_apart(made, module, capsys):
    (made.parent / f"{module}.py").write_text(MODULE.replace("other.db", "tasks.db"))
    assert main(["tasks.db", "work", module]) == 2
    said = capsys.readouterr().err
    assert f"several engines on {made}: say which, {module}:ENGINE of engine, twin" in said


def test_what_goes_wrong_in_the_module_is_shown_as_python_shows_it(made, module, capsys):
    (made.parent / f"{module}.py").write_text("import nowhere_to_be_found\n")
    assert main(["tasks.db", "work", module]) == 2
    said = capsys.readouterr().err
    assert "Traceback" in said and "No module named 'nowhere_to_be_found'" in said


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5"])
def test_bad_numbers_are_named(module, capsys, value):
    for option in ("--threads", "--processes"):
        with pytest.raises(SystemExit) as stop:
            main(["tasks.db", "work", module, f"{option}={value}"])
        assert stop.value.code == 2
        assert f"a whole number from 1 on is needed, not {value!r}" in capsys.readouterr().err
