"""What the list of runs shows of one: a projection, kept beside the log so that listing opens none."""

from __future__ import annotations

from datetime import UTC, datetime

from core.home import Summary
from core.state import STATE_VERSION, RunState


def summarise(s: RunState) -> Summary:
    """What the list of runs shows."""
    held_out = s.scores.heldout_best is not None
    return Summary(
        state_version=STATE_VERSION, run=s.run, status=s.status, goal=s.goal, title=s.title, task=s.task, model=s.model, brain=s.brain,
        started=_iso(s.created_ts), updated=_iso(s.ts), seq=s.seq, doing=s.doing,
        baseline=s.scores.heldout_baseline if held_out else s.scores.baseline,
        best=s.scores.heldout_best if held_out else s.scores.best,
        delta=s.scores.heldout_delta, approvals=len(s.waiting_approvals()),
        spark=[x.score for x in s.evaluations.values() if x.done and x.split == "dev"],
    )  # fmt: skip


def _iso(ts: int) -> str:
    return datetime.fromtimestamp(ts / 1e6, UTC).isoformat().replace("+00:00", "Z") if ts else ""
