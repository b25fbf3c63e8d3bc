"""How a script ends, and what becomes of its tasks: on the running Python, and as a storm on every other one found."""

import functools
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from taskcore import Engine
from tests.support.processes import PATIENCE, ROOT
from tests.support.rows import wrongs

SUPPORTED = ("3.11", "3.12", "3.13")
RUNNING = "%d.%d" % sys.version_info[:2]  # noqa: UP031 - short


@functools.cache
def interpreter(version):
    """A program that starts and has what taskcore needs, if there is one."""
    if version == RUNNING:
        return sys.executable
    candidates = [shutil.which(f"python{version}")]
    candidates += sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"), reverse=True)
    for candidate in filter(None, candidates):
        ask = "import sqlite3, sys; print('%d.%d' % sys.version_info[:2], sqlite3.sqlite_version)"
        asked = subprocess.run([candidate, "-c", ask], capture_output=True, text=True, check=False)
        answer = asked.stdout.split()
        if answer[:1] == [version] and tuple(map(int, answer[1].split("."))) >= (3, 38, 0):
            return str(candidate)
    return None


@pytest.fixture(params=[pytest.param(each, marks=() if each == RUNNING else pytest.mark.storm) for each in SUPPORTED])
def python(request):
    if interpreter(request.param) is None:
        pytest.skip(f"no Python {request.param} here")
    return interpreter(request.param)


