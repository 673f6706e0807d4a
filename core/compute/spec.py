"""What a place of execution is asked for and what it answers. Light; the same for a laptop and a cluster."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

State = Literal["queued", "running", "unknown", "done", "failed", "cancelled", "lost"]
"""unknown: whoever knows cannot be reached now, so ask again. lost: nobody is left who could say how it ended. Neither
is ever read as failed: the job may still run, or have succeeded."""

OPEN: tuple[State, ...] = ("queued", "running", "unknown")
"""States after which something may still come."""

URGENT_KINDS = frozenset({"sample", "inspect", "prepare", "export", "evaluation"})
"""Short jobs on whose result a decision waits: they go before trainings."""


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One execution."""

    job: str
    kind: str
    """sft, grpo, export, sample, script: see intern_tui/job.py."""
    effect_id: str
    """Names the intent: submitting the same effect id again finds the job that is there."""
    folder: str
    """Absolute path of the job's folder; spec.json for `intern_tui.job` stands in it."""
    argv: tuple[str, ...] | None = None
    """A command of one's own; None: `intern_tui.job` with spec.json."""
    env: dict[str, str] = {}
    slots: int = 1
    """CPU cores (or GPUs) it may use: OMP_NUM_THREADS and its kin are set to it."""
    time_limit_s: float | None = None
    memory_limit_bytes: int | None = None
    """Address space of each of the job's processes."""
    gpus: int = 0
    """GPUs it needs; more than one goes through `accelerate launch`."""
    gpu_memory_bytes: int | None = None
    """What it will hold of each GPU; None: unknown, so it gets whole GPUs."""
    secrets: dict[str, str] = {}
    """Environment that must not be readable back from a scheduler or stand in a file that is shown."""

    @property
    def urgent(self) -> bool:
        return self.kind in URGENT_KINDS


def element(effect_id: str, index: int) -> str:
    """Effect id of one of several jobs that are submitted together under `effect_id`."""
    return f"{effect_id}[{index}]"


def array_of(effect_id: str) -> tuple[str, int] | None:
    """(Effect id of the whole, index) of one that `element` made."""
    found = re.fullmatch(r"(.+)\[(\d+)\]", effect_id, re.DOTALL)
    return (found[1], int(found[2])) if found else None


class JobExit(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended: exit.json."""

    exit_code: int | None = None
    signal: int | None = None
    seconds: float = 0.0
    reason: str = ""
    """finished, cancelled, time_limit, crashed, out_of_memory, killed or cannot_start."""


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a job now."""

    job: str
    state: State
    folder: str
    effect_id: str = ""
    pid: int | None = None
    pid_start: int | None = None
    """Clock ticks after boot: with the pid, names one process for good."""
    supervisor_pid: int | None = None
    argv: tuple[str, ...] = ()
    exit: JobExit | None = None
    backend: str = "local"
    handle: str = ""
    """The scheduler's own name of it: a Slurm job id, a Ray submission id, a Hub job id."""
    reason: str = ""
    """Why it waits or is unknown, in words; what a scheduler said of its end."""
    note: str = ""
    """What was done about it or should be, in words that stay the same: a watcher records them once."""


class LogChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of log.txt. Pass `cursor` to the next call."""

    text: str
    cursor: int
    ended: bool
    """The job is over and nothing follows."""
