"""How one process knows that another lives: a lock that the kernel drops at death is proof, a process number or a
silence is not.

Beside the database lies one small file, the *side file*. Every engine that runs tasks holds the lock of one byte in it,
its *lane*, for as long as it lives, and whoever can take a lane's lock knows its holder to be dead. A lane also has a
page in which the engine's threads note each task that they begin, through shared memory and so without a system call.
The page outlives the process, and tells the next one which of the claimed tasks had begun.

Where the kernel has locks of open file descriptions (Linux), a lane is held by one of those: it ends with the last
descriptor of that description and nothing else. Elsewhere the process loses all its locks on a file when it closes
*any* descriptor of it, as a program does that copies or checks the file; so locks are taken again at every beat. In
both cases one descriptor a side file is kept here, and never closed while one of its engines holds a lane.
"""

from __future__ import annotations

import binascii
import contextlib
import errno
import itertools
import mmap
import os
import stat
import struct
import sys
import threading
from typing import Final

from taskcore.core.errors import BadFile
from taskcore.store.identity import boot

if sys.platform == "win32":  # pragma: no cover
    import msvcrt
else:
    import fcntl

_PAGE: Final = max(131072, mmap.ALLOCATIONGRANULARITY)
_LOCKS_AT: Final = 1 << 30  # far beyond the pages: where locks are mandatory, they must not stop a reader
_WORD: Final = struct.Struct("=q")
_HEAD: Final = 3  # words before the ring: the worker, the boot of the machine in which it began, and
_LEAVES: Final = 2  # the worker again once it leaves
_LEAVING: Final = -1  # in the ring, where it began to: what stands behind that began later
RING: Final = _PAGE // _WORD.size - _HEAD
_FLOCK: Final = struct.Struct("hhqqi4x")  # `struct flock` of 64-bit Linux: type, whence, start, length, process
_DESCRIPTION_LOCKS: Final = sys.platform == "linux" and sys.maxsize > 1 << 32
_BUSY: Final = (errno.EAGAIN, errno.EACCES)

_open_files: dict[str, Lanes] = {}
_registry: Final = threading.Lock()  # held while a side file is opened or closed; nobody waits for anything inside


