"""Text from a file, made safe to look at."""

from __future__ import annotations


def printable(text: str, longest: int | None = None) -> str:
    """The text with everything escaped that could control a terminal, change the direction of writing, be invisible or
    begin a new line (`not str.isprintable()`), cut to at most `longest` characters."""
    if text.isprintable() and (longest is None or len(text) <= longest):
        return text
    parts, length = [], 0
    for char in text:
        part = char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        parts.append(part)
        length += len(part)
        if longest is not None and length > longest:
            while parts and length > longest - 1:  # an escape is left out as a whole
                length -= len(parts.pop())
            return "".join(parts) + "…"[:longest]
    return "".join(parts)
