"""`engine.check()`: the rules of a sound file, asked one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskcore.core.errors import BadFile
from taskcore.core.model import Finding
from taskcore.store import integrity

Read = Callable[[Callable[[Any], list[integrity.Found]]], list[integrity.Found]]


def findings(read: Read) -> list[Finding]:
    """What is wrong, SQLite's own findings first. Others go on between one rule and the next."""
    found = []
    for look in integrity.LOOKS:
        try:
            found += [Finding(what, mend) for what, mend in read(look)]
        except BadFile as error:  # what can still be read may be right or wrong
            found.append(Finding(error.reason, integrity.RESTORE))
    return list(dict.fromkeys(found))
