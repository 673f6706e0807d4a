"""One cache on disk for all runs of the machine: what was fetched once is not asked for again.

A file an answer, named by the digest of its key, written to a temporary name and moved into place, so that readers
beside us see the old answer or the new one and never half of one. A damaged file counts as absent. Past its size the
cache drops what was written longest ago.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")


class _Entry(msgspec.Struct, frozen=True):
    key: str
    written: float
    body: bytes


class Hit(msgspec.Struct, frozen=True):
    """A cached answer and its age."""

    body: bytes
    age_s: float


class Cache:
    """Answers by key. `max_bytes` bounds the folder; `now` gives wall time in seconds."""

    def __init__(self, folder: Path, *, max_bytes: int = 500_000_000, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._now = now
        self._writes = 0
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: str, *, max_age_s: float | None = None) -> Hit | None:
        """The answer, or None if there is none, it is older than `max_age_s`, or its file is damaged."""
        try:
            entry = msgspec.msgpack.decode(self._path(key).read_bytes(), type=_Entry)
        except (OSError, msgspec.DecodeError):  # ValidationError is a DecodeError
            return None
        age = max(0.0, self._now() - entry.written)
        if max_age_s is not None and age > max_age_s:
            return None
        return Hit(entry.body, age)

    def put(self, key: str, body: bytes) -> None:
        """Keep an answer. A full disk costs the cache, not the answer: nothing is raised, the entry is absent."""
        path = self._path(key)
        draft = path.with_name(f"{path.name}.{os.getpid()}.{uuid.uuid4().hex}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(
                msgspec.msgpack.encode(_Entry(key.encode("utf-8", "replace").decode(), self._now(), body))
            )
            draft.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink()
            return
        self._writes += 1
        if self._writes % 50 == 1:
            self.prune()

    def get_as(self, key: str, kind: type[T], *, max_age_s: float | None = None) -> tuple[T, float] | None:
        """As `get`, decoded from JSON, with its age in seconds. An answer of another shape counts as absent."""
        hit = self.get(key, max_age_s=max_age_s)
        if hit is None:
            return None
        try:
            return msgspec.json.decode(hit.body, type=kind), hit.age_s
        except msgspec.DecodeError:
            return None

    def put_json(self, key: str, value: object) -> None:
        """Keep a msgspec struct or plain data as JSON."""
        self.put(key, msgspec.json.encode(value))

    def prune(self) -> int:
        """Drop the oldest answers until the folder fits; returns how many. Safe beside other processes."""
        files: list[tuple[float, int, Path]] = []
        for path in self._folder.glob("*/*"):
            try:
                stat = path.stat()
            except FileNotFoundError:  # another process pruned it
                continue
            files.append((stat.st_mtime, stat.st_size, path))
        total, dropped = sum(size for _, size, _ in files), 0
        for _, size, path in sorted(files):
            if total <= self._max_bytes:
                break
            path.unlink(missing_ok=True)
            total, dropped = total - size, dropped + 1
        return dropped

    def _path(self, key: str) -> Path:
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        return self._folder / digest[:2] / digest
