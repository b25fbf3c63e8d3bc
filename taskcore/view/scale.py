"""Time as a place on a line, in which nothing that lasts long takes room for long. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from taskcore.core.text import duration

CUTS: Final = 12
"""Idle stretches that are cut out, at most."""
CUT_WIDTH: Final = 30.0
_STEPS: Final = (
    *(factor * 10.0**power for power in range(-6, 1) for factor in (1, 2, 5)),
    10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0,
    *(factor * 10.0**power * 86400 for power in range(8) for factor in (1, 2, 5)),
)  # fmt: skip
"""Seconds from one tick to the next: whichever is the first to leave room for the words."""


class Scale:
    """From `left`, `width` pixels for the time from the first of the spans (start, end) to the last. A stretch of it
    without any of them, if longer than a twelfth of all else, is a cut of a few pixels."""

    def __init__(self, spans: Iterable[tuple[float, float]], left: float, width: float) -> None:
        busy = _merged(spans) or [(0.0, 0.0)]
        self.first, self.last = busy[0][0], busy[-1][1]
        gaps = sorted(((after[0] - its[1], number) for number, (its, after) in enumerate(pairwise(busy))), reverse=True)
        lasts = self.last - self.first
        cut: list[int] = []
        for gap, number in gaps[:CUTS]:  # the longest first
            if gap * 12 <= lasts - gap or gap <= 0:
                break
            cut.append(number)
            lasts -= gap
        width -= CUT_WIDTH * len(cut)
        self._pixels = width / lasts if lasts > 0 else 0.0
        self._times, self._places = [self.first], [left]  # where what is not cut out begins and ends, in turn
        for number in sorted(cut):
            end, begin = busy[number][1], busy[number + 1][0]
            place = self._places[-1] + (end - self._times[-1]) * self._pixels
            self._times += [end, begin]
            self._places += [place, place + CUT_WIDTH]
        self._times.append(self.last)
        self._places.append(self._places[-1] + (self.last - self._times[-2]) * self._pixels)

    def __call__(self, at: float) -> float:
        """Where it is."""
        at = min(max(at, self.first), self.last)
        number = bisect_left(self._times, at, 1, len(self._times) - 1)  # the end of the stretch that it is in
        lasts, wide = (its[number] - its[number - 1] for its in (self._times, self._places))
        return self._places[number - 1] + (wide * (at - self._times[number - 1]) / lasts if lasts else 0.0)

    def cuts(self) -> list[tuple[float, str]]:
        """The middle of each cut, and how long it is."""
        return [
            (self._places[n] + CUT_WIDTH / 2, duration(self._times[n + 1] - self._times[n]))
            for n in range(1, len(self._times) - 1, 2)
        ]

    def ticks(self, apart: float = 90.0) -> list[tuple[float, str]]:
        """Places, and how long after the beginning each is."""
        step = next((step for step in _STEPS if step * self._pixels >= apart), None)
        if step is None:  # no time passes, or aeons
            return [(self._places[0], "0 s")]
        found: list[tuple[float, str]] = []
        for begin, end in zip(self._times[::2], self._times[1::2], strict=True):
            number = -int(-(begin - self.first) // step)
            while self.first + number * step <= end and len(found) < 100:
                place = self(self.first + number * step)
                if not found or place - found[-1][0] >= apart * 0.7:
                    found.append((place, elapsed(number * step)))
                number += 1
        return found


def _merged(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            if end > merged[-1][1]:
                merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, max(start, end)))
    return merged


def elapsed(seconds: float) -> str:
    """"0 s", "1.5 s", "1:30", "2:00:00", "3 d 4:00:00"."""
    if seconds < 60:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + " s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours}:{minutes:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
