"""A person's hand on single jobs: stop one, pause it at a checkpoint, let it go on from there."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core import events as e
from core.agent.decisions import Rejected
from core.agent.desk import Desk
from core.compute.protocol import Pausable
from core.errors import InternError
from core.training.resume import is_over, newest_checkpoint

Arguments = dict[str, Any]

CHECKPOINT_S = 120.0
"""Longest wait for a checkpoint that was asked for: one train step and writing model and optimizer."""


def _job(desk: Desk, text: str, arguments: Arguments, status: str) -> str:
    named = text.strip() or str(arguments.get("job") or "")
    fitting = [j.id for j in desk.state.jobs.values() if j.status == status]
    job = named or (fitting[0] if len(fitting) == 1 else "")
    if job not in fitting:
        raise Rejected(f"{named or 'that'} is no {status} job; {status}: {', '.join(fitting) or 'none'}")
    return job


def stop_job(desk: Desk, seq: int, text: str, arguments: Arguments) -> str:
    job = _job(desk, text, arguments, "running")
    threading.Thread(target=desk.compute.cancel, args=(job,), daemon=True).start()
    return f"{job} is asked to save and stop"


def pause_job(desk: Desk, seq: int, text: str, arguments: Arguments) -> str:
    job = _job(desk, text, arguments, "running")
    if desk.state.jobs[job].kind not in ("training", "script"):
        raise Rejected(f"{job} is a {desk.state.jobs[job].kind}: it has no checkpoints and is short; stop-job ends it")
    threading.Thread(target=_pause, args=(desk, _pausable(desk), job), daemon=True, name=f"pause {job}").start()
    return f"{job} is asked for a checkpoint; it stops once that is written"


def _pausable(desk: Desk) -> Pausable:
    if not isinstance(desk.compute, Pausable):
        raise Rejected("jobs of this place of execution cannot be paused; stop-job saves the model and ends one")
    return desk.compute


def _pause(desk: Desk, compute: Pausable, job: str) -> None:
    """Ask for a checkpoint, wait for it, end the job. The watcher sees the mark and records the pause."""
    before = desk.journal.read(lambda s: s.jobs[job].checkpoint)
    compute.ask_checkpoint(job)
    came = desk.journal.wait(
        lambda s: s.jobs[job].checkpoint != before or s.jobs[job].status != "running", CHECKPOINT_S
    )
    if desk.journal.read(lambda s: s.jobs[job].status) != "running":
        return  # it ended by itself meanwhile
    if not came:
        desk.journal.emit(e.NoteAdded(text=f"{job} was not paused: no checkpoint came within {CHECKPOINT_S:.0f} s"))
        return
    compute.pause(job)


def resume_job(desk: Desk, seq: int, text: str, arguments: Arguments) -> str:
    job = _job(desk, text, arguments, "paused")
    return resume_from_checkpoint(desk, job, "asked by a person")


def resume_from_checkpoint(desk: Desk, job: str, reason: str) -> str:
    """Start a paused or lost job again from its newest whole checkpoint, under its own name. Raises Rejected."""
    folder = desk.folder / "jobs" / job
    checkpoint = str(newest_checkpoint(folder) or _recorded(desk, job))
    if not checkpoint and not is_over(folder):  # one that is over has only its end to say
        raise Rejected(f"{job} has no checkpoint to go on from")
    try:
        status = _pausable(desk).resume(job, {"resume_from": checkpoint or None})
    except (InternError, OSError) as error:
        raise Rejected(str(error)) from error
    desk.journal.emit(e.JobResumed(job=job, checkpoint=checkpoint, pid=status.pid, reason=reason))
    return (
        f"{job} goes on from {Path(checkpoint).name}" if checkpoint else f"{job} had ended: its end is being recorded"
    )


def _recorded(desk: Desk, job: str) -> str:
    checkpoint = desk.journal.read(lambda s: s.jobs[job].checkpoint)
    return checkpoint if checkpoint and (Path(checkpoint) / "trainer_state.json").is_file() else ""


def take_up(desk: Desk, job: str) -> bool:
    """Start a job that was lost again, where it left a checkpoint or its result: a reboot, a dead node, a killed supervisor.

    One that comes no further than the checkpoint it went on from last time is not started a third time.
    """
    folder = desk.folder / "jobs" / job
    if desk.journal.read(lambda s: s.jobs[job].kind) != "training":
        return False
    newest = newest_checkpoint(folder)
    if newest is not None and not is_over(folder) and _resumed_from(folder) == str(newest):
        return False
    try:
        resume_from_checkpoint(desk, job, "lost with its machine or its supervisor; taken up from its last checkpoint")
    except Rejected:
        return False
    return True


def _resumed_from(folder: Path) -> str:
    try:
        return str(json.loads((folder / "spec.json").read_bytes()).get("resume_from") or "")
    except (OSError, ValueError):
        return ""


HANDLERS: dict[str, Callable[[Desk, int, str, Arguments], str]] = {
    "stop-job": stop_job,
    "pause-job": pause_job,
    "resume-job": resume_job,
}
