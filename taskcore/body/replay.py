"""The course of one body: what it has behind it from earlier runs, and where in that it is now.

A body that runs again comes to the same calls in the same order, and is given what it got before. Calls are told apart
by their kind and name, and by how many of these there were in the same enclosing step. Every call that was made has a
place, also one that was refused or whose transaction was rolled back. A step that failed keeps its place, but runs
again; from there on the body may take another course than last time, so what was kept behind it need not come in its
order any more.
"""

from __future__ import annotations

import contextlib
from threading import get_ident
from typing import Final

from taskcore.body.work import Stage, Work
from taskcore.core.errors import StepMismatch
from taskcore.store import steps
from taskcore.store.steps import Step

NEW: Final = "new"
KEPT: Final = "kept"
FAILED: Final = "failed"
WAITING: Final = "waiting"
_made: Final = tuple.__new__  # `Step(…)` takes twice as long


class _Scope:
    """The calls made in one enclosing step."""

    __slots__ = ("at", "counts", "firm", "loose", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.firm: list[Step] = []  # to come in this order
        self.at = 0
        self.loose: dict[tuple[str, str, int], Step] = {}
        self.counts: dict[tuple[str, str], int] = {}


class Course:
    def __init__(self, stage: Stage, work: Work) -> None:
        self._work = work
        self._file = stage.file
        self._together = stage.together
        self._now = stage.now
        self._claim = work.claim
        self._scopes: dict[str, _Scope] = {}
        self.within: Step | _Scope | str = ""
        """The step, or the scope, that calls are made in from now on."""
        self._last = 0
        self.made = 0
        """Calls so far, whatever became of them."""
        self.pending: dict[int, Step] = {}
        """By place, what is to be written with whatever this body writes next, or with what is shown of it. What was
        kept in its place meanwhile stays."""
        self._diverged = False
        self._thread: int | None = None
        me, behind = work.claimed.id, work.claimed.behind
        for step in stage.file.read(steps.load, [me]).get(me, []) if behind is None else behind:
            scope = self._scopes.setdefault(step.within, _Scope(step.within))
            if step.state == "loose":
                scope.loose[step.kind, step.name, step.n] = step
            else:
                scope.firm.append(step)
            self._last = step.place

    def come_to(self, kind: str, name: str) -> Step:
        """The next call of the body: what is kept of it, or a `NEW` step. `StepMismatch` if another one is next."""
        work = self._work
        if work.parting is not None or work.broken is not None:
            work.go_on()
        if self._thread != get_ident():
            if self._thread is not None:
                raise RuntimeError(f"{told((kind, name, 1))} in a thread that is not the body's: which call is which?")
            self._thread = get_ident()
        self.made += 1
        scope = self.within
        if type(scope) is not _Scope:
            scope = self._scope()
        call = kind, name
        n = scope.counts[call] = scope.counts.get(call, 0) + 1
        if scope.at < len(scope.firm):
            found = scope.firm[scope.at]
            if (found.kind, found.name, found.n) == (kind, name, n):
                scope.at += 1
                return found
            gone = found.state == WAITING and found.result is None  # it waited there, and for ever: nothing was done
            if not (gone or self._diverged or self._file.read(steps.child_began_anew, work.claimed.id)):
                work.broken = StepMismatch(work.claimed.id, told(found), told((kind, name, n)))
                raise work.broken
            self._loosen(scope)
        self._last += 1
        passed = scope.loose.pop((kind, name, n), None) if scope.loose else None
        if passed is None:
            attempt, now = work.claimed.attempts, self._now()
            return _made(Step, (kind, self._last, scope.name, name, n, attempt, now, NEW, None, None, None, None))
        moved = passed._replace(place=self._last, state=KEPT)
        self._file.write(steps.move, *self._claim, passed.place, self.with_pending(moved))
        return moved

    @property
    def passing(self) -> bool:
        """Whether the body goes by what it did before: what it says meanwhile was said then."""
        scope = self._scope()
        return scope.at < len(scope.firm)

    def _scope(self) -> _Scope:
        """Where calls are made now. Made when it is asked for: few steps have any calls in them."""
        within = self.within
        if not isinstance(within, _Scope):
            name = within if isinstance(within, str) else scope_of(within)
            within = self.within = self._scopes.setdefault(name, _Scope(name))
        return within

    def diverge(self) -> None:
        """What failed the last time is done again: the body need not come by what followed then, here or further out.
        It may all the same, and then all stays as it is."""
        self._diverged = True

    def _loosen(self, scope: _Scope) -> None:
        passed = scope.firm[scope.at :]
        self._file.write(steps.loosen, *self._claim, [step.place for step in passed])
        scope.loose.update({(step.kind, step.name, step.n): step for step in passed if step.state == KEPT})
        del scope.firm[scope.at :]

    def fail(self, step: Step) -> None:
        """It keeps its place, and is run again the next time. If nothing follows, nobody needs to know."""
        self.pending[step.place] = step._replace(state=FAILED, result=None, finished_at=self._now())

    def done(self, step: Step, text: str) -> None:
        """`keep` it with this result, from now on."""
        now = self._now()
        if self.pending or self._work.unsaved or self._file.current is not None:
            self.keep(step._replace(state=KEPT, finished_at=now, result=text))
            return
        steps.done_alone(self._together, step, now, text, self._claim)

    def keep(self, step: Step, drop: str | None = None) -> None:
        """In the file, with what was saved in it, when this returns, or at the end of the body's own transaction.
        `drop`: the scope of what need no longer be known. `LeaseLost`."""
        saved = self._work.saved_text if self._work.unsaved else None
        if self._file.current is not None:  # it may be rolled back: then the call has failed
            self._file.write(steps.keep, *self._claim, self.with_pending(step), drop, saved)
            self.fail(step)
            return
        if not self.pending and drop is None and saved is None:
            steps.keep_alone(self._together, step, self._claim)
            return
        taken = self.take()
        try:
            self._file.write(steps.keep, *self._claim, [*taken, step], drop, saved)
        except BaseException:
            self.pending.update({other.place: other for other in taken})
            raise
        self._work.unsaved = False

    def with_pending(self, step: Step) -> list[Step]:
        """This step, and before it what is pending: a call that is in the file must have those before it there. They
        stay pending, for what is being written may yet be rolled back; to be written twice does them no harm."""
        return [*(other for other in list(self.pending.values()) if other.place != step.place), step]

    def take(self) -> list[Step]:
        """All that is pending, for whoever writes it."""
        taken = []
        while self.pending:
            with contextlib.suppress(KeyError):  # two may take at a time
                taken.append(self.pending.popitem()[1])
        return taken


def course_of(stage: Stage, work: Work) -> Course:
    """What the body of this work has behind it, read when it is asked for first."""
    course = work.course
    if type(course) is not Course:
        work.course = course = Course(stage, work)
    return course


def scope_of(step: Step) -> str:
    """What is kept inside this step has a scope that begins so."""
    name = step.name.replace("%", "%25").replace("/", "%2F")
    return f"{step.within}{step.kind}:{name}:{step.n}/"


def told(step: Step | tuple[str, str, int]) -> str:
    """A call, in words."""
    kind, name, n = (step.kind, step.name, step.n) if isinstance(step, Step) else step
    what = f"{kind} {name!r}" if name else kind
    return what if n == 1 else f"{what} number {n}"
