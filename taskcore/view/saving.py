"""A picture or page as a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from taskcore.store.replacing import replacing


def save(path: str | os.PathLike[str], ways: Mapping[tuple[str, ...], Callable[[], str]]) -> None:
    """Write what the path's ending asks for: endings → what makes it. `ValueError` for another ending."""
    name = os.fspath(path)
    if not isinstance(name, str):
        raise TypeError(f"the path is a text, not {name!r}")
    for endings, make in ways.items():
        if name.lower().endswith(endings):
            whole(name, make())
            return
    known = ", ".join(ending for endings in ways for ending in endings)
    raise ValueError(f"{name!r} has none of the endings that say what to write: {known}")


def whole(path: str, text: str) -> None:
    """Write it to the path, in place of a file that was there, as a whole or not at all. `OSError`."""
    target = os.path.realpath(path)  # through a link, as writing does
    if os.path.exists(target) and not os.path.isfile(target):
        raise FileExistsError(f"{path} is no plain file that can be replaced")
    with replacing(target, 0o666) as part, open(part, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
