"""Whether the files that a connection has open are still the ones at their path."""

from __future__ import annotations

import contextlib
import functools
import os
from typing import Final

from taskcore.core import clock
from taskcore.core.errors import BadFile

EVERY: Final = 0.5
"""Seconds from one look at the database file to the next."""
TICK: Final = 0.02
"""Seconds after which a change gives a folder another time than the one before did, for sure: kernels count by 10 ms at
most. File systems that count whole seconds are told by that."""
_SECOND: Final = 1_000_000_000
_REPLACED: Final = "the file was deleted or replaced while it was open"
_LOG_GONE: Final = (
    "its log, the file that ends in -wal, was deleted or replaced while it was open; "
    "what is not confirmed is not stored"
)

Found = tuple[int, int] | None
"""Device and number of a file; `None` where there is none."""


def log_of(path: str) -> str:
    """Where SQLite keeps the log of the database at this path: every commit, of whatever process, is written to it."""
    return os.path.realpath(path) + "-wal"


def find(path: str) -> Found:
    """The file that a path leads to."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


@functools.cache
def boot() -> str | None:
    """The number that the kernel made when this machine was started; `None` where there is none to be read."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as number:
            return number.read()
    except OSError:
        return None


@functools.cache
def machine() -> str:
    """This machine since it was started, as nobody else calls it: its name, and `boot`, or where there is none, a
    number that its network card has."""
    name = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "host")
    if (since := boot()) is not None:
        return f"{name} {since.strip()}"
    import uuid  # slow, where it has to ask

    return f"{name} {uuid.getnode():x}"


class Identity:
    """Of one database and its log. Asked under the lock over its connection, and by whoever wants to know.

    The log is watched through a descriptor of its own, which costs a third of what looking at its path would: a log
    that was deleted or replaced has no name any more. (SQLite locks neither of the two files that way, so that closing
    this descriptor drops no lock.) As long as nothing was made, deleted or renamed in its folder, not even that is
    looked at: a file that is written to all the time is slow to tell of itself, for the kernel then gives each write a
    time of its own.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._log_path = log_of(path)
        self._database = find(path)
        self._log: int | None = None  # its descriptor, from the first commit on
        self._folder = -1  # that of the folder which the log is in, if that may be read
        # When the folder was changed last, as its file system says, in ns. Two times: whoever restores a backup may set
        # back the first, and exFAT does not keep the second.
        self._changed: tuple[int, int] | None = None
        self._seen = 0.0  # when that was seen first
        self._calm: tuple[int, int] | None = None  # the same, once any later change gives it another time
        self.gone: str | None = None  # why commits go nowhere, once that is known
        self.due = clock.monotonic() + EVERY
        """When to `check` next, by the machine's clock for durations."""

    def reopened(self) -> None:
        """The connection was made anew or closed, and with it perhaps the log."""
        log, folder, self._log, self._folder, self._calm = self._log, self._folder, None, -1, None
        if log is not None:
            os.close(log)
        if folder >= 0:
            os.close(folder)

    def check(self) -> int:
        """`BadFile` when the path no longer leads to the files that are open: commits would go nowhere. → how many
        bytes the log has, as far as is known here."""
        self.check_path()
        log = None if self._log is None else os.fstat(self._log)
        if log is not None and not log.st_nlink:
            self.gone = _LOG_GONE
            self.check_path()
        self.due = clock.monotonic() + EVERY
        return 0 if log is None else log.st_size

    def check_path(self) -> None:
        """The same of the database alone, which needs no lock."""
        if self.gone is None and find(self._path) != self._database:
            self.gone = _REPLACED
        if self.gone is not None:
            self.due = 0.0
            raise BadFile(self._path, self.gone)

    def confirm(self) -> None:
        """`BadFile` if the log that was just written to is not the one that others read. Asked after each commit,
        before anybody is told of it.

        A program that opens and closes the database file itself drops SQLite's locks on POSIX. Another process may
        then take itself for the last one, and delete the log under this connection.
        """
        folder = None if self._calm is None else os.fstat(self._folder)
        if folder is None or (folder.st_mtime_ns, folder.st_ctime_ns) != self._calm:
            self._look_at_log()

    def _look_at_log(self) -> None:
        if self._log is None:
            self._watch_log()
            return
        folder = None if self._folder < 0 else os.fstat(self._folder)
        changed = None if folder is None else (folder.st_mtime_ns, folder.st_ctime_ns)
        now = clock.monotonic()  # before the log is looked at: what happens to it from then on has a later time
        if not os.fstat(self._log).st_nlink:
            self.check()
        self._calm = None
        if changed != self._changed:
            self._changed, self._seen = changed, now
        elif changed is not None and changed[0] % _SECOND and now - self._seen > TICK:
            self._calm = changed

    def _watch_log(self) -> None:
        if os.name == "nt":
            return  # there nobody can delete a file that is open
        try:
            self._log = os.open(self._log_path, os.O_RDONLY | os.O_CLOEXEC)
            with contextlib.suppress(OSError):
                self._folder = os.open(os.path.dirname(self._log_path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:  # without a descriptor to spare, the next commit tries again
            if find(self._log_path) is None:
                self.gone = _LOG_GONE
                self.check()


class NoIdentity(Identity):
    """Of a database in memory, which nobody can replace."""

    def __init__(self) -> None:
        self.due = float("inf")

    def reopened(self) -> None:
        """There is nothing to look at."""

    confirm = check_path = reopened

    def check(self) -> int:
        return 0
