"""Who turns the scheduler: its own thread, the thread of a body that ended alone, or a caller that waits."""

from __future__ import annotations

import threading

import pytest

import taskcore
from taskcore.testing import InlineExecutor, ManualClock

PATIENCE = 20.0


@pytest.fixture
def engine():
    engine = taskcore.Engine(":memory:", workers=2)
    yield engine
    engine.close()


def test_a_callback_may_wait_for_the_result_of_another_task(engine):
    @engine.task
    def same(value):
        return value

    same.submit(0).result(PATIENCE)
    for number in range(50):
        got, called = [], threading.Event()

        def callback(future, got=got, called=called):
            got.append(same.submit(future.result() + 1).result(PATIENCE))
            called.set()

        same.submit(number).add_done_callback(callback)
        assert called.wait(PATIENCE)
        assert got == [number + 1]


def test_a_callback_may_close_the_engine(engine):
    @engine.task
    def same(value):
        return value

    same.submit(0).result(PATIENCE)
    closed = threading.Event()

    def callback(future):
        engine.close()
        closed.set()

    same.submit(1).add_done_callback(callback)
    assert closed.wait(PATIENCE)
    with pytest.raises(taskcore.EngineClosed):
        same.submit(2)


def test_a_chain_goes_on_link_by_link_and_in_order(engine):
    seen = []

    @engine.task
    def link(number, before):
        seen.append(number)
        return number

    with engine.transaction():
        last = None
        for number in range(300):
            last = link.submit(number, last)
    assert last.result(PATIENCE) == 299
    assert seen == list(range(300))


def test_a_chain_of_bodies_in_the_callers_thread_needs_no_deep_stack():
    engine = taskcore.Engine(":memory:", clock=ManualClock(0), executor=InlineExecutor())

    @engine.task
    def link(number, before):
        return number

    with engine.transaction():
        last = None
        for number in range(1200):  # CPython's stack has room for a thousand
            last = link.submit(number, last)
    assert last.result(PATIENCE) == 1199
    engine.close()


def test_what_has_ended_but_is_not_yet_in_the_file_stays_small_when_bodies_are_not_tiny(engine):
    """A crash takes what a turn has not settled: so no more is claimed ahead than a turn's time asks for."""
    pace = engine._scheduler.custody.pace
    pace.learn("parse", 0.008)
    pace.learn("noop", 0.000005)
    pace.learn("render", 2.0)
    assert pace.room("parse", 6, 0) <= 18
    assert pace.room("render", 6, 0) == 6
    assert pace.room("render", 6, 6) == 0
    assert pace.room("noop", 6, 0) > 500
    assert pace.room("never seen", 6, 2) == 4


def test_tasks_that_lapsed_twice_run_one_by_one_and_the_rest_goes_on_behind_them(tmp_path):
    """Whoever gives a suspect back, because others run beside it, must come again when they have ended."""
    path = tmp_path / "tasks.db"
    with taskcore.Engine(path, workers=0) as engine:
        with engine.transaction():
            ids = [engine.submit("part", number).id for number in range(40)]
        with engine.transaction() as db:  # as two dead processes leave them
            db.execute("UPDATE taskcore_task SET token = 2, attempts = 2, lapses = 2 WHERE id % 3 = 0")
    beside, running, lock = [], set(), threading.Lock()
    with taskcore.Engine(path, workers=3) as engine:

        @engine.task
        def part(number):
            with lock:
                running.add(number)
                beside.append((number, len(running)))
            threading.Event().wait(0.002)
            with lock:
                running.discard(number)
            return number

        assert engine.run() == {"succeeded": 40}
    suspects = {number for number, task_id in enumerate(ids) if task_id % 3 == 0}
    assert [number for number, _ in beside if number in suspects] == sorted(suspects)
    assert all(others == 1 for number, others in beside if number in suspects)


def test_a_turn_lets_those_write_first_who_wait_already(engine, monkeypatch):
    looked = threading.Event()

    class Tickets(set):
        def copy(self):
            looked.set()
            return set(self)

    monkeypatch.setattr("taskcore.store.line.PATIENCE", 600.0)
    noop = engine.task(lambda: None, name="noop")
    noop.submit().result(PATIENCE)
    line = engine._context.file.line
    line.tickets = Tickets()
    ticket = line.join()
    looked.clear()
    submitted = []
    submit = threading.Thread(target=lambda: submitted.append(noop.submit()))
    submit.start()
    assert looked.wait(PATIENCE)
    submit.join(PATIENCE)
    assert not submitted[0].done()
    line.leave(ticket)
    assert submitted[0].result(PATIENCE) is None
