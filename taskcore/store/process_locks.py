"""Who is alive: a lock that the kernel drops at death is proof, a process number or a silence is not.

Beside the database lies one small file. Every engine that runs tasks holds the lock of one byte in it, its *lane*, for
as long as it lives, and whoever can take a lane's lock knows its holder to be dead. A lane also has a page in which the
engine's threads note each task that they begin, through shared memory and so without a system call; the page outlives
the process, and tells the next one which of the claimed tasks had begun.

POSIX drops all of a process's locks on a file when the process closes *any* descriptor of it. So there is one
descriptor a side file in a process, kept here and never closed while one of its engines holds a lane.
"""

from __future__ import annotations

import itertools
import mmap
import os
import struct
import sys
import threading
from typing import Final

if sys.platform == "win32":  # pragma: no cover
    import msvcrt
else:
    import fcntl

_PAGE: Final = max(131072, mmap.ALLOCATIONGRANULARITY)
_LOCKS_AT: Final = 1 << 30  # far beyond the pages: where locks are mandatory, they must not stop a reader
_WORD: Final = struct.Struct("=q")
RING: Final = _PAGE // _WORD.size - 1

_open_files: dict[str, Lanes] = {}
_registry: Final = threading.Lock()  # held while a side file is opened or closed; nobody waits for anything inside


class Lanes:
    """The lanes of one side file, as this process sees them."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        self._own: set[int] = set()
        self._pages: dict[int, mmap.mmap] = {}
        self._users = 0
        self._lock = threading.Lock()  # over lock, test and unlock: a process's own lock never stops itself

    def take(self, lane: int) -> bool:
        """Hold this lane from now on; False if somebody has it."""
        with self._lock:
            if lane in self._own or not self._try(lane):
                return False
            self._own.add(lane)
            return True

    def give_up(self, lane: int) -> None:
        with self._lock:
            if lane in self._own:
                self._own.discard(lane)
                self._unlock(lane)

    def is_dead(self, lane: int) -> bool:
        """Whether nobody holds this lane."""
        with self._lock:
            if lane in self._own or not self._try(lane):
                return False
            self._unlock(lane)
            return True

    def page(self, lane: int, worker: int) -> Marks:
        """The page of a lane that this process holds, made blank for this worker."""
        with self._lock:
            page = self._pages.get(lane)
            if page is None:
                if os.fstat(self._descriptor).st_size < (lane + 1) * _PAGE:
                    os.ftruncate(self._descriptor, (lane + 1) * _PAGE)
                # Never closed before the descriptor is: mmap holds a duplicate, and closing that drops our locks.
                page = self._pages[lane] = mmap.mmap(self._descriptor, _PAGE, offset=lane * _PAGE)
        page[:] = bytes(_PAGE)
        _WORD.pack_into(page, 0, worker)
        return Marks(page)

    def begun(self, lane: int, worker: int) -> set[int] | None:
        """The tasks a dead worker's threads had begun of late; `None` if its page does not tell."""
        data = self._read(lane)
        words = [word for (word,) in _WORD.iter_unpack(data[: len(data) // _WORD.size * _WORD.size])]
        if not words or words[0] != worker:
            return None
        return {word for word in words[1:] if word}

    def _read(self, lane: int) -> bytes:
        if sys.platform == "win32":  # pragma: no cover
            with self._lock:
                os.lseek(self._descriptor, lane * _PAGE, os.SEEK_SET)
                return os.read(self._descriptor, _PAGE)
        return os.pread(self._descriptor, _PAGE, lane * _PAGE)

    def _try(self, lane: int) -> bool:
        try:
            if sys.platform == "win32":  # pragma: no cover
                os.lseek(self._descriptor, _LOCKS_AT + lane, os.SEEK_SET)
                msvcrt.locking(self._descriptor, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _LOCKS_AT + lane)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(self, lane: int) -> None:
        if sys.platform == "win32":  # pragma: no cover
            os.lseek(self._descriptor, _LOCKS_AT + lane, os.SEEK_SET)
            msvcrt.locking(self._descriptor, msvcrt.LK_UNLCK, 1)
        else:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, _LOCKS_AT + lane)


class Marks:
    """The tasks that one worker's threads began last, as its successor will read them after a crash.

    A ring for all threads together, several times as long as what a worker may hold: so every task that began and whose
    end is not in the file yet is in it, whether its body was running or had returned.
    """

    __slots__ = ("_next", "_page")

    def __init__(self, page: mmap.mmap) -> None:
        self._page = page
        self._next = itertools.count().__next__  # one step for the interpreter: threads share it without a lock

    def begin(self, task_id: int) -> None:
        """This task's body is about to begin. From any thread; costs no system call."""
        _WORD.pack_into(self._page, (1 + self._next() % RING) * _WORD.size, task_id)


def lanes_of(database: str) -> Lanes:
    """The lanes beside this database file; give them back with `leave`."""
    path = os.path.realpath(database) + "-taskcore"
    with _registry:
        lanes = _open_files.get(path)
        if lanes is None:
            lanes = _open_files[path] = Lanes(path)
        lanes._users += 1
        return lanes


def leave(lanes: Lanes) -> None:
    """One engine of this process less that uses them. The last one closes the file, if it holds no lane any more."""
    with _registry:
        lanes._users -= 1
        if lanes._users == 0 and not lanes._own:
            _open_files.pop(lanes._path, None)
            for page in lanes._pages.values():
                page.close()
            os.close(lanes._descriptor)


def _forked() -> None:
    """In a child: the locks are the parent's, and so are its lanes. Nothing is closed: the descriptors are shared."""
    global _registry
    _registry = threading.Lock()  # type: ignore[misc]
    _open_files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
