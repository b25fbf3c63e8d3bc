"""What bodies say: each record that they log, from INFO on, and each line that they print is kept with their task too,
whatever becomes of it otherwise."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections import deque
from typing import Any, Final

from taskcore.body.outcome import storable
from taskcore.body.replay import course_of
from taskcore.body.work import Stage, Work, current_work
from taskcore.core.logger import ENDS
from taskcore.store.steps import LINES

LONGEST_LINE: Final = 4000
"""Characters of one line that are kept."""
_OVER: Final = "\r\x1b[K"
"""To where a terminal's line begins, and nothing is left of it."""

_listening = False
_heard: Any = None  # the stream that bodies print to
_handling = threading.local()  # whether the thread writes a record, to `sys.stdout` perhaps: it is kept already


def listen() -> None:
    """From now on, in this process.

    But for what a body says again, while it goes by what is kept of an earlier run.

    By the factory of records, not by a handler: a handler on the root logger would make `basicConfig` do nothing. Where
    nobody has configured `logging`, what is less than a WARNING does not become a record at all; so loggers are told
    that in a body it shall, and such a record goes to no handler.
    """
    global _listening
    if _listening:
        return
    _listening = True
    make, enabled, handle = logging.getLogRecordFactory(), logging.Logger.isEnabledFor, logging.Logger.handle

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        found = _speaker()
        if found is not None and record.name not in (None, ENDS):  # `makeLogRecord` copies one that was counted already
            add(*found, record.levelname, _text(record))
            if not enabled(logging.getLogger(record.name), record.levelno):
                record.__dict__["unheard"] = True
        return record

    def is_enabled_for(self: logging.Logger, level: int) -> bool:
        return enabled(self, level) or (level >= logging.INFO and self.name != ENDS and current_work() is not None)

    def handled(self: logging.Logger, record: logging.LogRecord) -> None:
        if "unheard" not in record.__dict__:
            _handling.on = True
            try:
                handle(self, record)
            finally:
                _handling.on = False

    logging.setLogRecordFactory(factory)
    logging.Logger.isEnabledFor = is_enabled_for  # type: ignore[method-assign]
    logging.Logger.handle = handled  # type: ignore[method-assign]


def hear() -> None:
    """Before a body begins: hear what is printed, also where the stream was replaced since the last one. The stream
    stays what it is; only its `write` is another one, which keeps in its body's log what it writes."""
    global _heard
    if "multiprocessing.process" in sys.modules and sys.modules["multiprocessing.process"].parent_process() is not None:
        for below in (sys.stdout, sys.stderr):
            _write_over_a_line(below)
    stream = sys.stdout
    if stream is _heard or stream is None:
        return
    _heard = stream
    try:
        write = stream.write
        if hasattr(write, "of_taskcore"):
            return
    except Exception:  # a stream of somebody's may do anything
        return

    def hearing(text: str, /) -> int:
        found = None if getattr(_handling, "on", False) or not isinstance(text, str) else _speaker()
        if found is None:
            return write(text)
        work = found[1]
        *lines, work.unfinished_line = (work.unfinished_line + text.removeprefix(_OVER)).split("\n")
        work.unfinished_line = work.unfinished_line[:LONGEST_LINE]
        for line in lines[-LINES:]:
            add(*found, "PRINT", line)
        _handling.on = True  # it may write to another stream that hears
        try:
            return write(text)
        finally:
            _handling.on = False

    hearing.of_taskcore = True  # type: ignore[attr-defined]
    with contextlib.suppress(Exception):  # a stream that is not to be changed
        stream.write = hearing  # type: ignore[method-assign]


def _write_over_a_line(stream: Any) -> None:
    """In a process that another one made, which may draw the line of its progress on the same terminal: what is written
    here from the beginning of a line is written over that."""
    with contextlib.suppress(Exception):  # as above
        write = stream.write
        if "over_a_line" in vars(stream) or not stream.isatty() or os.environ.get("TERM") == "dumb":
            return
        begins = True

        def over(text: str, /) -> Any:
            nonlocal begins
            before, begins = begins, text.endswith("\n") if text else begins
            return write(_OVER + text if before and text else text)

        stream.write, stream.over_a_line = over, True


def finish(stage: Stage, work: Work) -> None:
    """A body came back: a line that it did not end is one as well."""
    add(stage, work, "PRINT", work.unfinished_line)
    work.unfinished_line = ""


def _speaker() -> tuple[Stage, Work] | None:
    """The body in which the caller is, unless what it says was kept in an earlier run."""
    found = current_work()
    if found is None or found[0].unreachable is not None:
        return None
    return found if found[1].claimed.token == 1 or not course_of(*found).passing else None


def _text(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
    except Exception:  # as logging itself: what is logged wrongly is no reason to fail
        try:
            text = str(record.msg)
        except Exception:
            text = f"<a {type(record.msg).__name__} whose str() failed>"
    return text


def add(stage: Stage, work: Work, level: str, text: str) -> None:
    """One more line of this task's log."""
    if work.lines is None:
        work.lines = deque(maxlen=LINES)
    work.lines.append((stage.now(), level, storable(text[:LONGEST_LINE])))
    stage.noted(work)
