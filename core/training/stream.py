"""The files through which a job talks to the host: metrics.jsonl, heartbeat and control in the job's folder.

Standard library only: every job script uses it, also one that a user or the brain wrote. One JSON object a line,
flushed at once, so that a reader sees each train step and a killed job keeps all it said. A process that goes on in the
folder of one that was killed makes the train steps after its checkpoint again: what was said of them is not said twice.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def is_first() -> bool:
    """Whether this process speaks for the training: the only one, or the first of those that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


class Stream:
    """Appends to metrics.jsonl and keeps the heartbeat. In the other processes of a training it says nothing."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "metrics.jsonl"
        self._first = is_first()
        self._said, self._notes = _already_said(path if self._first else Path(os.devnull))
        self._file = open(path if self._first else os.devnull, "a", encoding="utf-8")  # noqa: SIM115 - as long as the process
        self._beat = 0.0
        self._heart: int | None = None
        """Open from the first beat on: before it there is no file, and a job that still loads is not called silent."""

    def plan(self, max_steps: int, **more: Any) -> None:
        self._write({"kind": "plan", "max_steps": max_steps, **more})

    def metric(self, step: int, values: Mapping[str, Any]) -> dict[str, float]:
        """Log the numbers among `values` at a train step, without those that a process before this one logged there;
        returns all of them."""
        numbers = {k: float(v) for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        known = self._said.get(step, set())
        safe = {k: v if math.isfinite(v) else _SPELLED[str(v)] for k, v in numbers.items() if k not in known}
        if safe:
            self._write({"kind": "metric", "step": step, "ts": time.time(), "values": safe})
        return numbers

    def checkpoint(self, step: int, path: str) -> None:
        self._write({"kind": "checkpoint", "step": step, "path": path})

    def note(self, text: str) -> None:
        if text not in self._notes:
            self._write({"kind": "note", "text": text})

    def result(self, **values: Any) -> None:
        self._write({"kind": "result", **values})

    def heartbeat(self, step: int) -> None:
        """At most once a second; a reader looks at the file's age."""
        now = time.monotonic()
        if not self._first:
            return
        if now - self._beat >= 1.0:
            self._beat = now
            if self._heart is None:
                self._heart = os.open(self.folder / "heartbeat", os.O_WRONLY | os.O_CREAT, 0o644)
            # Written over in place: to empty and fill a file costs milliseconds of the training on some file systems.
            os.pwrite(self._heart, f"{step} {time.time():.3f}".ljust(40).encode() + b"\n", 0)

    def control(self) -> str | None:
        """What the host asks: `stop`, `checkpoint` or None. A checkpoint request is taken off the file.

        Only the first process reads it: the callback tells the others, or each would stop at a train step of its own.
        """
        path = self.folder / "control"
        try:
            asked = path.read_text().strip()
        except FileNotFoundError:
            return None
        if asked == "checkpoint":
            os.unlink(path)
        return asked or None

    def why_stop(self) -> str:
        """Why the supervisor asks for the end: preempted (it will be started again), time_limit (a scheduler's), or empty."""
        try:
            return (self.folder / "stopping").read_text().strip()
        except FileNotFoundError:
            return ""

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()


def _already_said(path: Path) -> tuple[dict[int, set[str]], set[str]]:
    """Names of metrics by train step, and notes, that stand in a stream. A line cut off by a kill is taken away: no reader
    has taken it (they wait for its end), and the next line must not be glued to it."""
    said: dict[int, set[str]] = {}
    notes: set[str] = set()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return said, notes
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)
    for line in data[:whole].splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row.get("kind") == "metric":
            said.setdefault(int(row["step"]), set()).update(row["values"])
        elif row.get("kind") == "note":
            notes.add(row["text"])
    return said, notes


_SPELLED = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
"""JSON has no non-finite numbers; these strings stand for them."""
