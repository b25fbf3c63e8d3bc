"""What `Engine(…)` is given, checked: a bad value is refused before anything is opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from taskcore.codec.json import Codec
from taskcore.core import lifecycle
from taskcore.core.clock import CheckedClock, Clock, SystemClock
from taskcore.core.ends import seconds
from taskcore.core.options import amounts, checked_text, some_seconds, whole


def limits_of(value: Any) -> dict[str, int]:
    """Capacity → how much of it there is."""
    given = {} if value is None else amounts("limits", value, 0)
    return {checked_text("the name of a limit", name): n for name, n in given.items()}


def period_of(value: Any, name: str) -> float:
    """How long, in seconds, given as a number of them or as text such as "30d"."""
    if not isinstance(value, str):
        return seconds(value, name)
    from taskcore.core.cron import period

    return period(value)


def keep_of(value: Any) -> float | None:
    """How long ended tasks stay, in seconds, more than none; `None`: for ever."""
    if value is None:
        return None
    return some_seconds("keep", period_of(value, "keep"))


def own_name() -> str:
    """Host, process and something random: two engines of one process are two workers."""
    host = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "host")
    return f"{host}-{os.getpid()}-{os.urandom(3).hex()}"


def workers_of(workers: int | None, executor: Executor | Callable[[], Executor] | None) -> int:
    """How many bodies at a time: as given, as the executor has, or as `ThreadPoolExecutor` would take."""
    if not (executor is None or hasattr(executor, "submit") or callable(executor)):
        raise TypeError(
            f"executor is a concurrent.futures.Executor, or a function of no arguments that makes one, not {executor!r}"
        )
    if workers is None:
        own = getattr(executor, "_max_workers", None)
        return own if isinstance(own, int) else min(32, (os.cpu_count() or 1) + 4)
    return whole("workers", workers, 0)


def processes_of(processes: Any, executor: object, path: str, clock: Any, workers: int) -> int | None:
    """How many worker processes; `None`: bodies run in this one."""
    if processes is None:
        return None
    whole("processes", processes, 1)
    if executor is not None:
        raise ValueError("processes and executor exclude each other: bodies run in one or on the other")
    if path == ":memory:":
        raise ValueError('processes need a file that they can all open: ":memory:" is in this process alone')
    if clock is not None:
        raise ValueError("processes go by the machine's clock, and a clock of your own is in this process alone")
    if workers == 0:
        raise ValueError("with workers=0 nothing runs: of workers, each of the processes has so many")
    return int(processes)


def statuses_of(statuses: Mapping[str, str] | None) -> dict[str, str]:
    """Own labels → phase."""
    if statuses is not None and not isinstance(statuses, Mapping):
        raise TypeError(f"statuses is a dict of labels and their phases, not {statuses!r}")
    checked = {}
    for label, phase in (statuses or {}).items():
        checked_text("a status", label)
        if label in lifecycle.RESERVED:
            raise ValueError(f"{label!r} is a word of its own and can't be a status of yours")
        if phase not in lifecycle.LABELLED:
            raise ValueError(f"status {label!r} belongs to one of {', '.join(lifecycle.LABELLED)}, not to {phase!r}")
        checked[label] = phase
    return checked


def codec_of(codec: Codec) -> Codec:
    if not (callable(getattr(codec, "encode", None)) and callable(getattr(codec, "decode", None))):
        raise TypeError(f"codec has encode(value) and decode(text), as taskcore.JSON does; {codec!r} has not")
    return codec


def clock_of(clock: Clock | None) -> Clock:
    if clock is None:
        return SystemClock()
    if not callable(getattr(clock, "now", None)):
        raise TypeError(f"clock is an object with now(), not {clock!r}")
    if type(clock).__module__.startswith("taskcore."):
        return clock
    checked = CheckedClock(clock)
    checked.now()  # before anything is opened
    return checked


def only_readable(path: str) -> bool:
    """Whether there is a file, and it, or the folder that its log would be in, may not be written."""
    folder = os.path.dirname(os.path.abspath(path))
    return os.path.isfile(path) and not (os.access(path, os.W_OK) and os.access(folder, os.W_OK))


def path_of(path: str | os.PathLike[str]) -> str:
    """Absolute, `~` expanded, so that a later change of directory changes nothing; `":memory:"` as it is."""
    where = os.fsdecode(path)
    return where if where == ":memory:" else os.path.abspath(os.path.expanduser(where))
