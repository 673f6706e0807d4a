"""Fork: a new run that begins where another one was at an event, with a budget, a brain and words of its own.

The new log holds the parent's events up to that one under the same numbers (only the first is the fork's own), so every
reference between them still fits; then `run_forked`. Files come along as hard links; the workspace is that of the last
snapshot before the event; jobs that still ran then stay with the parent. `final_model` is made again by the fork's host.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec

from core import events as e
from core.agent.brain import check_brain, parse_brain
from core.errors import UsageError
from core.fold import Folder
from core.home import Summary, create_run_folder, new_run_id, write_json
from core.launch import versions
from core.session import open_source
from core.state import RunState
from core.tables import TABLES
from core.workspace import Workspace
from store.blobs import BlobStore
from store.event import Event, NewEvent, iso
from store.log import EventLog

BATCH = 500


class ForkRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be different. None: as in the parent."""

    at: int
    steering: str = ""
    brain: str | None = None
    hours: float | None = None
    usd: float | None = None
    tokens: int | None = None
    autonomy: str | None = None
    effort: str | None = None


def fork(parent: Path, request: ForkRequest) -> Path:
    """The folder of the new run, ready for a host. Raises UsageError for an event that is not there."""
    events = _events(parent, request.at)
    created = e.payload_of(events[0])
    if not isinstance(created, e.RunCreated):
        raise UsageError("The first event of the run is not run_created", where=str(parent), next="intern verify it")
    brain = request.brain or _state(events).brain
    check_brain(parse_brain(brain))
    run = new_run_id()
    folder = create_run_folder(run)
    try:
        _write(folder, parent, events, created, request, brain)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _events(parent: Path, at: int) -> list[Event]:
    source = open_source(parent)
    try:
        last = source.last[0]
        if not 1 <= at <= last:
            raise UsageError(f"--at {at} is no event of {parent.name}", next=f"Its events are 1 to {last}")
        return list(source.events(1, at))
    finally:
        source.close()


def _state(events: list[Event]) -> RunState:
    folder = Folder()
    for event in events:
        folder.apply(event)
    return folder.state


def _write(
    folder: Path, parent: Path, events: list[Event], created: e.RunCreated, request: ForkRequest, brain: str
) -> None:
    state = _state(events)
    budget = state.budget
    first = msgspec.structs.replace(
        created, run=folder.name, parent=parent.name, parent_seq=request.at, brain=brain, versions=versions(),
        hours=budget.hours if request.hours is None else request.hours,
        usd=budget.usd if request.usd is None else request.usd,
        tokens=budget.tokens if request.tokens is None else request.tokens,
        autonomy=request.autonomy or state.autonomy,
        effort=state.effort if request.effort is None else request.effort,
    )  # fmt: skip
    _copy_files(parent, folder, state)
    blobs = BlobStore(folder)
    if state.workspace:
        Workspace(folder / "workspace", blobs).restore(state.workspace)
    with EventLog.create(folder, TABLES) as log:
        log.append([_as_new(events[0], e.encode(first))])
        old, new = str(parent).encode(), str(folder).encode()
        copies = [_as_new(event, event.payload.replace(old, new)) for event in events[1:]]
        for at in range(0, len(copies), BATCH):
            log.append(copies[at : at + BATCH])
        log.append([e.new(p, actor="host") for p in _closing(state, first, request)])
        if request.steering.strip():
            log.append([e.new(e.CommandRequested(command="steer", text=request.steering, client="fork"), actor="user")])
    forked = Summary(
        run=folder.name, goal=first.goal, task=first.task, model=first.model, brain=brain, started=iso(events[0].ts)
    )
    write_json(folder / "summary.json", forked)


def _as_new(event: Event, payload: bytes) -> NewEvent:
    return NewEvent(type=event.type, payload=payload, actor=event.actor, cause=event.cause, v=event.v, ts=event.ts)


def _closing(state: RunState, first: e.RunCreated, request: ForkRequest) -> list[e.Payload]:
    """What makes the copied past the fork's own: its settings, jobs that stay behind, calls that nobody will finish."""
    closing: list[e.Payload] = [
        e.RunForked(parent=first.parent or "", parent_seq=request.at, steering=request.steering),
        # settings changed on the parent's way are among the copied events; the fork's own come after them
        e.SettingsChanged(
            brain=first.brain, hours=first.hours, usd=first.usd, tokens=first.tokens, autonomy=first.autonomy, effort=first.effort,
        ),
    ]  # fmt: skip
    for job in state.jobs.values():
        if job.status in ("running", "paused"):
            closing.append(
                e.JobCancelled(job=job.id, reason="it belongs to the parent run; a fork takes no running job along")
            )
    for call in state.open_calls.values():
        if call.effect == "unsafe":
            closing.append(
                e.ToolFailed(
                    call=call.call, tool=call.tool, kind="interrupted",
                    error="The fork begins before this call had ended; the workspace is as it was before it",
                )
            )  # fmt: skip
    return closing


def _copy_files(parent: Path, folder: Path, state: RunState) -> None:
    """What the past refers to: blobs, prepared data, evaluations, jobs that had ended. Linked, not copied."""
    names = ["blobs", "data", "evaluations", "commands", "edits"]
    ended = [f"jobs/{j.id}" for j in state.jobs.values() if j.status not in ("running", "paused")]
    for name in [*names, *ended]:
        if (parent / name).is_dir():
            shutil.copytree(parent / name, folder / name, copy_function=_link, dirs_exist_ok=True, symlinks=True)
    evaluations = folder / "evaluations"
    for path in [*evaluations.glob("contract*"), *evaluations.glob("heldout-*")]:
        shutil.rmtree(path, ignore_errors=True)  # the fork has not looked at that split


def _link(source: str, target: str) -> str:
    """A hard link, or a copy where that cannot be (another file system)."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
