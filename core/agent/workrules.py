"""Working rules that code keeps and not only the prompt: a smoke test before a long job, one job before a sweep.

They ask whether a training of this method has made a step in this run. One that never did may still fail at its first
step, for want of memory or by a wrong setting: then hours held for it, or a whole sweep of it, are lost.
"""

from __future__ import annotations

from core.agent.desk import OPEN, Desk
from core.errors import ToolError
from core.state import Job, RunState

SMOKE_STEPS = 100
"""A training of at most so many steps is a trial itself."""

LONG_S = 300.0
"""A training allowed more than these seconds is long."""

FAMILY = {"rejection": "sft"}
"""Methods whose training part is another's."""


def check_tried(state: RunState, method: str, max_steps: int | None, limit_s: float) -> None:
    """Raises ToolError for a long training of a method of which no training has made a step yet."""
    short = limit_s <= LONG_S or (max_steps is not None and max_steps <= SMOKE_STEPS)
    if short or any(job.step for job in trainings(state, method)):
        return
    raise ToolError(
        f"A smoke test first: this training may take {limit_s:.0f} s and no {method} training has made a step in this run",
        next="Start it with max_steps of about 20: it shows that it runs, what a step takes and that a checkpoint comes out",
    )


def await_first(desk: Desk, method: str) -> None:
    """Return once the first training of a method has made a step or has ended; at once where there is none."""

    def seen(state: RunState) -> bool:
        tried = trainings(state, method)
        return not tried or any(job.step or job.status not in OPEN for job in tried)

    desk.wait_until(seen, None)


def trainings(state: RunState, method: str) -> list[Job]:
    """This run's trainings of a method or of its family."""
    names = {method, FAMILY.get(method, method)}
    return [job for job in state.jobs.values() if job.kind == "training" and job.method in names]
