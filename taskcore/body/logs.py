"""What bodies log: each record that `logging` makes in one is kept with its task too, whatever its handlers do."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, Final

from taskcore.body.outcome import storable
from taskcore.body.replay import course_of
from taskcore.body.work import Stage, Work, current_work
from taskcore.store.steps import LINES

LONGEST_LINE: Final = 4000
"""Characters of one line that are kept."""

_listening = False


def listen() -> None:
    """From now on, in this process.

    But for what a body says again, while it goes by what is kept of an earlier run.

    By the factory of records, not by a handler: a handler on the root logger would make `basicConfig` do nothing.
    """
    global _listening
    if _listening:
        return
    _listening = True
    make = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        found = current_work()
        if found is not None and record.name is not None:  # `makeLogRecord` copies one that was counted already
            stage, work = found
            if work.claimed.token == 1 or not course_of(stage, work).passing:
                add(stage, work, record.levelname, _text(record))
        return record

    logging.setLogRecordFactory(factory)


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
