"""Large texts and files beside the log, named by their content: `blobs/ab/<sha256>`.

An event holds the digest, the size and a preview; the blob is written first, durably, so an event never names one
that is not there. Writing the same content twice stores it once. A blob is written once and never changed, so what
does not hash to its name is damaged.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from store.errors import LogDamaged, LogMissing
from store.event import Event
from store.mark import sync_folder

PREFIX = "sha256:"
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_NAMED = re.compile(rb'"sha256:([0-9a-f]{64})"')


class BlobStore:
    """The blobs of one run folder."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "blobs"

    def put(self, data: bytes) -> str:
        """Store `data` durably. Returns its digest, `sha256:<64 hex digits>`, as it should stand in an event."""
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        if not path.exists():
            self._write(path, data)
        return PREFIX + digest

    def get(self, digest: str) -> bytes:
        """The content of a blob. Raises LogMissing if it is not there, LogDamaged if it is not what its name says."""
        path = self.path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise LogMissing("a blob is missing", where=str(path)) from None
        if hashlib.sha256(data).hexdigest() != path.name:
            raise LogDamaged("a blob is not what its name says", where=str(path))
        return data

    def path(self, digest: str) -> Path:
        """Where a blob lies, or would lie. Raises LogMissing if `digest` is not one."""
        found = _DIGEST.fullmatch(digest)
        if not found:
            raise LogMissing(f"{digest!r} is not the digest of a blob", where=str(self.root))
        return self._path(found.group(1))

    def __contains__(self, digest: str) -> bool:
        return self.path(digest).exists()

    def __iter__(self) -> Iterator[str]:
        """The digests of all blobs."""
        for path in sorted(self.root.glob("[0-9a-f][0-9a-f]/*")):
            if _DIGEST.fullmatch(path.name):
                yield PREFIX + path.name

    def remove(self, digest: str) -> int:
        """Delete a blob no event needs. Returns the bytes that are free again; 0 if it was not there."""
        path = self.path(digest)
        size = path.stat().st_size if path.exists() else 0
        path.unlink(missing_ok=True)
        return size

    def _path(self, digest: str) -> Path:
        return self.root / digest[:2] / digest

    def _write(self, path: Path, data: bytes) -> None:
        for folder in (self.root, path.parent):
            if not folder.exists():
                folder.mkdir(parents=True, exist_ok=True)
                sync_folder(folder.parent)
        fd, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def blobs_named(event: Event) -> list[str]:
    """The digests an event names: every JSON string of the form `sha256:<64 hex digits>` in its payload."""
    return [PREFIX + digest.decode() for digest in _NAMED.findall(event.payload)]
