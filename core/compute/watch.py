"""Reading a job's metrics.jsonl while it grows."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

_SPELLED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class MetricTail:
    """An incremental reader. Call `read()` as often as you like; each line comes once.

    A line that is still being written waits for its end. A file that became shorter (truncated, or another one) is read
    from its start. A line that is no JSON object is skipped and counted in `damaged`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.offset = 0
        """Bytes of complete lines read so far; keep it to go on after a restart."""
        self.damaged = 0
        self._inode: int | None = None

    def read(self) -> Iterator[dict[str, Any]]:
        """The new lines since the last call, parsed; metric values as floats (also NaN and infinities)."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            self._restart_if_replaced(file.fileno())
            file.seek(self.offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self.offset += len(line)
                row = self._parse(line)
                if row is not None:
                    yield row

    def _restart_if_replaced(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if status.st_size < self.offset or (self._inode is not None and status.st_ino != self._inode):
            self.offset = 0
        self._inode = status.st_ino

    def _parse(self, line: bytes) -> dict[str, Any] | None:
        if not line.strip():
            return None
        try:
            parsed = json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError):
            parsed = None
        if not isinstance(parsed, dict):
            self.damaged += 1
            return None
        row = cast(dict[str, Any], parsed)
        values = cast(dict[str, Any] | None, row.get("values"))
        if isinstance(values, dict):
            row["values"] = {str(k): number for k, v in values.items() if (number := as_number(v)) is not None}
        return row


def as_number(value: Any) -> float | None:
    """A metric value as a float; the agreed strings stand for non-finite ones; None if it is no number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    return _SPELLED.get(value) if isinstance(value, str) else None
