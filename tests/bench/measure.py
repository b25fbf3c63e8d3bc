"""How things are measured: stopwatch, interleaved rounds, medians, and what a figure is."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


class NotHere(Exception):
    """This machine has nothing to measure it with."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What one benchmark found."""

    value: float
    """The figure itself: a ratio, megabytes, or switches per second."""
    lowest: float
    """The lowest of the rounds; the value itself where there was one round."""
    highest: float
    """The highest of the rounds."""
    ours: str
    """The absolute figure of the engine, for orientation."""
    reference: str
    """The absolute figure of the reference, for orientation."""
    note: str = ""
    """What else was seen."""
    fault: str = ""
    """What else the row asks for, and was not so. It makes any figure one below its mark."""


Measure = Callable[[int], float]
"""Does one round, whose number it is given, and returns a rate or a duration."""


def check(done: bool, claim: str) -> None:
    """Refuse a figure whose work was not done: `AssertionError` with the claim that does not hold."""
    if not done:
        raise AssertionError(f"not so: {claim}")


def seconds(work: Callable[[], object]) -> float:
    """How long the work takes, in seconds, beginning with nothing to collect."""
    gc.collect()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(ours: Measure, reference: Measure, rounds: int, show: Callable[[float], str], note: str = "") -> Figure:
    """Ours over the reference, from the medians of interleaved rounds; the spread is that of the rounds' own ratios."""
    mine, theirs = [], []
    for number in range(rounds):
        mine.append(ours(number))
        theirs.append(reference(number))
    ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
    median, base = statistics.median(mine), statistics.median(theirs)
    return Figure(median / base, min(ratios), max(ratios), show(median), show(base), note)


def per_second(rate: float, of: str = "") -> str:
    """A rate for people: `48.1 k/s`, or `3.3 k links/s` where it says of what."""
    return f"{rate / 1000:.1f} k{of and ' '}{of}/s" if rate >= 1000 else f"{rate:.1f} {of}/s"


def duration(length: float) -> str:
    """A duration in seconds for people: `120 µs`, `31.5 ms`."""
    return f"{length * 1e6:.0f} µs" if length < 1e-3 else f"{length * 1e3:.1f} ms"
