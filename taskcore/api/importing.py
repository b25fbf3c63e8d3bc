"""Engines that modules of the user's make while a worker process imports them: they start nothing, and one of them is
what the process then runs."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final

UNGUARDED: Final = 77
"""The exit code of a worker process whose import submits or runs tasks: the parent says so, once for all of them."""
NO_GUARD: Final = (
    "the script submits or runs tasks while a worker process imports it: "
    'what it does belongs under `if __name__ == "__main__":`, below its definitions'
)
_PREFIX: Final = "taskcore-worker-"


def worker_name(number: int) -> str:
    """What `multiprocessing` is to call such a process: it knows its name before it imports anything of the user's."""
    return f"{_PREFIX}{number}"


def _process() -> Any:
    module = sys.modules.get("multiprocessing.process")
    return None if module is None else module.current_process()


def _is_worker() -> bool:
    process = _process()
    return process is not None and process.name.startswith(_PREFIX)


_importer: int | None = threading.main_thread().ident if _is_worker() else None
"""The thread that imports modules of the user's in a worker process."""
_path: str | None = None
"""The file that this process works on, once it knows."""
made: Final[list[tuple[Any, bool]]] = []
"""The engines that were made meanwhile, each as its `Submissions`, and whether each is meant to have processes."""


def asleep(path: str, processes: bool) -> bool:
    """Whether an engine that is made now on this file, with or without processes of its own, is to start nothing."""
    if _importer == threading.get_ident():
        return True
    return processes and (_path == os.path.realpath(path) or by_another() or _frozen_child())


def guard() -> None:
    """Asked by such an engine before it stores, runs or ends anything: no module does, while it is imported, what only
    the program itself should."""
    if _importer == threading.get_ident():
        os._exit(UNGUARDED)  # no exception: the script might go on behind it
    if by_another() or _frozen_child():
        raise RuntimeError(NO_GUARD)


def by_another() -> bool:
    """Whether a child of somebody else's `multiprocessing` imports the main module, at its start."""
    return getattr(_process(), "_inheriting", False) and not _is_worker()


def _frozen_child() -> bool:
    """Whether a frozen program is a child of `multiprocessing`, and has not come to `freeze_support()`: what it is for,
    it does not know before."""
    return getattr(sys, "frozen", False) and sys.argv[1:2] == ["--multiprocessing-fork"]


def begin(path: str) -> None:
    """This worker process has imported the main module, and is going to work on this file."""
    global _path, _importer
    _path, _importer = os.path.realpath(path), None


@contextlib.contextmanager
def modules() -> Iterator[None]:
    """In the block, the calling thread of a worker process imports modules of the user's."""
    global _importer
    before, _importer = _importer, threading.get_ident()
    try:
        yield
    finally:
        _importer = before
