"""Reading a job's log: from a cursor on, the same file on every backend; and what of it is worth a brain's attention."""

from __future__ import annotations

import re
from itertools import groupby
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


LOOKED_AT = 400_000
"""Bytes of a log's end in which what matters is sought."""
_NUMBERS = re.compile(r"[\d.,:%/|#=\u2580-\u259f-]+")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def telling(path: Path, characters: int) -> str:
    """The end of a log in at most so many characters, without what says nothing: of a progress bar its last state, of
    lines that differ in their numbers alone the first and the last. A traceback near the end is there from its beginning.

    Raises OSError where the log cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - LOOKED_AT))
        text = _ESCAPES.sub("", file.read().decode("utf-8", "replace"))
    lines = [line.rstrip().rpartition("\r")[2].rstrip() for line in text.split("\n")]
    short: list[str] = []
    for _, same in groupby(lines, key=lambda line: _NUMBERS.sub("0", line)):
        alike = list(same)
        left_out = [f"[{len(alike) - 2} more lines like these]"] if len(alike) > 3 else alike[1:-1]
        short += alike[:1] + left_out + alike[1:][-1:]
    return _end("\n".join(short), characters)


def _end(text: str, characters: int) -> str:
    if len(text) <= characters:
        return text
    error = text.rfind("Traceback (most recent call last)")
    if error < 0 or len(text) - error <= characters:
        return text[-characters:]
    first = characters // 3  # where it began and where it ended; what lies between are calls of libraries
    return f"{text[error : error + first]}\n[...]\n{text[-(characters - first - 7) :]}"
