# pyright: basic
"""Writes alerts into a local Trackio store: `python -P raise_alerts.py FOLDER` with the alerts as JSON on standard input.

A process of its own, because importing Trackio costs what the host must not pay. Trackio keeps alert ids unique, so an
alert written twice stands there once.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec

from core.tracking.alerts import Alert


def main(folder: str) -> None:
    os.nice(10)  # a training must not wait for this
    os.environ["TRACKIO_DIR"] = folder  # read when trackio is imported
    found = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Alert])
    from trackio.sqlite_storage import SQLiteStorage

    for run, group in groupby(sorted(found, key=lambda a: a.run), lambda a: a.run):
        alerts = list(group)
        SQLiteStorage.bulk_alert(
            alerts[0].project,
            run,
            titles=[a.title for a in alerts],
            texts=[a.text for a in alerts],
            levels=[a.level for a in alerts],
            steps=[a.step for a in alerts],
            timestamps=[datetime.fromtimestamp(a.ts_us / 1e6, UTC).isoformat() for a in alerts],
            alert_ids=[a.id for a in alerts],
        )


if __name__ == "__main__":
    main(sys.argv[1])
