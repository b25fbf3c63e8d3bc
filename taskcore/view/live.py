"""What keeps open pages up to date: one thread that asks the file, however many of them there are."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from typing import Final

from taskcore.api.context import Context
from taskcore.core import lifecycle
from taskcore.core.clock import monotonic
from taskcore.core.errors import TaskcoreError
from taskcore.store import pages, queries
from taskcore.store.busy import Trouble

PERIOD: Final = 0.25
"""Seconds between two looks, and ten times the time that a look takes if that is longer."""
LATELY: Final = 60.0
"""Seconds over which rates are measured."""

Counts = dict[str, int]


class Live:
    """Of one page. There is a thread while somebody listens; it holds nothing that keeps the engine open."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._changed = threading.Condition()  # over all that follows; whoever listens is woken at a change
        self._listeners = 0
        self._thread: threading.Thread | None = None
        self._samples: deque[tuple[float, Counts]] = deque()
        self._seen: tuple[int, int] | None = None
        self.turns = 0
        """How often something had changed."""
        self.closed = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """While in it, changes are looked for."""
        with self._changed:
            self._listeners += 1
            if self._thread is None and not self.closed:
                self._thread = threading.Thread(target=self._poll, name="taskcore-page-live", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._listeners -= 1

    def wait(self, seen: int, timeout: float) -> int:
        """Until `turns` is another, this was closed, or `timeout` s passed. → `turns`"""
        with self._changed:
            self._changed.wait_for(lambda: self.turns != seen or self.closed, timeout)
            return self.turns

    def rates(self) -> dict[str, float]:
        """Name → how many ended a second, lately; of those that any ended of."""
        with self._changed:
            if len(self._samples) < 2:
                return {}
            (began, first), (ends, last) = self._samples[0], self._samples[-1]
        took = max(ends - began, PERIOD)
        return {name: (n - first.get(name, 0)) / took for name, n in last.items() if n > first.get(name, 0)}

    def close(self) -> None:
        """End the thread and let go whoever waits; returns at once."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def _poll(self) -> None:
        while True:
            began = monotonic()
            # A file that cannot be read now is looked at again; the engine's health says why.
            with contextlib.suppress(TaskcoreError, Trouble):
                self._look(began)
            with self._changed:
                self._changed.wait_for(lambda: self.closed, max(PERIOD, 10 * (monotonic() - began)))
                if self.closed or not self._listeners:
                    self._thread = None
                    self._samples.clear()
                    return

    def _look(self, now: float) -> None:
        version = self._context.look(pages.version)
        if version == self._seen and self._samples:
            with self._changed:  # nothing ended meanwhile
                self._sample(now, self._samples[-1][1])
            return
        ended = {
            name: sum(n for status, n in its.items() if self._phase(status) in lifecycle.ENDED)
            for name, its in self._context.look(queries.counts_by_name).items()
        }
        with self._changed:
            self._sample(now, ended)
            if version != self._seen:
                self.turns += 1
                self._changed.notify_all()
            self._seen = version

    def _phase(self, status: str) -> str:
        return self._context.statuses.get(status, status)

    def _sample(self, now: float, ended: Counts) -> None:
        self._samples.append((now, ended))
        while self._samples[0][0] < now - LATELY:
            self._samples.popleft()
