"""What operators can do on the page: each verb with what it is told, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from taskcore.api.context import context_of
from taskcore.api.engine import Engine
from taskcore.api.schedules import Schedule
from taskcore.api.selection import Selection
from taskcore.core.ends import spoken
from taskcore.core.text import printable
from taskcore.view.answers import FILTERS, MOVES, chosen, number

Told = Mapping[str, Any]
"""The JSON object that came with the request."""


def _text(told: Told, name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str):
        raise TypeError(f"{name} is a text, not {printable(repr(value), 60)}")
    return value


def _where(engine: Engine, told: Told, verb: str) -> Selection:
    """The tasks that a verb is for. Those that say nothing of which are refused: no verb is for the whole file by
    mistake."""
    said = told.get("where")
    if not isinstance(said, dict) or not all(
        isinstance(values, list) and all(isinstance(value, (str, int, float)) for value in values)
        for values in said.values()
    ):
        raise TypeError("where is an object: each filter with a list of its values")
    unknown = [name for name in said if name not in FILTERS]
    if unknown or not any(said.values()):
        raise ValueError(f"there is no filter {printable(unknown[0], 40)!r}" if unknown else f"{verb} which tasks?")
    texts: dict[str, Sequence[str]] = {name: [str(value) for value in values] for name, values in said.items()}
    return chosen(engine, texts).where(phase=MOVES[verb])


def _cancel(engine: Engine, told: Told) -> dict[str, Any]:
    tasks, reason = _where(engine, told, "cancel"), told.get("reason") or None
    return {"moved": tasks.cancel(reason), "asked": len(tasks.where(phase="running"))}


def _rerun(engine: Engine, told: Told) -> dict[str, Any]:
    moved = _where(engine, told, "rerun").rerun(downstream=bool(told.get("downstream")))
    context = context_of(engine)
    if moved and context.workers and not context.refusing:
        context.start()
    return {"moved": moved}


def _signal(engine: Engine, told: Told) -> dict[str, Any]:
    try:
        payload = json.loads(_text(told, "payload") or "null", parse_constant=_no_number)
    except RecursionError:
        raise ValueError("the payload is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"the payload is no JSON: {error}") from None
    return {"stored": engine.future(number(told.get("id"))).signal(_text(told, "name"), payload)}


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number there")


def _names(told: Told) -> list[str]:
    """What is held or let go: one name, or with an empty one the whole file."""
    return [name] if (name := _text(told, "name")) else []


def _done(verb: Callable[..., object], *args: object) -> dict[str, Any]:
    verb(*args)
    return {}


def _schedule(engine: Engine, told: Told) -> Schedule:
    name = _text(told, "name")
    try:
        return engine.schedules[name]
    except KeyError:
        raise ValueError(f"there is no schedule {printable(name, 60)!r}") from None


def _limit(engine: Engine, told: Told) -> dict[str, Any]:
    """`value`: `None` takes it away."""
    name, value = _text(told, "name"), told.get("value")
    if value is not None:
        engine.limits[name] = value
    elif name in engine.limits:
        del engine.limits[name]
    return {}


VERBS: Final[dict[str, Callable[[Engine, Told], dict[str, Any]]]] = {
    "cancel": _cancel,
    "rerun": _rerun,
    "pause": lambda engine, told: {"moved": _where(engine, told, "pause").pause()},
    "resume": lambda engine, told: {"moved": _where(engine, told, "resume").resume()},
    "signal": _signal,
    "hold": lambda engine, told: _done(engine.pause, *_names(told)),
    "let_go": lambda engine, told: _done(engine.resume, *_names(told)),
    "trigger": lambda engine, told: {"task": _schedule(engine, told).trigger().id},
    "enable": lambda engine, told: _done(_schedule(engine, told).enable),
    "disable": lambda engine, told: _done(_schedule(engine, told).disable),
    "every": lambda engine, told: _done(_schedule(engine, told).set_every, spoken(_text(told, "every"))),
    "limit": _limit,
}
"""Name → what it does to the file. Each is one transaction: it did all of it, or nothing."""
