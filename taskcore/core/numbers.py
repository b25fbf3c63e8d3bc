"""What people say where a number is wanted."""

from __future__ import annotations

import math


def real(value: object) -> float | None:
    """A number as a float, an infinite one where no finite float holds it; `None` for what is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
