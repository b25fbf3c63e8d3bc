"""A submit in a body as a step of it: when the body runs again, it is given the child there is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from taskcore.body.context import Run
from taskcore.body.replay import FAILED, KEPT
from taskcore.store import operations, steps
from taskcore.store.steps import Step
from taskcore.store.transaction import Transaction

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
        self.children: list[int | None] = []
        """Of a gather: `None` for those that are to be made."""
        if self._step.state == FAILED:
            self._course.diverge()
        if self._step.state != KEPT:  # nor will it be, if it is refused or rolled back
            self._course.fail(self._step)

    @property
    def there(self) -> int | None:
        """The child there is."""
        step = self._step
        if step.child is None or step.child_phase is None:  # or was deleted
            return None
        if step.attempt < self._claimed.attempts and step.child_phase in _NOT_WELL:
            self._again([step.child])
        return step.child

    @property
    def all_there(self) -> bool:
        """Whether they were made before. Those that were deleted since, which only the children of a task that had
        ended are, are `None` among `children`."""
        if self._step.state != KEPT:
            return False
        ids: list[int] = json.loads(self._step.result or "[]")
        self.children = list(ids)
        if self._step.attempt < self._claimed.attempts:
            there = self._stage.file.read(steps.existing, ids)
            self.children = [child if child in there else None for child in ids]
            self._again(ids)
        return True

    def _again(self, children: list[int]) -> None:
        now = self._stage.now()
        step = self._step._replace(attempt=self._claimed.attempts)
        if self._stage.file.write(_again, self._claimed.id, self._claimed.token, children, step, now):
            self._course.diverge()

    def keep(self, tx: Transaction, child: int) -> None:
        """In the child's own transaction. `LeaseLost`."""
        self._keep(tx, self._step._replace(state=KEPT, child=child, attempt=self._claimed.attempts))

    def keep_all(self, tx: Transaction, born: Iterable[int]) -> list[int]:
        """The same for those that were to be made, in order. → all of them."""
        made = iter(born)
        children = [next(made) if child is None else child for child in self.children]
        self._keep(tx, self._step._replace(state=KEPT, result=json.dumps(children), attempt=self._claimed.attempts))
        return children

    def _keep(self, tx: Transaction, step: Step) -> None:
        steps.keep(tx, self._claimed.id, self._claimed.token, self._course.with_pending(step))
        if tx.scope is None:  # else the body's own transaction may yet be rolled back
            self._course.pending.pop(step.place, None)


def _again(tx: Transaction, task: int, token: int, children: list[int], step: Step, now: float) -> int:
    """→ how many run again."""
    steps.keep(tx, task, token, [step])
    return operations.mend(tx, children, now)
