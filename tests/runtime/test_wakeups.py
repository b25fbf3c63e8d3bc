"""Where the loop's thread sleeps: it wakes in time, whatever other threads take from it."""

from __future__ import annotations

import logging
import threading
import time

import pytest

import taskcore
from taskcore.runtime.wakeups import Inbox

PATIENCE = 20.0
THEFTS = 250


def test_a_sleeper_returns_in_time_though_others_take_what_woke_it():
    """The theft that hung CPython 3.11's and 3.12's `SimpleQueue.get(timeout=…)`, usually within a thousand tries."""
    inbox, beats, over = Inbox(), [0], threading.Event()

    def sleeper():
        while not over.is_set():
            inbox.sleep(0.0005)
            beats[0] += 1

    thread = threading.Thread(target=sleeper, daemon=True)
    thread.start()
    for theft in range(THEFTS):
        before, began = beats[0], time.monotonic()
        while beats[0] == before and time.monotonic() - began < 0.00048:
            pass  # until the sleeper is about to give up
        inbox.put(theft)
        inbox.take_all()
        before, began = beats[0], time.monotonic()
        while beats[0] == before:
            assert time.monotonic() - began < PATIENCE, f"asleep for ever after {theft} thefts"
    over.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_sleeper_hears_what_was_rung_before_it_lay_down_and_leaves_the_item_there():
    inbox = Inbox()
    inbox.wake()
    inbox.wake()
    inbox.sleep(PATIENCE)  # returns at once
    inbox.put("a report")
    inbox.sleep(PATIENCE)
    inbox.sleep(PATIENCE)  # an item that nobody took keeps everybody awake
    assert inbox.take_all() == ["a report"] and len(inbox) == 0
    began = time.monotonic()
    inbox.sleep(0.01)  # nothing is left of the alarm
    assert time.monotonic() - began >= 0.009


def test_a_loop_that_oversleeps_is_woken_by_whoever_waits_and_said_in_the_log(caplog):
    engine = taskcore.Engine(":memory:", workers=1)

    @engine.task
    def same(value):
        return value

    assert same.submit(0).result(PATIENCE) == 0
    nobodys = engine.submit("what nobody here runs")
    scheduler = engine._scheduler
    sleep, asleep = scheduler.block, threading.Event()

    def sleeps_for_ever(wait):
        asleep.set()
        scheduler.block = sleep
        scheduler.inbox._alarm.acquire(timeout=PATIENCE)

    scheduler.block = sleeps_for_ever
    scheduler.wake()
    assert asleep.wait(PATIENCE)
    with caplog.at_level(logging.ERROR, "taskcore"), pytest.raises(TimeoutError):
        nobodys.result(3)
    engine.close()
    assert any("slept" in record.getMessage() for record in caplog.records)
