"""Who wants to hear what moves: each is told at most 20 times a second, in a thread of their own or where they say."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final

from taskcore.api.context import Context
from taskcore.core.clock import monotonic, pause
from taskcore.core.errors import BadFile, EngineClosed
from taskcore.core.logger import tell
from taskcore.runtime.wakeups import Inbox, Latch
from taskcore.store import changes, queries
from taskcore.store.busy import Trouble

if TYPE_CHECKING:
    from taskcore.core.model import Change

GAP: Final = 0.05
"""Seconds between two changes that are told."""
MOST: Final = 200
"""Messages of worker processes that wait to be told; those beyond them are not listed."""
AGAIN: Final = 1.0
"""Seconds until what `via` did not take is offered again."""
CALLS: Final = 1.0
"""Seconds that whoever ends the listening waits for a call that goes on: it may wait for the very thread that ends
it."""

Callback = Callable[["Change"], object]
Parent = Callable[[Collection[int]], object]
"""Called with the ids of what moved."""
Via = Callable[..., object]


class Changes:
    """One engine's. Every method may be called from any thread; there is no thread before somebody listens."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.listeners: list[Listener] = []
        self._starting = threading.Lock()  # over the decision to start the thread
        self._thread: threading.Thread | None = None
        self._news: Inbox[None] = Inbox()
        self._ending = Latch()
        self._ended = False
        self._unknown = False  # something moved, of which it is not known here what
        self._elsewhere: deque[Collection[int]] = deque(maxlen=MOST)  # what worker processes moved
        self._parent: Parent | None = None

    def listen(self, callback: Callback, via: Via | None) -> Callable[[], None]:
        """Call back from now on. → a function that ends this, after which nothing is called. `EngineClosed`."""
        if not callable(callback):
            raise TypeError(f"on_change takes a function of a change, not {callback!r}")
        if via is not None and not callable(via):
            raise TypeError(f"via is called with a function and its arguments; {via!r} cannot be called")
        context = self._context
        if context.closed or self._ended:
            raise EngineClosed(context.path)
        if context.asleep:  # a module that a worker process imports: the program itself listens
            return lambda: None
        self._start()
        listener = Listener(callback, via)
        self.listeners.append(listener)  # first: the thread would have nothing noted any more for nobody

        def end() -> None:
            with contextlib.suppress(ValueError):  # a second time
                self.listeners.remove(listener)
            self._news.wake()
            listener.end(CALLS)

        try:
            if not (context.file.held_up or context.file.current):  # else the thread does it, when it can
                context.file.read(changes.watch)
            context.loop.start()  # which notices what other processes commit
        except BaseException:
            end()
            raise
        self._news.wake()
        context.scheduler.wake()
        return end

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name="taskcore-changes", daemon=True)
                thread.start()
                self._thread = thread

    def tell_parent(self, parent: Parent | None) -> None:
        """In a worker process: the program that it works for wants to know what is moved here, or no more."""
        self._parent = parent  # first: the thread would have nothing noted any more for nobody
        if parent is not None:
            self._start()
            with contextlib.suppress(Trouble, BadFile):  # then the thread does it, when it can
                self._context.file.read(changes.watch)
        self._news.wake()

    def committed(self) -> None:
        """Called after each commit of this engine's."""
        if self.listeners or self._parent is not None:
            self._news.wake()

    def foreign(self) -> None:
        """Another process committed."""
        if self.listeners:
            self._unknown = True
            self._news.wake()

    def moved_elsewhere(self, task_ids: Collection[int]) -> None:
        """A worker process of this engine's did. From any thread."""
        self._elsewhere.append(task_ids)
        self._news.wake()

    def end(self, timeout: float) -> None:
        """Call nothing any more. With a `timeout` in seconds, what moved until now is told before, if that is done in
        time."""
        thread, deadline, self._ended = self._thread, monotonic() + timeout, True
        self._ending.open()
        self._news.wake()
        if timeout > 0 and thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        for listener in tuple(self.listeners):
            listener.end(max(0.0, deadline - monotonic()))
        self.listeners.clear()

    def _serve(self) -> None:
        while not self._ended:
            stranded = any(listener.stranded for listener in tuple(self.listeners))
            self._news.sleep(AGAIN if stranded else threading.TIMEOUT_MAX)
            self._tell(self._read())
            self._ending.wait(GAP)
        self._tell(self._read())

    def _read(self) -> Change | None:
        """What moved since it was last read, if anything did. Never raises."""
        file = self._context.file
        try:
            if file.held_up:  # what the other connection reads tells nothing of what moves on this one
                if not self._ended:
                    self._news.wake()
                return None
            if self._context.processes is not None:
                self._context.processes.tell_of_changes(bool(self.listeners))
            if not self.listeners and self._parent is None:
                file.read(changes.forget)
                self._elsewhere.clear()
                return None
            unknown, self._unknown = self._unknown, False
            moved, all_known = file.read(changes.take)
            if self._parent is not None and moved:
                self._parent(moved)
            for _ in range(len(self._elsewhere)):
                moved.update(self._elsewhere.popleft())
            unknown = unknown or not all_known
            if not self.listeners or not (moved or unknown):
                return None
            from taskcore.core.model import Change

            return Change(frozenset(moved), unknown, self._context.counts(queries.ALL))
        except EngineClosed:
            return None
        except (Trouble, BadFile, MemoryError):  # the loop says what is wrong; whoever listens hears of it later
            self._unknown = True
            if not self._ended:
                self._news.wake()
            return None

    def _tell(self, change: Change | None) -> None:
        for listener in tuple(self.listeners):
            if change is not None or listener.stranded:
                listener.offer(change)


