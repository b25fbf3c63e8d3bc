"""How arguments and results are stored: readable ASCII JSON that gives back what went in, types included.

What JSON lacks is an object with one key that begins with `$`: `{"$tuple": [1, 2]}`, `{"$decimal": "1.10"}`. Whatever
does not come back equal is refused, so the types are exact: a subclass would come back as its base. Nothing stored
becomes code: decoding looks tags up in a table in this file.
"""

from __future__ import annotations

import binascii
import json.encoder
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Context, Decimal, InvalidOperation
from enum import Enum
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Final, NamedTuple, Protocol, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

MAX_DEPTH = 200
"""Lists in lists in lists … that are stored; a value that contains itself is deeper than any number."""

MAX_TEXT = 500_000_000
"""Characters of one stored value; SQLite's own limit for a value is 1,000,000,000 bytes."""


class Codec(Protocol):
    """What `Engine(codec=…)` takes: the way from values to text and back."""

    def encode(self, value: object, /) -> str: ...

    def decode(self, text: str, /) -> Any: ...


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
        return f"{_short(self.path) or 'the value'} is {article} {self.kind}, which cannot be stored: {self.hint}"

    def under(self, step: str) -> NotStorable:
        """The same refusal, seen from one container further out."""
        return NotStorable(step + self.path, self.kind, self.hint)


class JSONCodec:
    """`taskcore.JSON`: plain values as readable text; round trip or refuse. Has no state; any thread may call."""

    __slots__ = ()

    def encode(self, value: object, /) -> str:
        """The value as ASCII JSON on one line; `NotStorable` if it would not come back equal and of the same types."""
        return _quick(value) or _careful(value, canonical=False)

    def canonical(self, value: object, /) -> str:
        """Like `encode`, but dicts are in the order of their encoded keys: equal values of equal types, equal text."""
        text = self.encode(value)
        # No dict with items, so nothing whose order is open: sets are in order anyway.
        return text if '{"' not in text else _careful(value, canonical=True)

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
            value, end = _read_tagged(text) if tagged else _read_plain(text)
        except RecursionError:
            raise ValueError("the text is nested too deep to be read") from None
        if end != len(text):
            raise ValueError(f"the value ends at character {end}, but the text goes on")
        if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(value):
            raise ValueError(f"the text is nested more than {MAX_DEPTH} deep")
        return value

    def __repr__(self) -> str:
        return "taskcore.JSON"


_quote: Callable[[str], str] = json.encoder.encode_basestring_ascii


def _make_dump() -> Callable[[Any], str]:
    """A C encoder that is built once: `JSONEncoder.encode` builds one at every call, which costs more than the work."""
    encoder = json.JSONEncoder(allow_nan=False, separators=(",", ":"), check_circular=False)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # an interpreter without the C accelerator
        return encoder.encode
    # In order: markers, default, encoder, indent, the two separators, sort_keys, skipkeys, allow_nan.
    chunks = make(None, encoder.default, _quote, None, ":", ",", False, False, False)
    return lambda value: "".join(chunks(value, 0))


_dump = _make_dump()
_TEXT_ONLY = frozenset({str})
_CONTAINERS: Final[frozenset[type]] = frozenset({list, dict, tuple, set, frozenset})
_BARE: Final[frozenset[type]] = frozenset({str, int, float, bool, type(None)})
_MANY: Final = 5_000_000
_SHORT: Final = 10**600  # no interpreter can be told to refuse fewer than 640 digits
_DEEP: Final = "it may contain itself; otherwise store its parts side by side"
_ELSEWHERE: Final = "store it in a file of its own, and here the path"
_SINGLE: Final[Mapping[type, Callable[[Any], str]]] = {str: _quote, int: int.__repr__, type(None): lambda _: "null"}
_SPLIT_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def _quick(value: object) -> str | None:
    """The text of a value that needs no tag; None if it needs one, or is to be refused, which `_careful` finds out."""
    single = _SINGLE.get(type(value))
    try:
        if single is None and not _is_plain(value, MAX_DEPTH, [_MANY]):
            return None
        text = _dump(value) if single is None else single(value)
        if len(text) > MAX_TEXT or ("\\ud" in text and _read_plain(text)[0] != value):  # see _SPLIT_PAIR
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
        if value and (not _TEXT_ONLY.issuperset(map(type, value)) or _looks_like_a_tag(value)):
            return False
        items = value.values()
    else:
        return kind in _BARE
    left[0] -= 10 + len(items)
    if not room or left[0] < 0:
        return False
    if len(items) > 8 and _BARE.issuperset(map(type, items)):  # many at the speed of C; setting up costs eight
        return True
    for item in items:
        if type(item) in _BARE:
            continue
        if not _is_plain(item, room - 1, left):
            return False
    return True


