"""Whether the files that a connection has open are still the ones at their path."""

from __future__ import annotations

import functools
import os
from typing import Final

from taskcore.core import clock
from taskcore.core.errors import BadFile

EVERY: Final = 0.5
"""Seconds from one look at the database file to the next."""
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
    this descriptor drops no lock.)
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._log_path = log_of(path)
        self._database = find(path)
        self._log: int | None = None  # its descriptor, from the first commit on
        self.gone: str | None = None  # why commits go nowhere, once that is known
        self.due = clock.monotonic() + EVERY
        """When to `check` next, by the machine's clock for durations."""

    def reopened(self) -> None:
        """The connection was made anew or closed, and with it perhaps the log."""
        log, self._log = self._log, None
        if log is not None:
            os.close(log)

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
        if self._log is None:
            self._watch_log()
        elif not os.fstat(self._log).st_nlink:
            self.check()

    def _watch_log(self) -> None:
        if os.name == "nt":
            return  # there nobody can delete a file that is open
        try:
            self._log = os.open(self._log_path, os.O_RDONLY | os.O_CLOEXEC)
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
