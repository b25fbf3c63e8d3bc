"""A terminal as a whole screen: drawn in place, keys read, and given back as it was, whatever ends it."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, Final, NoReturn

from taskcore.api.terminal import size
from taskcore.core.clock import monotonic

if sys.platform != "win32":
    import termios
    import tty

_TAKE: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # another screen, no cursor, and what is too long is not wrapped
_GIVE_BACK: Final = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_SPLIT: Final = 0.03
"""Seconds in which the rest of a key's bytes comes."""

_KEYS: Final = {
    "[A": "up", "OA": "up", "[B": "down", "OB": "down", "[5~": "page up", "[6~": "page down",
    "[H": "home", "OH": "home", "[1~": "home", "[7~": "home", "[F": "end", "OF": "end", "[4~": "end", "[8~": "end",
    "[Z": "back tab", "": "escape",
}  # fmt: skip
_PLAIN: Final = {"\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace", "\x08": "backspace", "\x0c": "resize"}
_ESCAPED: Final = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.|)", re.DOTALL)
_UNFINISHED: Final = re.compile(rb"\x1b(\[[0-?]*[ -/]*|O)?\Z|[\xc2-\xf4][\x80-\xbf]{0,2}\Z")


def keys_of(typed: bytes) -> list[str]:
    """The keys that a terminal tells by these bytes: a character, or the name of a key. Others are left out."""
    text, keys = typed.decode("utf-8", "ignore"), []
    while text:
        escaped = _ESCAPED.match(text)
        if escaped is not None:
            keys.append(_KEYS.get(escaped[1], ""))
            text = text[escaped.end() :]
        else:
            keys.append(_PLAIN.get(text[0], text[0] if text[0].isprintable() else ""))
            text = text[1:]
    return [key for key in keys if key]


class Terminal:
    """The one that stdin and stdout are. Used in the main thread alone, where signals arrive."""

    def __init__(self) -> None:
        self._in, self._out = sys.stdin.fileno(), sys.stdout.fileno()
        self._encoding = sys.stdout.encoding or "ascii"
        self.signs = "utf" in self._encoding.lower()
        """Whether it shows more than ASCII."""
        self._drawn: list[str] = []
        self._typed: list[str] = []
        self.bell = os.pipe()  # the numbers of signals that came
        os.set_blocking(self.bell[1], False)
        self._before: Any = None

    @property
    def size(self) -> tuple[int, int]:
        """(columns, lines)"""
        return size(sys.stdout)

    def draw(self, lines: Sequence[str], whole: bool = False) -> None:
        """Show these, one a row, each made for the width that there is. What stands there already is not sent again."""
        if whole or len(lines) != len(self._drawn):
            self._drawn = ["\0"] * len(lines)  # like no line
        self._send(
            "".join(
                f"\x1b[{row};1H\x1b[0m{line}\x1b[0m"
                for row, (line, before) in enumerate(zip(lines, self._drawn, strict=True), 1)
                if line != before
            )
        )
        self._drawn = list(lines)

    def key(self, until: float) -> str | None:
        """The next key; "resize" if everything is to be drawn anew; `None` at that moment. A signal to end is a
        `SystemExit`, and so is a terminal that is gone."""
        while not self._typed:
            ready, _, _ = select.select([self._in, self.bell[0]], [], [], max(0.0, until - monotonic()))
            if self.bell[0] in ready:
                self._heed(set(os.read(self.bell[0], 64)))
                return "resize"
            if not ready:
                return None
            self._typed += keys_of(self._read())
        return self._typed.pop(0)

    def forget(self) -> None:
        """What was typed and not yet read is no answer to what is asked now."""
        self._typed.clear()
        with contextlib.suppress(termios.error):
            termios.tcflush(self._in, termios.TCIFLUSH)

    def _read(self) -> bytes:
        typed = b""
        while True:
            try:
                more = os.read(self._in, 4096)
            except OSError:
                more = b""
            if not more and not typed:
                raise SystemExit(128 + signal.SIGHUP)
            typed += more
            if not more or not _UNFINISHED.search(typed) or not select.select([self._in], [], [], _SPLIT)[0]:
                return typed

    # -- signals ----------------------------------------------------------------------------------------------------

    def _heed(self, noted: set[int]) -> None:
        if signal.SIGTSTP in noted:
            self.give_back()
            noting = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTSTP)  # here it stands still until it is continued
            signal.signal(signal.SIGTSTP, noting)
        if noted & {signal.SIGTSTP, signal.SIGCONT}:
            self.take()

    # -- taking and giving back -------------------------------------------------------------------------------------

    def take(self) -> None:
        if self._before is None:
            self._before = termios.tcgetattr(self._in)
        tty.setcbreak(self._in, termios.TCSADRAIN)
        self._drawn = []
        self._send(_TAKE)

    def give_back(self) -> None:
        if self._before is not None:
            with contextlib.suppress(OSError):
                self._send(_GIVE_BACK)
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._in, termios.TCSADRAIN, self._before)

    def _send(self, text: str) -> None:
        rest = text.encode(self._encoding, "replace")
        while rest:
            rest = rest[os.write(self._out, rest) :]

    def close(self) -> None:
        for end in self.bell:
            os.close(end)


def _note(number: int, _: FrameType | None) -> None:
    """Python writes the number down, to be heeded between two pictures: what stops in the middle of a commit would hold
    up everybody."""


def _leave(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


_SIGNALS: Final = {"SIGWINCH": _note, "SIGTSTP": _note, "SIGCONT": _note, "SIGTERM": _leave, "SIGHUP": _leave}


@contextlib.contextmanager
def screen() -> Iterator[Terminal]:
    """The terminal, taken until the end of the block, and given back whatever ends that. `ValueError` without one."""
    if not is_there():
        raise ValueError("watch needs a terminal; --once prints one picture, --json one as JSON")
    sys.stdout.flush()
    terminal, before = Terminal(), dict[int, Any]()
    bell = signal.set_wakeup_fd(terminal.bell[1], warn_on_full_buffer=False)
    try:
        for name, handler in _SIGNALS.items():
            number = getattr(signal, name)
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, say
                before[number] = signal.signal(number, handler)
        terminal.take()
        yield terminal
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the way back is not left half gone
            before.setdefault(number, signal.signal(number, signal.SIG_IGN))
        terminal.give_back()
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(bell)
        terminal.close()


def is_there() -> bool:
    """Whether there is a terminal on both sides that can be drawn on."""
    if sys.platform == "win32":
        return False
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
