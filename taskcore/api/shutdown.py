"""The end of the interpreter: engines finish what was submitted, as executors do."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import weakref
from typing import Any, Final, Protocol

from taskcore.core.logger import tell


class Ending(Protocol):
    """An engine, as far as it is to be ended."""

    process: int

    def leave(self) -> None: ...
    def interrupted(self) -> None: ...
    def shutdown(self, wait: bool, cancel_futures: bool) -> None: ...
    def close(self, timeout: float | None) -> None: ...
    def forked(self) -> None: ...


_engines: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
_callbacks: Final[list[Any]] = []
_registered = False


def watch(engine: Ending, executor: Any) -> None:
    """See to it that this engine ends before the interpreter does.

    Before the hook of `concurrent.futures` too, after which an executor takes nothing more: such hooks run in the
    reverse order of their registration, so each engine with an executor registers again.
    """
    global _registered
    _engines.add(engine)
    if _registered and executor is None:
        return
    if not _registered:
        atexit.register(_close_what_is_left)
    register = getattr(threading, "_register_atexit", atexit.register)
    try:
        register(_end)
        _registered = True
    except RuntimeError:  # the interpreter is going down already; what this engine does not end is in the file
        return


def finish(callbacks: Any) -> None:
    """Of a closed engine: what is to be called yet is waited for at the end."""
    _callbacks.append(callbacks)


def forget(engine: Ending) -> None:
    _engines.discard(engine)


def _forked() -> None:
    for engine in list(_engines):
        engine.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _ours() -> list[Ending]:
    """Those of this process: one that forked off has the parent's, too."""
    return [engine for engine in list(_engines) if engine.process == os.getpid()]


def _end() -> None:
    for engine in _ours():
        engine.leave()
    for engine in _ours():
        _leave(engine, wait=not _by_an_error())
    with contextlib.suppress(KeyboardInterrupt):
        while _callbacks:
            _callbacks.pop().flush(-1.0)


def _close_what_is_left() -> None:
    """Last of all: engines made in exit handlers, or left by a Ctrl-C that hit the first steps of `_end`."""
    for engine in _ours():
        _leave(engine, wait=False)


def _leave(engine: Ending, wait: bool) -> None:
    try:
        try:
            if wait:
                engine.shutdown(True, False)
        finally:  # also if a Ctrl-C ended the waiting
            engine.interrupted()
    except KeyboardInterrupt:  # what runs was given back, and continues at the next start
        return
    except Exception:
        tell(logging.ERROR, "%r did not end in good order", engine, exc_info=True)


def _by_an_error() -> bool:
    """Whether an exception or Ctrl-C ended the program. (At a prompt the last one is any old one.)"""
    return getattr(sys, "last_value", None) is not None and not hasattr(sys, "ps1")
