"""What taskcore says by itself, on the logger "taskcore"."""

from __future__ import annotations

import logging
from typing import Any, Final

_log: Final = logging.getLogger("taskcore")


def tell(level: int, message: str, *args: Any, exc_info: Any = None) -> None:
    """Log one record. Raises nothing but a Ctrl-C: a handler of the user's that does must not end the thread that
    calls."""
    try:
        _log.log(level, message, *args, exc_info=exc_info)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return
