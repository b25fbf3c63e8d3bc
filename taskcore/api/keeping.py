"""What keeps a file: old tasks that go, a copy of it, and what is wrong with it. Imported by who asks for that."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from taskcore.api.context import Context
from taskcore.api.settings import path_of, period_of
from taskcore.core.model import Finding
from taskcore.runtime.pruner import prune_now
from taskcore.store import backup as copies
from taskcore.store import opening
from taskcore.store.integrity import findings
from taskcore.store.reader import Reader


def prune(context: Context, older_than: float | str | None) -> int:
    """Delete what ended so long ago. → how many."""
    if older_than is None:
        raise ValueError("prune(older_than=…) says how long ago: this engine keeps ended tasks for ever")
    return prune_now(context.file, context.now() - period_of(older_than, "older_than"))


def backup(context: Context, path: str | os.PathLike[str], progress: Callable[[int, int], object] | None) -> None:
    """A whole copy of it at the path."""
    if context.file.in_memory:
        context.file.read(copies.write, path_of(path), progress)
    else:
        context.file.check_identity()
        context.file.reader.read(lambda _: None)  # `EngineClosed` after a close
        opening.copy(context.path, path_of(path), progress)


def check(context: Context) -> list[Finding]:
    """What is wrong with it."""
    context.look(lambda _: None)  # what bodies have to show is written, and the file is still this one
    if context.file.read_only or not context.file.apart:
        return findings(context.read, context.codec)
    with contextlib.closing(Reader(context.path, read_only=False)) as reader:
        return findings(reader.read, context.codec)
