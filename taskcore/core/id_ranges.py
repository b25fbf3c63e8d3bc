"""A set of ids that mostly come in runs, kept as runs."""

from __future__ import annotations

import bisect
import collections
import threading
from collections.abc import Iterable, Iterator


class Spans:
    """Runs of whole numbers, ascending. Any thread may add, and a signal handler that interrupted an `add`."""

    def __init__(self) -> None:
        self._runs: list[list[int]] = []
        self._new: collections.deque[int] = collections.deque()  # not yet among the runs
        self._lock = threading.RLock()  # over the runs
        self._folding = False

    def add(self, number: int) -> None:
        self._new.append(number)
        if len(self._new) > 1000:
            self._fold()

    def extend(self, numbers: Iterable[int]) -> None:
        self._new.extend(numbers)
        self._fold()

    def _fold(self) -> None:
        with self._lock:
            if not self._folding:
                self._folding = True
                try:
                    take, runs = self._new.popleft, self._runs
                    while self._new:
                        number = take()
                        if runs and runs[-1][1] + 1 == number:  # as most do
                            runs[-1][1] = number
                        else:
                            self._insert(number)
                finally:
                    self._folding = False

    def _insert(self, number: int) -> None:
        runs = self._runs
        place = bisect.bisect_right(runs, number, key=lambda run: run[0])
        if place and runs[place - 1][1] >= number:
            return
        runs.insert(place, [number, number])
        for left in (place, place - 1):
            if 0 <= left < len(runs) - 1 and runs[left][1] + 1 == runs[left + 1][0]:
                runs[left][1] = runs.pop(left + 1)[1]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        self._fold()
        with self._lock:
            return iter([(first, last) for first, last in self._runs] + [(one, one) for one in tuple(self._new)])
