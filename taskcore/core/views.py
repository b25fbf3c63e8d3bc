"""The seam to what people look at: the room `view` reads through `api`, so no room below can import it. What it draws
is found here by name, when it is first asked for, and costs nobody else an import."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any, Protocol


class Timeline(Protocol):
    """A picture of what ran when, by worker."""

    def to_svg(self) -> str: ...
    def save(self, path: str | os.PathLike[str]) -> None: ...


class Graph(Timeline, Protocol):
    """A picture of tasks and what they depend on."""

    def to_mermaid(self) -> str: ...
    def to_dot(self) -> str: ...


class Page(Protocol):
    """A web page that is served."""

    @property
    def url(self) -> str:
        """Its address, with the token that opens it."""

    def close(self) -> None: ...


def view(name: str) -> Any:
    """The module of that name in the room `view`."""
    return importlib.import_module(f"taskcore.view.{name}")


def shown_by(name: str, module: str = "html") -> Callable[[Any], str]:
    """A `_repr_html_`, which notebooks ask for: a function of that name, of a module of `view`, makes it of its
    object."""

    def html(thing: Any) -> str:
        return str(getattr(view(module), name)(thing))

    return html