class Lanes:
    """The lanes of one side file, as this process sees them. Every method may be called from any thread."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = _open_side_file(path)
        self._own: set[int] = set()
        self._marks: dict[int, Marks] = {}
        self._users = 0
        self._by_description = _DESCRIPTION_LOCKS
        self._lock = threading.Lock()  # over lock, test and unlock: a process's own lock never stops itself
        self.trouble: str | None = None
        """Why the engines of this process are less safe than they should be, or `None`."""

    def take(self, lane: int) -> bool:
        """Hold this lane from now on; False if somebody has it."""
        with self._lock:
            if lane in self._own or not self._try(lane):
                return False
            self._own.add(lane)
            return True

    def give_up(self, lane: int) -> None:
        """Let go of this lane, if this process holds it."""
        with self._lock:
            if lane in self._own:
                self._own.discard(lane)
                marks = self._marks.pop(lane, None)
                if marks is not None:  # the map has a descriptor of its own: not until the engine is collected
                    marks.page = bytearray(_PAGE)
                self._set_lock(lane, False)

    def is_dead(self, lane: int) -> bool:
        """Whether nobody holds this lane. Never true of anything while the side file is not the one at its path."""
        with self._lock:
            if lane in self._own or not self._is_at_its_path() or not self._try(lane):
                return False
            self._set_lock(lane, False)
            return True

    def hold(self) -> None:
        """Make sure that the lanes of this process are held, whatever was done to the side file: called at every beat,
        and before anybody else is taken for dead.

        A side file that was deleted or replaced is made or opened anew, and the lanes are taken in that one. What
        cannot be mended is said in `trouble`.
        """
        with self._lock:
            if self._descriptor < 0:
                return
            try:
                if not self._is_at_its_path():
                    self._reopen()
                lost = [lane for lane in sorted(self._own) if not self._try(lane)]
            except (OSError, BadFile) as error:
                self.trouble = f"the file that proves this process alive cannot be used: {error}"
                return
            self.trouble = None
            if lost:
                self.trouble = "another process holds the lock that proves this one alive, and may take its tasks"
            for lane, marks in self._marks.items():
                if marks.there and os.fstat(self._descriptor).st_size < (lane + 1) * _PAGE:
                    self._cut_short(lane, marks)
                elif not marks.there:
                    self.trouble = marks.trouble

    def _cut_short(self, lane: int, marks: Marks) -> None:
        """Somebody made the file shorter: give it back its length before a thread writes where there is none."""
        self.trouble = "the file that notes which tasks have begun was cut short"
        try:
            self._blank(lane)
        except OSError as error:
            marks.page, marks.trouble = bytearray(_PAGE), _unnoted(error)

    def page(self, lane: int, worker: int) -> Marks:
        """The page of a lane that this process holds, made blank for this worker.

        Its space is written before it is mapped: a page that the file system has no room for would kill the process
        at the first note. Without room the marks note nothing, `trouble` says so, and after a crash whatever this
        engine has claimed counts as begun.
        """
        with self._lock:
            marks = Marks()
            try:
                self._map(lane, worker, marks)
            except OSError as error:
                self.trouble = marks.trouble = _unnoted(error)
            self._marks[lane] = marks
            return marks

    def begun(self, lane: int, worker: int) -> set[int] | None:
        """The tasks a dead worker's threads had begun of late; `None` if its page does not tell."""
        words = self._words(lane)
        if len(words) <= _HEAD or words[0] != worker:
            return None
        return {word for word in words[_HEAD:] if word > 0}

    def since_boot(self, lane: int) -> bool:
        """Whether the page of this lane was begun since the machine was started. An older one may lack marks that a
        power cut took, while the claims are in the database."""
        words = self._words(lane)
        return len(words) > _HEAD and words[1] == _boot() != 0

    def leave(self, lane: int, worker: int) -> None:
        """This worker's process has begun to end: should it die before that is done, then not of what it ran already.
        (0: it has not.) Takes no lock, so a signal handler may call it anywhere."""
        word, at = _WORD.pack(worker), lane * _PAGE + _LEAVES * _WORD.size
        if worker and lane in self._marks:
            self._marks[lane].begin(_LEAVING)
        if sys.platform == "win32":  # pragma: no cover
            if lane in self._marks:
                self._marks[lane].page[_LEAVES * _WORD.size : _HEAD * _WORD.size] = word
            return
        with contextlib.suppress(OSError):  # no room, or closed: then the death counts
            os.pwrite(self._descriptor, word, at)

    def spared(self, lane: int, worker: int, task: int) -> bool:
        """Whether a dead worker's process had begun to end behind the beginning of this task."""
        words = self._words(lane)
        if len(words) <= _LEAVES or words[_LEAVES] != worker:
            return False
        ring = words[_HEAD:]
        return _LEAVING not in ring or task in ring[: ring.index(_LEAVING)]

    # -- the side file -----------------------------------------------------------------------------------------------

    def _is_at_its_path(self) -> bool:
        if self._descriptor < 0:
            return False
        try:
            own, there = os.fstat(self._descriptor), os.stat(self._path, follow_symlinks=False)
        except OSError:
            return False
        return (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)

    def _reopen(self) -> None:
        """Open what is at the path now, and keep the marks of the lanes of this process in that."""
        before, self._descriptor = self._descriptor, _open_side_file(self._path)
        os.close(before)
        for lane, marks in self._marks.items():
            self._map(lane, 0, marks)  # of no worker: what had begun before is not known here

    def _map(self, lane: int, worker: int, marks: Marks) -> None:
        self._blank(lane)
        page = mmap.mmap(self._descriptor, _PAGE, offset=lane * _PAGE)
        _WORD.pack_into(page, _WORD.size, _boot())
        _WORD.pack_into(page, 0, worker)
        marks.page = page  # the one before is closed when the last thread that writes to it has let go of it

    def _blank(self, lane: int) -> None:
        """Write a page of zeros, so that the file system gives it its space."""
        blank, at = bytes(_PAGE), lane * _PAGE
        if sys.platform == "win32":  # pragma: no cover
            os.lseek(self._descriptor, at, os.SEEK_SET)
            os.write(self._descriptor, blank)
            return
        done = 0
        while done < _PAGE:
            done += os.pwrite(self._descriptor, blank[done:], at + done)

    def _words(self, lane: int) -> list[int]:
        if sys.platform == "win32":  # pragma: no cover
            with self._lock:
                os.lseek(self._descriptor, lane * _PAGE, os.SEEK_SET)
                data = os.read(self._descriptor, _PAGE)
        else:
            data = os.pread(self._descriptor, _PAGE, lane * _PAGE)
        return [word for (word,) in _WORD.iter_unpack(data[: len(data) // _WORD.size * _WORD.size])]

    def _try(self, lane: int) -> bool:
        """Take the lock of a lane; also one that this process has already. → whether it has it now."""
        try:
            self._set_lock(lane, True)
        except OSError as error:
            if error.errno in _BUSY:
                return False
            raise
        return True

    def _set_lock(self, lane: int, held: bool) -> None:
        at = _LOCKS_AT + lane
        if sys.platform == "win32":  # pragma: no cover
            if not (held and lane in self._own):
                os.lseek(self._descriptor, at, os.SEEK_SET)
                msvcrt.locking(self._descriptor, msvcrt.LK_NBLCK if held else msvcrt.LK_UNLCK, 1)
            return
        if self._by_description:
            kind = fcntl.F_WRLCK if held else fcntl.F_UNLCK
            try:
                fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, at, 1, 0))
                return
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._by_description = False  # a kernel or file system without them
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if held else fcntl.LOCK_UN, 1, at)

    def _close(self) -> None:
        for marks in self._marks.values():
            marks.close()
        self._marks.clear()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _unnoted(error: OSError) -> str:
    why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)
    return f"{why}: after a crash every task that is claimed here will count as begun"


