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
    """Why, in words; empty for "ok"."""
    since: float
    """Since when, in seconds since the epoch, UTC."""

    def __new__(cls, state: str, reason: str, since: float) -> Health:
        made = super().__new__(cls, f"{state}: {reason}" if reason else state)
        made.state, made.reason, made.since = state, reason, since
        return made