def _looks_like_a_tag(value: dict[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)).startswith("$")


def _careful(value: object, *, canonical: bool) -> str:
    """The text of any storable value, or `NotStorable` that leads to the part which is not."""
    try:
        if canonical or _at_least(value, MAX_DEPTH, {}) <= MAX_TEXT:  # canonical: it was encoded before
            text = _dump(_pack(value, MAX_DEPTH, canonical))
            if len(text) <= MAX_TEXT:
                return text
        raise MemoryError
    except RecursionError:
        kind = "nested too deep for what is left of the stack"
        raise NotStorable("", f"{_name(type(value))} {kind}", _DEEP) from None
    except MemoryError:
        kind = f"of more than {MAX_TEXT} characters as text, or more than there is memory for"
        raise NotStorable("", f"{_name(type(value))} {kind}", _ELSEWHERE) from None


def _at_least(value: Any, room: int, known: dict[int, int]) -> int:
    """A number of characters that the text will have at least. What occurs more than once is looked at only once."""
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value)
    if kind not in _CONTAINERS or not room:
        return 1
    if id(value) not in known:
        known[id(value)] = 0  # for one that contains itself, which `_pack` refuses
        known[id(value)] = 1 + len(value) + sum([_at_least(part, room - 1, known) for part in _parts(value)])
    return known[id(value)]


def _parts(value: Any) -> Iterable[Any]:
    return (*value, *value.values()) if type(value) is dict else value


def _pack(value: Any, room: int, canonical: bool) -> object:
    """The value with tags in place of what JSON lacks; lists and dicts are new ones. `room`: levels it may have."""
    kind = type(value)
    if kind in _CONTAINERS:
        if not room:
            raise NotStorable("", f"{_name(kind)} nested more than {MAX_DEPTH} deep", _DEEP)
        if kind is dict:
            return _pack_dict(value, room - 1, canonical)
        if kind is list or kind is tuple:
            packed = _pack_items(value, "[{}]", room - 1, canonical)
            return packed if kind is list else {"$tuple": packed}
        packed = _pack_items(value, "{{...}}", room - 1, canonical)
        return {f"${kind.__name__}": sorted(packed, key=_dump)}  # a set's own order changes with every process
    if kind is int:
        try:
            return value if -_SHORT < value < _SHORT or repr(value) else None
        except ValueError:
            digits = f"int of {value.bit_length()} bits, more digits than this interpreter reads back"
            raise NotStorable("", digits, "store hex(value)") from None
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if kind is str and not value.isascii() and _SPLIT_PAIR.search(value):
        raise NotStorable("", "str with a surrogate pair for one character", "write the character itself")
    if kind in _BARE:
        return value
    scalar = _BY_KIND.get(kind)
    if scalar is None:
        raise NotStorable("", _name(kind), _hint(kind))
    return {scalar.tag: _pack(scalar.write(value), room, canonical)}


def _pack_items(items: Iterable[Any], step: str, room: int, canonical: bool) -> list[object]:
    packed = []
    for index, item in enumerate(items):
        try:
            packed.append(_pack(item, room, canonical))
        except NotStorable as refused:
            raise refused.under(step.format(index)) from None
    return packed


