"""Rows go to the run's own Trackio store, whoever imported Trackio before and wherever it wrote then."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from core.compute import local
from core.compute.local import LocalCompute

ROOT = Path(__file__).parents[3]
LOGS = """
import sys
sys.path.insert(0, sys.argv[1])
import trackio.sqlite_storage  # as TRL does, before a job says where its rows go
from core.training.trackio_log import TrackioLog
log = TrackioLog("a-run", "job-1", sys.argv[2], {}, print)
log.log(1, {"loss": 2.0})
log.close()
"""


def test_a_library_that_imported_trackio_first_does_not_decide_where_rows_go(tmp_path: Path) -> None:
    environment = os.environ | {"HOME": str(tmp_path / "home"), "TRACKIO_DIR": str(tmp_path / "of-the-user")}
    command = [sys.executable, "-P", "-c", LOGS, str(ROOT), str(tmp_path / "run" / "trackio")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout
    with sqlite3.connect(tmp_path / "run" / "trackio" / "a-run.db") as store:
        assert store.execute("select run_name, count(*) from metrics").fetchall() == [("job-1", 1)]
    assert not list((tmp_path / "of-the-user").glob("*.db"))


def test_jobs_are_forked_from_a_process_that_knows_the_runs_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, str]] = []
    monkeypatch.setattr(local, "can_fork", lambda: True)
    monkeypatch.setattr(local, "ForkServer", lambda python, log, env: given.append(env))
    LocalCompute(tmp_path / "run" / "jobs").warm_up()
    assert given[0]["TRACKIO_DIR"] == str(tmp_path / "run" / "trackio")
