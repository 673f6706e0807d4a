"""The text of a log file, whatever it is encoded or packed in, and the JSON document in it; errors that say where it ends."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from core.errors import UsageError

READABLE = "Give JSON lines, trainer_state.json, a console log, a CSV, a Trackio .db or project, a job folder or a run."


def loaded(text: str, source: Path) -> Any:
    """The one JSON value of a text. Raises UsageError with the line at which it breaks."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        what = f"broken JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        raise UsageError(
            what, where=str(source), next="The file may have been cut off while it was written."
        ) from error
    except RecursionError as error:
        raise UsageError("JSON nested too deeply for a log", where=str(source), next=READABLE) from error


def object_in(text: str, source: Path) -> dict[str, Any]:
    """The one JSON object of a text. Raises UsageError."""
    value = loaded(text, source)
    if not isinstance(value, dict):
        raise UsageError("no JSON object", where=str(source), next="Give a trainer_state.json or JSON lines.")
    return cast(dict[str, Any], value)


def text_of(source: Path) -> str:
    """UTF-8 (a byte order mark is dropped), UTF-16 with a mark, packed or not; binary content is an error."""
    data = _unpacked(source)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    if b"\x00" in data[:4096]:
        board = "tfevents" in source.name
        raise UsageError(
            "an event file of TensorBoard" if board else "a binary file", where=str(source),
            next="Give the trainer_state.json of the same training." if board else READABLE,
        )  # fmt: skip
    return data.decode("utf-8-sig", "replace")


_PACKED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
"""First bytes of a packed file, and what unpacks it."""
MOST_BYTES = 1 << 30
"""Of a packed file: a small one may unpack to anything."""


def _unpacked(source: Path) -> bytes:
    try:
        with source.open("rb") as file:
            head = file.read(8)
            file.seek(0)
            unpack = next((opened for sign, opened in _PACKED.items() if head.startswith(sign)), None)
            if unpack is None:
                return file.read()
            data = unpack(file).read(MOST_BYTES + 1)
    except PermissionError:
        raise
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise UsageError(f"it cannot be unpacked: {error}", where=str(source), next="Was it cut off?") from error
    if len(data) > MOST_BYTES:
        raise UsageError("it unpacks to more than 1 GB", where=str(source), next="Give the part that is asked about.")
    return data
