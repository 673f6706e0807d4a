# pyright: basic
"""Trackio beside the stream: a local project that `trackio show` opens, written off the training's path.

TRL's own Trackio reporter starts a server thread and logs six profiling rows a step, so rows are instead collected here
and written to Trackio's store in bulk by a thread. Trackio is a courtesy: without it, or when it fails, the job goes on
and says so in a note.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

FLUSH_S = 5.0
_FAILURES = (ImportError, OSError, sqlite3.Error, ValueError, TypeError, AttributeError, KeyError, RuntimeError)
"""What a missing, changed or locked Trackio raises. Anything else ends its thread and shows in log.txt."""


class TrackioLog:
    """Collects rows and writes them to `<folder>/<project>.db` every few seconds and at the end."""

    def __init__(self, project: str, run: str, folder: str | Path, config: dict, note: Callable[[str], None]) -> None:
        self.project, self.run, self.config, self._note = project, run, config, note
        os.environ["TRACKIO_DIR"] = str(folder)  # read when trackio is imported, which happens in the thread
        _forget_another(Path(folder))
        self._rows: list[tuple[int, str, dict[str, float]]] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="trackio", daemon=True)
        self._thread.start()

    def log(self, step: int, values: dict[str, float]) -> None:
        with self._lock:
            self._rows.append((step, datetime.now(UTC).isoformat(), values))

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what is left. Idempotent."""
        self._closing.set()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while True:
            last = self._closing.wait(FLUSH_S)
            with self._lock:
                rows, self._rows = self._rows, []
            if rows and not self._write(rows):
                return
            if last:
                return

    def _write(self, rows: list[tuple[int, str, dict[str, float]]]) -> bool:
        try:
            Path(os.environ["TRACKIO_DIR"]).mkdir(parents=True, exist_ok=True)
            from trackio.sqlite_storage import SQLiteStorage

            SQLiteStorage.bulk_log(
                self.project,
                self.run,
                [r[2] for r in rows],
                steps=[r[0] for r in rows],
                timestamps=[r[1] for r in rows],
                config=self.config,
            )
        except _FAILURES as error:
            self._note(f"Trackio failed, the training goes on without it: {type(error).__name__}: {error}")
            return False
        return True


def _forget_another(folder: Path) -> None:
    """TRL imports trackio by itself, and so does a process that jobs are forked from: then it writes to where its store was by
    then, which may be the user's own. It is imported anew in that case."""
    loaded = sys.modules.get("trackio.utils")
    if loaded is None or Path(loaded.TRACKIO_DIR) == folder:
        return
    for name in [m for m in sys.modules if m == "trackio" or m.startswith("trackio.")]:
        del sys.modules[name]
