"""The one protocol of every place where jobs run. tests/core/compute/test_contract.py is its meaning.

What holds on every backend:

- one effect id is one job, also when two processes submit it, or when the answer to the first submission was lost;
- everything needed to find a job again stands in its folder, so a new process with the same `jobs_folder` re-attaches;
- the job's folder is the channel: log.txt and metrics.jsonl only grow, each line comes once and in order;
- `cancel` asks first (the control file), so that a training saves a checkpoint, and insists later;
- what cannot be known is `unknown` or `lost`, never `failed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec

from core.compute.schedule import Booking
from core.compute.spec import JobSpec, JobStatus, LogChunk


@runtime_checkable
class Compute(Protocol):
    """A place where jobs run. Safe to use from several threads."""

    jobs_folder: Path
    """One folder a job, named by the job's id."""

    def submit(self, spec: JobSpec) -> JobStatus:
        """Start (or queue) the job, or find it if its effect id was submitted before.

        Raises JobError where the backend refuses it for good, Refused where it can never fit.
        """
        ...

    def inspect(self, job: str) -> JobStatus:
        """What is known of a job now. Also moves a queue on and a mirror up to date. Raises NotFound."""
        ...

    def logs(self, job: str, cursor: int = 0, limit: int = 65_536) -> LogChunk:
        """The log from byte `cursor` on. Raises NotFound."""
        ...

    def cancel(self, job: str, grace_s: float = 10.0) -> JobStatus:
        """Ask the job to save and stop; insist after `grace_s` seconds. Returns when it is over or nothing helps."""
        ...

    def find_by_effect(self, effect_id: str) -> JobStatus | None:
        """The job that was submitted under an effect id, or None."""
        ...


@runtime_checkable
class Many(Protocol):
    """A backend that takes the jobs of a sweep together."""

    @property
    def arrays(self) -> bool:
        """Whether its scheduler has a form for that (an array on Slurm); else they go to it one by one."""
        ...

    def submit_many(self, specs: Sequence[JobSpec]) -> list[JobStatus]:
        """As `submit` for each, with the same promises and errors: each has its own effect id, folder, name and end.
        Effect ids that `spec.element` made of one id may go as one array."""
        ...


def submit_many(compute: Compute, specs: Sequence[JobSpec]) -> list[JobStatus]:
    """The jobs of a sweep: together where the backend has a form for that, else one by one."""
    if isinstance(compute, Many):
        return compute.submit_many(specs)
    return [compute.submit(spec) for spec in specs]


@runtime_checkable
class Pausable(Protocol):
    """A backend that can end a training at a checkpoint and let it go on from there."""

    def ask_checkpoint(self, job: str) -> None:
        """Ask a training for a checkpoint; it writes one after its present train step and goes on."""
        ...

    def pause(self, job: str) -> None:
        """End a job, marked as paused."""
        ...

    def resume(self, job: str, changes: dict[str, Any]) -> JobStatus:
        """Start an ended job again in its own folder, with `changes` to its spec. Raises JobError if it still runs."""
        ...


@runtime_checkable
class Warm(Protocol):
    """A backend that can load what trainings import before the first one asks."""

    def warm_up(self) -> None: ...

    def close(self) -> None:
        """Let that go. Jobs are not touched."""
        ...


@runtime_checkable
class Bookable(Protocol):
    """A backend that shares this machine among runs by a queue, and has places in it for work that is no job of its own."""

    def ask_place(self, key: str, *, gpus: int, slots: int, asked: float) -> dict[str, str] | None:
        """Stand in the queue as an evaluation since `asked`; once it is its turn, the environment that shows it its own
        GPUs. To be called again until then. Of more GPUs than there are, it gets all."""
        ...

    def leave_place(self, key: str) -> None:
        """Leave the queue, or give up what was held."""
        ...

    def held(self) -> list[Booking]:
        """What is held now, by whom."""
        ...

    def gpu_count(self) -> int:
        """GPUs of this machine."""
        ...


@runtime_checkable
class Elsewhere(Protocol):
    """A backend whose jobs run on other machines than this one. Both raise Unreachable where nobody can tell now."""

    def gpus(self) -> int:
        """GPUs that jobs of one run may have side by side there; 0 where its machines have none."""
        ...

    def cores(self) -> int:
        """Cores of a machine there; 0 where that is not known."""
        ...


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """The most a job can cost, said before it is launched."""

    flavor: str
    usd_per_hour: float
    timeout_s: float
    attempts: int
    reason: str = ""
    """Why this flavour, in words."""

    @property
    def usd(self) -> float:
        """rate x time-out x attempts: what is owed if nothing ends early."""
        return self.usd_per_hour * self.timeout_s / 3600 * self.attempts


@runtime_checkable
class Priced(Protocol):
    """A backend whose jobs cost money."""

    def quote(self, spec: JobSpec) -> Quote:
        """The most `spec` can cost. Raises Refused where nothing on offer is large enough."""
        ...
