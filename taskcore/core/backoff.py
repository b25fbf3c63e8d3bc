"""How long a task waits after it failed: functions from the number of failures so far to seconds."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from taskcore.core.numbers import real

if TYPE_CHECKING:
    from random import Random


@functools.cache
def generator() -> Random:
    """Where jitter comes from: its own, so that it takes nothing of a user's numbers. A test may seed it."""
    import random  # slow to import, for those who wait

    made = random.Random()
    if hasattr(os, "register_at_fork"):
        # Children of one process would otherwise draw the same numbers and come back all at once.
        os.register_at_fork(after_in_child=made.seed)
    return made


def _drawn() -> float:
    return generator().random()


_ENOUGH = 10**15  # failures; an exact float, and beyond what any task lives to see


class Backoff:
    """What `exponential`, `linear` and `constant` return: equal where that was said alike, and not to be changed."""

    __slots__ = ("_curve", "_said", "_values")

    def __init__(self, said: str, curve: Callable[..., float], *values: Any) -> None:
        self._said = said
        self._curve = curve
        self._values = values

    def __call__(self, failures: int) -> float:
        """Seconds until the next attempt, after so many failures (from 1)."""
        if isinstance(failures, bool) or not isinstance(failures, int):
            raise TypeError(f"failures must be an integer, not {failures!r}")
        if failures < 1:
            raise ValueError(f"failures are counted from 1, this was {failures!r}")
        return self._curve(min(failures, _ENOUGH), *self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Backoff) and self._said == other._said

    def __hash__(self) -> int:
        return hash(self._said)

    def __repr__(self) -> str:
        return self._said


def exponential(
    base: float = 1,
    *,
    factor: float = 2,
    cap: float = 3600,
    jitter: bool = True,
    random: Callable[[], float] | None = None,
) -> Backoff:
    """`base` seconds after the first failure, `factor` times as long after each further one, never more than `cap`.

    With `jitter` each delay is drawn evenly between half of that and all of it, so that what failed together does not
    come back together. `random`: instead of this module's generator, gives numbers from 0 up to but not including 1.
    """
    if type(jitter) is not bool:
        raise TypeError(f"jitter must be True or False, not {jitter!r}")
    if random is not None and not callable(random):
        raise TypeError(f"random must be a function without parameters, not {random!r}")
    said = f"exponential({base!r}, factor={factor!r}, cap={cap!r}, jitter={jitter!r})"
    return Backoff(said, _exponential, *_checked(base=base, factor=factor, cap=cap), jitter, random or _drawn)


def _exponential(
    failures: int, base: float, factor: float, cap: float, jitter: bool, random: Callable[[], float]
) -> float:
    try:
        delay = min(base * factor ** (failures - 1), cap)
    except OverflowError:
        delay = cap if base else 0.0
    return delay * (1 + random()) / 2 if jitter else delay


def linear(step: float, *, cap: float = 86400) -> Backoff:
    """`step` × failures seconds, never more than `cap`, a day."""
    return Backoff(f"linear({step!r}, cap={cap!r})", _linear, *_checked(step=step, cap=cap))


def _linear(failures: int, step: float, cap: float) -> float:
    return min(step * failures, cap)


def constant(seconds: float) -> Backoff:
    """The same delay after every failure."""
    return Backoff(f"constant({seconds!r})", _constant, *_checked(seconds=seconds))


def _constant(failures: int, seconds: float) -> float:
    return seconds


def _checked(**said: float) -> list[float]:
    """These numbers as floats."""
    found = []
    for name, value in said.items():
        number = real(value)
        if number is None:
            raise TypeError(f"{name} must be a number, not {value!r}")
        if not 0 <= number < math.inf:
            raise ValueError(f"{name} must be a finite number, 0 or more, not {value!r}")
        found.append(number)
    return found
