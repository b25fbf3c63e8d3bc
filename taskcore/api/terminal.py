"""One line of a terminal that is drawn again and again, and gives way to whatever else is written there."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from taskcore.core.clock import monotonic

AGAIN: Final = 0.05
"""Seconds for which the line stays away after something else was written, where much is."""

_shown: list[Screen] = []
"""The one that has the terminal now: a process has one such line at a time."""


def size(stream: Any) -> tuple[int, int]:
    """(columns, lines) of the terminal behind a stream; where it does not say, COLUMNS and LINES, which are of the
    shell's start."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        found = os.get_terminal_size(stream.fileno())
        if found.columns:
            return found.columns, max(1, found.lines)
    import shutil  # slow to import

    other = shutil.get_terminal_size()
    return max(1, other.columns), max(1, other.lines)


class Screen:
    """The last line of the terminal behind a stream (stderr), from `begin` to `end`.

    Meanwhile stdout and stderr write by another `write`: what bodies print and log erases the line, is written, and has
    the line below it again once its own line has ended. What is written past Python's streams is not seen here.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._write: Callable[[str], Any] = stream.write
        self._lock = threading.RLock()  # over what is drawn; a signal handler that prints has it again
        self._process = os.getpid()  # in one that is forked off, the lock may be held for ever
        self._text, self._length = "", 0
        self._columns = 0  # of the terminal when the line was drawn, or 0: it is not there
        self._others = False  # whether somebody's own line has begun and not ended: ours would tear it
        self._drawn_at = 0.0
        self._changed: list[tuple[Any, Any, Any]] = []  # stream, its write from now on, its own one of before
        self.dumb = os.environ.get("TERM") == "dumb"
        """Whether it knows no control sequences."""
        self.plain = self.dumb or bool(os.environ.get("NO_COLOR"))

    def begin(self, *, any_thread: bool) -> bool:
        """Take the terminal, in the main thread or in any. → whether it was free."""
        if _shown or not (any_thread or threading.current_thread() is threading.main_thread()):
            return False
        _shown.append(self)
        for stream in {id(stream): stream for stream in (sys.stdout, self._stream)}.values():
            with contextlib.suppress(Exception):  # a stream of somebody's may do anything
                if stream is self._stream or stream.isatty():
                    self._give_way_to(stream)
        return True

    def _give_way_to(self, stream: Any) -> None:
        write, before = stream.write, vars(stream).get("write")

        def beside(text: str, /) -> Any:
            if self not in _shown or os.getpid() != self._process or not isinstance(text, str) or not text:
                return write(text)
            with self._lock:
                self._erase()
                written = write(text)
                self._others = not text.endswith("\n")
                if not self._others and monotonic() - self._drawn_at > AGAIN:
                    with contextlib.suppress(OSError, ValueError):
                        stream.flush()  # the line comes below what was written
                    self._draw()
                return written

        if hasattr(write, "of_taskcore"):  # it keeps what bodies print: once is enough
            beside.of_taskcore = True  # type: ignore[attr-defined]
        stream.write = beside
        self._changed.append((stream, beside, before))

    @property
    def columns(self) -> int:
        """Of the terminal, now."""
        return size(self._stream)[0]

    def show(self, text: str, length: int) -> None:
        """Draw this, which takes `length` columns, instead of what was there."""
        with self._lock:
            self._text, self._length, before = text, length, self._length
            if not self._others:
                self._draw(before)

    def _draw(self, before: int = 0) -> None:
        if self._text and self in _shown:
            ending = " " * (before - self._length) if self.dumb else "\x1b[K"
            self._put(f"{self._home(before)}{self._text}{ending}")
            self._columns, self._drawn_at = self.columns, monotonic()

    def _erase(self) -> None:
        if self._columns:
            blank = " " * self._length + "\r" if self.dumb else "\x1b[K"
            self._put(self._home(self._length) + blank)
            self._columns = 0

    def _home(self, length: int) -> str:
        """To where the line begins. In a terminal that has got narrower it has gone on in the next rows."""
        rows = max(0, length - 1) // self.columns if self._columns > self.columns else 0
        return "\r" if self.dumb or not rows else f"\r\x1b[{rows}A\x1b[J"

    def _put(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone
            self._write(text)
            self._stream.flush()

    def end(self) -> None:
        """Give the terminal back, with nothing of the line on it."""
        with self._lock:
            self._erase()
            with contextlib.suppress(ValueError):
                _shown.remove(self)
        for stream, beside, before in self._changed:
            if vars(stream).get("write") is beside:  # else somebody else's stands on it, which it does no harm
                if before is None:
                    del stream.write
                else:
                    stream.write = before
