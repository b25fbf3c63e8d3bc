"""Lines of a terminal, as pieces of text with their styles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from taskcore.core.text import cells, fitted

Line = list[tuple[str, str]]
"""(style, text), …"""

_SGR: Final[Mapping[str, str]] = {
    "bold": "1", "dim": "2", "chosen": "7", "bad": "1;31",
    "succeeded": "32", "failed": "31", "running": "36", "ready": "34", "waiting": "2", "scheduled": "35",
    "suspended": "35", "paused": "33", "cancelled": "2", "skipped": "2",
}  # fmt: skip
_NO_COLOUR: Final = frozenset({"bold", "dim", "chosen"})
"""Styles that stay where colours are not wanted."""

_ASCII: Final = str.maketrans("◌◷○►◐‖✓✗⊘»█▚▒▓░›…·–", ".@o>~=+x/-#x->.>~-~")


def painted(line: Line, colours: bool, signs: bool = True) -> str:
    """For a terminal: with the codes of its styles. `signs`: whether it shows more than ASCII."""
    said = []
    for style, text in line:
        code = _SGR.get(style, "") if colours or style in _NO_COLOUR else ""
        said.append(f"\x1b[{code}m{text}\x1b[0m" if code and text else text)
    return "".join(said) if signs else "".join(said).translate(_ASCII)


def plain(line: Line, signs: bool = True) -> str:
    """The same without any codes."""
    text = "".join(text for _, text in line)
    return text if signs else text.translate(_ASCII)


def cut(line: Line, width: int) -> Line:
    """The line in exactly so many columns."""
    made: Line = []
    for style, text in line:
        used = cells(text)
        if used >= width:
            return [*made, (style, fitted(text, width))] if width else made
        made.append((style, text))
        width -= used
    return [*made, ("", " " * width)]


def short(n: int) -> str:
    """A number in at most 5 characters; what is less than nothing or very much is no number of tasks."""
    if n < 10_000:
        return f"{n:,}"
    if n < 1_000_000:
        return f"{n // 1_000}k"
    return f"{n / 1_000_000:.1f}M" if n < 100_000_000 else f"{n // 1_000_000}M"
