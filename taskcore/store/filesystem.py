"""Where a database may lie: SQLite's write-ahead log needs real locks and memory that all its processes share."""

from __future__ import annotations

import os
import re
from typing import Final

MOUNTS: Final = "/proc/self/mountinfo"
"""Linux tells there what is mounted where; elsewhere nothing is known, and nothing is refused."""

NETWORKED: Final = frozenset({
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs",
    "nfs4", "ocfs2", "orangefs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
})  # fmt: skip
"""Kinds of file systems of other machines, or of the host of a virtual one: locks or shared memory fail there."""

_OCTAL: Final = r"\\([0-7]{3})"


_kinds: Final[dict[int, str | None]] = {}  # device → the kind of its file system, as it was told once


def objection(path: str) -> str | None:
    """Why a database must not lie at this path, in words; `None` if nothing is known against it."""
    folder = os.path.dirname(os.path.realpath(path))
    try:
        device = os.stat(folder).st_dev
    except OSError:
        kind = kind_of(folder)
    else:
        kind = _kinds[device] if device in _kinds else _kinds.setdefault(device, kind_of(folder))
    if kind is None:
        return None
    if kind in NETWORKED or (kind.startswith("fuse.") and kind != "fuse.portal"):
        return (
            f"it lies on a file system of kind {kind}, where SQLite's locks and shared memory cannot be relied on: "
            "keep it on a local disk, or say allow_network_filesystem=True"
        )
    return None


def kind_of(folder: str) -> str | None:
    """The kind of the file system that this folder is in, as Linux calls it; `None` where that is not told."""
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    best, kind = -1, None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        mounted = re.sub(_OCTAL, lambda found: chr(int(found[1], 8)), fields[4])
        inside = folder == mounted or folder.startswith(mounted.rstrip("/") + "/")
        if inside and len(mounted) >= best:  # of several on one place, the last covers the others
            best, kind = len(mounted), after.split(" ")[0]
    return kind
