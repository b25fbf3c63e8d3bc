"""JSON as it is: which values need nothing more, and their text; and how a value is refused that has none."""

from __future__ import annotations

import json.encoder
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

MAX_DEPTH = 200
"""Lists in lists in lists … that are stored; a value that contains itself is deeper than any number."""

MAX_TEXT = 500_000_000
"""Characters of one stored value; SQLite's own limit for a value is 1,000,000,000 bytes."""


class NotStorable(TypeError):
    """The value, or a part of it, would not come back as it went in.

    `path` leads to that part as one writes it behind the value's name (`[3]['k']`, empty for the value itself; `{...}`
    is an item of a set, `.keys()[0]` a dict's first key), `kind` is what is there, `hint` says what to store instead.
    """

    def __init__(self, path: str, kind: str, hint: str) -> None:
        self.path = path
        self.kind = kind
        self.hint = hint
        super().__init__(path, kind, hint)

    def __str__(self) -> str:
        article = "an" if self.kind.startswith(tuple("aeiou")) else "a"
        return f"{short(self.path) or 'the value'} is {article} {self.kind}, which cannot be stored: {self.hint}"

    def under(self, step: str) -> NotStorable:
        """The same refusal, seen from one container further out."""
        return NotStorable(step + self.path, self.kind, self.hint)


def short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:50]}...{text[-27:]}"


quote: Callable[[str], str] = json.encoder.encode_basestring_ascii


def make_dump() -> Callable[[Any], str]:
    """A C encoder that is built once: `JSONEncoder.encode` builds one at every call, which costs more than the work."""
    encoder = json.JSONEncoder(allow_nan=False, separators=(",", ":"), check_circular=False)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # an interpreter without the C accelerator
        return encoder.encode
    # In order: markers, default, encoder, indent, the two separators, sort_keys, skipkeys, allow_nan.
    chunks = make(None, encoder.default, quote, None, ":", ",", False, False, False)
    return lambda value: "".join(chunks(value, 0))


dump = make_dump()
TEXT_ONLY = frozenset({str})
CONTAINERS: Final[frozenset[type]] = frozenset({list, dict, tuple, set, frozenset})
BARE: Final[frozenset[type]] = frozenset({str, int, float, bool, type(None)})
_MANY: Final = 5_000_000
_SINGLE: Final[Mapping[type, Callable[[Any], str]]] = {str: quote, int: int.__repr__}

# NaN and Infinity, which Python's decoder would take, reach `int` and get a ValueError there.
read_plain = json.JSONDecoder(parse_constant=int).raw_decode


def quick(value: object) -> str | None:
    """The text of a value that needs no tag; None if it needs one, or is to be refused, which `careful` finds out."""
    if value is None:
        return "null"
    single = _SINGLE.get(type(value))
    try:
        if single is None and not _is_plain(value, MAX_DEPTH, [_MANY]):
            return None
        text = dump(value) if single is None else single(value)
        if len(text) > MAX_TEXT or ("\\ud" in text and read_plain(text)[0] != value):  # see `_SPLIT_PAIR` of `tagged`
            return None
        return text
    except (ValueError, RecursionError, MemoryError):  # ValueError: nan, inf, or an int with too many digits
        return None


def _is_plain(value: Any, room: int, left: list[int]) -> bool:
    """Whether the value is JSON as it is, floats and the length of ints aside.

    `room` is how many levels it may have, `left[0]` how many items may yet be looked at (a container counts ten): a
    few lists that contain each other many times over can stand for more items than there is time for.
    """
    kind = type(value)
    if kind is list:
        items = value
    elif kind is dict:
        if value and (not TEXT_ONLY.issuperset(map(type, value)) or looks_like_a_tag(value)):
            return False
        items = value.values()
    else:
        return kind in BARE
    left[0] -= 10 + len(items)
    if not room or left[0] < 0:
        return False
    if len(items) > 8 and BARE.issuperset(map(type, items)):  # many at the speed of C; setting up costs eight
        return True
    for item in items:
        if type(item) in BARE:
            continue
        if not _is_plain(item, room - 1, left):
            return False
    return True


def looks_like_a_tag(value: dict[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)).startswith("$")


def parts_of(value: Any) -> Iterable[Any]:
    return (*value, *value.values()) if type(value) is dict else value


def is_deep(value: Any) -> bool:
    """Whether lists, dicts and the like contain each other more than MAX_DEPTH deep."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [part for whole in level if type(whole) in CONTAINERS for part in parts_of(whole)]
    return any(type(part) in CONTAINERS for part in level)
