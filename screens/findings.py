"""Which findings matter now, and what was done about each. Pure: no drawing.

A run of hours collects dozens of findings, most of them warnings of early trials that nobody needs to look at again. What
is open comes first, what is severe before what is not, what is new before what is old; the same finding about several
jobs is one.
"""

from __future__ import annotations

from typing import NamedTuple

from core.state import Failure, RunState


class Finding(NamedTuple):
    """One kind of trouble with one outcome, in one or several jobs."""

    newest: Failure
    jobs: tuple[str, ...]
    """Newest first."""
    open: bool
    done: str
    """What was done about it, or that nothing was."""
    result: str
    """What came of that; empty where nothing is known."""

    @property
    def kind(self) -> str:
        return self.newest.kind.replace("_", " ")

    @property
    def failing(self) -> bool:
        return self.newest.severity == "failing"


def is_open(f: Failure, state: RunState) -> bool:
    """Whether somebody still has to do something: a failing training without an answer, or a warning of one that runs."""
    if f.remedy or f.result:
        return False
    job = state.jobs.get(f.job)
    running = job is not None and job.status in ("running", "paused") and not state.finished_ts
    return running or (f.severity == "failing" and not _concluded(f, state))


def _concluded(f: Failure, state: RunState) -> bool:
    """Its experiment has a verdict: that was the answer."""
    experiment = state.experiments.get(f.experiment)
    return experiment is not None and bool(experiment.verdict)


def done_about(f: Failure, state: RunState) -> str:
    """What was done about a finding, in words."""
    if f.remedy:
        return f.remedy
    job = state.jobs.get(f.job)
    if f.stopped:
        return "stopped early"
    if job is not None and job.status not in ("running", "paused"):
        return f"left running; it {'ended by itself' if job.status == 'finished' else f'was {job.status}'}"
    return "left running"


def result_of(f: Failure, state: RunState) -> str:
    """What came of it: of its remedy, else of the experiment it belongs to."""
    if f.result:
        return f.result.replace("_", " ")
    if f.remedy:
        return "not known yet"
    experiment = state.experiments.get(f.experiment)
    return f"{experiment.id} {experiment.verdict.replace('_', ' ')}" if experiment and experiment.verdict else ""


def findings(state: RunState) -> list[Finding]:
    """All of them, those that matter most first."""
    alike: dict[tuple[str, str, bool, str, str], list[Failure]] = {}
    for f in reversed(state.failures):
        key = (f.kind, f.severity, is_open(f, state), done_about(f, state), result_of(f, state))
        alike.setdefault(key, []).append(f)
    found = [
        Finding(fs[0], tuple(dict.fromkeys(f.job for f in fs)), open, done, result)
        for (_, _, open, done, result), fs in alike.items()
    ]
    return sorted(found, key=lambda x: (not x.open, not x.failing, -x.newest.seq))


def count_open(state: RunState) -> int:
    """How many of the findings (not of their groups) are open."""
    return sum(is_open(f, state) for f in state.failures)