class Listener:
    """One callback. What it has not been told when more comes is told together."""

    def __init__(self, callback: Callback, via: Via | None) -> None:
        self._callback, self._via = callback, via
        self._untold: deque[Change] = deque()  # one at most: taking and putting it down is one step for each thread
        self._sent = False  # `via` has the call, and has not made it yet
        self.stranded = False
        """Whether `via` did not take it: it is tried again, for a window may not have come to its loop yet."""
        self._over = False
        self._caller: int | None = None  # the thread that calls back now
        self._said = ""  # what failed last

    def offer(self, change: Change | None) -> None:
        """Tell it, with what it has not been told yet, or let `via` do so. Called by the one thread that reads the
        changes."""
        before = self._take()
        change = _together(before, change) if before and change else before or change
        if change is None:
            return
        self._untold.append(change)
        if self._via is None:
            self._call()
        elif not self._sent:
            self._sent, self.stranded = True, False  # before `via` calls, perhaps at once
            try:
                self._via(self._call, change)
            except BaseException as error:  # a loop that is closed, a window that is gone
                self._sent, self.stranded = False, True
                self._failed("via", self._via, error)

    def _take(self) -> Change | None:
        try:
            return self._untold.pop()
        except IndexError:
            return None

    def _call(self, _: object = None) -> None:
        """In the thread that the callback wants."""
        self._caller = threading.get_ident()  # first: whoever ends this sees it, or is seen here
        try:
            self._sent = False  # what comes from now on is a call of its own
            change = self._take()
            if change is not None and not self._over:
                self._callback(change)
        except Exception as error:
            self._failed("callback", self._callback, error)
        except BaseException as error:  # a Ctrl-C or `sys.exit` in a thread of the user's is their loop's affair
            if self._via is not None:
                raise
            self._failed("callback", self._callback, error)
        finally:
            self._caller = None

    def _failed(self, what: str, which: Any, error: BaseException) -> None:
        """Say so, but not twenty times a second."""
        said = f"{type(error).__name__}: {error}"
        if said != self._said and not self._over:
            self._said = said
            name = getattr(which, "__qualname__", type(which).__name__)
            tell(logging.ERROR, "on_change: the %s %s failed", what, name, exc_info=error)

    def end(self, timeout: float) -> None:
        """No call begins from now on. One that goes on in another thread is waited for, at most `timeout` s."""
        self._over = True
        deadline = monotonic() + timeout
        while self._caller not in (None, threading.get_ident()) and monotonic() < deadline:
            pause(0.001)


def _together(one: Change, other: Change) -> Change:
    from dataclasses import replace

    ids, more = one.ids | other.ids, one.more or other.more
    if len(ids) > changes.MOST:
        ids, more = other.ids, True
    return replace(other, ids=ids, more=more)
