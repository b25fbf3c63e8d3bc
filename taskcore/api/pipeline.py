"""Pipelines: the same graph of tasks for one subject after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

from taskcore.api.function import TaskFunction, define
from taskcore.api.future import TaskFuture
from taskcore.api.job import job
from taskcore.api.selection import Selection
from taskcore.api.submission import Submissions
from taskcore.core.errors import UnknownStatus
from taskcore.core.options import checked_text
from taskcore.core.text import printable
from taskcore.core.views import shown_by
from taskcore.store import dependencies


class Pipeline:
    """Made by `engine.pipeline(name)`. Its tasks are named "pipeline.task" in the file, their key is the subject, their
    parent the subject's job."""

    def __init__(self, submissions: Submissions, name: str) -> None:
        self._context = submissions.context
        self._submissions = submissions
        self.name = name
        self._tasks: dict[str, tuple[TaskFunction, dict[str, str]]] = {}

    @overload
    def task(
        self, fn: None = None, /, *, name: str | None = None, needs: Any = None, **options: Any
    ) -> Callable[..., TaskFunction]: ...
    @overload
    def task(
        self, fn: Callable[..., Any], /, *, name: str | None = None, needs: Any = None, **options: Any
    ) -> TaskFunction: ...
    def task(
        self, fn: Callable[..., Any] | None = None, /, *, name: str | None = None, needs: Any = None, **options: Any
    ) -> TaskFunction | Callable[..., TaskFunction]:
        """Add a step: a function of the subject. `needs`: the steps it comes after, as `{step: status}`, or one or a
        list of those that must have succeeded; where one ended otherwise, this one is skipped, or what the option
        `otherwise` says.

        `ValueError` for a step that is not defined yet, `UnknownStatus` for a status that there is not.
        """
        if fn is None:
            return lambda fn: self._task(name, needs, options, fn)
        return self._task(name, needs, options, fn)

    def _task(self, name: str | None, needs: Any, options: dict[str, Any], fn: Callable[..., Any]) -> TaskFunction:
        called = checked_text("name", name if name is not None else getattr(fn, "__name__", None))
        wanted = _needs(needs)
        for step, status in wanted.items():
            if step == called or step not in self._tasks:
                known = ", ".join(repr(other) for other in self._tasks if other != called) or "none yet"
                raise ValueError(f"{called!r} needs {step!r}, which {self.name!r} does not have; there are: {known}")
            if called in self._tasks and called in self._in_order([step]):
                raise ValueError(f"{called!r} needs {step!r}, which needs {called!r}")
            try:
                dependencies.watch(self._context.file.known, status)
            except UnknownStatus as error:
                error.add_note(f"{called!r} of pipeline {self.name!r} needs {step!r} to be that")
                raise
        for option in ("key", "after", "parent"):
            if option in options:
                raise TypeError(f"a pipeline gives its tasks their {option}: say it with needs, or not at all")
        function: TaskFunction = define(self._submissions, fn, f"{self.name}.{called}", options)
        self._tasks[called] = function, wanted
        return function

    def start(self, subject: str) -> TaskFuture:
        """A job for this subject with one task for each step, wired, in one commit. → the job.

        For a subject that was started before: only steps that were invented since are added, and nothing runs again.
        """
        checked_text("subject", subject)
        made: dict[str, TaskFuture] = {}
        with job(self._submissions, self.name, "fail", {"key": subject}) as started:
            for name in self._in_order(self._tasks):
                function, needs = self._tasks[name]
                after = {made[step]: status for step, status in needs.items()}
                made[name] = function.options(key=subject, after=after).submit(subject)
        return started

    def _in_order(self, steps: Iterable[str]) -> list[str]:
        """These and all that they need, each behind what it needs: a step that was defined again may need a later
        one."""
        order: dict[str, None] = {}
        left = list(steps)[::-1]
        while left:
            missing = [step for step in self._tasks[left[-1]][1] if step not in order]
            if missing:
                left += missing[::-1]
            else:
                order[left.pop()] = None
        return list(order)

    def status(self, subject: str) -> dict[str, str]:
        """Step → status, of the steps that this subject has; empty for one that was never started."""
        steps = {f"{self.name}.{step}": step for step in self._tasks}
        tasks = Selection(self._context).where(name=list(steps), key=checked_text("subject", subject))
        found = {steps[task.name]: task.status for task in tasks}
        return {step: found[step] for step in self._tasks if step in found}

    _repr_html_ = shown_by("pipeline")

    def __repr__(self) -> str:
        return f"<Pipeline {self.name!r}: {', '.join(map(printable, self._tasks)) or 'no tasks yet'}>"


def _needs(needs: Any) -> dict[str, str]:
    if needs is None:
        return {}
    if isinstance(needs, str):
        needs = [needs]
    if isinstance(needs, (list, tuple, set, frozenset)):
        needs = dict.fromkeys(needs, "succeeded")
    if not isinstance(needs, Mapping):
        raise TypeError(f"needs is {{step: status}}, a step or a list of steps, not {needs!r}")
    return {checked_text("a step in needs", step): checked_text("a status in needs", s) for step, s in needs.items()}
