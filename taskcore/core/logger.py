"""What taskcore says by itself, each module on the logger of its own name, all of them below "taskcore"."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any, Final

ENDS: Final = "taskcore.api.ends"
"""The logger on which each end of a task is told. What it says is about tasks, and so no part of the log of a body in
whose thread it is said."""


def show(level: int) -> None:
    """For a worker that somebody looks at: write to stderr what is told from this level on, a line for each end."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("taskcore").setLevel(level)


def tell(level: int, message: str, *args: Any, exc_info: Any = None, extra: Mapping[str, Any] | None = None) -> None:
    """Log one record for the calling module. Raises nothing but a Ctrl-C: a handler of the user's that does must not
    end the thread that calls."""
    try:
        log = logging.getLogger(sys._getframe(1).f_globals["__name__"])
        log.log(level, message, *args, exc_info=exc_info, extra=extra, stacklevel=2)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return
