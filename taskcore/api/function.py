"""`TaskFunction`: a function that can be called as ever, or submitted."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from taskcore.core.options import OF_THE_KIND, Options

if TYPE_CHECKING:
    from taskcore.api.engine import Engine
    from taskcore.api.future import TaskFuture


class TaskFunction:
    """What `engine.task` makes of a function. `f(…)` still calls it; `f.submit(…)` stores a task that will.

    Made from a name alone (`engine.task("heat furnace")`) it stands for a task that is run elsewhere: it can be
    submitted with options, and has nothing to call.
    """

    def __init__(self, engine: Engine, name: str, fn: Callable[..., Any] | None, options: Options) -> None:
        self._engine = engine
        self._fn = fn
        self._options = options
        self._kind = options.kind()
        self._name = name
        if fn is not None:
            functools.update_wrapper(self, fn)

    @property
    def name(self) -> str:
        """What its tasks are called in the file."""
        return self._name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._fn is None:
            raise TypeError(f"{self._name!r} is run elsewhere: there is no function to call here")
        return self._fn(*args, **kwargs)

    def submit(self, /, *args: Any, **kwargs: Any) -> TaskFuture:
        """Store a task that calls the function with these arguments; futures among them are dependencies.

        In the file when this returns (inside `transaction()`: with its commit). `TypeError` naming the argument that
        cannot be stored, `KeyConflict`, `UnknownStatus`, `TaskNotFound`; nothing is stored then.
        """
        return self._engine._submit(self, args, kwargs)

    def map(self, *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1) -> Iterator[Any]:
        """As `Executor.map`: one task for each tuple of arguments, results in order."""
        return self._engine.map(self, *iterables, timeout=timeout, chunksize=chunksize)

    def options(self, **options: Any) -> TaskFunction:
        """A copy with these options set; this one stays as it is. `TypeError` or `ValueError` for a bad one."""
        copy = object.__new__(TaskFunction)
        copy.__dict__.update(self.__dict__)
        copy._options = changed = self._options.replaced(options)
        if not options.keys().isdisjoint(OF_THE_KIND):
            copy._kind = changed.kind()
        return copy

    def __repr__(self) -> str:
        return f"<TaskFunction {self._name!r}>"