def _pack_dict(value: dict[Any, Any], room: int, canonical: bool) -> object:
    pairs = []
    for index, (key, item) in enumerate(value.items()):
        try:
            packed_key = _pack(key, room, canonical)
        except NotStorable as refused:
            raise refused.under(f".keys()[{index}]") from None
        try:
            pairs.append((packed_key, _pack(item, room, canonical)))
        except NotStorable as refused:
            raise refused.under(f"[{_short(repr(key) if type(key) is str else _dump(packed_key))}]") from None
    if canonical:
        pairs.sort(key=lambda pair: _dump(pair[0]))
    if not _TEXT_ONLY.issuperset(map(type, value)) or _looks_like_a_tag(value):
        return {"$dict": pairs}
    return dict(pairs)


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:50]}...{text[-27:]}"


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _hint(kind: type) -> str:
    """What to store instead of a value of this type."""
    if issubclass(kind, Enum):
        return "store its .value"
    if hasattr(kind, "tolist"):  # arrays and scalars of NumPy, columns of pandas
        return "store value.tolist()"
    for base in (*_CONTAINERS, *_BARE, *_BY_KIND):
        if issubclass(kind, base):
            return f"it would come back as a plain {_name(base)}; store that"
    if hasattr(kind, "__dataclass_fields__"):
        return "store dataclasses.asdict(value)"
    return "store list(value)" if hasattr(kind, "__iter__") else "store the numbers and texts it is made of"


_EXACT = Context(traps=[InvalidOperation])  # of our own: the caller's may write `e` for `E`, or trap nothing
_ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_MOMENT = re.compile(r"(\S+)( fold=1)?(?: zone=(\S+)| name=(.*))?", re.DOTALL)
_TIMEDELTA = re.compile(r"(?:(-?[0-9]{1,9}) days?, )?([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{6}))?")
_Moment = TypeVar("_Moment", datetime, time)


def _write_moment(value: datetime | time) -> str:
    """ISO 8601; then ` fold=1`; then ` zone=` and the key of a ZoneInfo, or ` name=` and the name a zone was given."""
    zone = value.tzinfo
    marks = " fold=1" if value.fold else ""
    if type(zone) is timezone:
        name = zone.tzname(None)
        if name != timezone(zone.utcoffset(None)).tzname(None):
            marks += f" name={name}"
    elif type(zone) is ZoneInfo and _comes_back(value, zone):
        marks += f" zone={zone.key}"
        value = value.replace(tzinfo=None)  # no offset: it changes when the machine gets newer time zone data
    elif zone is not None:
        kind = f"{_name(type(value))} in a {_name(type(zone))}"
        raise NotStorable("", kind, "take a datetime.timezone, or what zoneinfo.ZoneInfo(key) gives")
    return value.isoformat() + marks


def _comes_back(value: datetime | time, zone: ZoneInfo) -> bool:
    try:
        again = _zone(str(zone.key))
    except ValueError:
        return False
    return again is zone or (value.utcoffset() is not None and value.replace(tzinfo=again) == value)


def _zone(key: str) -> ZoneInfo:
    # A key becomes a path, and a package's name in `tzdata`: nothing but what keys look like may get there.
    if not _ZONE_KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no time zone's key")
    try:
        return ZoneInfo(key)
    except (LookupError, OSError):  # OSError: a folder of zones, such as "Europe"
        raise ValueError(f"this machine knows no time zone {key!r}") from None


def _read_moment(kind: type[_Moment], text: str) -> _Moment:
    parts = _MOMENT.fullmatch(text)
    if parts is None:
        raise ValueError("neither date nor time")
    written, fold, key, name = parts.groups()
    value = kind.fromisoformat(written)
    if key is not None:
        value = value.replace(tzinfo=_zone(key))
    if name is not None and (offset := value.utcoffset()) is not None:
        value = value.replace(tzinfo=timezone(offset, name))
    return value.replace(fold=1) if fold else value


def _read_timedelta(text: str) -> timedelta:
    parts = _TIMEDELTA.fullmatch(text)
    if parts is None:
        raise ValueError("no duration")
    days, hours, minutes, seconds, micros = (int(part or 0) for part in parts.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, microseconds=micros)


def _read_float(text: str) -> float:
    if text not in ("nan", "inf", "-inf"):
        raise ValueError("only nan, inf and -inf are written so")
    return float(text)


def _write_path(value: PurePath) -> str:
    # With slashes everywhere, so that a file written on Windows can be read elsewhere.
    text = value.as_posix()
    if type(value)(text) != value:  # such as PureWindowsPath("./c:x") before Python 3.12
        raise NotStorable("", _name(type(value)), f"{text!r} is another path; store str(value)")
    return text


