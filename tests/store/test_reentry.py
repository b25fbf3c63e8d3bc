"""Signal handlers and `__del__` that interrupt a call of the engine, at any statement, and use the engine."""

import contextlib
import signal
import threading

import pytest

from taskcore import Engine
from taskcore.store import connection as door
from tests.support.processes import until
from tests.support.rows import wrongs


def at_statement(monkeypatch, number, handler):
    """`handler()` is called in the middle of the next write of the main thread, behind its `number`-th statement."""
    begin, seen = door.File._begin, [0]

    class Watched:
        def __init__(self, tx):
            self.__dict__["tx"] = tx

        def __getattr__(self, name):
            found = getattr(self.tx, name)
            if name != "execute":
                return found

            def execute(*args):
                rows = found(*args)
                seen[0] += 1
                if seen[0] == number:
                    signal.raise_signal(signal.SIGUSR1)
                return rows

            return execute

        def __setattr__(self, name, value):
            setattr(self.tx, name, value)

    def watched(self, connection):
        tx = begin(self, connection)
        return Watched(tx) if threading.current_thread() is threading.main_thread() else tx

    monkeypatch.setattr(door.File, "_begin", watched)
    before = signal.signal(signal.SIGUSR1, lambda *_: handler())
    return before, seen


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("way", ["reads", "submits"])
def test_a_handler_that_interrupts_a_submit_does_it_no_harm(path, monkeypatch, number, way):
    heard = []
    with contextlib.closing(Engine(path, workers=0)) as engine:
        with engine.job("job") as job:
            first = engine.submit("f", 0)

        def handler():
            if way == "reads":
                heard.append(engine.tasks.where(id=first).first().id)
            else:
                try:
                    heard.append(engine.submit("g").id)
                except RuntimeError as error:
                    heard.append(str(error))

        with monkeypatch.context() as patch:
            before, seen = at_statement(patch, number, handler)
            try:
                child = engine.task("f").options(parent=job, key="k", tags=["t"]).submit(1)
            finally:
                signal.signal(signal.SIGUSR1, before)
        assert len(heard) == (seen[0] >= number)
        assert all(text == first.id if way == "reads" else "it cannot store anything" in text for text in heard)
        assert child.snapshot().phase == "ready" and engine.tasks.counts() == {"ready": 2, "suspended": 1}
        assert engine.check() == []
    assert wrongs(path) == []


def test_a_del_that_reads_while_tasks_run_disturbs_nothing(path):
    class Reads:
        def __init__(self, engine):
            self.engine, self.cycle = engine, self

        def __del__(self):
            with contextlib.suppress(Exception):
                self.engine.tasks.where(id=1).first()

    import gc

    before = gc.get_threshold()
    gc.set_threshold(60, 2, 2)
    try:
        with Engine(path, workers=2) as engine:
            work = engine.task(lambda n: [Reads(engine) for _ in range(3)] and n, name="f")
            for n in range(200):
                Reads(engine)
                work.submit(n)
            until(lambda: engine.tasks.counts() == {"succeeded": 200}, "all have run")
            assert engine.health.state == "ok" and engine.check() == []
    finally:
        gc.set_threshold(*before)
