# pyright: basic
"""Sends a run's Trackio rows on to the Space or server its user named: `python -P push.py RUN_FOLDER TARGET`.

Rows are read from the run's local store, where every job writes first. So no job waits for a network, nothing is lost
while there is none, and what was sent is known (`outbox/sent.json`). Trackio's own buffers of what it could not send lie
in `outbox/`, apart from the local store. The process ends, after a last round, when its standard input closes.
"""

from __future__ import annotations

import json
import os
import select
import sqlite3
import sys
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.tracking.target import Target, parse_target, store_folder

EVERY_S = 10.0
MOST = 5000
"""Rows a round: a long run that is taken up again is sent in pieces."""


class Row(NamedTuple):
    """A line of a table of the store: `value` is {metric: value}, or an alert's {title, text, level}."""

    id: int
    run: str
    step: int | None
    value: dict[str, Any]


class Outbox:
    """What is still to be sent of one project."""

    def __init__(self, run_folder: Path, target: Target) -> None:
        self.target = target
        self.project = run_folder.name
        self.store = store_folder(run_folder) / f"{self.project}.db"
        self.folder = store_folder(run_folder) / "outbox"
        self.folder.mkdir(parents=True, exist_ok=True)
        os.environ["TRACKIO_DIR"] = str(self.folder)  # read when trackio is imported
        self._record = self.folder / "sent.json"
        known = json.loads(self._record.read_text()) if self._record.exists() else {}
        self.sent: dict[str, int] = {"metrics": 0, "alerts": 0} | known

    def round(self) -> bool:
        """Send what is new; whether there may be more. Trackio keeps what it could not deliver and tries again itself."""
        rows, alerts = self._new("metrics"), self._new("alerts")
        both = [("metrics", r) for r in rows] + [("alerts", r) for r in alerts]
        for run, group in groupby(sorted(both, key=lambda x: x[1].run), lambda x: x[1].run):
            self._send(run, list(group))
        self.sent = {
            "metrics": rows[-1].id if rows else self.sent["metrics"],
            "alerts": alerts[-1].id if alerts else self.sent["alerts"],
        }
        if both:
            partial = self._record.with_suffix(".partial")
            partial.write_text(json.dumps(self.sent))
            partial.replace(self._record)
        return len(rows) == MOST

    def _send(self, run: str, items: list[tuple[str, Row]]) -> None:
        import trackio

        session = trackio.init(
            project=self.project, name=run, config=self._config(run), resume="allow", embed=False,
            auto_log_gpu=False, auto_log_cpu=False, **self.target.arguments(),
        )  # fmt: skip
        for table, row in items:
            if table == "metrics":
                session.log(row.value, step=row.step)
            else:
                level = trackio.AlertLevel(row.value["level"])
                session.alert(title=row.value["title"], text=row.value["text"], level=level, step=row.step)
        trackio.finish()

    def _new(self, table: str) -> list[Row]:
        body = "metrics" if table == "metrics" else "json_object('title', title, 'text', text, 'level', level)"
        query = f"SELECT id, run_name, step, {body} FROM {table} WHERE id > ? ORDER BY id LIMIT {MOST}"
        return [Row(r[0], r[1], r[2], json.loads(r[3])) for r in self._ask(query, (self.sent[table],))]

    def _config(self, run: str) -> dict[str, Any]:
        found = self._ask("SELECT config FROM configs WHERE run_name = ? ORDER BY rowid DESC LIMIT 1", (run,))
        return {k: v for k, v in json.loads(found[0][0]).items() if not k.startswith("_")} if found else {}

    def _ask(self, query: str, values: tuple[object, ...]) -> list[Any]:
        if not self.store.is_file():
            return []
        database = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=5.0)
        try:
            return database.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):  # the store is just being made
                return []
            raise
        finally:
            database.close()


def main(run_folder: str, target: str) -> None:
    os.nice(10)  # a training must not wait for this
    outbox = Outbox(Path(run_folder).resolve(), parse_target(target))
    open_still = True
    while open_still:
        open_still = not select.select([sys.stdin], [], [], EVERY_S)[0]
        while outbox.round():
            pass


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
