"""A submit in a body as a step of it: when the body runs again, it is given the child there is."""

from __future__ import annotations

import json
from typing import Final

from taskcore.course import KEPT, NEW
from taskcore.run import Run
from taskcore.store import operate, steps
from taskcore.store.file import Transaction
from taskcore.store.steps import Step

_NOT_WELL: Final = ("failed", "cancelled", "skipped")


class Spawn:
    """One call that makes children: kind "submit" makes one, "gather" several.

    A child that succeeded, or has not ended, stays as it is. One that ended otherwise runs again if the body does
    because it failed or lapsed; not if the body was only woken, for then its end is what the body waited for.
    """

    def __init__(self, run: Run, kind: str, name: str) -> None:
        self._claimed = run._work.claimed
        self._course = run._course
        self._stage = run._stage
        self._step = self._course.come_to(kind, name)
        self.parent = self._claimed.id

    @property
    def there(self) -> int | None:
        """The child there is."""
        step = self._step
        if step.state == NEW or step.child is None or step.child_phase is None:  # or was deleted
            return None
        if step.attempt < self._claimed.attempts and step.child_phase in _NOT_WELL:
            self._again([step.child])
        return step.child

    @property
    def all_there(self) -> list[int] | None:
        """The children there are."""
        if self._step.state == NEW:
            return None
        ids: list[int] = json.loads(self._step.result or "[]")
        if self._step.attempt < self._claimed.attempts:
            self._again(ids)
        return ids

    def _again(self, children: list[int]) -> None:
        now = self._stage.now()
        step = self._step._replace(attempt=self._claimed.attempts)
        if self._stage.file.write(_again, self._claimed.id, self._claimed.token, children, step, now):
            self._course.diverge()

    def keep(self, tx: Transaction, child: int) -> None:
        """In the child's own transaction. `LeaseLost`."""
        step = self._step._replace(state=KEPT, child=child, attempt=self._claimed.attempts)
        steps.keep(tx, self._claimed.id, self._claimed.token, [step])

    def keep_all(self, tx: Transaction, children: list[int]) -> None:
        step = self._step._replace(state=KEPT, result=json.dumps(children), attempt=self._claimed.attempts)
        steps.keep(tx, self._claimed.id, self._claimed.token, [step])


def _again(tx: Transaction, task: int, token: int, children: list[int], step: Step, now: float) -> int:
    """→ how many run again."""
    steps.keep(tx, task, token, [step])
    return operate.mend(tx, children, now)
