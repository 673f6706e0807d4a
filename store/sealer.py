"""Digesting the database file a piece at a time, for the seal in the mark (see `store.mark`).

Between two checkpoints DuckDB does not touch that file, so its digest stays true while events go on into the
write-ahead log. The writer digests when it is idle, a piece between two looks at its queue.

The descriptor is opened once and closed only after DuckDB has closed the file: closing it earlier would drop DuckDB's
lock (see the trap in `store.database`).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_PIECE = 4 << 20
_SMALL = 8 << 20


class Sealer:
    """A digest under way."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.restart()

    def restart(self) -> None:
        """The file has changed, or is about to."""
        self._digest = hashlib.sha256()
        self._offset = 0
        self.done: str | None = None

    @property
    def small(self) -> bool:
        """The file is so small that it is digested at once, not piece by piece."""
        return os.fstat(self._fd).st_size <= _SMALL

    @property
    def fresh(self) -> bool:
        """Nothing was digested yet."""
        return self._offset == 0

    def step(self) -> str | None:
        """Digest one more piece; the digest of the whole file once its end is reached."""
        if self.done is None:
            piece = os.pread(self._fd, _PIECE, self._offset)
            self._digest.update(piece)
            self._offset += len(piece)
            if not piece:
                self.done = self._digest.hexdigest()
        return self.done

    def finish(self) -> str:
        """Digest all that is left."""
        while True:
            done = self.step()
            if done is not None:
                return done

    def close(self) -> None:
        os.close(self._fd)


def digest_file(path: Path) -> str:
    """SHA-256 of a file that nobody has open for writing."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
