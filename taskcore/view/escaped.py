"""Texts of others as they may stand in a page, a picture or an attribute. Pure."""

from __future__ import annotations

import html

from taskcore.core.text import CUT, printable


def words(text: object, longest: int = 200) -> str:
    """On one line, with nothing in it that is markup or moves other text."""
    return html.escape(printable(str(text), longest))


def lines(text: str, longest: int = 20_000) -> str:
    """The same of a text that has lines; of one that is too long the end."""
    text = text if len(text) <= longest else CUT + text[-longest:]
    return "\n".join(words(line, 2000) for line in text.split("\n"))
