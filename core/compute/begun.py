"""Jobs that run by their scheduler's word and have not begun: nobody executes them, and the scheduler does not know.

Seen on Slurm when slurmd was killed between accepting a job and starting it: the node came back within seconds, and the
controller, which believes a node about young jobs, held the job for running until it next compared notes (minutes; where
nodes rarely register, for as long as the time limit). The job's script writes the name of its start to `reached` before
anything else, so a start that is missing there after BEGIN_S never came to its first line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

from core.errors import JobError
from core.home import write_json

BEGIN_S = 120.0
"""A job is given this long from the scheduler's start to its script's first line: prologs run in between, and a shared file
system may show a new file a minute late."""


@runtime_checkable
class Requeues(Protocol):
    """An engine whose scheduler can take a running job back into its queue."""

    def requeue(self, handle: str) -> None:
        """Start it again under the same name. Raises JobError where this is refused."""
        ...


class Requeued(msgspec.Struct, frozen=True, kw_only=True):
    """requeued.json: the start that never began, and why it could not be given back (empty: it was)."""

    start: str
    refused: str = ""


def not_begun(engine: Requeues, handle: str, folder: Path, start: str, node: str) -> str:
    """What is said of a job whose scheduler counts start `start` as running for longer than BEGIN_S; empty if it began.

    The first such start is given back to the queue, once in a job's life: a second one is only reported, since a node that
    swallows jobs would swallow it for ever. The caller holds the folder's lock.
    """
    if began(folder, start):
        return ""
    known = _read(folder / "requeued.json")
    if known is None:
        known = Requeued(start=start)
        try:
            engine.requeue(handle)
        except JobError as error:
            known = Requeued(start=start, refused=error.what)
        write_json(folder / "requeued.json", known)
    at = f" on {node}" if node else ""
    silence = f"job {handle} counts as running{at} for {BEGIN_S / 60:.0f} minutes and its script has not begun"
    if known.refused:
        return f"{silence}; it could not be requeued ({known.refused}): cancel it, then launch it anew"
    if known.start == start:
        return f"{silence}: requeued, once"
    return f"{silence}, once more: not requeued again. Look at the node (scontrol show node), or cancel the job"


def began(folder: Path, start: str) -> bool:
    """Whether this start of the job, `HANDLE:NUMBER`, or a later one, has come to its script's first line."""
    try:
        written = (folder / "reached").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return False
    name, _, number = written.rpartition(":")
    wanted, _, at_least = start.rpartition(":")
    if not number.isdigit():  # being written
        return True
    return name == wanted and int(number) >= int(at_least)


def _read(path: Path) -> Requeued | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Requeued)
    except FileNotFoundError:
        return None
