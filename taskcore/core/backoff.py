"""How long a task waits after it failed: functions from the number of failures so far to seconds."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

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


def exponential(
    base: float = 1,
    *,
    factor: float = 2,
    cap: float = 3600,
    jitter: bool = True,
    random: Callable[[], float] | None = None,
) -> Exponential:
    """`base` seconds after the first failure, `factor` times as long after each further one, never more than `cap`.

    With `jitter` each delay is drawn evenly between half of that and all of it, so that what failed together does not
    come back together. `random`: instead of this module's generator, gives numbers from 0 up to but not including 1.
    """
    return Exponential(base, factor, cap, jitter, _drawn if random is None else random)


def linear(step: float, *, cap: float = 86400) -> Linear:
    """`step` × failures seconds, never more than `cap`, a day."""
    return Linear(step, cap)


def constant(seconds: float) -> Constant:
    """The same delay after every failure."""
    return Constant(seconds)


class _Backoff:
    """What its function was called with: equal where that is, and not to be changed."""

    __slots__ = ()

    def __init__(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{self!r} cannot be changed: make another one")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __getstate__(self) -> dict[str, Any]:
        names: tuple[str, ...] = self.__slots__
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        _Backoff.__init__(self, **state)


class Exponential(_Backoff):
    """What `exponential(…)` returns."""

    __slots__ = ("base", "cap", "factor", "jitter", "random")
    base: float
    factor: float
    cap: float
    jitter: bool
    random: Callable[[], float]

    def __init__(self, base: float, factor: float, cap: float, jitter: bool, random: Callable[[], float]) -> None:
        super().__init__(base=base, factor=factor, cap=cap, jitter=jitter, random=random)
        for name in ("base", "factor", "cap"):
            _check_number(name, getattr(self, name))
        if type(jitter) is not bool:
            raise TypeError(f"jitter must be True or False, not {jitter!r}")
        if not callable(random):
            raise TypeError(f"random must be a function without parameters, not {random!r}")

    def __call__(self, failures: int) -> float:
        """Seconds until the next attempt, after so many failures (from 1)."""
        earlier = _count(failures) - 1
        try:
            delay = min(self.base * float(self.factor) ** earlier, float(self.cap))
        except OverflowError:
            delay = float(self.cap) if self.base else 0.0
        return delay * (1 + self.random()) / 2 if self.jitter else delay

    def __repr__(self) -> str:
        return f"exponential({self.base!r}, factor={self.factor!r}, cap={self.cap!r}, jitter={self.jitter!r})"


class Linear(_Backoff):
    """What `linear(…)` returns."""

    __slots__ = ("cap", "step")
    step: float
    cap: float

    def __init__(self, step: float, cap: float) -> None:
        super().__init__(step=step, cap=cap)
        _check_number("step", step)
        _check_number("cap", cap)

    def __call__(self, failures: int) -> float:
        """Seconds until the next attempt, after so many failures (from 1)."""
        return min(float(self.step) * _count(failures), float(self.cap))

    def __repr__(self) -> str:
        return f"linear({self.step!r}, cap={self.cap!r})"


class Constant(_Backoff):
    """What `constant(…)` returns."""

    __slots__ = ("seconds",)
    seconds: float

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds=seconds)
        _check_number("seconds", seconds)

    def __call__(self, failures: int) -> float:
        """Seconds until the next attempt, after so many failures (from 1)."""
        _count(failures)
        return float(self.seconds)

    def __repr__(self) -> str:
        return f"constant({self.seconds!r})"


def _check_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {value!r}")
    try:
        usable = math.isfinite(value) and value >= 0
    except OverflowError:  # an int that no float can hold
        usable = False
    if not usable:
        raise ValueError(f"{name} must be a finite number, 0 or more, not {value!r}")


def _count(failures: int) -> int:
    if isinstance(failures, bool) or not isinstance(failures, int):
        raise TypeError(f"failures must be an integer, not {failures!r}")
    if failures < 1:
        raise ValueError(f"failures are counted from 1, this was {failures!r}")
    return min(failures, _ENOUGH)
