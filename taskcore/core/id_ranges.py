"""A set of ids that mostly come in runs, kept as runs."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterator


class Spans:
    """Runs of whole numbers, ascending. Any thread may add."""

    def __init__(self) -> None:
        self._runs: list[list[int]] = []
        self._lock = threading.Lock()  # over every use of the list

    def add(self, number: int) -> None:
        runs = self._runs
        with self._lock:
            if runs and runs[-1][1] + 1 == number:
                runs[-1][1] = number
                return
            place = bisect.bisect_right(runs, [number, number])
            if place and runs[place - 1][1] >= number:
                return
            if place < len(runs) and runs[place][0] == number:
                return
            runs.insert(place, [number, number])
            for left in (place, place - 1):
                if 0 <= left < len(runs) - 1 and runs[left][1] + 1 == runs[left + 1][0]:
                    runs[left][1] = runs.pop(left + 1)[1]

    def drop_before(self, number: int) -> None:
        """Forget what is smaller."""
        with self._lock:
            while self._runs and self._runs[0][1] < number:
                self._runs.pop(0)
            if self._runs and self._runs[0][0] < number:
                self._runs[0][0] = number

    def __iter__(self) -> Iterator[tuple[int, int]]:
        with self._lock:
            runs = [(first, last) for first, last in self._runs]
        return iter(runs)
