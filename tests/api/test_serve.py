"""`serve_forever()`: a worker that waits for more, until somebody ends it."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading

import pytest

import taskcore
from taskcore import Engine
from tests.support.processes import PATIENCE, ROOT, say, signals_come_again, until


def serves(path, deaf=""):
    """In a child."""
    engine = Engine(path, workers=2)

    @engine.task
    def work(n):
        say("inside", n)
        while n < 0 and not deaf:
            taskcore.current().check()
        if n < 0:
            threading.Event().wait()
        return n

    say("there")
    engine.serve_forever()
    say("ended", engine.health)


@pytest.fixture
def producer(path):
    with contextlib.closing(Engine(path, workers=0)) as engine:
        yield engine


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_serves_until_a_signal_ends_it_and_gives_back_what_runs(path, child, producer, number):
    worker = child(serves, path)
    worker.hears("there")
    for n in range(3):
        assert producer.submit("work", n).result(PATIENCE) == n
    long = producer.submit("work", -1)
    worker.hears("inside -1")
    worker.process.send_signal(number)
    worker.hears("ended stopped: closed")
    worker.end()
    task = long.snapshot()
    assert (task.phase, task.lapses, task.attempts) == ("ready", 0, 0)


def serves_while_signals_come_twice(path):
    """In a child."""
    signals_come_again()
    serves(path)


def test_a_signal_that_comes_while_another_is_answered_holds_up_nothing(path, child, producer):
    worker = child(serves_while_signals_come_twice, path, uses=(signals_come_again, serves))
    worker.hears("there")
    assert producer.submit("work", 1).result(PATIENCE) == 1
    worker.process.send_signal(signal.SIGTERM)
    worker.hears("ended stopped: closed")
    worker.end()


def test_a_second_signal_does_not_wait_for_a_body_that_does_not_hear(path, child, producer):
    worker = child(serves, path, "deaf")
    long = producer.submit("work", -1)
    worker.hears("there", "inside -1")
    worker.process.send_signal(signal.SIGINT)
    until(lambda: not worker_is_claiming(producer), "the worker takes no more")
    worker.process.send_signal(signal.SIGINT)
    assert worker.process.wait(PATIENCE) in (0, 1, -signal.SIGINT)
    producer.claim("nothing")  # whoever looks next takes back what the end cut off
    until(lambda: long.snapshot().phase == "ready", "given back")
    assert long.snapshot().lapses == 0


def worker_is_claiming(producer):
    """Whether a task is taken within a moment."""
    future = producer.submit("work", 1)
    with contextlib.suppress(TimeoutError):
        future.result(0.5)
    return not future.cancel()


def test_a_pause_does_not_end_a_worker(path, child, producer):
    worker = child(serves, path)
    worker.hears("there")
    producer.pause()
    future = producer.submit("work", 1)
    with pytest.raises(TimeoutError):
        future.result(0.3)
    assert worker.process.poll() is None
    producer.resume()
    assert future.result(PATIENCE) == 1
    worker.process.send_signal(signal.SIGTERM)
    worker.end(quiet=False)


def test_a_close_of_another_thread_ends_it(path):
    engine = Engine(path, workers=1)
    server = threading.Thread(target=engine.serve_forever)
    server.start()
    assert engine.task(lambda: 1, name="t").submit().result(PATIENCE) == 1
    engine.close()
    server.join(PATIENCE)
    assert not server.is_alive()


def test_an_engine_that_runs_nothing_does_not_serve(engine):
    with pytest.raises(RuntimeError, match="workers=0"):
        engine.serve_forever()


def test_it_waits_for_ever_nowhere_else(engine):
    with engine.transaction(), pytest.raises(RuntimeError, match=r"serve_forever\(\) inside transaction\(\)"):
        engine.serve_forever()


SCRIPT = """
import sys, threading
from taskcore import Engine
engine = Engine("tasks.db", workers=1)
inside = threading.Event()
body = engine.task(lambda: (inside.set(), threading.Event().wait()), name="long")
with engine:
    body.submit()
    inside.wait()
    # Not in the middle of an import: a Ctrl-C there may leave CPython's own locks held.
    threading.Timer(0.3, lambda: print("inside", flush=True)).start()
    {wait}
"""


NAPS = "while True: threading.Event().wait(0.1)"
"""Not one wait without end: a signal that comes just before that is heard by Python only once it is over."""


@pytest.mark.parametrize("wait", ["engine.serve_forever()", "engine.run()", NAPS])
def test_on_a_terminal_the_first_ctrl_c_says_what_it_waits_for_and_the_second_does_not_wait(tmp_path, wait):
    (tmp_path / "script.py").write_text(SCRIPT.format(wait=wait))
    terminal, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "script.py"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=its, stdout=its, stderr=its, start_new_session=True,
    )  # fmt: skip
    os.close(its)
    said = b""

    def hears(words):
        nonlocal said
        while words not in said:
            said += os.read(terminal, 4096)

    try:
        hears(b"inside")
        process.send_signal(signal.SIGINT)
        hears(b"stopping: waiting for #1 long to come back; Ctrl-C again does not wait")
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    with contextlib.closing(Engine(tmp_path / "tasks.db", workers=1)) as engine:
        engine.task(lambda: 1, name="long")
        engine.run()
        assert (engine.tasks.counts(), engine.tasks.first().lapses) == ({"succeeded": 1}, 0), said
