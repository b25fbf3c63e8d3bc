"""What people read of texts that others wrote, of numbers, durations and moments. Pure."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
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


def cells(text: str) -> int:
    """How many columns of a terminal a printable text takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


@functools.lru_cache(4096)
def _cells(character: str) -> int:
    import unicodedata

    if unicodedata.category(character) in ("Mn", "Me"):  # drawn over the one before
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fitted(text: str, width: int) -> str:
    """The text, made printable, in exactly so many columns: cut, with a `…`, or filled up with spaces."""
    text = printable(text if len(text) <= 8 * width else text[: 8 * width])
    if text.isascii() and len(text) <= width:
        return text.ljust(width)
    kept, used, over, most = list[str](), 0, 0, width - len(CUT)
    for place, character in enumerate(text):
        its = _cells(character)
        over = 0 if its else over + 1
        if over > 2:  # marks without end, which would be drawn over other lines
            continue
        if used + its > most and cells(text[place:]) + used > width:
            return "".join(kept) + CUT * (width > 0) + " " * (most - used)
        kept.append(character)
        used += its
    return "".join(kept) + " " * (width - used)


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


def moment(at: float, *, local: bool = False) -> str:
    """The date and time, UTC, or in this machine's time zone."""
    from datetime import UTC, datetime  # slow to import, for those who look

    try:
        its = datetime.fromtimestamp(at, UTC)
        return f"{its.astimezone():%Y-%m-%d %H:%M:%S}" if local else f"{its:%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return repr(at)


def number(n: int, what: str = "task") -> str:
    """"1 task", "1,234 tasks"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def counted(counts: Mapping[str, int]) -> str:
    """"12 ready, 1 failed"."""
    return ", ".join(f"{n:,} {printable(what, 40)}" for what, n in counts.items()) or "none"


def error_line(kind: str | None, message: str | None) -> str | None:
    """"ValueError: no such sample"; the type alone where nothing was said; `None` where there is no message at all."""
    return message if kind is None or message is None else f"{kind}: {message}" if message else kind


def percent(part: float) -> str:
    """Of 0…1, and 100 only of the whole."""
    return f"{int(100 * part)} %"


def rate(per_second: float) -> str:
    """"1,234", "9.5", "0.031"."""
    return f"{per_second:,.0f}" if per_second >= 9.5 else f"{per_second:.2g}"


def exit_of(code: int | None) -> str:
    """How a process ended, in words; a negative code is the number of the signal that ended it."""
    import signal  # slow to import, and seldom needed

    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
