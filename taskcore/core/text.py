"""What people read of texts that others wrote, and of durations. Pure."""

from __future__ import annotations

import math
from typing import Final

CUT: Final = "…"


def printable(text: str, longest: int | None = None) -> str:
    """The text on one line, with nothing in it that a terminal obeys.

    Whatever is not `str.isprintable()` (control characters, line ends, marks of direction, lone surrogates) stands as
    its escape, `\\n` or `\\x1b`. Of more than `longest` characters, escapes counted, the rest is a `…`.
    """
    if text.isprintable() and (longest is None or len(text) <= longest):
        return text
    pieces, length = [], 0
    for character in text if longest is None else text[: longest + 1]:
        piece = character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        pieces.append(piece)
        length += len(piece)
    if longest is not None and length > longest:
        while pieces and length + len(CUT) > longest:
            length -= len(pieces.pop())
        pieces.append(CUT)
    return "".join(pieces)


def quoted(text: str, longest: int = 100) -> str:
    """The same between quotes, with no way to end them from inside."""
    return "'" + printable(text.replace("\\", "\\\\").replace("'", "\\'"), longest) + "'"


# Up to so many seconds, counted in units of so many, which are called so.
_UNITS: Final = ((120.0, 1.0, "s"), (7200.0, 60.0, "min"), (172800.0, 3600.0, "h"), (63072000.0, 86400.0, "days"))
_YEAR: Final = 31557600.0


def duration(seconds: float) -> str:
    """How long that is: "40 s", "3 min", "2 h", "5 days". What is less than nothing is nothing."""
    if math.isnan(seconds) or seconds < 0.0005:
        return "0 s"
    if seconds > 9999 * _YEAR:
        return "more than 9999 years"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    for limit, unit, name in _UNITS:
        if round(seconds / unit) * unit < limit:
            return f"{round(seconds / unit)} {name}"
    return f"{seconds / _YEAR:.0f} years"
