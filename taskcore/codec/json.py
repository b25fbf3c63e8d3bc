"""How arguments and results are stored: readable ASCII JSON that gives back what went in, types included.

What JSON lacks is an object with one key that begins with `$`: `{"$tuple": [1, 2]}`, `{"$decimal": "1.10"}`. Whatever
does not come back equal is refused, so the types are exact: a subclass would come back as its base. Nothing stored
becomes code: decoding looks tags up in a table, in `tags`.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final, Protocol

from taskcore.codec.plain import MAX_DEPTH, MAX_TEXT, NotStorable, is_deep, quick, read_plain


class Codec(Protocol):
    """What `Engine(codec=…)` takes: the way from values to text and back."""

    def encode(self, value: object, /) -> str: ...

    def decode(self, text: str, /) -> Any: ...


class JSONCodec:
    """`taskcore.JSON`: plain values as readable text; round trip or refuse. Has no state; any thread may call."""

    __slots__ = ()

    def encode(self, value: object, /) -> str:
        """The value as ASCII JSON on one line; `NotStorable` if it would not come back equal and of the same types."""
        return quick(value) or _tagged().careful(value, canonical=False)

    def canonical(self, value: object, /) -> str:
        """Like `encode`, but dicts are in the order of their encoded keys: equal values of equal types, equal text."""
        text = self.encode(value)
        # No dict with items, so nothing whose order is open: sets are in order anyway.
        return text if '{"' not in text else _tagged().careful(value, canonical=True)

    def decode(self, text: str, /) -> Any:
        """The value that was encoded; `ValueError` says what is wrong with a text that is none of ours.

        ASCII that differs from ours in spelling only (spaces between parts, the order in a set) is read all the same;
        of a key that a plain object has twice, the last one counts.
        """
        if not text.isascii():  # a lone surrogate could join an escaped one to a pair that is none
            raise ValueError("the text has characters that are not ASCII")
        if len(text) > MAX_TEXT:
            raise ValueError(f"the text has {len(text)} characters, more than {MAX_TEXT}")
        # Looking for a tag first keeps texts without one at the speed of the C scanner. A `$` may be spelled \u0024.
        tagged = '"$' in text or "\\u0024" in text
        try:
            value, end = _tagged().read_tagged(text) if tagged else read_plain(text)
        except RecursionError:
            raise ValueError("the text is nested too deep to be read") from None
        if end != len(text):
            raise ValueError(f"the value ends at character {end}, but the text goes on")
        if len(text) > MAX_DEPTH and text.count("[") + text.count("{") > MAX_DEPTH and is_deep(value):
            raise ValueError(f"the text is nested more than {MAX_DEPTH} deep")
        return value

    def decode_all(self, texts: Sequence[str], /) -> list[Any]:
        """`decode` of each: many short ones without a tag at the speed of the C scanner."""
        together = "".join(texts)
        if together.isascii() and '"$' not in together and "\\u0024" not in together:
            if max(map(len, texts), default=0) <= MAX_DEPTH:  # none can be nested too deep
                found = [*map(read_plain, texts)]
                if [end for _, end in found] == [*map(len, texts)]:
                    return [value for value, _ in found]
        return [*map(self.decode, texts)]

    def __repr__(self) -> str:
        return "taskcore.JSON"


def _tagged() -> ModuleType:
    from taskcore.codec import tagged  # slow to import, for those who store more than plain values

    return tagged


JSON: Final = JSONCodec()
__all__ = ["JSON", "Codec", "JSONCodec", "NotStorable"]
