"""Where the loop's thread sleeps: it wakes in time, whatever other threads take from it."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

import pytest

import taskcore
from taskcore.runtime.wakeups import Hatch, Inbox
from tests.support.processes import until

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


def test_an_item_wakes_one_of_those_who_sleep_for_it_and_the_last_to_lie_down_first():
    hatch, rounds, asleep = Hatch(), Counter(), threading.Semaphore(0)

    def serve(name):
        alarm = threading.Lock()
        alarm.acquire()
        while True:
            try:
                item = hatch.take()
            except IndexError:
                rounds[name] += 1
                asleep.release()
                hatch.sleep(alarm)
                continue
            if item is None:
                return

    threads = [threading.Thread(target=serve, args=(name,), daemon=True) for name in ("first", "second")]
    for number, thread in enumerate(threads, 1):
        thread.start()
        assert asleep.acquire(timeout=PATIENCE)
        until(lambda number=number: len(hatch._sleepers) == number, "it sleeps")
    for _ in range(3):
        hatch.put("an item")
        hatch.wake()
        assert asleep.acquire(timeout=PATIENCE)
        until(lambda: len(hatch._sleepers) == 2, "both sleep")
    assert rounds == {"first": 1, "second": 4}
    hatch.put(None)  # somebody was kept from waking: whoever wakes next does it for both
    hatch.put(None)
    hatch.wake()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_what_is_put_down_while_somebody_lies_down_is_found():
    hatch, alarm = Hatch(), threading.Lock()
    alarm.acquire()
    hatch.put("an item")  # after it looked, and before it slept
    hatch.sleep(alarm)
    assert hatch.take() == "an item" and not hatch._sleepers
