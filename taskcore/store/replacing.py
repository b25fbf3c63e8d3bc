"""A file that is there as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: str, mode: int) -> Iterator[str]:
    """For a block that writes to the file that this names: it takes the place of what is at `path` once it is whole.

    `mode`: whose it is, as for `os.open`. Where anything fails, what was there is there, and nothing of the new one.
    `FileNotFoundError` where there is no such folder.
    """
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"there is no folder {folder}")
    part = f"{path}.{os.getpid()}-{os.urandom(3).hex()}.part"
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
        with contextlib.suppress(OSError):  # where folders can be synced, the new name lasts
            there = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(there)
            finally:
                os.close(there)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
