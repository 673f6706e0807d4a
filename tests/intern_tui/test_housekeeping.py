"""`intern runs`, `rm`, `gc`, `sql` and `verify` on runs that lie about: many, moved, damaged, with leftovers."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from core.home import Summary
from store.blobs import BlobStore
from store.event import NewEvent, canonical
from store.log import EventLog
from store.serve import LogServer
from tests.core.cli import Intern
from tests.store.golden import unpacked

NOT_A_LOG = b"opening this would fail"


@pytest.fixture
def intern(tmp_path: Path) -> Intern:
    """A home with one finished run, `20261125-000000-aaaa`."""
    runs = tmp_path / "home" / "runs"
    runs.mkdir(parents=True)
    shutil.copytree(unpacked(tmp_path), runs / "20261125-000000-aaaa")
    return Intern(tmp_path / "home")


def run_of(intern: Intern, name: str = "20261125-000000-aaaa") -> Path:
    return intern.home / "runs" / name


def test_a_thousand_runs_are_listed_without_opening_a_log(intern: Intern) -> None:
    for k in range(1000):
        folder = run_of(intern, f"20250101-{k:06d}-bbbb")
        folder.mkdir()
        (folder / "log.duckdb").write_bytes(NOT_A_LOG)
        summary = Summary(run=folder.name, status="finished", task="pocket/addition", best=k / 1000)
        (folder / "summary.json").write_bytes(msgspec.json.encode(summary))
    listed = intern.json("runs", "--json")
    assert len(listed) == 1001
    assert [run["best"] for run in listed[1:]] == [k / 1000 for k in reversed(range(1000))]


def test_rm_deletes_a_run_and_refuses_one_it_does_not_know(intern: Intern) -> None:
    assert intern("rm", "nothing").returncode == 3
    assert intern("rm", "20261125", "nothing").returncode == 3  # nothing goes unless every name is right
    unasked = intern("rm", "20261125")
    assert unasked.returncode == 4
    assert "--yes" in unasked.stderr
    assert run_of(intern).exists()
    done = intern("rm", "20261125", "--yes")
    assert done.returncode == 0, done.stderr
    assert list((intern.home / "runs").iterdir()) == []


def test_a_damaged_run_can_be_removed(intern: Intern) -> None:
    (run_of(intern) / "log.duckdb").write_bytes(NOT_A_LOG)
    assert intern("verify", "last").returncode == 3
    assert intern("rm", "last", "--yes").returncode == 0


def test_gc_deletes_what_no_event_names_and_keeps_the_rest(intern: Intern) -> None:
    run = run_of(intern)
    blobs = BlobStore(run)
    needed, needless = blobs.put(b"named by an event"), blobs.put(b"named by none")
    with EventLog.open(run) as log:
        log.append([
            NewEvent("note_added", canonical({"text": "see", "blob": needed}), "agent"),
            NewEvent("checkpoint_saved", canonical({"job": "job-9", "path": "/elsewhere/x/jobs/job-9/checkpoints/checkpoint-5", "step": 5}), "host"),
        ])  # fmt: skip
    for step in (5, 10):
        (run / f"jobs/job-9/checkpoints/checkpoint-{step}").mkdir(parents=True)
        (run / f"jobs/job-9/checkpoints/checkpoint-{step}/model.safetensors").write_bytes(b"x" * 1000)
    (run / "snapshots" / "state.v0").mkdir(parents=True)
    (intern.home / "runs" / ".removed-20240101-000000-cccc").mkdir()
    would = intern.json("gc", "--dry-run", "--json")
    assert sorted(leftover["kind"] for leftover in would) == ["blob", "checkpoint", "removed run", "snapshot"]
    assert needless in blobs
    assert intern.json("gc", "--json") == would
    assert needed in blobs
    assert needless not in blobs
    assert [path.name for path in (run / "jobs/job-9/checkpoints").iterdir()] == ["checkpoint-5"]
    assert intern.json("gc", "--json") == []
    assert intern("verify", "last").returncode == 0


def test_gc_leaves_a_run_alone_whose_log_it_cannot_read(intern: Intern) -> None:
    run = run_of(intern)
    needed = BlobStore(run).put(b"perhaps needed")
    (run / "log.duckdb").write_bytes(NOT_A_LOG)
    done = intern("gc")
    assert done.returncode == 3
    assert "left alone" in done.stderr
    assert needed in BlobStore(run)


def test_sql_prints_a_table_csv_and_json(intern: Intern) -> None:
    question = "SELECT job, lr FROM jobs WHERE lr IS NOT NULL ORDER BY seq LIMIT 2"
    rows = intern.json("sql", "last", "--json", question)
    assert [set(row) for row in rows] == [{"job", "lr"}] * 2
    lines = intern("sql", "last", "--csv", question).stdout.splitlines()
    assert lines == ["job,lr", *(f"{row['job']},{row['lr']}" for row in rows)]
    table = intern("sql", "last", question).stdout.splitlines()
    assert table[0].split() == ["job", "lr"]
    assert [line.split()[0] for line in table[1:]] == [row["job"] for row in rows]


def test_sql_that_writes_or_is_wrong_is_refused_with_a_reason(intern: Intern) -> None:
    for bad in ("DROP TABLE event_log", "SELECT * FROM nowhere", "COPY (SELECT 1) TO '/tmp/x'", "SELECT 1; SELECT 2"):
        done = intern("sql", "last", bad)
        assert done.returncode == 2, bad
        assert done.stderr.startswith("intern: ")
        assert "Traceback" not in done.stderr
    assert intern("verify", "last").returncode == 0


def test_sql_over_a_living_run_and_a_finished_one(intern: Intern) -> None:
    """A host that lives (here: this process) serves its log; the query sees both, and no lock error."""
    import os

    from core.home import HostInfo, boot_id, process_started, socket_path, write_json
    from core.tables import TABLES

    live = run_of(intern, "20261126-000000-live")
    live.mkdir()
    socket = socket_path(live)
    me = HostInfo(pid=os.getpid(), started=process_started(os.getpid()) or 0.0, boot_id=boot_id(), socket=str(socket))
    with EventLog.create(live, TABLES) as log, LogServer(log, socket):
        write_json(live / "host.json", me)
        metric = canonical({"job": "job-1", "step": 3, "values": {"loss": 0.5}})
        log.append([NewEvent("metric_logged", metric, "host")])
        found = intern.json(
            "sql", "--json", "SELECT run, count(*) AS n FROM metrics WHERE name = 'loss' GROUP BY run ORDER BY run"
        )
        assert [row["run"] for row in found] == ["20261125-000000-aaaa", "20261126-000000-live"]
        assert found[1]["n"] == 1
        refused = intern("rm", "20261126-000000-live", "--yes")
        assert refused.returncode == 4
        assert "intern stop" in refused.stderr
        assert intern.json("gc", "--json") == []
