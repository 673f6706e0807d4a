"""A run's rows on a Trackio server of the user's: a real one on loopback, its real store."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.tracking import push

SERVE = """
import trackio
trackio.show(open_browser=False, block_thread=True, host="127.0.0.1")
"""
LOG = """
from trackio.sqlite_storage import SQLiteStorage as S
S.bulk_log("r1", "job-1", [{"loss": 2.0}, {"loss": 1.5}], steps=[10, 20], config={"lr": 0.1})
S.bulk_alert("r1", "job-1", titles=["divergence"], texts=["loss 2 -> 9"], levels=["error"], steps=[20], alert_ids=["intern-r1-5"])
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, str, Path]]:
    """(address, write token, folder of its stores)."""
    folder = tmp_path / "server"
    process = subprocess.Popen([sys.executable, "-u", "-c", SERVE], env={**os.environ, "TRACKIO_DIR": str(folder)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        found = re.search(r"(http://127\.0\.0\.1:\d+)\S*write_token=([\w-]+)", said)
        if found:
            break
    else:
        raise AssertionError(said)
    yield found[1], found[2], folder
    process.kill()
    process.wait()


def push_once(run: Path, address: str, token: str) -> subprocess.CompletedProcess[bytes]:
    """One life of the sender: its input is closed already, so it sends what there is and ends."""
    environment = {**os.environ, "TRACKIO_WRITE_TOKEN": token}
    return subprocess.run([sys.executable, "-P", push.__file__, str(run), address], env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=200)  # fmt: skip


def rows(folder: Path, query: str) -> list[tuple]:
    database = sqlite3.connect(folder / "r1.db")
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


def test_rows_and_alerts_reach_the_server_once(tmp_path: Path, server: tuple[str, str, Path]) -> None:
    address, token, there = server
    run = tmp_path / "r1"
    environment = {**os.environ, "TRACKIO_DIR": str(run / "trackio")}
    subprocess.run([sys.executable, "-c", LOG], env=environment, check=True, capture_output=True)
    for _ in range(2):  # the second one is that of a host that took the run up
        done = push_once(run, address, token)
        assert done.returncode == 0, done.stderr.decode()
    found = rows(there, "SELECT run_name, step, metrics FROM metrics ORDER BY step")
    assert [(r, s, json.loads(m)["loss"]) for r, s, m in found] == [("job-1", 10, 2.0), ("job-1", 20, 1.5)]
    assert rows(there, "SELECT title, level, step FROM alerts") == [("divergence", "error", 20)]
    assert json.loads((run / "trackio" / "outbox" / "sent.json").read_text()) == {"metrics": 2, "alerts": 1}
    assert token not in (run / "trackio" / "outbox" / "sent.json").read_text()
