"""Ids on their way into a statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

_OF_SEVERAL: Final = "IN (SELECT value FROM json_each(:ids))"


class About:
    """A statement about the tasks in `json_each(:ids)`. About one task alone it is run with `= :ids` instead: to make
    a table of JSON for a single id takes longer than all the rest."""

    __slots__ = ("one", "several")

    def __init__(self, sql: str) -> None:
        self.several = sql
        self.one = sql.replace(_OF_SEVERAL, "= :ids")

    def run(
        self, execute: Callable[[str, dict[str, Any]], sqlite3.Cursor], tasks: Sequence[int], **values: Any
    ) -> sqlite3.Cursor:
        """Execute it about these, with the other `values` that it names."""
        if len(tasks) == 1:
            return execute(self.one, {"ids": tasks[0], **values})
        return execute(self.several, {"ids": listed(tasks), **values})


def listed(tasks: Collection[int]) -> str:
    """As JSON: a list of whole numbers is written as Python writes it, in a tenth of the time of `json.dumps`."""
    return str(list(tasks))
