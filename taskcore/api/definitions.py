"""Defining: which function a name calls, its options, and what code says of the name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from taskcore.api.function import TaskFunction
from taskcore.core.options import OF_THE_NAME, Definition, Options, elsewhere
from taskcore.core.options import text as checked_text
from taskcore.store import capacity

if TYPE_CHECKING:
    from taskcore.api.engine import Engine


def define(engine: Engine, fn: Any, name: str | None, options: dict[str, Any]) -> Any:
    """`Engine.task`: a `TaskFunction`, or without a function what makes one of it. The options are looked at first."""
    named = {option: check(option, options[option]) for option, check in OF_THE_NAME.items() if option in options}
    chosen = Options().replaced({option: value for option, value in options.items() if option not in named})
    if fn is None:
        return partial(_decorate, engine, name, options)
    chosen.own_behaviour = False
    if isinstance(fn, str):
        engine._elsewhere[checked_text("name", fn)] = elsewhere(fn, chosen)
        limits = {f"name:{fn}": named["limit"]} if "limit" in named else {}
        give(engine, limits, {fn: named["rate"]} if "rate" in named else {})  # the rest is said where it runs
        return TaskFunction(engine, fn, None, chosen)
    if isinstance(fn, TaskFunction):
        if fn._fn is None:
            raise TypeError(f"{fn!r} has no function of its own")
        name, fn = fn.name if name is None else name, fn._fn
    if not callable(fn):
        raise TypeError(f"a task is a function, not {fn!r}")
    name = getattr(fn, "__name__", None) if name is None else name
    if name is None:
        raise TypeError(f"{fn!r} has no name: say which with name=")
    function = register(engine, checked_text("name", name), fn, chosen)
    give(engine, {f"name:{name}": named.get("limit")}, {name: named.get("rate")})
    return function


def _decorate(engine: Engine, name: str | None, options: dict[str, Any], fn: Callable[..., Any]) -> TaskFunction:
    return engine.task(fn, name=name, **options)


def register(engine: Engine, name: str, fn: Callable[..., Any], options: Options) -> TaskFunction:
    """This engine runs it from now on."""
    engine._definitions[name] = Definition(name, fn, options)
    if engine._scheduler.claiming:
        engine._scheduler.look_again()
    return TaskFunction(engine, name, fn, options)


def give(
    engine: Engine, limits: Mapping[str, int | None], rates: Mapping[str, tuple[int, float] | None]
) -> None:
    """What code says of names and capacities, if it is news."""
    known = engine._file.known
    news = {name: value for name, value in limits.items() if known.given.get(name) != value}
    if news:
        engine._write(capacity.give_limits, news)
    for name, rate in rates.items():
        if known.rates.get(name) != rate:
            engine._write(capacity.give_rate, name, rate)