class Marks:
    """The tasks that one worker's threads began last, as its successor will read them after a crash.

    A ring for all threads together, several times as long as what a worker may hold: so every task that began and whose
    end is not in the file yet is in it, whether its body was running or had returned.
    """

    __slots__ = ("_next", "page", "trouble")

    def __init__(self) -> None:
        self.page: mmap.mmap | bytearray = bytearray(_PAGE)
        """Where it is noted: memory of this process alone where the file cannot be written or mapped."""
        self.trouble = ""
        """Why that does not outlive the process, and what follows."""
        self._next = itertools.count().__next__  # one step for the interpreter: threads share it without a lock

    @property
    def there(self) -> bool:
        """Whether what is noted outlives the process."""
        return isinstance(self.page, mmap.mmap)

    def begin(self, task_id: int) -> None:
        """This task's body is about to begin. From any thread; costs no system call."""
        _WORD.pack_into(self.page, (_HEAD + self._next() % RING) * _WORD.size, task_id)

    def close(self) -> None:
        page, self.page = self.page, bytearray(_PAGE)
        if isinstance(page, mmap.mmap):
            page.close()


def _open_side_file(path: str) -> int:
    """Open or make the side file, for its owner alone. `BadFile` if anything else is at its path: nothing of that is
    followed, waited for or changed."""
    wanted = os.O_RDWR | os.O_CREAT
    for flag in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
        wanted |= getattr(os, flag, 0)
    try:
        descriptor = os.open(path, wanted, 0o600)
    except OSError as error:
        reason = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise BadFile(path, f"the file beside the database cannot be used: {reason}") from error
    try:
        found = os.fstat(descriptor)
        reason = _objection(path, found)
        if reason is not None:
            raise BadFile(path, f"the file beside the database cannot be used: {reason}")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _objection(path: str, found: os.stat_result) -> str | None:
    """What makes an open file none of ours, in words."""
    if not stat.S_ISREG(found.st_mode):
        return "it is no regular file"
    if found.st_nlink > 1:
        return "it has another name, and may be somebody's file"
    if hasattr(os, "geteuid"):
        try:
            owner = os.stat(path.removesuffix(_SUFFIX)).st_uid
        except OSError:
            owner = found.st_uid
        if found.st_uid not in (os.geteuid(), owner):
            return "it belongs to another user"
    return None


def _boot() -> int:
    """A number that stays the same until the machine is started again; 0 where that cannot be known."""
    since = boot()
    return 0 if since is None else binascii.crc32(since.encode()) or 1


_SUFFIX: Final = "-taskcore"


def lanes_of(database: str) -> Lanes:
    """The lanes beside this database file; give them back with `leave`. `BadFile`."""
    path = os.path.realpath(database) + _SUFFIX
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
            lanes._close()


def _forked() -> None:
    """In a child: the locks are the parent's, and must end with it. A description that a child still has open would
    keep them; the parent's own descriptor is untouched by this."""
    global _registry
    _registry = threading.Lock()  # type: ignore[misc]
    for lanes in _open_files.values():
        lanes._lock = threading.Lock()
        lanes._own.clear()
        lanes._close()
    _open_files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
