"""What keeps open pages up to date: one thread that asks the file, however many of them there are."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Final

from taskcore.api.context import Context
from taskcore.core.errors import TaskcoreError
from taskcore.store import pages
from taskcore.store.busy import Trouble

PERIOD: Final = 0.25
"""Seconds between two looks."""


class Live:
    """Of one page. There is a thread while somebody listens; it holds nothing that keeps the engine open."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._changed = threading.Condition()  # over all that follows; whoever listens is woken at a change
        self._listeners = 0
        self._thread: threading.Thread | None = None
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

    def close(self) -> None:
        """End the thread and let go whoever waits; returns at once."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def _poll(self) -> None:
        while True:
            version = None
            # A file that cannot be read now is looked at again; the engine's health says why.
            with contextlib.suppress(TaskcoreError, Trouble):
                version = self._context.look(pages.version)
            with self._changed:
                if version not in (None, self._seen):
                    self._seen = version
                    self.turns += 1
                    self._changed.notify_all()
                self._changed.wait_for(lambda: self.closed, PERIOD)
                if self.closed or not self._listeners:
                    self._thread = None
                    return
