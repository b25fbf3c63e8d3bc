"""What can run here: the functions that this process has, and the kinds of tasks of the file that they are for."""

from __future__ import annotations

from typing import Any

from taskcore.body.work import Work
from taskcore.core.options import Definition
from taskcore.store.cache import Kind
from taskcore.store.claims import Claimed
from taskcore.store.connection import File


class Repertoire:
    """One engine's. May be asked by any thread."""

    def __init__(self, file: File, definitions: dict[str, Definition]) -> None:
        self._file = file
        self.definitions = definitions
        """By name; whoever defines one writes here."""
        self._kinds: list[Kind] = []
        self._known: dict[int, Kind] = {}
        self._seen = 0, 0

    def kinds(self) -> list[Kind]:
        """Those of the file that can run here."""
        known = self._file.known.kinds
        seen = len(known), len(self.definitions)
        if known is not self._known or seen != self._seen:  # a file may have a kind for each of its jobs
            self._kinds = [k for k in list(known.values()) if k.job is None and k.name in self.definitions]
            self._known, self._seen = known, seen
        return self._kinds

    @property
    def behaviours(self) -> dict[int, Any]:
        """Task → the options that had functions of their own."""
        return self._file.known.behaviours

    def definition(self, task: int, newest: Definition) -> Definition:
        """The newest of a name, with the functions that were given to `options()` of this task here, if any were."""
        own = self.behaviours.get(task) if self.behaviours else None
        return newest if own is None else Definition(newest.name, newest.fn, own)

    def work(self, claimed: Claimed) -> Work:
        """What was claimed, with the function that runs it."""
        kind = self._file.known.kinds[claimed.kind]
        return Work(claimed, kind, self.definition(claimed.id, self.definitions[kind.name]))
