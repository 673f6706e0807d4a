"""Scheduled jobs of Hugging Face: a script of the workspace, started again and again, after this run is over too.

A person is always asked, with what a start and a month cost at most, whatever the run may do alone; nobody is asked about
suspending or deleting one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from core import events as e
from core.agent.desk import Desk
from core.agent.spend import Cost, admit_cost
from core.compute.cron import most_starts
from core.compute.spec import JobSpec
from core.errors import ToolError, UsageError
from core.python_source import parse
from core.tools.toolbox import flag, number, text, tool

if TYPE_CHECKING:
    from core.compute.hub_scheduled import HubSchedules, Scheduled

LONGEST_S = 24 * 3600.0
LARGEST = 64 << 10
"""Bytes of a script: it travels in the command itself."""


@tool(
    {
        "file": text("Python file in the workspace; it stands alone, gets no token, and keeps nothing that it does not send away itself"),
        "schedule": text("Five fields of cron in UTC, or @hourly, @daily, @weekly, @monthly"),
        "title": text("A few words that say what for"),
        "seconds": number("Time limit of one start", optional=False),
        "gpu": flag("Whether it needs a GPU"),
    },
    effect="keyed",
    tier="network",
    waits=True,
    runs=("file",),
)  # fmt: skip
def schedule_job(desk: Desk, file: str, schedule: str, title: str, seconds: float, gpu: bool | None = None) -> object:
    """Have Hugging Face start a script again and again, also after this run. A person is always asked, with the price."""
    code = _script(desk, file)
    if not 1 <= seconds <= LONGEST_S:
        raise ToolError(f"{seconds:g} s is no time limit of a start", next=f"Give 1 to {LONGEST_S:g}")
    try:
        starts = most_starts(schedule)
    except UsageError as error:
        raise ToolError(str(error)) from error
    hub = _schedules(desk)
    effect = desk.effect_id()
    known = desk.reached(lambda: hub.find(effect))
    if known is not None:  # by this very call, before a crash
        return _told(known)
    job = JobSpec(
        job=title[:40], kind="script", effect_id=effect, folder=str(desk.folder), argv=("python",), gpus=int(bool(gpu)),
        time_limit_s=seconds,
    )  # fmt: skip
    quote = desk.reached(lambda: hub.quote(job))
    month = quote.usd * starts
    asked: dict[str, Any] = {
        "file": file, "script": hashlib.sha256(code.encode()).hexdigest(), "kind": "scheduled job", "schedule": schedule,
        "flavor": quote.flavor, "usd_per_hour": quote.usd_per_hour, "timeout_s": quote.timeout_s, "starts_in_30_days": starts,
        "usd_a_start_at_most": round(quote.usd, 4), "usd_in_30_days_at_most": round(month, 4),
    }  # fmt: skip
    admit_cost(
        desk,
        Cost(
            f"approval-schedule-{desk.call}", "schedule_job", f"{title[:80]}, started {schedule} on {quote.flavor},", month, asked,
            f"rents {quote.flavor} up to {starts} times in 30 days, ${quote.usd:.2f} each at most, ${month:.2f} together; "
            "goes on when this run is over, until it is deleted", always=True,
        ),
    )  # fmt: skip
    made = desk.reached(lambda: hub.create(job, code, schedule, quote))
    words = f"Hugging Face starts {file} {schedule} on {quote.flavor}: at most ${month:.2f} in 30 days, until {made.id} is deleted"
    desk.emit(e.NoteAdded(text=words, kind="note"))
    return _told(made)


@tool(tier="network")
def scheduled_jobs(desk: Desk) -> object:
    """The scheduled jobs of this account that runs have made: schedule, next start, what they cost at most."""
    hub = _schedules(desk)
    return [_told(one) for one in desk.reached(hub.list)]


@tool(
    {"schedule": text("Id of a scheduled job"), "delete": flag("Delete it for good, instead of suspending it")},
    effect="idempotent",
    tier="network",
)
def stop_schedule(desk: Desk, schedule: str, delete: bool | None = None) -> object:
    """Suspend or delete a scheduled job that a run has made: it starts nothing any more."""
    hub = _schedules(desk)
    ours = {one.id: one for one in desk.reached(hub.list)}
    if schedule not in ours:
        raise ToolError(
            f"No scheduled job of a run is called {schedule[:80]!r}", next=f"Known: {', '.join(ours) or 'none'}"
        )
    desk.reached(lambda: hub.delete(schedule) if delete else hub.suspend(schedule))
    done = "deleted" if delete else "suspended"
    desk.emit(e.NoteAdded(text=f"Scheduled job {schedule} ({ours[schedule].schedule}) is {done}", kind="note"))
    return done


def _script(desk: Desk, file: str) -> str:
    """The text of a Python file of the workspace. Raises ToolError."""
    workspace = (desk.folder / "workspace").resolve()
    path = (workspace / file).resolve()
    if not path.is_file() or not path.is_relative_to(workspace):
        raise ToolError(f"No file {file[:200]!r} in the workspace", next="Write it first (write_file)")
    code = path.read_text(encoding="utf-8", errors="replace")
    if len(code.encode()) > LARGEST:
        raise ToolError(f"{file} has more than {LARGEST >> 10} KB", next="Let it fetch what it needs")
    try:
        parse(code)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ToolError(f"{file} is no Python: {error}", where=str(Path(file)), next="Correct it") from error
    return code


def _schedules(desk: Desk) -> HubSchedules:
    """By the run's own account where it rents machines, else by the token that is here. Raises ToolError."""
    from core.compute.hub_jobs import HubCompute, HubEngine, token_of
    from core.compute.hub_scheduled import HubSchedules
    from core.hub.hosts import endpoint

    if isinstance(desk.compute, HubCompute):
        return HubSchedules(desk.compute.hub)
    return HubSchedules(HubEngine(token=token_of(), endpoint=endpoint(), run=desk.settings.run))


def _told(one: Scheduled) -> dict[str, Any]:
    return msgspec.to_builtins(one)


TOOLS = [schedule_job, scheduled_jobs, stop_schedule]
