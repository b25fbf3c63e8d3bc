"""How threads wait for one another.

None of these is a `SimpleQueue`: on CPython 3.11 and 3.12 its `get(timeout=…)` waits for ever when another thread takes
the item that woke it and its time is over by then. Here what wakes and what is put down are two things: taking reports,
which a body's thread does when it turns the loop itself, never touches the lock on which a sleeper waits with a time
limit, and `Lock.acquire(timeout=…)` returns in time whoever else takes the lock.
"""

from __future__ import annotations

import _thread
import collections
import contextlib
import threading
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Latch:
    """Opened at most once, waited for by one thread.

    A bare lock: a Ctrl-C inside `Condition.wait`, and so inside an `Event`'s, may leave its lock held for ever, or
    become "cannot release un-acquired lock".
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self, *_: Any) -> None:
        try:
            self._lock.release()
        except RuntimeError:
            pass  # a second time

    add_result = add_exception = add_cancelled = open  # as one of those that wait for a `Future`

    def wait(self, timeout: float) -> None:
        """Return once it is open, or after `timeout` s."""
        self._lock.acquire(timeout=timeout)


class Inbox(Generic[T]):
    """Items from any thread, and one alarm. Every method may be called by any thread."""

    __slots__ = ("_alarm", "_items")

    def __init__(self) -> None:
        self._items: collections.deque[T] = collections.deque()
        self._alarm = threading.Lock()  # held while nobody has rung; whoever sleeps waits to take it
        self._alarm.acquire()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Put an item down, and wake the sleeper."""
        self._items.append(item)  # before the alarm: whoever hears it finds the item
        self.wake()

    def wake(self) -> None:
        """Let the sleeper return, or, if nobody sleeps, the next one that wants to."""
        if self._alarm.locked():
            try:
                self._alarm.release()
            except RuntimeError:
                pass  # another thread rang in between

    def take_all(self) -> list[T]:
        """Take every item that is there. What was rung until now is answered by this."""
        self._alarm.acquire(blocking=False)  # before the items: what is put down later rings again
        items = self._items
        return [items.popleft() for _ in range(len(items))]

    def sleep(self, seconds: float) -> None:
        """Return once it is rung, but after this many seconds at the latest. Takes no item."""
        if not self._items:
            self._alarm.acquire(timeout=max(0.0, min(seconds, threading.TIMEOUT_MAX)))


class Hatch(Generic[T]):
    """Items from any thread, each for whichever of several threads comes for it first. Every method may be called by
    any thread.

    Nobody is woken for nothing. In a `SimpleQueue` of CPython 3.11 and 3.12 whoever slept in `get` lets the next one
    go, who mostly finds nothing, and takes the interpreter's lock from the one that has something to do.
    """

    __slots__ = ("_items", "_ring", "_sleepers", "put", "take")

    def __init__(self) -> None:
        self._items: collections.deque[T] = collections.deque()
        self._sleepers: list[threading.Lock] = []  # who lay down last is woken first: its caches are warm
        # Takes a sleeper off the list and wakes it, in one step for the interpreter: a Ctrl-C in between would leave it
        # asleep for ever. `IndexError` if nobody sleeps.
        self._ring = map(_thread.LockType.release, iter(self._sleepers.pop, None)).__next__
        self.put = self._items.append
        """Put an item down, in one step likewise; `wake` sees to it that somebody comes for it."""
        self.take = self._items.popleft
        """The oldest item; `IndexError` if there is none."""

    def __len__(self) -> int:
        return len(self._items)

    def wake(self) -> None:
        """Let a sleeper go, if there is something to take. It wakes the next when it comes and finds more: until then
        bodies that are short may be over."""
        if self._items and self._sleepers:
            with contextlib.suppress(IndexError):  # another thread woke them in between
                self._ring()

    def wait(self, alarm: threading.Lock) -> T:
        """Take an item once there is one. `alarm`: the calling thread's own, and held."""
        while True:
            self._sleepers.append(alarm)  # before it looks: whoever puts an item down later finds it here
            if not self._items:
                alarm.acquire()
            else:
                try:
                    self._sleepers.remove(alarm)
                except ValueError:
                    alarm.acquire()  # it is being rung
            with contextlib.suppress(IndexError):  # another thread came first
                item = self.take()
                self.wake()
                return item
