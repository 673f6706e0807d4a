"""Snapshots of what a fold had computed, so that a state far into a log need not be folded from the beginning.

Their content is opaque here. They are disposable: a missing, stale or damaged one costs time, never truth. Each is a
file, `snapshots/<name>.v<version>/<seq>`: one line of JSON about it, then the data. It names the hash of the event it
stands at, so that one that belongs to another history (a log restored from a copy) is not believed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

import msgspec

from store.source import EventSource


class Snapshot(msgspec.Struct, frozen=True):
    """What a fold had computed after event `seq`."""

    seq: int
    data: bytes


class _Head(msgspec.Struct, frozen=True):
    seq: int
    hash: str
    """`Event.hash` at `seq`."""
    sha256: str


_decode_head = msgspec.json.Decoder(_Head).decode


class Snapshots:
    """The snapshots of one run folder."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "snapshots"

    def save(self, name: str, version: int, seq: int, hash: str, data: bytes) -> None:
        """Keep `data` as the state after the event `seq` with the hash `hash`. Not synced: it can be computed again."""
        folder = self._folder(name, version)
        folder.mkdir(parents=True, exist_ok=True)
        head = msgspec.json.encode(_Head(seq, hash, hashlib.sha256(data).hexdigest()))
        new = folder / f".new-{os.getpid()}-{seq}"
        new.write_bytes(head + b"\n" + data)
        new.rename(folder / f"{seq:012d}")

    def all(self, name: str, version: int) -> list[int]:
        """The events at which there is a snapshot."""
        return sorted(int(path.name) for path in self._folder(name, version).glob("[0-9]*"))

    def nearest(self, name: str, version: int, source: EventSource, seq: int | None = None) -> Snapshot | None:
        """The latest snapshot at or before `seq` (default: the end) that fits the history in `source`, or None."""
        for path in sorted(self._folder(name, version).glob("[0-9]*"), reverse=True):
            if seq is not None and int(path.name) > seq:
                continue
            found = _read(path, source)
            if found is not None:
                return found
        return None

    def prune(self, name: str, version: int, keep: int) -> None:
        """Delete all snapshots of other versions of `name`, and all but the newest `keep` of this one."""
        mine = self._folder(name, version)
        for folder in self.root.glob(f"{name}.v*"):
            if folder != mine:
                shutil.rmtree(folder, ignore_errors=True)
        for path in sorted(mine.glob("[0-9]*"), reverse=True)[keep:]:
            path.unlink(missing_ok=True)

    def _folder(self, name: str, version: int) -> Path:
        if not re.fullmatch(r"[a-z_]+", name):
            raise ValueError(f"{name!r} cannot be the name of a snapshot")
        return self.root / f"{name}.v{version}"


def _read(path: Path, source: EventSource) -> Snapshot | None:
    """The snapshot in a file, if it is whole and belongs to the history in `source`."""
    try:
        line, _, data = path.read_bytes().partition(b"\n")
        head = _decode_head(line)
    except (OSError, msgspec.MsgspecError):
        return None
    if hashlib.sha256(data).hexdigest() != head.sha256:
        return None
    event = source.get(head.seq)
    return Snapshot(head.seq, data) if event is not None and event.hash == head.hash else None
