"""Trackio beside a run: diagnoses become alerts there, alerts raised there become events here, each once."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import events as e
from core.errors import UsageError
from core.journal import Journal
from core.state import RunState
from core.tables import TABLES
from core.tracking import alerts
from core.tracking.mirror import AlertMirror
from core.tracking.target import Target, parse_target
from store.log import EventLog

RAISE = """
import sys, trackio
run = trackio.init(project="{project}", name="{run}", auto_log_cpu=False, auto_log_gpu=False, embed=False)
trackio.log({{"loss": 1.0}}, step=7)
trackio.alert("loss is stuck", "since step 3", level=trackio.AlertLevel.ERROR)
trackio.finish()
"""
"""What a script of a user's does; nothing in it knows of us."""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[tuple[Path, Journal]]:
    folder = tmp_path / "r1"
    folder.mkdir()
    with EventLog.create(folder, TABLES) as log:
        journal = Journal(log, RunState())
        journal.emit(e.RunCreated(run="r1", goal="g", task="t", task_path="/t", model="/m"))
        journal.emit(e.JobLaunched(job="job-1", kind="training", method="sft", title="t", effect_id="x", folder="/f"))
        yield folder, journal


def fail(journal: Journal, kind: str = "divergence") -> None:
    said = {"evidence": ["loss 2.1 -> 9.7"], "remedies": ["lower the learning rate"]}
    journal.emit(e.FailureDiagnosed(job="job-1", kind=kind, first_step=12, severity="failing", stopped=True, **said))


def raise_there(folder: Path, project: str = "r1", run: str = "job-1") -> None:
    environment = {**os.environ, "TRACKIO_DIR": str(folder / "trackio")}
    subprocess.run([sys.executable, "-c", RAISE.format(project=project, run=run)], env=environment, check=True, capture_output=True)  # fmt: skip


def recorded(journal: Journal) -> list[e.AlertRaised]:
    found = [e.payload_of(x) for x in journal._log.events()]  # pyright: ignore[reportPrivateUsage]
    return [p for p in found if isinstance(p, e.AlertRaised)]


def alerts_there(folder: Path, project: str) -> list[dict]:
    """As Trackio itself reads them."""
    code = f"import json; from trackio.sqlite_storage import SQLiteStorage as S; print(json.dumps(S.get_alerts({project!r})))"
    environment = {**os.environ, "TRACKIO_DIR": str(folder / "trackio")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    return json.loads(done.stdout.decode().splitlines()[-1])


def test_a_diagnosis_is_an_alert_in_trackio_once_whichever_host_writes_it(run: tuple[Path, Journal]) -> None:
    folder, journal = run
    fail(journal)
    for _ in range(2):  # the second one is a host that took the run up
        mirror = AlertMirror(journal, folder, parse_target(""))
        mirror.poll()
        mirror.poll()
    found = alerts_there(folder, "r1")
    assert [(a["run"], a["title"], a["level"], a["step"]) for a in found] == [("job-1", "divergence", "error", 12)]
    assert found[0]["text"] == "loss 2.1 -> 9.7; try: lower the learning rate; the job was stopped early"
    assert recorded(journal) == [], "our own alerts do not come back"


def test_an_alert_of_a_users_script_is_an_event_of_its_job_once(run: tuple[Path, Journal]) -> None:
    folder, journal = run
    raise_there(folder)
    mirror = AlertMirror(journal, folder, parse_target(""))
    mirror.poll()
    AlertMirror(journal, folder, parse_target("")).poll()
    (alert,) = recorded(journal)
    assert (alert.job, alert.level, alert.step, alert.source) == ("job-1", "error", 7, "trackio: r1/job-1")
    assert journal.state.jobs["job-1"].alerts == ["error loss is stuck: since step 3"], "the brain is shown it"
    raise_there(folder, project="mine", run="trial")
    mirror.poll()
    assert [a.job for a in recorded(journal)] == ["job-1", ""], "another project of the run's folder counts too"


def test_an_alert_with_values_of_any_kind_is_taken_as_far_as_it_goes(run: tuple[Path, Journal]) -> None:
    folder, journal = run
    (folder / "trackio").mkdir()
    database = sqlite3.connect(folder / "trackio" / "odd.db")
    database.execute(
        "CREATE TABLE alerts (id INTEGER PRIMARY KEY, timestamp, run_name, title, text, level, step, alert_id)"
    )
    database.execute("INSERT INTO alerts VALUES (1, 17, NULL, 3.5, NULL, 'loud', 'seven', NULL)")
    database.execute("INSERT INTO alerts VALUES (2, '2026-01-01T00:00:00', 'x', ?, 't', 'info', 7, 'a')", ("y" * 9999,))
    database.commit()
    database.close()
    AlertMirror(journal, folder, parse_target("")).poll()
    first, second = recorded(journal)
    assert (first.title, first.level, first.step, first.job) == ("3.5", "warn", None, "")
    assert (second.step, second.level, len(second.title)) == (7, "info", alerts.LONGEST)


def test_rubbish_in_the_store_folder_stops_nothing(run: tuple[Path, Journal]) -> None:
    folder, journal = run
    (folder / "trackio").mkdir()
    (folder / "trackio" / "broken.db").write_bytes(b"SQLite format 3\0rubbish")
    (folder / "trackio" / "empty.db").touch()
    fail(journal)
    AlertMirror(journal, folder, parse_target("")).poll()
    assert len(alerts_there(folder, "r1")) == 1


def test_a_store_that_cannot_be_written_is_said_once_and_the_run_goes_on(run: tuple[Path, Journal]) -> None:
    folder, journal = run
    (folder / "trackio").write_text("a file where the folder should be")
    fail(journal)
    mirror = AlertMirror(journal, folder, parse_target(""))
    for _ in range(5):
        mirror.poll()
    notes = [p.text for x in journal._log.events() if isinstance(p := e.payload_of(x), e.NoteAdded)]  # pyright: ignore[reportPrivateUsage]
    assert len(notes) == 1
    assert "did not reach Trackio" in notes[0]


def test_nothing_is_opened_while_the_store_stays_as_it_is(tmp_path: Path) -> None:
    store, cursor = tmp_path / "p.db", alerts.Cursor()
    store.write_bytes(b"1")
    assert alerts.changed(store, cursor)
    assert not alerts.changed(store, cursor)
    (tmp_path / "p.db-wal").write_bytes(b"2")
    assert alerts.changed(store, cursor), "SQLite writes there first"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("", Target(kind="local")),
        ("off", Target(kind="off")),
        ("me/curves", Target(kind="space", address="me/curves")),
        ("http://127.0.0.1:7860/", Target(kind="server", address="http://127.0.0.1:7860")),
    ],
)
def test_targets(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize("text", ["nowhere", "a/b/c", "http://h:1/?write_token=secret", "https://u:p@h/"])
def test_what_is_no_target_or_carries_a_secret_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_target(text)
    assert "secret" not in str(error.value)
