"""What the command line shows of tasks: lines that fit, and JSON.

What comes out of a file is shown by `printable` or as ASCII: no name, message or result can control a terminal.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any, Final

from taskcore.codec.json import JSON
from taskcore.core.model import Handle, Task, own_key
from taskcore.core.text import cells, fitted, moment, printable
from taskcore.store.overview import Brief

WIDE: Final = 60
"""Characters of a text in a list."""
_TIMES: Final = frozenset(field.name for field in fields(Task) if field.name.endswith("_at")) | {"greenfield", "at"}


class Foreign(str):
    """What another codec wrote; where arguments are expected, one that is this text."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(([self], {}))


class Lenient:
    """The codec for looking: what another codec wrote is shown as it is written."""

    encode = staticmethod(JSON.encode)

    @staticmethod
    def decode(text: str) -> Any:
        try:
            return JSON.decode(text)
        except (ValueError, TypeError, KeyError):
            return Foreign(text)


def as_json(*values: Any) -> int:
    """Each on a line of its own, as ASCII, in which JSON leaves one character that is not printable."""
    for value in values:
        print(json.dumps(_json_of(value)).replace("\x7f", "\\u007f"))
    return 0


def answer(given: argparse.Namespace, told: dict[str, Any], text: str) -> int:
    """What came of a command: as JSON where that is wanted, or as a line."""
    if given.json:
        return as_json(told)
    print(text)
    return 0


def _json_of(value: Any) -> Any:
    """As JSON knows it: what it does not know, as the codec writes that."""
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _json_of(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_of(item) for item in value]
    if isinstance(value, Handle):
        return fields_of(value)
    try:
        return json.loads(JSON.encode(value))
    except (TypeError, ValueError):
        return repr(value)


def fields_of(row: Any) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(row)}


def shown(name: str, value: Any) -> str:
    if name in _TIMES and isinstance(value, float):
        return moment(value, local=True)
    return value if isinstance(value, str) and name != "result" else repr(value)


def columns() -> int | None:
    """How wide a line may be, where somebody says so: a terminal, or COLUMNS."""
    known = sys.stdout.isatty() or os.environ.get("COLUMNS")
    return max(20, shutil.get_terminal_size().columns) if known else None


def lined(rows: Iterable[Sequence[str]]) -> int:
    """Print rows with their columns under each other, in lines that fit."""
    made = [[printable(text) for text in row] for row in rows]
    widths, most = [max(map(cells, column)) for column in zip(*made, strict=True)], columns()
    for row in made:
        text = "  ".join(fitted(text, width) for text, width in zip(row, widths, strict=True)).rstrip()
        print(text if most is None else fitted(text, most).rstrip())
    return 0


def line(task: Task) -> list[str]:
    why = task.message or task.last_error or task.waiting_for or ""
    when = moment(task.submitted_at, local=True)
    return [f"#{task.id}", printable(task.status, 30), called(task, 40), when, printable(why, WIDE)]


def called(task: Task | Brief, longest: int) -> str:
    """Its name, and the key that somebody gave it."""
    key = own_key(task.key, task.job if isinstance(task, Brief) else None)
    return printable(task.name, longest) + ("" if key is None else f" [{printable(key, 30)}]")


def told(row: dict[str, Any]) -> Iterable[str]:
    """A value as lines: what is short on the first, and what has lines of its own below."""
    row.pop("task_id", None)
    traceback, text = row.pop("traceback", None), row.pop("text", None)
    first = "  ".join(
        shown(name, value) if name in ("number", "name", "at", "level", "outcome") else f"{name} {shown(name, value)}"
        for name, value in row.items()
        if value is not None
    )
    if text is not None:
        head, *more = text.split("\n")
        return [f"{first}  {head}", *(f"    {line}" for line in more)]
    return [first, *(f"    {line}" for line in (traceback or "").splitlines())]


def wrapped(head: str, lines: Iterable[str], width: int | None, longest: int | None = None) -> Iterator[str]:
    """Lines made printable and broken to a width, the first one with a head, the others below it."""
    for line in lines:
        text = printable(line, longest)
        for piece in [text] if width is None else broken(text, max(20, width - len(head))):
            yield head + piece
            head = " " * len(head)


def broken(text: str, width: int) -> list[str]:
    """A printable text in pieces of at most so many columns, between words where that can be."""
    if text.isascii():
        return textwrap.wrap(text, width) or [""]
    pieces, begin, used, gap = [], 0, 0, -1
    for place, character in enumerate(text):
        used += (its := cells(character))
        if character == " ":
            gap = place
        elif used > width and place > begin:
            end = gap if gap > begin else place
            pieces.append(text[begin:end])
            begin = end + (end == gap)
            used = cells(text[begin:place]) + its
    return [*pieces, text[begin:]]