class Script:
    """A script in its own directory, run as a user runs it."""

    def __init__(self, folder, python):
        self.folder, self.python, self.path, self.errors = folder, python, folder / "tasks.db", ""

    def begin(self, source, *arguments):
        (self.folder / "script.py").write_text(HEAD + textwrap.dedent(source), encoding="utf-8")
        return subprocess.Popen(
            [self.python, "-W", "error", "script.py", *map(str, arguments)],
            cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def run(self, source, *arguments, code=0, quiet=True):
        """→ what it printed."""
        process = self.begin(source, *arguments)
        try:
            out, errors = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            out, errors = process.communicate()
            pytest.fail(f"the script does not end; it said {out!r} and {errors!r}")
        assert process.returncode == code, errors
        if quiet:
            assert errors == ""
        self.errors = errors
        return out

    def counts(self):
        assert wrongs(self.path) == []
        with Engine(self.path, workers=0) as engine:
            assert engine.tasks.where(phase="running").counts() == {}, f"{self.errors}nothing stays claimed"
            return engine.tasks.counts()


HEAD = """\
import atexit, os, sys, threading
import taskcore

engine = taskcore.Engine("tasks.db", workers=2)


@engine.task
def work(n):
    return n * n


@engine.task
def add(parts):
    return sum(parts)


"""


@pytest.fixture
def script(tmp_path, python):
    return Script(tmp_path, python)


def test_a_script_that_only_submits_runs_all_its_tasks(script):
    script.run("add.submit([work.submit(n) for n in range(50)])")
    assert script.counts() == {"succeeded": 51}
    with Engine(script.path, workers=0) as engine:
        (total,) = engine.tasks.where(name="add")
        assert total.result == sum(n * n for n in range(50))


def test_a_script_that_submits_in_bulk_runs_all_its_tasks(script):
    script.run("""
        with engine.transaction():
            for n in range(2000):
                work.submit(n)
    """)
    assert script.counts() == {"succeeded": 2000}


def test_what_a_task_submits_while_the_script_ends_is_run_too(script):
    script.run("""
        @engine.task
        def down(n):
            if n:
                down.submit(n - 1)

        down.submit(30)
    """)
    assert script.counts() == {"succeeded": 31}


def test_a_retry_that_is_due_soon_is_waited_for(script):
    script.run("""
        @engine.task(max_attempts=3, backoff=taskcore.constant(0.05))
        def flaky():
            if taskcore.current().task.failures < 2:
                raise ValueError("not yet")

        flaky.submit()
    """)
    assert script.counts() == {"succeeded": 1}


def test_sys_exit_keeps_its_code_and_the_tasks_are_run(script):
    script.run("""
        for n in range(20):
            work.submit(n)
        sys.exit(3)
    """, code=3)  # fmt: skip
    assert script.counts() == {"succeeded": 20}


GATED = """
    gates = [threading.Event() for _ in range(2)]

    @engine.task
    def gated(n):
        os.write(1, f"inside {n}\\n".encode())
        gates[n].set()
        while not taskcore.current().cancelled:
            threading.Event().wait(0.005)
        return "what it had"

    inside = gated.submit(0), gated.submit(1)
    for gate in gates:
        gate.wait()
    behind = [work.submit(n) for n in range(10)]
"""


def test_after_an_uncaught_exception_what_had_not_begun_is_still_in_the_file(script):
    out = script.run(GATED + "    raise ValueError('the script is wrong')\n", code=1, quiet=False)
    assert sorted(out.split()) == ["0", "1", "inside", "inside"]
    assert script.errors.endswith("ValueError: the script is wrong\n"), script.errors
    assert script.counts() == {"succeeded": 2, "ready": 10}, "bodies were asked to stop, and what they returned counts"
    script.run("engine.run()")
    assert script.counts() == {"succeeded": 12}


def test_after_an_exception_inside_the_with_block_it_is_the_same(script):
    script.run("with engine:\n" + GATED + "    raise ValueError('the script is wrong')\n", code=1, quiet=False)
    assert script.counts() == {"succeeded": 2, "ready": 10}


def test_leaving_the_with_block_runs_what_was_submitted(script):
    out = script.run("""
        with engine:
            futures = [work.submit(n) for n in range(20)]
        print(sum(future.result() for future in futures))
        try:
            work.submit(1)
        except taskcore.EngineClosed:
            print("closed")
    """)
    assert out.split() == [str(sum(n * n for n in range(20))), "closed"]
    assert script.counts() == {"succeeded": 20}


def test_sys_exit_inside_the_with_block_is_an_exception_like_any_other(script):
    script.run("with engine:\n" + GATED + "    sys.exit(4)\n", code=4)
    assert script.counts() == {"succeeded": 2, "ready": 10}


@pytest.mark.parametrize("place", ["at the end", "in result()", "in the with block"])
def test_a_ctrl_c_asks_bodies_to_stop_and_keeps_the_rest(script, place):
    source = (
        GATED
        + {
            "at the end": "    print('now', flush=True)\n",
            "in result()": "    print('now', flush=True)\n    inside[0].result()\n",
            # A signal that comes just before a wait without end is heard when that ends.
            "in the with block": "    print('now', flush=True)\n    while True: threading.Event().wait(0.05)\n",
        }[place]
    )
    process = script.begin(("with engine:\n" if place == "in the with block" else "if True:\n") + source)
    for line in process.stdout:
        if line == "now\n":
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    script.errors = errors
    assert process.returncode != 0 or place == "at the end", errors
    assert "Error" not in errors.replace("KeyboardInterrupt", ""), errors
    assert script.counts() in ({"succeeded": 2, "ready": 10}, {"succeeded": 12}), errors


def test_os_exit_is_like_a_kill_and_the_next_start_takes_the_tasks_up(script):
    script.run(GATED + "    os._exit(5)\n", code=5)
    with Engine(script.path, workers=0) as engine:
        assert engine.tasks.where(name="gated").counts() == {"running": 2}
    since = time.monotonic()
    script.run("""
        @engine.task
        def gated(n):
            return "again"

        engine.run()
    """)
    assert time.monotonic() - since < 5, "it does not wait for a lease of 30 s"
    assert script.counts() == {"succeeded": 12}
    with Engine(script.path, workers=0) as engine:
        assert [(t.result, t.lapses) for t in engine.tasks.where(name="gated")] == [("again", 1)] * 2
        assert {t.lapses for t in engine.tasks.where(name="work")} == {0}


def test_a_cell_that_is_run_again_redefines_its_task(script):
    out = script.run("""
        cell = '''
        @engine.task
        def greet(name):
            return WORD + " " + name

        print(greet.submit("you").result())
        '''
        import textwrap
        space = {"engine": engine, "WORD": "hello"}
        exec(textwrap.dedent(cell), space)
        space["WORD"] = "bye"
        exec(textwrap.dedent(cell), space)
        exec(textwrap.dedent(cell.replace('+ " "', '+ ", "')), space)
        first = taskcore.Engine("tasks.db", workers=1)  # the cell with the engine is run again, too
        engine = taskcore.Engine("tasks.db", workers=1)
        print(engine.task(lambda: "anew", name="other").submit().result())
    """)
    assert out == "hello you\nbye you\nbye, you\nanew\n"
    assert script.counts() == {"succeeded": 4}


def test_a_delayed_task_does_not_keep_the_interpreter(script):
    since = time.monotonic()
    script.run("""
        work.options(delay=3600).submit(1)
        later = work.options(delay=3600).submit(2)
        add.submit([later])
        work.submit(3)
        engine.submit("of somebody else")
    """)
    assert time.monotonic() - since < 10
    assert script.counts() == {"scheduled": 2, "waiting": 1, "succeeded": 1, "ready": 1}


@pytest.mark.parametrize("source", ["", "engine.tasks.counts()", "engine.start()", "engine.close()", "del engine"])
def test_an_engine_with_nothing_to_do_lets_the_interpreter_go_at_once(script, source):
    since = time.monotonic()
    script.run(source)
    assert time.monotonic() - since < 5
    assert script.counts() == {}


def test_an_engine_in_memory_runs_its_tasks_before_the_end(script):
    out = script.run("""
        memory = taskcore.Engine(":memory:", workers=1)
        memory.task(lambda: print("ran"), name="says").submit()
    """)
    assert out == "ran\n"


def test_an_engine_made_in_an_exit_handler_can_store_tasks(script):
    out = script.run("""
        def late():
            made = taskcore.Engine("tasks.db", workers=1)
            future = made.submit("work", 7)
            print("stored", future.id, made.tasks.counts().get("ready", 0) + made.tasks.counts().get("running", 0) > 0)
            made.close()

        atexit.register(late)
    """, quiet=False)  # fmt: skip
    assert out == "stored 1 True\n", script.errors
    assert "Traceback" not in script.errors
    assert script.counts() == {"ready": 1}
    script.run("engine.run()")
    assert script.counts() == {"succeeded": 1}


def test_an_engine_that_an_exit_handler_uses_says_that_it_is_closed(script):
    out = script.run("""
        def late():
            try:
                work.submit(1)
            except taskcore.EngineClosed:
                print("closed")

        atexit.register(late)
        work.submit(0)
    """)
    assert out == "closed\n"
    assert script.counts() == {"succeeded": 1}


def test_a_thread_that_submits_while_the_script_ends_is_told_or_served(script):
    script.run("""
        def submits():
            try:
                while True:
                    work.submit(1)
            except taskcore.EngineClosed:
                pass

        threading.Thread(target=submits, daemon=True).start()
        work.submit(0)
    """)
    counts = script.counts()
    assert counts.pop("succeeded") >= 1
    assert set(counts) <= {"ready"}


def test_a_body_that_never_returns_keeps_the_interpreter_no_longer_than_its_time_limit(script):
    since = time.monotonic()
    script.run("""
        @engine.task(timeout=0.2)
        def deaf():
            threading.Event().wait()

        deaf.submit()
        work.submit(1)
    """, quiet=False)  # fmt: skip
    assert time.monotonic() - since < 10
    if "no thread can be started" in script.errors:  # 3.12 refuses new ones at the end: what needs one stays
        assert script.counts() == {"failed": 1, "ready": 1}
    else:
        assert script.errors == "task #1 is failed: deaf: TimeoutError: ran for more than 0.2 s\n"
        assert script.counts() == {"failed": 1, "succeeded": 1}


def test_the_executor_of_a_script_is_still_there_when_its_engine_ends(script):
    script.run("""
        import concurrent.futures

        pool = concurrent.futures.ThreadPoolExecutor(2)
        other = taskcore.Engine("tasks.db", executor=pool)
        task = other.task(lambda n: n, name="there")
        for n in range(30):
            task.submit(n)
    """)
    assert script.counts() == {"succeeded": 30}


def test_a_script_that_was_killed_half_way_and_is_run_again_continues(script):
    source = """
        log = os.open("ran.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

        @engine.task
        def measure(n):
            os.write(log, f"{n}\\n".encode())
            if n == 25 and sys.argv[1] == "dies":
                os.kill(os.getpid(), 9)
            return n

        sizes = [measure.options(key=f"object {n}").submit(n) for n in range(50)]
        print(add.options(key="all").submit(sizes).result())
    """
    if not hasattr(signal, "SIGKILL"):
        pytest.skip("no SIGKILL")
    script.run(source, "dies", code=-9)
    assert wrongs(script.path) == []
    assert script.run(source, "lives") == f"{sum(range(50))}\n"
    assert script.counts() == {"succeeded": 51}
    ran = [int(line) for line in (script.folder / "ran.txt").read_text().split()]
    assert set(ran) == set(range(50))
    assert ran.count(25) == 2 and len(ran) < 90, "what had ended did not run again"
    assert script.run(source, "again") == f"{sum(range(50))}\n"
    assert len((script.folder / "ran.txt").read_text().split()) == len(ran)
