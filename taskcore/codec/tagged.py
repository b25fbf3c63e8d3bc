"""What JSON lacks, as objects with one key that begins with `$`: `{"$tuple": [1, 2]}`, `{"$decimal": "1.10"}`.

Imported at the first value that needs one: the modules of these types are slow to import.
"""

from __future__ import annotations

import binascii
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Context, Decimal, InvalidOperation
from enum import Enum
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from taskcore.codec.plain import (
    BARE,
    CONTAINERS,
    MAX_DEPTH,
    MAX_TEXT,
    TEXT_ONLY,
    NotStorable,
    dump,
    looks_like_a_tag,
    parts_of,
    short,
)

_SHORT: Final = 10**600  # no interpreter can be told to refuse fewer than 640 digits
_DEEP: Final = "it may contain itself; otherwise store its parts side by side"
_ELSEWHERE: Final = "store it in a file of its own, and here the path"


def careful(value: object, *, canonical: bool) -> str:
    """The text of any storable value, or `NotStorable` that leads to the part which is not."""
    try:
        if canonical or _at_least(value, MAX_DEPTH, {}) <= MAX_TEXT:  # canonical: it was encoded before
            text = dump(_pack(value, MAX_DEPTH, canonical))
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
    if kind not in CONTAINERS or not room:
        return 1
    if id(value) not in known:
        known[id(value)] = 0  # for one that contains itself, which `_pack` refuses
        known[id(value)] = 1 + len(value) + sum([_at_least(part, room - 1, known) for part in parts_of(value)])
    return known[id(value)]


def _pack(value: Any, room: int, canonical: bool) -> object:
    """The value with tags in place of what JSON lacks; lists and dicts are new ones. `room`: levels it may have."""
    kind = type(value)
    if kind in CONTAINERS:
        if not room:
            raise NotStorable("", f"{_name(kind)} nested more than {MAX_DEPTH} deep", _DEEP)
        if kind is dict:
            return _pack_dict(value, room - 1, canonical)
        if kind is list or kind is tuple:
            packed = _pack_items(value, "[{}]", room - 1, canonical)
            return packed if kind is list else {"$tuple": packed}
        packed = _pack_items(value, "{{...}}", room - 1, canonical)
        return {f"${kind.__name__}": sorted(packed, key=dump)}  # a set's own order changes with every process
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
    if kind in BARE:
        return value
    if _name(kind) == "subprocess.CompletedProcess":
        return {"$completed": _pack([*vars(value).values()], room, canonical)}
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
            raise refused.under(f"[{short(repr(key) if type(key) is str else dump(packed_key))}]") from None
    if canonical:
        pairs.sort(key=lambda pair: dump(pair[0]))
    if not TEXT_ONLY.issuperset(map(type, value)) or looks_like_a_tag(value):
        return {"$dict": pairs}
    return dict(pairs)


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _hint(kind: type) -> str:
    """What to store instead of a value of this type."""
    if issubclass(kind, Enum):
        return "store its .value"
    if hasattr(kind, "tolist"):  # arrays and scalars of NumPy, columns of pandas
        return "store value.tolist()"
    for method in ("to_dicts", "to_dict"):  # tables of Polars, pandas and the like
        if hasattr(kind, method):
            return f"store value.{method}(), or {_ELSEWHERE.removeprefix('store it ')}"
    if issubclass(kind, bytearray):
        return "store bytes(value)"
    if hasattr(kind, "readable"):  # an open file
        return "store its path, or what is in it"
    for base in (*CONTAINERS, *BARE, *_BY_KIND):
        if issubclass(kind, base):
            return f"it would come back as a plain {_name(base)}; store that"
    if hasattr(kind, "__dataclass_fields__"):
        return "store dataclasses.asdict(value)"
    return "store list(value)" if hasattr(kind, "__iter__") else "store the numbers and texts it is made of"


_EXACT = Context(traps=[InvalidOperation])  # of our own: the caller's may write `e` for `E`, or trap nothing
_SPLIT_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
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
    if not looks_like_a_tag(found):
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
        if tag != "$completed" and len(value) != len(payload):
            raise ValueError("an item or key is there twice")
        return value
    except (ValueError, TypeError, ArithmeticError) as wrong:
        shown = f" {short(payload)!r}" if type(payload) is str else ""
        raise ValueError(f"{short(tag)}{shown}: {short(str(wrong))}") from None


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
    if TEXT_ONLY.issuperset(map(type, items)) and not looks_like_a_tag(items):
        raise ValueError("that is written without a tag")
    return items


def _read_completed(fields: list[Any]) -> Any:
    """What `run.command` gave: arguments, exit code, stdout and stderr."""
    from subprocess import CompletedProcess  # slow to import

    return CompletedProcess(*fields)


_ReadItems = Callable[[list[Any]], Any]
_BUILTIN: Final[Mapping[str, _ReadItems]] = {"$tuple": tuple, "$set": set, "$frozenset": frozenset}
_READ_ITEMS: Final[Mapping[str, _ReadItems]] = {**_BUILTIN, "$dict": _read_dict, "$completed": _read_completed}

read_tagged = json.JSONDecoder(parse_constant=int, object_hook=_untag).raw_decode
