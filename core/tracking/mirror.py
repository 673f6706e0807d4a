"""Keeps the alerts of a run's Trackio projects and the run's log the same: diagnoses go there, alerts come back.

Both sides are compared, not followed: what the store lacks is written, what the log lacks is recorded, each under an id
that is the same every time. So a host that dies between the two loses nothing and says nothing twice.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec

from core import events as e
from core.ids import stable_id
from core.journal import Journal
from core.tracking import alerts
from core.tracking.target import Target, installed, store_folder

EVERY_S = 2.0
WRITE_S = 120.0
"""It takes about a second, which is Trackio's import; a machine under load needs longer."""
LAST_WRITE_S = 10.0
LAST_PUSH_S = 30.0
"""How long the end of a run waits for a Space or server to take the last rows; the rest stays in the outbox."""
TRIES = 3
HERE = Path(__file__).parent


class AlertMirror:
    """`run` works until `stop`; `poll` is one round."""

    def __init__(self, journal: Journal, run_folder: Path, target: Target) -> None:
        self.journal, self.target = journal, target
        self.folder = store_folder(run_folder)
        self.project = run_folder.name
        self._cursors: dict[Path, alerts.Cursor] = {}
        self._handled: set[str] = set()
        """Ids of our alerts that are written, or were tried often enough."""
        self._failed = 0
        self._pusher: subprocess.Popen[bytes] | None = None
        self._stopped = threading.Event()

    def run(self) -> None:
        if self.target.kind == "off":
            return
        self._pusher = self._start_pusher() if self.target.kind in ("space", "server") else None
        while not self._stopped.wait(EVERY_S):
            self.poll()
        self.poll()

    def stop(self) -> None:
        """After one more round, nothing is read or recorded any more."""
        self._stopped.set()

    def close(self) -> None:
        """The sender's input closes: it sends what is left and ends. What it could not send stays in the outbox."""
        pusher, self._pusher = self._pusher, None
        if pusher is None:
            return
        assert pusher.stdin is not None
        pusher.stdin.close()
        try:
            pusher.wait(LAST_PUSH_S)
        except subprocess.TimeoutExpired:
            pusher.kill()
            pusher.wait()

    def poll(self) -> None:
        """One comparison. A store that cannot be read now is read later: Trackio is a courtesy, the log is not."""
        for store in sorted(self.folder.glob("*.db")):
            cursor = self._cursors.setdefault(store, alerts.Cursor())
            if alerts.changed(store, cursor):
                try:
                    self._record(alerts.read_new(store, cursor))
                except sqlite3.Error:
                    cursor.seen = (0, 0)
        self._write()
        if self._pusher is not None and self._pusher.poll() is not None:
            code, self._pusher = self._pusher.returncode, None
            why = f"no more rows go to {self.target.address}: the sender ended (exit code {code}, see trackio/outbox/log.txt)"
            self.journal.emit(e.NoteAdded(text=f"{why}; the run's own store has them all"))

    def _record(self, found: list[alerts.Alert]) -> None:
        """Into the log. The text is somebody else's: it is shown as such and orders nothing."""
        jobs = self.journal.read(lambda s: set(s.jobs))
        for alert in found:
            key = f"{self.project}:trackio:{alert.project}:{alert.id}".encode()
            self.journal.emit(
                e.AlertRaised(
                    job=alert.run if alert.run in jobs else "", title=alert.title, text=alert.text, level=alert.level,
                    step=alert.step, source=f"trackio: {alert.project}/{alert.run}",
                ),
                id=stable_id(alert.ts_us, key),
            )  # fmt: skip

    def _write(self) -> None:
        failures = self.journal.read(lambda s: list(s.failures))
        if len(failures) == len(self._handled) or not installed():
            return
        try:
            known = alerts.ours_in(self.folder / f"{self.project}.db")
        except sqlite3.Error:
            return
        lacking = alerts.missing(self.project, failures, known | self._handled)
        error = self._raise(lacking) if lacking else ""
        self._failed = self._failed + 1 if error else 0
        if not error or self._failed >= TRIES:
            self._handled |= {alerts.from_failure(self.project, f).id for f in failures}
        if error and self._failed == TRIES:
            self._failed = 0
            self.journal.emit(e.NoteAdded(text=f"{len(lacking)} alerts did not reach Trackio: {error}"))

    def _raise(self, lacking: list[alerts.Alert]) -> str:
        """Hand the alerts to Trackio in a process of its own; what went wrong, or ""."""
        command = [sys.executable, "-P", str(HERE / "raise_alerts.py"), str(self.folder)]
        with tempfile.TemporaryFile() as order, tempfile.TemporaryFile() as said:
            order.write(msgspec.json.encode(lacking))
            order.seek(0)
            try:
                process = subprocess.Popen(command, stdin=order, stdout=subprocess.DEVNULL, stderr=said)
            except OSError as error:
                return str(error)
            if not self._patient(process):
                process.kill()
                process.wait()
                return f"Trackio took longer than {WRITE_S:.0f} s"
            said.seek(0)
            lines = said.read().decode("utf-8", "replace").strip().splitlines()
        return (lines[-1] if lines else f"exit code {process.returncode}") if process.returncode else ""

    def _patient(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether it ended by itself in time; a run that ends does not wait long for it."""
        deadline = time.monotonic() + WRITE_S
        while time.monotonic() < deadline:
            try:
                process.wait(0.2)
                return True
            except subprocess.TimeoutExpired:
                if self._stopped.is_set():
                    deadline = min(deadline, time.monotonic() + LAST_WRITE_S)
        return False

    def _start_pusher(self) -> subprocess.Popen[bytes] | None:
        """The process that sends rows on to the Space or server; what it says goes to trackio/outbox/log.txt."""
        outbox = self.folder / "outbox"
        try:
            outbox.mkdir(parents=True, exist_ok=True)
            with (outbox / "log.txt").open("ab") as log:
                return subprocess.Popen(
                    [sys.executable, "-P", str(HERE / "push.py"), str(self.folder.parent), self.target.address],
                    stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            self.journal.emit(e.NoteAdded(text=f"nothing is sent to {self.target.address}: {error}"))
            return None
