"""What taskcore says by itself, on the logger "taskcore"."""

from __future__ import annotations

import contextlib
import logging
from typing import Any, Final

_log: Final = logging.getLogger("taskcore")


def tell(level: int, message: str, *args: Any, exc_info: Any = None) -> None:
    """Log one record. Never raises: a handler of the user's that does must not end the thread that calls."""
    with contextlib.suppress(Exception):
        _log.log(level, message, *args, exc_info=exc_info)
