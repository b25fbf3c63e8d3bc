"""What another program prints: lines as they come, and the newest text, read in the thread that waits for it."""

from __future__ import annotations

import codecs
import contextlib
import io
import selectors
import socket
import sys
import threading
from collections.abc import Callable
from typing import IO, Final

if sys.platform != "win32":
    import fcntl

WIDTH: Final = 4000
"""Characters of a line; a longer one is handed on in pieces."""
TAIL: Final = 65536
"""Characters of output that are kept, the newest; and bytes that are read at a time."""


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    if sys.platform != "win32" and theirs.fileno() < 3:  # we have no stdin, stdout or stderr; the guardian will have
        with theirs:
            theirs = socket.socket(fileno=fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, 3))
    ours.setblocking(True)  # whatever `socket.setdefaulttimeout` was told
    theirs.setblocking(True)
    return ours, theirs


class Output:
    """One stream of its output: lines as they come, and the newest text."""

    def __init__(self, pipe: IO[bytes], on_line: Callable[[str], None]) -> None:
        self.pipe: IO[bytes] | socket.SocketIO = _through_a_socket(pipe) if sys.platform == "win32" else pipe
        self._on_line = on_line
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True)
        self._kept: list[str] = []
        self._size, self._begun = 0, ""

    def feed(self, chunk: bytes, end: bool = False) -> None:
        """Hand on each line that this completes, and at the `end` the one that never will be."""
        text = self._decoder.decode(chunk, final=end)
        self._kept.append(text)
        self._size += len(text)
        if self._size > 2 * TAIL:
            self._kept, self._size = [self.text()], TAIL
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._hand(line)
        while len(self._begun) > WIDTH or (end and self._begun):
            piece, self._begun = self._begun[:WIDTH], self._begun[WIDTH:]
            self._hand(piece)

    def _hand(self, line: str) -> None:
        for start in range(0, len(line) or 1, WIDTH):
            self._on_line(line[start : start + WIDTH].replace("\0", "\\0"))

    def text(self) -> str:
        return "".join(self._kept)[-TAIL:]


class Reading:
    """What can be read now. In the calling thread: late in a program's life there may be no other to be had."""

    def __init__(self, line: socket.socket | None, hear: Callable[[], bool], outputs: list[Output]) -> None:
        """`hear`: takes in what comes by the `line`, until its end (False)."""
        self._hear = hear
        self._outputs = outputs
        self.open = len(outputs)
        # Where there is a choice not by `select`, which knows no descriptor beyond 1023; `epoll` would be one more.
        self._selector = getattr(selectors, "PollSelector", selectors.SelectSelector)()
        for output in outputs:
            self._selector.register(output.pipe, selectors.EVENT_READ, output)
        if line is not None:
            self._selector.register(line, selectors.EVENT_READ)

    def take(self, wait: float) -> list[tuple[Output, bytes]]:
        """What has come; if nothing has, what comes first within `wait` s, or nothing if that is the command's end."""
        if not self._selector.get_map():
            self._hear()
            return []
        came = []
        for key, _ in self._selector.select(wait):
            if key.data is None:
                more = self._hear()
            else:
                came.append((key.data, key.data.pipe.read(TAIL) or b""))
                more = bool(came[-1][1])
                self.open -= not more
            if not more:
                self._selector.unregister(key.fileobj)
        return came

    def close(self) -> None:
        self._selector.close()
        for output in self._outputs:
            output.pipe.close()


def _through_a_socket(pipe: IO[bytes]) -> socket.SocketIO:
    """What Windows can wait for."""
    ours, theirs = pair()

    def copy() -> None:
        with theirs, pipe, contextlib.suppress(OSError):
            while chunk := pipe.read(TAIL):
                theirs.sendall(chunk)

    threading.Thread(target=copy, name="taskcore-command", daemon=True).start()
    with ours:
        return ours.makefile("rb", buffering=0)
