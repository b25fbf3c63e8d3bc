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


class Takers:
    """Threads that take items from a hatch, each of which is a gate that it then waits at."""

    def __init__(self, *names):
        self.hatch, self.took, self.rounds = Hatch(), [], Counter()
        self.hatch._ring = self.counted(self.hatch._ring)
        self.threads = [threading.Thread(target=self.serve, args=(name,), daemon=True) for name in names]
        for number, thread in enumerate(self.threads, 1):
            thread.start()
            self.all_sleep_but(len(names) - number, of=len(names))

    def counted(self, ring):
        def counting():
            ring()
            self.rounds["rung"] += 1

        return counting

    def serve(self, name):
        alarm = threading.Lock()
        alarm.acquire()
        while (gate := self.hatch.wait(alarm)) is not None:
            self.took.append(name)
            assert gate.wait(PATIENCE)

    def all_sleep_but(self, some, of=None):
        asleep = (of or len(self.threads)) - some
        until(lambda: len(self.hatch._sleepers) == asleep, f"{asleep} do not sleep")

    def give(self, *items):
        for item in items:
            self.hatch.put(item)
        self.hatch.wake()

    def end(self):
        self.give(*[None] * len(self.threads))
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def test_an_item_wakes_one_of_those_who_sleep_for_it_the_one_that_lay_down_last():
    takers, gate = Takers("first", "second", "third"), threading.Event()
    gate.set()
    for _ in range(3):
        before = len(takers.took)
        takers.give(gate)
        until(lambda before=before: len(takers.took) > before, "nobody came")
        takers.all_sleep_but(0)
    assert takers.took == ["third"] * 3 and takers.rounds["rung"] == 3
    takers.end()


def test_who_finds_more_than_it_takes_wakes_the_next():
    takers, gate = Takers("first", "second", "third"), threading.Event()
    takers.give(gate, gate)
    until(lambda: len(takers.took) == 2, "one waits at the gate, and nobody comes for the other item")
    takers.all_sleep_but(2)
    gate.set()
    takers.all_sleep_but(0)
    assert sorted(takers.took) == ["second", "third"] and takers.rounds["rung"] == 2
    takers.end()


def test_what_is_put_down_while_somebody_lies_down_is_found():
    hatch, alarm = Hatch(), threading.Lock()
    alarm.acquire()
    hatch.put("an item")  # after it looked, and before it slept
    assert hatch.wait(alarm) == "an item" and not hatch._sleepers