class _Scalar(NamedTuple):
    """How values of one type are written as text and read again; both sides of one line of the format."""

    kind: type
    tag: str
    write: Callable[[Any], str]
    read: Callable[[str], Any]
    fixed: bool = True
    """Each value has exactly one text. Not so paths: what they make of a text depends on platform and Python."""


_SCALARS: Final = (
    _Scalar(float, "$float", repr, _read_float),
    _Scalar(bytes, "$bytes", lambda value: binascii.b2a_base64(value, newline=False).decode(), binascii.a2b_base64),
    _Scalar(datetime, "$datetime", _write_moment, lambda text: _read_moment(datetime, text)),
    _Scalar(date, "$date", date.isoformat, date.fromisoformat),
    _Scalar(time, "$time", _write_moment, lambda text: _read_moment(time, text)),
    _Scalar(timedelta, "$timedelta", str, _read_timedelta),
    _Scalar(Decimal, "$decimal", _EXACT.to_sci_string, lambda text: Decimal(text, _EXACT)),
    _Scalar(UUID, "$uuid", str, UUID),
    _Scalar(type(Path()), "$path", _write_path, Path, fixed=False),
    _Scalar(PurePosixPath, "$pureposixpath", _write_path, PurePosixPath, fixed=False),
    _Scalar(PureWindowsPath, "$purewindowspath", _write_path, PureWindowsPath, fixed=False),
)
_BY_KIND: Final[Mapping[type, _Scalar]] = {scalar.kind: scalar for scalar in _SCALARS}
_BY_TAG: Final[Mapping[str, _Scalar]] = {scalar.tag: scalar for scalar in _SCALARS}


def _untag(found: dict[str, Any]) -> Any:
    """What a JSON object stands for: itself, or the value its tag says. Called from the inside out."""
    if not _looks_like_a_tag(found):
        return found
    ((tag, payload),) = found.items()
    try:
        if tag in _BY_TAG:
            return _read_scalar(_BY_TAG[tag], payload)
        if tag not in _READ_ITEMS:
            raise ValueError("there is no such tag")
        if type(payload) is not list:
            raise ValueError("its value is not a list")
        value = _READ_ITEMS[tag](payload)
        if len(value) != len(payload):
            raise ValueError("an item or key is there twice")
        return value
    except (ValueError, TypeError, ArithmeticError) as wrong:
        shown = f" {_short(payload)!r}" if type(payload) is str else ""
        raise ValueError(f"{_short(tag)}{shown}: {_short(str(wrong))}") from None


def _read_scalar(scalar: _Scalar, text: Any) -> Any:
    if type(text) is not str:
        raise ValueError("its value is not a text")
    value = scalar.read(text)
    written = scalar.write(value)
    if scalar.fixed and written != text:
        raise ValueError(f"that is written {written!r}")
    return value


def _read_dict(pairs: list[Any]) -> dict[Any, Any]:
    if not all(type(pair) is list and len(pair) == 2 for pair in pairs):
        raise ValueError("its value is not a list of pairs")
    items = dict(pairs)
    if _TEXT_ONLY.issuperset(map(type, items)) and not _looks_like_a_tag(items):
        raise ValueError("that is written without a tag")
    return items


_ReadItems = Callable[[list[Any]], Any]
_BUILTIN: Final[Mapping[str, _ReadItems]] = {"$tuple": tuple, "$set": set, "$frozenset": frozenset}
_READ_ITEMS: Final[Mapping[str, _ReadItems]] = {**_BUILTIN, "$dict": _read_dict}

# NaN and Infinity, which Python's decoder would take, reach `int` and get a ValueError there.
_read_plain = json.JSONDecoder(parse_constant=int).raw_decode
_read_tagged = json.JSONDecoder(parse_constant=int, object_hook=_untag).raw_decode


def _is_deep(value: Any) -> bool:
    """Whether lists, dicts and the like contain each other more than MAX_DEPTH deep."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [part for whole in level if type(whole) in _CONTAINERS for part in _parts(whole)]
    return any(type(part) in _CONTAINERS for part in level)


JSON: Final = JSONCodec()
