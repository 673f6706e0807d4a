"""The floor of free disk: stop while there is still room to close cleanly."""

from __future__ import annotations

import os
from pathlib import Path

from store.errors import DiskFull

URGENT_SHARE = 4
"""An urgent append (the event that says why a run stopped) may go down to this fraction of the floor: a quarter."""


def free_bytes(folder: Path) -> int:
    """Bytes an ordinary user may still write in the file system of `folder`."""
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize


def check_floor(folder: Path, floor_bytes: int, wanted_bytes: int, *, urgent: bool) -> None:
    """Raise DiskFull if writing `wanted_bytes` would leave less than the floor."""
    floor = floor_bytes // URGENT_SHARE if urgent else floor_bytes
    free = free_bytes(folder)
    if free - wanted_bytes < floor:
        text = f"{free // 1_000_000} MB of disk are free, the floor is {floor // 1_000_000} MB"
        raise DiskFull(text, where=str(folder))
