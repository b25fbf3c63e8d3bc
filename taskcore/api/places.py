"""Where functions are found by bodies that run in other processes: by module and qualified name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

from taskcore.runtime.pools import Crew


def under(module: Any, qualname: str) -> Any:
    """What a module, or the class in it, calls so; `None` where it calls nothing so."""
    found = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def find(module: str, qualname: str) -> Callable[..., Any]:
    """The function of this name. `ImportError` where there is none here. Only names of registered functions come here,
    none from a file."""
    found = under(importlib.import_module(module), qualname)
    if not callable(found):
        raise ImportError(
            f"there is no {qualname!r} in the module {module!r} of this process: what an executor runs is defined in a "
            "module that its processes import"
        )
    return found  # type: ignore[no-any-return]


def unfindable(fn: Any, has_main: bool) -> str | None:
    """Why another process would not find this function by its name, or `None`. `has_main`: whether it has what is
    defined in this one's main program."""
    module, qualname = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str):
        return "it has no name of its own"
    if "<lambda>" in qualname:
        return "it is a lambda"
    if "<locals>" in qualname:
        return "it is defined inside a function"
    if module == "__main__" and not has_main:
        return "it is defined in the main program, or in a notebook, which is not imported there"
    found = under(sys.modules.get(module), qualname)
    while found is not None and found is not fn:
        found = getattr(found, "__wrapped__", None)  # by `engine.task`, or another decorator
    return None if found is fn else f"{module}.{qualname} is something else"


def must_be_found(crew: Crew, name: str, fn: Any) -> None:
    """`TypeError` if bodies run in other processes, and this one would not be found there."""
    why = None if crew.here else unfindable(fn, crew.has_main)
    if why is not None and not crew.runs_here():
        raise TypeError(
            f"{name!r} would not be found where the executor runs it: {why}; define it with def in a module"
        )
