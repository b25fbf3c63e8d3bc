"""When an engine looks for what other processes committed: at once where the system tells of it, else by the clock.

Linux does: every commit, of whatever program, is written to the database's log, and whoever watches that file is told.
So nobody who writes has to know who waits, and a process that dies leaves nothing behind. A watch costs writers nothing
while all are busy: it fires once, and is set only by an engine that is about to sleep.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

POLL_BUSY: Final = 0.05
POLL_IDLE: Final = 0.5
"""Seconds between looks for other processes' commits, where nothing tells of them, and for processes that died."""
DEAF: Final = 10.0
"""Seconds from a try to be told of them that failed to the next: what it was short of may be there again."""
NAP: Final = 0.002
"""Seconds of sleep from which on it is worth to be woken; and, at first, between two wakings."""
SELDOM: Final = 0.016
"""Seconds between two wakings of who has nothing to do, at most, while others commit all the time: what comes for it
may wait as long."""
LONE: Final = 0.05
"""Seconds after its own work, or a commit of its own, from which on an engine that seems to be alone with its file lets
itself be woken."""
COMPANY: Final = 60.0
"""Seconds that another process's commit is remembered for."""
FIRST_ECHO: Final = 0.001
LAST_ECHO: Final = 0.1
"""Seconds from the first write of a commit to the looks that may not find it yet: it is seen when its last is done."""
SHARE: Final = 20
"""A look is followed by so many times its own length before the next waking."""


class Lookout:
    """One engine's. Used by the thread that turns, but for what says otherwise."""

    wake: Callable[[], None]
    """Ends the sleep of the thread that turns."""

    def __init__(self, log: str | None) -> None:
        """`log`: the path of the file to watch, if any."""
        self._bell = Bell(log, self._heard) if log is not None and sys.platform == "linux" else None
        self._at = 0.0
        self._rung = True  # somebody says that there is something to be seen
        self._early = False  # and that may be before it can be seen: of a commit, only the first part may be written
        self._echo = 0.0  # seconds to the next look for what was not seen then; 0: there is none
        self._gap = NAP
        self._from = self._armed_at = 0.0  # when to listen again, and when it began to last
        self._deaf_until = 0.0  # after a try to listen that failed
        self._company = float("-inf")  # when another process's commit was seen last

    def at_once(self) -> None:
        """Look with the next turn. From any thread."""
        self._rung = True

    def _heard(self) -> None:
        self._early = self._rung = True
        self.wake()

    def is_due(self, real: float) -> bool:
        """Whether to look now, and then to say what was `seen`."""
        rung, self._rung = self._rung, False  # before the look: what comes from now on rings again
        if self._early:
            self._early, self._echo = False, FIRST_ECHO
        return rung or real >= self._at

    def seen(self, something: bool, real: float, took: float, *, busy: bool, keen: bool) -> None:
        """The look that began at `real` (monotonic) took so many seconds. `busy`: somebody waits here, or runs. `keen`:
        or wants to hear of an end by a callback, a loop or a wait of several futures."""
        self._at = real + (POLL_BUSY if busy else POLL_IDLE)
        if something:
            self._company, self._echo = real, 0.0
            self._gap = NAP if keen else min(2 * self._gap, SELDOM)  # most of a stream is not for who has nothing
            self._from = real + max(self._gap, SHARE * took)
            return
        if not self._echo:
            self._gap = NAP
            return
        if real - self._company > COMPANY:  # it was a step of a body's here, or what a user wrote
            self._from = max(self._from, real + LONE)
        self._at = min(self._at, real + self._echo)
        self._echo = 0.0 if self._echo > LAST_ECHO else 2 * self._echo

    def wait(self, length: float, real: float, *, busy: bool, idle: bool) -> float:
        """For how many of these seconds to sleep. `idle`: nothing came of this turn for this engine."""
        if busy:  # the time of the next look may have been set when there was nothing
            self._at = min(self._at, real + POLL_BUSY)
        length = 0.0 if self._rung else max(0.0, min(length, self._at - real))
        if self._bell is None or self._bell.armed or length <= NAP or real < self._deaf_until:
            return length
        if not idle and real - self._company > COMPANY:
            self._from = max(self._from, real + LONE)
        elif not idle:  # what it heard of was for this engine: so may be what comes next
            self._gap, self._from = NAP, min(self._from, self._armed_at + NAP)
        if real < self._from:
            return min(length, self._from - real)
        if not self._bell.arm():
            self._deaf_until = real + DEAF
            return length
        self._armed_at = real
        self._early = self._rung = True  # of what was written before that, nobody tells
        return 0.0

    def close(self) -> None:
        """Listen no more. From any thread."""
        if self._bell is not None:
            self._bell.close()

    def forked(self) -> None:
        """In a child: the ear is the parent's."""
        if self._bell is not None:
            self._bell.forked()


