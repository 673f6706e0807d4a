"""Slurm jobs that count as running and that nobody runs: a real slurmd is killed between taking a job and starting it."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from core import events as e
from core.compute import clustered
from core.compute.begun import Requeued
from core.compute.clustered import read
from core.compute.shared import SharedCompute
from core.compute.slurm import SlurmEngine, SlurmProfile
from core.compute.spec import OPEN
from core.fold import fold
from core.journal import Journal
from core.redact import Redactor
from core.state import RunState
from core.tables import TABLES
from core.watcher import JobWatcher
from store.log import EventLog
from tests.core.compute.places import Place
from tests.servers import slurm as slurm_server

pytestmark = pytest.mark.soak  # a real slurmctld of its own, whose node swallows jobs

BEGIN_S = 8.0
"""Instead of two minutes; the prolog takes 4 s when it is told to be slow."""


@pytest.fixture(scope="module")
def swallowing(tmp_path_factory: pytest.TempPathFactory) -> Generator[slurm_server.Slurm]:
    """A Slurm with a prolog that can be slowed down: killing slurmd during it loses the job without a trace."""
    if reason := slurm_server.why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm")
    prolog = f"[ -e {folder}/slow ] && {{ touch {folder}/in-prolog; sleep 4; }}\nexit 0"
    with slurm_server.Slurm(folder, prolog=prolog) as server:
        yield server


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustered, "BEGIN_S", BEGIN_S)


class Scene:
    """One job with a watcher over it, as a run's host has it."""

    def __init__(self, slurm: slurm_server.Slurm, folder: Path, profile: SlurmProfile | None = None) -> None:
        self.slurm = slurm
        (folder / "jobs").mkdir()
        self.place = Place("slurm", folder / "jobs", lambda: self.compute, slow=3)
        self.compute = SharedCompute(folder / "jobs", SlurmEngine(profile, python=sys.executable, env=slurm.env))
        EventLog.create(folder, TABLES).close()
        self.log = EventLog.open(folder, TABLES)
        self.journal = Journal(self.log, fold(RunState(), self.log.events()), Redactor({}))
        self.watcher = JobWatcher(self.journal, self.compute, folder)

    def submit(self, code: str, **more: object) -> str:
        spec = self.place.spec(code, **more)
        status = self.compute.submit(spec)
        self.journal.emit(
            e.JobLaunched(
                job=spec.job, kind="script", method="", title="", effect_id=spec.effect_id, folder=spec.folder
            )
        )
        return status.handle

    def swallow(self) -> None:
        """kill -9 of slurmd in the job's prolog, and slurmd again at once."""
        sign = self.slurm.folder / "in-prolog"
        until(sign.exists)
        self.slurm.kill("slurmd")
        sign.unlink()
        self.slurm.start("slurmd")

    def notes(self) -> list[str]:
        return [json.loads(event.payload)["text"] for event in self.log.events() if event.type == "note_added"]

    def follow(self, true) -> None:
        def look() -> bool:
            self.watcher.poll()
            return true()

        until(look)

    def hurry(self, handle: str) -> None:
        """Slurm lets a requeued job wait for two minutes; a node refuses one that comes in the second of its revocation."""
        until(lambda: "JobState=PENDING" in self.slurm.run("scontrol", "show", "job", handle))
        time.sleep(2.5)
        self.slurm.run("scontrol", "update", f"jobid={handle}", "StartTime=now")

    def restarts(self, handle: str) -> int:
        found = re.search(r"Restarts=(\d+)", self.slurm.run("scontrol", "show", "job", handle))
        return int(found.group(1)) if found else -1


def test_a_job_that_its_node_swallowed_is_requeued_once_and_told(
    swallowing: slurm_server.Slurm, tmp_path: Path, soon: None
) -> None:
    scene = Scene(swallowing, tmp_path)
    slow = swallowing.folder / "slow"
    slow.touch()
    handle = scene.submit("for n in range(1, 11):\n    say(n)")
    scene.swallow()
    assert scene.compute.inspect("job-1").state == "running"  # Slurm's word, and nobody runs it
    assert not (scene.place.folder / "job-1" / "job.json").exists()
    slow.unlink()
    scene.follow(lambda: bool(scene.notes()))
    scene.hurry(handle)
    scene.follow(lambda: scene.journal.state.jobs["job-1"].status != "running")
    assert scene.compute.inspect("job-1").state == "done"
    assert scene.compute.inspect("job-1").handle == handle
    assert (scene.place.folder / "job-1" / "log.txt").read_text().count("started") == 1
    notes = scene.notes()
    assert len(notes) == 1
    assert "has not begun" in notes[0]
    assert "requeued, once" in notes[0]


def test_a_job_swallowed_a_second_time_is_reported_and_left_to_a_person(
    swallowing: slurm_server.Slurm, tmp_path: Path, soon: None
) -> None:
    scene = Scene(swallowing, tmp_path)
    slow = swallowing.folder / "slow"
    slow.touch()
    handle = scene.submit("say(1)")
    scene.swallow()
    scene.follow(lambda: len(scene.notes()) == 1)
    scene.hurry(handle)
    scene.swallow()
    scene.follow(lambda: len(scene.notes()) == 2)
    slow.unlink()
    assert "not requeued again" in scene.notes()[1]
    assert scene.restarts(handle) == 1
    scene.follow(lambda: scene.compute.inspect("job-1").state == "running")
    assert len(scene.notes()) == 2
    assert scene.compute.cancel("job-1", grace_s=0.2).state == "cancelled"


def test_where_a_site_forbids_requeues_the_job_is_reported(
    swallowing: slurm_server.Slurm, tmp_path: Path, soon: None
) -> None:
    scene = Scene(swallowing, tmp_path, SlurmProfile(requeue=False))
    slow = swallowing.folder / "slow"
    slow.touch()
    scene.submit("say(1)")
    scene.swallow()
    slow.unlink()
    scene.follow(lambda: bool(scene.notes()))
    assert "could not be requeued" in scene.notes()[0]
    assert scene.compute.cancel("job-1", grace_s=0.2).state == "cancelled"


def test_set_up_lines_that_take_long_are_no_silence(swallowing: slurm_server.Slurm, tmp_path: Path, soon: None) -> None:
    scene = Scene(swallowing, tmp_path, SlurmProfile(setup=f"sleep {BEGIN_S * 2}"))
    scene.submit("say(1)")
    scene.follow(lambda: scene.journal.state.jobs["job-1"].status != "running")
    assert scene.notes() == []
    assert read(scene.place.folder / "job-1" / "requeued.json", Requeued) is None


def test_a_requeued_job_that_runs_again_is_no_silence(
    swallowing: slurm_server.Slurm, tmp_path: Path, soon: None
) -> None:
    scene = Scene(swallowing, tmp_path)
    handle = scene.submit("say(1)\nwhile not asked(): time.sleep(.05)")
    job = scene.place.folder / "job-1"
    scene.follow(lambda: (job / "job.json").exists())
    swallowing.run("scontrol", "requeue", handle)  # a preemption
    scene.hurry(handle)
    scene.follow(lambda: (job / "reached").read_text().strip() == f"{handle}:1")
    began = time.monotonic()
    scene.follow(lambda: time.monotonic() - began > BEGIN_S + 4)
    assert scene.compute.inspect("job-1").state in OPEN
    assert scene.notes() == []
    scene.compute.cancel("job-1", grace_s=10)


def until(true) -> None:
    end = time.monotonic() + 90
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
