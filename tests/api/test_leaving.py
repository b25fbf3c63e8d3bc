"""Processes that die while they end: what they ran pays no lapse for it. Other deaths count."""

import contextlib
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from taskcore import Engine, TaskFailed
from taskcore.store import reports, workers
from taskcore.store.process_locks import lanes_of, leave
from tests.support.processes import PATIENCE, say, until


def leaves(path, how, lapses="3"):
    """In a child: a body runs for long, and the program comes to its end; the test kills it then."""

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    global engine  # held until the very end
    engine = Engine(path, workers=1)
    inside = threading.Event()

    @engine.task(key="long", max_lapses=int(lapses))
    def body():
        inside.set()
        threading.Event().wait()

    body.submit()
    engine.start()
    assert inside.wait(PATIENCE)
    if how == "exit":
        say("leaving")
        return
    say("leaving" if how == "close" else "inside")
    if how == "close":
        engine.close()
    threading.Event().wait(PATIENCE)


def is_leaving(path):
    """Whether the only engine has said so."""
    with contextlib.closing(Engine(path, workers=0)) as engine:
        rows = engine._file.read(workers.alive)
        lanes = lanes_of(str(path))
        try:
            return any(lanes.spared(lane, worker, 1) for worker, lane in rows)
        finally:
            leave(lanes)


@pytest.mark.parametrize("how", ["exit", "close", "SIGTERM"])
def test_a_process_that_is_killed_while_it_ends_costs_no_lapse(path, child, how):
    for _ in range(2):
        one = child(leaves, path, how)
        if how == "SIGTERM":
            one.hears("inside")
            one.process.send_signal(signal.SIGTERM)
        else:
            one.hears("leaving")
        until(lambda: is_leaving(path), "it says in the file that it leaves")
        one.kill()
        with contextlib.closing(Engine(path, workers=0)) as engine:
            assert engine.tasks.first().phase == "running"
    with contextlib.closing(Engine(path, workers=1)) as engine:
        engine.task(lambda: "done", name="body")
        engine.run()
        task = engine.tasks.first()
        assert (task.phase, task.result, task.lapses, task.attempts) == ("succeeded", "done", 0, 3)
        assert {a.error for a in engine.future(1).history()[:2]} == {"its process died while it ended"}
        assert engine.check() == []


def test_what_may_run_at_most_once_does_not_run_again_after_a_process_that_left(path, child):
    one = child(leaves, path, "exit", 0)
    one.hears("leaving")
    until(lambda: is_leaving(path), "it says in the file that it leaves")
    one.kill()
    with contextlib.closing(Engine(path, workers=1)) as engine:
        engine.task(lambda: "again", name="body")
        engine.run()
        task = engine.tasks.first()
        assert task.phase == "failed"
        assert task.last_error == "lost: its process died while it ended (rerun() runs it again)"
        assert "allowed" not in engine.future(1).explain()


def kills_itself(path):
    engine = Engine(path, workers=1)
    body = engine.task(lambda: os.kill(os.getpid(), signal.SIGKILL), name="body", key="x")
    body.submit()
    engine.run()


def test_a_body_that_kills_its_process_is_lost_at_its_cap_and_the_text_says_what_to_do(path, child):
    for _ in range(4):
        assert child(kills_itself, path).process.wait(PATIENCE) == -signal.SIGKILL
    with contextlib.closing(Engine(path, workers=1)) as engine:
        engine.task(lambda: "mended", name="body")
        engine.run()
        future = engine.future(1)
        with pytest.raises(TaskFailed, match=r"its process died \(4 times; rerun\(\) runs it again, max_lapses"):
            future.result()
        assert future.rerun().result() == "mended"


def works_at_its_end(path):
    """In a child: a plain script, which does all its work while it ends."""
    global engine
    engine = Engine(path, workers=4)
    end = threading.Event()

    @engine.task(key=True)
    def good(n):
        threading.Event().wait(0.2)
        return n

    @engine.task(key=True)
    def poison():
        end.wait()
        os.kill(os.getpid(), signal.SIGKILL)

    engine.pause()
    for n in range(3):
        good.submit(n)
    poison.submit()
    threading._register_atexit(lambda: (engine.resume(), end.set()))  # called before the engine's own


def test_what_begins_only_while_the_process_ends_is_judged_as_ever(path, child):
    for _ in range(12):
        process = child(works_at_its_end, path).process
        if process.wait(PATIENCE) == 0:
            break
    with contextlib.closing(Engine(path, workers=0)) as engine:
        assert {task.name: task.phase for task in engine.tasks} == {"good": "succeeded", "poison": "failed"}
        assert engine.tasks.where(name="poison").first().lapses == 4


def test_the_mark_of_another_database_spares_nothing(path, child):
    with contextlib.closing(Engine(path, executor=ThreadPoolExecutor(1))) as engine:
        engine.task(lambda: 1, name="t").submit().result()
        assert engine.health.state == "ok"
    path.unlink()
    for _ in range(4):
        assert child(kills_itself, path).process.wait(PATIENCE) == -signal.SIGKILL
    with contextlib.closing(Engine(path, workers=0)) as engine:
        engine.claim("nothing")
        assert engine.tasks.first().lapses == 4


def test_a_close_that_is_refused_begins_no_end(path):
    with contextlib.closing(Engine(path, workers=1)) as engine:
        engine.task(lambda: 1, name="t").submit().result()
        with engine.transaction(), pytest.raises(RuntimeError):
            engine.close()
        assert not is_leaving(path)


def test_who_dies_while_it_ends_again_and_again_is_lost_in_the_end(engine, clock, monkeypatch):
    monkeypatch.setattr(reports, "SPARED", 3)
    future = engine.submit("f")
    for n in range(3):
        engine.claim("f")
        engine._file.write(reports.lapse, [future.id], clock.now(), reports.LEFT_IT, spared=True)
        assert (future.snapshot().phase, future.snapshot().lapses) == ("failed" if n == 2 else "ready", 0)