PATIENCE: Final = 1.0
"""Seconds that whoever closes waits for the thread that opens."""
_EVENT: Final = struct.Struct("iIII")  # `struct inotify_event`: watch, mask, cookie, 0; only in folders a name follows
_MODIFIED: Final = 0x2
_IGNORED: Final = 0x8000  # the watch is over: it fired, was removed, or its file was
_DELETED_ITSELF: Final = 0x400
_ONCE: Final = 0x80000000


class Bell:
    """Rings when a file is written to, once for each time that it is armed. Linux's inotify, which Python has no name
    for."""

    def __init__(self, path: str, ring: Callable[[], None]) -> None:
        self._path = os.fsencode(path)
        self._ring = ring
        self._libc: Any = None
        self._ear = -1
        self._closed = False
        self._lock = threading.Lock()  # over the descriptor's life
        self.armed = False

    def arm(self) -> bool:
        """Ring at the next write. → False where that is not to be had now."""
        with self._lock:
            if self._closed:
                return False
            try:
                if self._ear < 0:
                    self._open()
                self.armed = True  # before: it may ring at once
                if self._libc.inotify_add_watch(self._ear, self._path, _MODIFIED | _ONCE) >= 0:
                    return True
            except (ImportError, AttributeError, OSError, RuntimeError):
                pass  # no ctypes in this Python, no such call in this system, no descriptor to be had, or no thread
            self.armed = False
            return False

    def _open(self) -> None:
        with _importing:
            import ctypes  # slow to import, for those who never wait

        self._libc = ctypes.CDLL(None)
        ear = self._libc.inotify_init1(os.O_CLOEXEC)
        if ear < 0:
            raise OSError("the user's inotify instances or descriptors are all in use")
        self._ear = ear
        try:
            threading.Thread(target=self._listen, args=(ear,), name="taskcore-lookout", daemon=True).start()
        except RuntimeError:  # else the next try would listen with nobody to hear
            os.close(ear)
            self._ear = -1
            raise

    def _listen(self, ear: int) -> None:
        while not self._closed:
            masks = [mask for _, mask, _, _ in _EVENT.iter_unpack(os.read(ear, 4096))]
            if any(mask & (_MODIFIED | _IGNORED) for mask in masks):
                self.armed = False
            if any(mask & _MODIFIED for mask in masks) and not self._closed:
                self._ring()
        os.close(ear)

    def close(self) -> None:
        self._closed = True  # first: what is being opened meanwhile ends by itself
        if not self._lock.acquire(timeout=PATIENCE):  # a Ctrl-C in an import may hold up another one's for good
            return
        try:
            if self._ear >= 0:  # a watch that is removed is an event too, and lets the listener go
                watch = self._libc.inotify_add_watch(self._ear, b"/", _DELETED_ITSELF)
                self._libc.inotify_rm_watch(self._ear, watch)
                self._ear = -1
        finally:
            self._lock.release()

    def forked(self) -> None:
        self._closed, self._lock = True, threading.Lock()
        if self._ear >= 0:
            os.close(self._ear)
            self._ear = -1


_importing: Final = threading.RLock()
"""A fork waits for it: what another thread has half imported at that moment, the child could never import."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release
    )
