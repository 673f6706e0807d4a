"""Alerts in a run's local Trackio stores, read from SQLite as they stand there.

Trackio's own reader is left to job processes: importing it costs the host 0.6 s and tens of megabytes. Its table
(`alerts`: id, timestamp, run_name, title, text, level, step, alert_id) is the one of Trackio 0.24 and later.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from core.state import Failure

OURS = "intern-"
"""Begins the ids of alerts that come from the run's own log: they are not read back."""
LONGEST = 4000
"""Characters of a title or text that are kept."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert in a Trackio project."""

    project: str
    run: str
    title: str
    text: str = ""
    level: str = "warn"
    """info, warn or error."""
    step: int | None = None
    ts_us: int = 0
    id: str = ""
    """Trackio's id of the alert, or its number in the store where it has none."""


class Cursor(msgspec.Struct):
    """How far a store was read."""

    row: int = 0
    seen: tuple[int, int] = (0, 0)
    """Time and size of the files when last looked at: nothing is opened while they stay."""


def changed(store: Path, cursor: Cursor) -> bool:
    """Whether the store was written since the cursor's last look. Its journal counts: SQLite may write there first."""
    newest = size = 0
    for path in (store, store.with_name(store.name + "-wal")):
        try:
            stat = path.stat()
        except OSError:
            continue
        newest, size = max(newest, stat.st_mtime_ns), size + stat.st_size
    before, cursor.seen = cursor.seen, (newest, size)
    return before != cursor.seen


def read_new(store: Path, cursor: Cursor) -> list[Alert]:
    """Alerts of others since the cursor, oldest first. Raises sqlite3.Error where the store is none or is locked."""
    query = "SELECT id, timestamp, run_name, title, text, level, step, alert_id FROM alerts WHERE id > ? ORDER BY id"
    with _open(store) as database:
        if not _has_table(database):
            return []
        rows = database.execute(query, (cursor.row,)).fetchall()
    if rows:
        cursor.row = int(rows[-1][0])
    return [_alert(store.stem, *row) for row in rows if not str(row[7] or "").startswith(OURS)]


def ours_in(store: Path) -> set[str]:
    """Ids of the run's own alerts that stand in the store already."""
    if not store.is_file():
        return set()
    with _open(store) as database:
        if not _has_table(database):
            return set()
        return {
            str(row[0]) for row in database.execute("SELECT alert_id FROM alerts WHERE alert_id LIKE ?", (OURS + "%",))
        }


def missing(project: str, failures: Iterable[Failure], known: set[str]) -> list[Alert]:
    """The diagnoses of a run that its Trackio project does not show yet, as alerts."""
    wanted = [from_failure(project, f) for f in failures]
    return [alert for alert in wanted if alert.id not in known]


def from_failure(project: str, failure: Failure) -> Alert:
    """A diagnosis as an alert: its evidence, and what could be done first."""
    said = [*failure.evidence, *[f"try: {remedy}" for remedy in failure.remedies[:1]]]
    if failure.stopped:
        said.append("the job was stopped early")
    return Alert(
        project=project, run=failure.job, title=failure.kind.replace("_", " "), text="; ".join(said)[:LONGEST],
        level="error" if failure.severity == "failing" else "warn", step=failure.first_step, ts_us=failure.ts,
        id=f"{OURS}{project}-{failure.seq}",
    )  # fmt: skip


class _open:
    """A read-only connection that is closed at the end; sqlite3's own context manager only commits."""

    def __init__(self, store: Path) -> None:
        self.database = sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=1.0)

    def __enter__(self) -> sqlite3.Connection:
        return self.database

    def __exit__(self, *error: object) -> None:
        self.database.close()


def _has_table(database: sqlite3.Connection) -> bool:
    return bool(database.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alerts'").fetchall())


def _alert(project: str, row: int, ts: object, run: object, title: object, text: object, level: object, step: object, id: object) -> Alert:  # fmt: skip
    """SQLite holds any kind of value in any column, and a script may have written what it liked."""
    return Alert(
        project=project, run=str(run), title=str(title)[:LONGEST], text=str(text or "")[:LONGEST],
        level=str(level) if level in ("info", "warn", "error") else "warn", step=step if isinstance(step, int) else None,
        ts_us=_microseconds(str(ts)), id=str(id or f"row {row}"),
    )  # fmt: skip


def _microseconds(text: str) -> int:
    try:
        when = datetime.fromisoformat(text)
        return max(0, int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1e6))
    except (ValueError, OverflowError):
        return 0
