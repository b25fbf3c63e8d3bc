"""The table of a task's life as SQL: what the guard and the target of every UPDATE of a phase are made of.

A verb that is not in `lifecycle.TABLE` cannot be written down: it is a `KeyError` when its module is imported.
"""

from __future__ import annotations

from typing import Final

from taskcore.core import lifecycle

_TARGETS: Final = {verb: {lifecycle.TABLE[phase, verb] for phase in phases} for verb, phases in lifecycle.FROM.items()}


def leaving(*verbs: str, phase: str = "phase") -> str:
    """The condition that a row is in a phase which one of these verbs moves out of.

    `phase` is the column as the statement calls it; with a `+` before it no index is used.
    """
    left = {name for verb in verbs for name in lifecycle.FROM[verb]}
    allowed = [name for name in lifecycle.PHASES if name in left]
    return "(" + " OR ".join(f"{phase} = '{name}'" for name in allowed) + ")"


def target(verb: str) -> str:
    """The phase that this verb moves a task into, as a literal of SQL."""
    (name,) = _TARGETS[verb]
    return f"'{name}'"


def by_row(decision: str, **conditions: str) -> str:
    """The phase that each row of a statement moves into: of the verbs that `lifecycle.BY_ROW` lists for this decision,
    the first whose condition holds. The last one has no condition. A blank in a verb is `_` in its keyword."""
    *some, last = lifecycle.BY_ROW[decision]
    if [verb.replace(" ", "_") for verb in some] != list(conditions):
        raise KeyError(f"the conditions of {decision!r} are for {', '.join(some)}, in this order")
    cases = " ".join(
        f"WHEN {condition} THEN {target(verb)}" for verb, condition in zip(some, conditions.values(), strict=True)
    )
    return f"CASE {cases} ELSE {target(last)} END"


def where_left(verb: str) -> str:
    """The phase of a row that this verb moves where it may, and leaves alone where not."""
    return f"CASE WHEN {leaving(verb)} THEN {target(verb)} ELSE phase END"


LEFT: Final = {decision: leaving(*verbs, phase="+phase") for decision, verbs in lifecycle.BY_ROW.items()}
"""For each decision, the guard of its statement."""
