"""How an engine is, as one value."""

from __future__ import annotations

from typing import Final

OK: Final = "ok"
DEGRADED: Final = "degraded"
STOPPED: Final = "stopped"


class Health(str):
    """How an engine is: a text, "ok", "degraded: why" or "stopped: why", with its parts beside it."""

    __slots__ = ("reason", "since", "state")

    state: str
    """"ok"; "degraded": it keeps trying, and nothing is lost; "stopped": it runs nothing any more."""
    reason: str
    """Why, in words. With "ok" it is empty, or something to be known all the same."""
    since: float
    """Since when, in seconds since the epoch, UTC."""

    def __new__(cls, state: str, reason: str, since: float) -> Health:
        made = super().__new__(cls, state if state == OK else f"{state}: {reason}")
        made.state, made.reason, made.since = state, reason, since
        return made
