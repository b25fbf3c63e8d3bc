"""`TaskFunction`: a function that can be called as ever, or submitted; and what `engine.task` makes of one."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from taskcore.api.context import Context
from taskcore.api.future import TaskFuture
from taskcore.api.submission import Submissions, Submittable
from taskcore.core.options import OF_THE_KIND, OF_THE_NAME, Definition, Options, checked_text
from taskcore.store import capacity


class TaskFunction(Submittable):
    """What `engine.task` makes of a function. `f(…)` still calls it; `f.submit(…)` stores a task that will.

    Made from a name alone (`engine.task("heat furnace")`) it stands for a task that is run elsewhere: it can be
    submitted with options, and has nothing to call.
    """

    def __init__(
        self, submissions: Submissions, name: str, fn: Callable[..., Any] | None, options: Options
    ) -> None:
        super().__init__(name, fn, options)
        self._submissions = submissions
        if fn is not None:
            functools.update_wrapper(self, fn)

    @property
    def name(self) -> str:
        """What its tasks are called in the file."""
        return self._name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._fn is None:
            function = bool(args) and callable(args[0])
            way = f"; to give it one, say engine.task(name={self._name!r})" if function else ""
            raise TypeError(f"{self._name!r} is run elsewhere: there is no function to call here{way}")
        return self._fn(*args, **kwargs)

    def submit(self, /, *args: Any, **kwargs: Any) -> TaskFuture:
        """Store a task that calls the function with these arguments; futures among them are dependencies.

        In the file when this returns (inside `transaction()`: with its commit). `TypeError` naming the argument that
        cannot be stored, `KeyConflict`, `UnknownStatus`, `TaskNotFound`; nothing is stored then.
        """
        return self._submissions.submit(self, args, kwargs)

    def map(self, *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1) -> Iterator[Any]:
        """As `Executor.map`: one task for each tuple of arguments, results in order."""
        return self._submissions.map(self, iterables, timeout, chunksize)

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


# -- defining -------------------------------------------------------------------------------------------------------


def define(submissions: Submissions, fn: Any, name: str | None, options: dict[str, Any]) -> Any:
    """`Engine.task`: a `TaskFunction`, or without a function what makes one of it. The options are looked at first."""
    named = {option: check(option, options[option]) for option, check in OF_THE_NAME.items() if option in options}
    chosen = Options().replaced({option: value for option, value in options.items() if option not in named})
    if fn is None:
        return lambda fn: define(submissions, fn, name, options)
    context = submissions.context
    chosen.own_behaviour = False
    if isinstance(fn, str):
        context.elsewhere[checked_text("name", fn)] = Definition(fn, None, chosen)
        limits = {f"name:{fn}": named["limit"]} if "limit" in named else {}
        give(context, limits, {fn: named["rate"]} if "rate" in named else {})  # the rest is said where it runs
        return TaskFunction(submissions, fn, None, chosen)
    if isinstance(fn, TaskFunction):
        if fn._fn is None:
            raise TypeError(f"{fn!r} has no function of its own")
        name, fn = fn.name if name is None else name, fn._fn
    if not callable(fn):
        raise TypeError(f"a task is a function, not {fn!r}")
    name = getattr(fn, "__name__", None) if name is None else name
    if name in (None, "<lambda>"):
        raise TypeError(f"{fn!r} has no name of its own: say which with name=")
    if _is_method(fn):
        raise TypeError(
            f"{fn.__qualname__} is a method, and its object is not stored with a task: define a function outside of "
            "the class that is given what it needs"
        )
    function = register(submissions, checked_text("name", name), fn, chosen)
    give(context, {f"name:{name}": named.get("limit")}, {name: named.get("rate")})
    return function


def _is_method(fn: Any) -> bool:
    """Whether it is written in a class and takes its object or class."""
    if not isinstance(fn, types.FunctionType):
        return False
    within = fn.__qualname__.rpartition(".")[0]
    first = fn.__code__.co_varnames[: min(fn.__code__.co_argcount, 1)]
    return within != "" and not within.endswith("<locals>") and first in (("self",), ("cls",))


def register(submissions: Submissions, name: str, fn: Callable[..., Any], options: Options) -> TaskFunction:
    """This engine runs it from now on."""
    submissions.context.define(Definition(name, fn, options))
    return TaskFunction(submissions, name, fn, options)


def give(
    context: Context, limits: Mapping[str, int | None], rates: Mapping[str, tuple[int, float] | None]
) -> None:
    """What code says of names and capacities, if it is news."""
    known = context.file.known
    news = {name: value for name, value in limits.items() if known.given.get(name) != value}
    if news:
        context.write(capacity.give_limits, news)
    for name, rate in rates.items():
        if known.rates.get(name) != rate:
            context.write(capacity.give_rate, name, rate)
