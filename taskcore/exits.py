"""The end of the interpreter: engines finish what was submitted, as executors do."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from taskcore.engine import Engine

log = logging.getLogger("taskcore")

_engines: Final[weakref.WeakSet[Engine]] = weakref.WeakSet()
_registered = False


def watch(engine: Engine, executor: Any) -> None:
    """See to it that this engine ends before the interpreter does.

    Before the hook of `concurrent.futures` too, after which an executor takes nothing more: such hooks run in the
    reverse order of their registration, so each engine with an executor registers again.
    """
    global _registered
    _engines.add(engine)
    if _registered and executor is None:
        return
    register = getattr(threading, "_register_atexit", atexit.register)
    try:
        register(_end)
        _registered = True
    except RuntimeError:  # the interpreter is going down already: whoever makes an engine now has to close it
        return


def forget(engine: Engine) -> None:
    _engines.discard(engine)


def _forked() -> None:
    for engine in list(_engines):
        engine._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _end() -> None:
    for engine in list(_engines):
        if engine._pid != os.getpid():
            continue
        try:
            try:
                if not _by_an_error():
                    engine.shutdown(wait=True)
            finally:  # also if a Ctrl-C ended the waiting
                engine.close()
        except KeyboardInterrupt:  # what runs was given back, and continues at the next start
            continue
        except Exception:
            log.exception("%r did not end in good order", engine)


def _by_an_error() -> bool:
    """Whether an exception or Ctrl-C ended the program. (At a prompt the last one is any old one.)"""
    return getattr(sys, "last_value", None) is not None and not hasattr(sys, "ps1")
