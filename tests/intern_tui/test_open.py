"""`intern open R --trackio`: Trackio's own dashboard over the run's project, and what is said where there is none."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from core import events as e
from core.errors import NotFound
from core.tables import TABLES
from intern_tui.cli import main
from intern_tui.commands.open import the_project
from store.log import EventLog

LOG = """
from trackio.sqlite_storage import SQLiteStorage as S
S.bulk_log("20261125-200000-aaaa", "job-1", [{"loss": 2.0}], steps=[10])
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    folder = tmp_path / "runs" / "20261125-200000-aaaa"
    folder.mkdir(parents=True)
    with EventLog.create(folder, TABLES) as log:
        log.append([e.new(e.RunCreated(run=folder.name, goal="g", task="t", task_path="/t", model="/m", trackio="me/curves"), actor="user")])  # fmt: skip
    return folder


def test_the_dashboard_serves_the_runs_project(run: Path) -> None:
    environment = {**os.environ, "TRACKIO_DIR": str(run / "trackio")}
    subprocess.run([sys.executable, "-c", LOG], env=environment, check=True, capture_output=True)
    command = [sys.executable, "-m", "intern_tui", "open", "last", "--trackio", "--no-browser"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(r"http://127\.0\.0\.1:\d+", said):
                break
        else:
            raise AssertionError(said)
        assert "also at the Space me/curves" in said
        with urllib.request.urlopen(found[0], timeout=20) as page:
            assert page.status == 200
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_a_run_without_a_project_says_so(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["open", "last", "--trackio"]) == 3
    assert "has no Trackio project" in capsys.readouterr().err
    assert main(["open", "last", "--trackio", "--port", "99999"]) == 2


def test_a_job_on_a_rented_machine_brings_its_project_along(run: Path) -> None:
    with pytest.raises(NotFound):
        the_project(run)
    there = run / "jobs" / "job-1" / "trackio"
    there.mkdir(parents=True)
    (there / "p.db").touch()
    assert the_project(run) == there / "p.db"
