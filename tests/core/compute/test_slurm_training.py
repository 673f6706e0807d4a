"""Real trainings of a tiny model on a real Slurm: preempted, warned before the time limit, gone on with."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from core.compute.shared import SharedCompute
from core.compute.slurm import SlurmEngine, SlurmProfile
from core.compute.spec import OPEN, JobSpec, JobStatus
from core.training.resume import is_over, newest_checkpoint
from core.training.spec import TrainSpec, write_spec
from tests.core.training.conftest import make_model, make_tokenizer, read_stream, write_sums
from tests.core.training.test_resume_methods import metrics
from tests.servers.slurm import Slurm

pytestmark = pytest.mark.soak

STEPS = 30


class Training:
    """One SFT under Slurm, slow enough to be interrupted."""

    def __init__(self, slurm: Slurm, folder: Path, profile: SlurmProfile | None = None, **values: object) -> None:
        self.slurm = slurm
        base = make_model(folder / "base", make_tokenizer())
        data = write_sums(folder / "data")
        common = {
            "kind": "sft", "model": str(base), "data": str(data), "lr": 1e-3, "max_steps": STEPS, "batch_size": 128, "threads": 1,
            "log_every": 1, "eval_every": 1, "eval_samples": 40, "max_completion_length": 6, "scheduler": "linear",
        }  # fmt: skip
        self.folder = folder / "jobs" / "sft"
        write_spec(self.folder, TrainSpec(**(common | values)))  # type: ignore[arg-type]
        self.compute = SharedCompute(folder / "jobs", SlurmEngine(profile, python=sys.executable, env=slurm.env))
        self.handle = self.compute.submit(
            JobSpec(job="sft", kind="sft", effect_id=f"train-{folder.name}", folder=str(self.folder))
        ).handle

    def until_step(self, step: int) -> None:
        until(lambda: (self.folder / "metrics.jsonl").exists() and any(s >= step for s, _ in metrics(self.folder)))

    def end(self) -> JobStatus:
        until(lambda: self.compute.inspect("sft").state not in OPEN)
        return self.compute.inspect("sft")

    def check_whole(self) -> None:
        """Every train step's loss once, a result at the last one."""
        found = metrics(self.folder)
        assert {step for step, name in found if name == "loss"} == set(range(1, STEPS + 1))
        result = read_stream(self.folder)[-1]
        assert (result["kind"], result["status"], result["steps"]) == ("result", "finished", STEPS)
        assert is_over(self.folder)

    def log(self) -> str:
        return (self.folder / "log.txt").read_text()[-3000:]


def test_a_preempted_training_is_requeued_and_goes_on_at_its_step(slurm: Slurm, tmp_path: Path) -> None:
    training = Training(slurm, tmp_path)
    training.until_step(5)
    slurm.run("scontrol", "requeue", training.handle)
    until(lambda: "JobState=PENDING" in slurm.run("scontrol", "show", "job", training.handle))
    saved = newest_checkpoint(training.folder)
    assert saved is not None
    assert not is_over(training.folder)
    time.sleep(2.5)  # a node refuses a job that comes back in the second of its revocation
    slurm.run("scontrol", "update", f"jobid={training.handle}", "StartTime=now")
    assert training.end().state == "done", training.log()
    assert training.compute.inspect("sft").handle == training.handle
    notes = [r["text"] for r in read_stream(training.folder) if r["kind"] == "note"]
    assert any(f"goes on from {saved.name}" in note for note in notes)
    training.check_whole()


def test_slurms_own_warning_becomes_a_checkpoint_and_a_model_and_another_job_goes_on_from_it(
    slurm: Slurm, tmp_path: Path
) -> None:
    """The signal that sbatch was told to send comes from slurmctld itself, 40 s or more before the end of one minute."""
    one_minute = SlurmProfile(time_limit_s=60 - 180, extra=("--signal=B:USR1@40",))
    training = Training(slurm, tmp_path, one_minute, max_steps=100_000, checkpoint_every_s=0)
    status = training.end()
    assert status.exit is not None, training.log()
    assert (status.state, status.exit.reason) == ("done", "time_limit"), training.log()
    saved = newest_checkpoint(training.folder)
    assert saved is not None
    result = read_stream(training.folder)[-1]
    assert (result["kind"], result["status"]) == ("result", "stopped")
    assert (Path(result["model"]) / "config.json").is_file()
    last = max(step for step, _ in metrics(training.folder))
    assert saved.name == f"checkpoint-{last}"
    longer = Training(slurm, tmp_path / "longer", resume_from=str(saved), max_steps=last + 3)
    assert longer.end().state == "done", longer.log()
    assert {step for step, name in metrics(longer.folder) if name == "loss"} == set(range(last + 1, last + 4))


def test_a_training_whose_processes_were_killed_goes_on_as_a_new_submission(slurm: Slurm, tmp_path: Path) -> None:
    training = Training(slurm, tmp_path, SlurmProfile(requeue=False), save_every=3)
    until(lambda: newest_checkpoint(training.folder) is not None)
    described = json.loads((training.folder / "job.json").read_bytes())
    for name in ("supervisor_pid", "pid"):
        os.kill(described[name], 9)
    assert training.end().state == "lost"
    training.compute.resume("sft", {"resume_from": str(newest_checkpoint(training.folder))})
    status = training.end()
    assert (status.state, status.handle != training.handle) == ("done", True), training.log()
    training.check_whole()


def until(true) -> None:
    end = time.monotonic() + 400
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
