"""Reading a job's log from a cursor on: the same file on every backend, wherever it came from."""

from __future__ import annotations

from pathlib import Path

from core.compute.spec import LogChunk


def read_chunk(path: Path, cursor: int, limit: int, *, ended: bool) -> LogChunk:
    """At most `limit` bytes of `path` from byte `cursor` on; empty while there is no file. `ended`: the job is over."""
    data = b""
    if path.is_file():
        with path.open("rb") as file:
            file.seek(cursor)
            data = file.read(limit)
    return LogChunk(text=data.decode("utf-8", "replace"), cursor=cursor + len(data), ended=ended and len(data) < limit)
