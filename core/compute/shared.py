"""Clusters whose file system is shared with this machine (Slurm, Ray): there a job can end at a checkpoint and go on later.

A job that goes on is a new submission to the scheduler, under its effect id with a number, in its own folder: its files
go on where they stopped. A start of before that should turn up once more (a node that was cut off) sees that the folder
has another owner and ends (intern_tui/supervisor.py).
"""

from __future__ import annotations

from typing import Any

import msgspec

from core.compute.clustered import ClusterCompute, locked, read
from core.compute.spec import OPEN, JobSpec, JobStatus
from core.errors import JobError
from core.home import write_json

OF_ONE_START = (
    "exit.json",
    "handle.json",
    "claim",
    "over",
    "beat",
    "cancel",
    "control",
    "stopping",
    "paused",
    "reached",
    "requeued.json",
)
"""Files of a job's folder that belong to one start of it."""


class SharedCompute(ClusterCompute):
    """ClusterCompute whose jobs can be paused and resumed."""

    def ask_checkpoint(self, job: str) -> None:
        """Ask a training for a checkpoint; it writes one after its present train step and goes on."""
        (self.jobs_folder / job / "control").write_text("checkpoint\n", encoding="utf-8")

    def pause(self, job: str) -> None:
        """End a job so that it can go on from its last checkpoint: marked as paused first, then taken down."""
        folder = self.jobs_folder / job
        (folder / "paused").touch()
        status = self.inspect(job)
        if status.handle:
            self._take_down(status.handle, folder)

    def resume(self, job: str, changes: dict[str, Any]) -> JobStatus:
        """Submit an ended job once more, with `changes` to its spec. Raises JobError if it may still run."""
        folder = self.jobs_folder / job
        status = self.inspect(job)
        if status.state in OPEN:
            raise JobError(f"{job} is {status.state}", where=str(folder), next="Pause it first")
        told = read(folder / "submitted.json", JobSpec)
        if told is None:
            raise JobError("submitted.json is missing", where=str(folder), next="Launch the job anew")
        with locked(folder):
            spec = read(folder / "spec.json", dict[str, Any])
            if spec:
                write_json(folder / "spec.json", {**spec, **changes})
            write_json(folder / "submitted.json", msgspec.structs.replace(told, effect_id=next_start(told.effect_id)))
            for name in OF_ONE_START:
                (folder / name).unlink(missing_ok=True)
        return self.inspect(job)


def next_start(effect_id: str) -> str:
    """The effect id of the next start: `e`, `e~2`, `e~3`."""
    first, _, number = effect_id.rpartition("~")
    return f"{first}~{int(number) + 1}" if first and number.isdigit() else f"{effect_id}~2"
