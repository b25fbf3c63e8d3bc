"""The table of a task's life as SQL: what the guard and the target of every UPDATE of a phase are made of.

A verb that is not in `lifecycle.TABLE` cannot be written down: it is a `KeyError` when its module is imported.
"""

from __future__ import annotations

from typing import Final

from taskcore.core import lifecycle

_TARGETS: Final = {verb: {lifecycle.TABLE[phase, verb] for phase in phases} for verb, phases in lifecycle.FROM.items()}


def leaving(*verbs: str, phase: str = "phase") -> str:
    """The condition that a row is in a phase which all of these verbs move out of. `phase`: the column, as the
    statement calls it; with a `+` before it no index is used."""
    allowed = [name for name in lifecycle.PHASES if all(name in lifecycle.FROM[verb] for verb in verbs)]
    if not allowed:
        raise KeyError(f"no phase is left by all of {', '.join(verbs)}")
    return "(" + " OR ".join(f"{phase} = '{name}'" for name in allowed) + ")"


def target(verb: str) -> str:
    """The phase that this verb moves a task into, as a literal of SQL."""
    (name,) = _TARGETS[verb]
    return f"'{name}'"
