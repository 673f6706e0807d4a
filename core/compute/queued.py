"""Local jobs behind the machine's queue: several runs share GPUs and CPU slots, never more than there is.

A job that waits is a file (queued.json) in its folder and a ticket in the queue. `inspect` moves the queue on and starts
the job when its turn has come, so a host that died leaves its waiting jobs waiting, and the next host goes on.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from core.compute.local import LocalCompute
from core.compute.once import same_effect, write_once
from core.compute.queue import Queue, this_process
from core.compute.schedule import Booking, Capacity, Ticket, fits_ever
from core.compute.spec import OPEN, JobExit, JobSpec, JobStatus, LogChunk, State
from core.errors import JobError, Refused
from core.home import write_json
from store.faults import point

_POLL_S = 0.05


class QueuedLocal:
    """LocalCompute behind a shared queue. `run` is the name under which this run's jobs are counted."""

    def __init__(
        self, jobs_folder: str | Path, queue_folder: Path, capacity: Callable[[], Capacity], *, run: str = "",
        python: str = sys.executable,
    ) -> None:  # fmt: skip
        self.jobs_folder = Path(jobs_folder)
        self.local = LocalCompute(jobs_folder, python)
        self.run = run or str(self.jobs_folder)
        self.capacity = capacity
        self.queue = Queue(queue_folder, capacity, job_runs)
        self._starting = threading.RLock()

    def submit(self, spec: JobSpec) -> JobStatus:
        """Queue the job, and start it at once if there is room. Raises Refused if this machine can never run it."""
        known = self.find_by_effect(spec.effect_id)
        if known is not None:
            return known
        self._refuse_too_large(spec)
        folder = Path(spec.folder)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            write_once(folder / "queued.json", msgspec.json.encode(_Queued(spec=spec, asked=time.time())))
        except FileExistsError as error:
            return same_effect(self.find_by_effect(spec.effect_id), folder, error)
        point("job_queued")
        return self.inspect(spec.job)

    def inspect(self, job: str) -> JobStatus:
        """What is known of a job; a job whose turn has come is started."""
        folder = self.jobs_folder / job
        with self._starting:
            if _begun(folder):
                return self.local.inspect(job)
            queued = _read_queued(folder)
            if queued is None:
                # Of a run of before there was a queue; or it says that there is no such job.
                return self.local.inspect(job)
            if (folder / "exit.json").exists():  # cancelled while it waited
                end = msgspec.json.decode((folder / "exit.json").read_bytes(), type=JobExit)
                return self._waiting(queued.spec, "cancelled", "cancelled while it waited", end)
            return self._start_if_turn(queued)

    def logs(self, job: str, cursor: int = 0, limit: int = 65_536) -> LogChunk:
        """log.txt from byte `cursor` on; nothing while it waits."""
        status = self.inspect(job)
        if (self.jobs_folder / job / "launch.json").exists():
            return self.local.logs(job, cursor, limit)
        return LogChunk(text="", cursor=cursor, ended=status.state not in OPEN)

    def cancel(self, job: str, grace_s: float = 10.0) -> JobStatus:
        """A waiting job leaves the queue; a running one is asked to save and stop."""
        folder = self.jobs_folder / job
        with self._starting:
            if not _begun(folder):
                queued = _read_queued(folder)
                if queued is None:
                    return self.local.cancel(job, grace_s)
                self.queue.leave(queued.spec.effect_id)
                write_json(folder / "exit.json", JobExit(reason="cancelled"))
                return self.inspect(job)
        return self.local.cancel(job, grace_s)

    def find_by_effect(self, effect_id: str) -> JobStatus | None:
        """The job under an effect id, waiting or started."""
        for path in sorted(self.jobs_folder.glob("*/queued.json")):
            queued = _read_queued(path.parent)
            if queued is not None and queued.spec.effect_id == effect_id:
                return self.inspect(path.parent.name)
        return self.local.find_by_effect(effect_id)

    def wait(self, job: str, timeout_s: float) -> JobStatus:
        """Block until the job is over or the time is up; for tests and tools, the host polls."""
        until = time.monotonic() + timeout_s
        while True:
            status = self.inspect(job)
            if status.state not in OPEN or time.monotonic() >= until:
                return status
            time.sleep(_POLL_S)

    def ask_checkpoint(self, job: str) -> None:
        """Ask a training for a checkpoint; it goes on."""
        self.local.ask_checkpoint(job)

    def pause(self, job: str) -> None:
        """End a job so that it can go on from its last checkpoint; its place in the queue is free from then on."""
        self.local.pause(job)

    def resume(self, job: str, changes: dict[str, Any]) -> JobStatus:
        """Start an ended job again. A person asked for it, so it does not wait for its turn."""
        with self._starting:  # its files of before are taken away: nobody may look and take it for one that waits
            return self.local.resume(job, changes)

    def ask_place(self, key: str, *, gpus: int, slots: int, asked: float) -> dict[str, str] | None:
        """Stand in the queue for work that this process does itself; the environment of its GPUs once it is its turn."""
        spec = JobSpec(
            job="", kind="evaluation", effect_id=key, folder="", slots=slots, gpus=min(gpus, self.gpu_count())
        )
        booking = self.queue.turn(msgspec.structs.replace(self._ticket(spec, asked), by_owner=True))
        return None if booking is None else self._devices(booking)

    def leave_place(self, key: str) -> None:
        """Leave the queue, or give up what was held."""
        self.queue.leave(key)

    def held(self) -> list[Booking]:
        """What is held now on this machine, by whom."""
        return self.queue.read().held

    def gpu_count(self) -> int:
        """GPUs of this machine."""
        return len(self.capacity().gpus)

    def warm_up(self) -> None:
        """Import torch and TRL once, in the background, for all jobs of this run."""
        self.local.warm_up()

    def close(self) -> None:
        """Let the fork server go. Jobs are not touched."""
        self.local.close()

    def _start_if_turn(self, queued: _Queued) -> JobStatus:
        spec = queued.spec
        booking = self.queue.turn(self._ticket(spec, queued.asked))
        if booking is None:
            return self._waiting(spec, "queued", "waits for its turn")
        spec = msgspec.structs.replace(spec, env=spec.env | self._devices(booking))
        try:
            return self.local.submit(spec)
        except (JobError, OSError):
            self.queue.leave(spec.effect_id)
            raise

    def _devices(self, booking: Booking) -> dict[str, str]:
        """Shows a job its GPUs; an empty list hides every GPU from one that asked for none."""
        if not self.capacity().gpus:
            return {}
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, booking.gpus))}

    def _ticket(self, spec: JobSpec, asked: float) -> Ticket:
        pid, start = this_process()
        capacity = self.capacity()
        cpus = min(max(spec.slots, 1), capacity.cpus)
        if (
            spec.gpus and capacity.gpus
        ):  # a GPU job takes its devices' part of the cores, however many threads it may use
            cpus = max(1, min(cpus, capacity.cpus * spec.gpus // len(capacity.gpus)))
        return Ticket(
            key=spec.effect_id, run=self.run, folder=spec.folder, cpus=cpus, gpus=spec.gpus,
            gpu_memory_bytes=spec.gpu_memory_bytes, urgent=spec.urgent, asked=asked, owner_pid=pid, owner_start=start,
        )  # fmt: skip

    def _refuse_too_large(self, spec: JobSpec) -> None:
        capacity = self.capacity()
        if fits_ever(self._ticket(spec, 0.0), capacity):
            return
        need = f"{spec.gpus} GPU{'s' if spec.gpus > 1 else ''}"
        if spec.gpu_memory_bytes:
            need += f" with {spec.gpu_memory_bytes / 2**30:.0f} GB each"
        has = ", ".join(f"{d.total_bytes / 2**30:.0f} GB" for d in capacity.gpus) or "none"
        raise Refused(
            f"{spec.job} needs {need}; this machine has {has}",
            where="local compute",
            next="Run with --compute hf-jobs, slurm or ray://HOST:8265, or choose LoRA or a smaller model",
        )

    def _waiting(self, spec: JobSpec, state: State, reason: str, end: JobExit | None = None) -> JobStatus:
        return JobStatus(
            job=spec.job, state=state, folder=spec.folder, effect_id=spec.effect_id, argv=spec.argv or (),
            reason=reason, exit=end,
        )  # fmt: skip


class _Queued(msgspec.Struct, frozen=True, kw_only=True):
    """queued.json: what waits, and since when (it keeps its place over a change of hosts)."""

    spec: JobSpec
    asked: float


def _read_queued(folder: Path) -> _Queued | None:
    try:
        return msgspec.json.decode((folder / "queued.json").read_bytes(), type=_Queued)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise JobError(
            f"a damaged file: {error}", where=str(folder / "queued.json"), next="Remove the job's folder."
        ) from error


def _begun(folder: Path) -> bool:
    """Whether a job's supervisor has spoken. A host that died just before it started one leaves a job that waits still:
    its place in the queue went with its host."""
    return (folder / "launch.json").exists() and any((folder / f).exists() for f in ("job.json", "exit.json"))


def job_runs(folder: Path) -> bool | None:
    """Whether the job of a folder runs; None where nobody started it yet."""
    if (folder / "exit.json").exists():
        return False
    if not (folder / "job.json").exists():
        return None
    return LocalCompute(folder.parent).inspect(folder.name).state in OPEN
