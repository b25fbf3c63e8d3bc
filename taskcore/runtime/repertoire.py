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
        self._elsewhere: set[str] = set()  # names that others run
        self._kinds: list[Kind] = []
        self._here: list[Kind] = []
        self._known: dict[int, Kind] = {}
        self._changes = 0
        self._seen = 0, 0, 0

    def kinds(self) -> list[Kind]:
        """Those of the file that can run here."""
        self._look()
        return self._here

    def all_kinds(self) -> list[Kind]:
        """These, and those that this engine's worker processes run."""
        self._look()
        return self._kinds

    def _look(self) -> None:
        known = self._file.known.kinds
        seen = len(known), len(self.definitions), self._changes  # before it is looked: what changes then is seen later
        if known is not self._known or seen != self._seen:  # a file may have a kind for each of its jobs
            self._kinds = [k for k in list(known.values()) if k.job is None and k.name in self.definitions]
            self._here = [k for k in self._kinds if k.name not in self._elsewhere] if self._elsewhere else self._kinds
            self._known, self._seen = known, seen

    def runs(self, name: str) -> bool:
        """Whether this process runs tasks of this name."""
        return name in self.definitions and name not in self._elsewhere

    def leave(self, name: str) -> None:
        """Others run it from now on: this engine's worker processes, or in one of these, the parent."""
        self._elsewhere.add(name)
        self._changes += 1

    def take_over(self, name: str) -> None:
        """It is run here after all."""
        self._elsewhere.discard(name)
        self._changes += 1

    @property
    def behaviours(self) -> dict[int, Any]:
        """Task → the options that had functions of their own."""
        return self._file.known.behaviours

    def definition(self, task: int, newest: Definition) -> Definition:
        """The newest of a name, with the functions that were given to `options()` of this task here, if any were."""
        own = self.behaviours.get(task)
        return newest if own is None else Definition(newest.name, newest.fn, own)

    def work(self, claimed: Claimed) -> Work:
        """What was claimed, with the function that runs it."""
        known = self._file.known
        kind = known.kinds[claimed.kind]
        newest = self.definitions[kind.name]
        return Work(claimed, kind, self.definition(claimed.id, newest) if known.behaviours else newest)
