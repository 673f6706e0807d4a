"""What the tests of the log share: a typed table, events, and a log that was closed or killed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from store.event import Event, NewEvent, canonical
from store.log import EventLog
from store.tables import Field, TypedTable

ROOT = Path(__file__).resolve().parents[2]


POINTS = TypedTable("points", "metric_logged", (Field("step", "BIGINT"),), values="values")


def note(text: str, **fields: object) -> NewEvent:
    return NewEvent("note_added", canonical({"text": text, **fields}), "agent")


def metric(step: int, **values: float | str) -> NewEvent:
    return NewEvent("metric_logged", canonical({"step": step, "values": values}), "job:1")


def mixed(count: int, start: int = 0) -> list[NewEvent]:
    """Notes and metrics, half and half."""
    return [
        note(f"note {k}") if k % 2 else metric(k, loss=1 / (k + 1), reward=k * 0.25)
        for k in range(start, start + count)
    ]


def closed_log(folder: Path, events: int = 40) -> list[Event]:
    """A log in `folder` that was written and closed. Returns its events."""
    with EventLog.create(folder, [POINTS]) as log:
        for start in range(0, events, 10):
            log.append(mixed(10, start))
        return list(log.events())


def python(code: str, *arguments: object, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Run `code` in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )


WRITER = """
    import sys
    from pathlib import Path
    from store.log import EventLog
    from store.writer import Limits
    from tests.store.logs import POINTS, mixed
    folder, batch, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    log = EventLog.open(folder, [POINTS], limits=Limits(wal_bytes=int(sys.argv[4])))
    for turn in range(count):
        stored = log.append(mixed(batch, log.last[0]))
        print(stored[-1].seq, flush=True)
    if len(sys.argv) > 5:
        log.close()
    else:
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
"""
"""Appends `count` batches, says what was acknowledged, then dies as by kill -9, or closes if there is a fifth argument."""


def killed_log(folder: Path, batches: int = 8, batch: int = 5) -> list[Event]:
    """A log in `folder` whose host was killed: it has a write-ahead log. Returns its events."""
    EventLog.create(folder, [POINTS]).close()
    writer = python(WRITER, folder, batch, batches, 16 << 20)
    out, err = writer.communicate(timeout=60)
    assert out.split()[-1:] == [str(batches * batch)], err
    from store.reader import LogFile

    with LogFile.open(folder) as log:
        return list(log.events())
