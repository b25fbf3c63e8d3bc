"""SQLite must not cross a fork: a child would inherit the bookkeeping of its locks, but not the locks."""

from __future__ import annotations

import os
import weakref
from typing import Any, Final, Protocol


class Open(Protocol):
    """A file that is open: `connection.File`."""

    def before_fork(self) -> bool: ...
    def after_fork(self) -> None: ...
    def after_fork_in_child(self) -> Any: ...


_files: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
_held: Final[list[Open]] = []  # over the fork that goes on
_never_closed: Final[list[Any]] = []


def watch(file: Open) -> None:
    """Tell this file of every fork from now on."""
    _files.add(file)


def forget(file: Open) -> None:
    _files.discard(file)


def _before() -> None:
    _held.extend(file for file in list(_files) if file.before_fork())


def _after() -> None:
    while _held:
        _held.pop().after_fork()


def _after_in_child() -> None:
    for file in list(_files):
        _never_closed.append(file.after_fork_in_child())
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
