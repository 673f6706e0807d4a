"""The run itself, its settings, its workspace and its plan."""

from __future__ import annotations

from core import events as e
from core.fold.registry import on
from core.state import RunState
from store.event import Record

NOTES = 200
"""Notes the state keeps, the newest; all of them are in the log."""


@on(e.RunCreated)
def _run_created(state: RunState, event: Record, p: e.RunCreated) -> None:
    state.run, state.goal, state.task, state.task_path = p.run, p.goal, p.task, p.task_path
    state.model, state.brain, state.autonomy, state.compute = p.model, p.brain, p.autonomy, p.compute
    state.seed, state.parent, state.unattended = p.seed, p.parent, p.unattended
    state.budget.hours, state.budget.usd = p.hours, p.usd
    state.budget.tokens, state.budget.disk_gb = p.tokens, p.disk_gb
    state.effort, state.scope = p.effort, p.scope
    state.scope_at_start = p.scope
    state.trackio = p.trackio
    state.created_ts = event.ts


@on(e.RunStarted)
def _run_started(state: RunState, event: Record, p: e.RunStarted) -> None:
    state.status, state.host_pid = "running", p.pid
    state.started_ts = state.started_ts or event.ts


@on(e.RunPaused)
def _run_paused(state: RunState, event: Record, p: e.RunPaused) -> None:
    state.status, state.reason = "paused", p.reason


@on(e.RunResumed)
def _run_resumed(state: RunState, event: Record, p: e.RunResumed) -> None:
    state.status, state.reason = "running", ""


@on(e.RunFinished)
def _run_finished(state: RunState, event: Record, p: e.RunFinished) -> None:
    state.status, state.reason, state.finished_ts = p.status, p.reason, event.ts
    state.report = p.report or ""
    state.doing = ""
    if p.checkpoint:
        state.checkpoint = p.checkpoint
    scores = state.scores
    if p.baseline is not None:
        scores.heldout_baseline, scores.heldout_best = p.baseline, p.best
        scores.heldout_delta, scores.heldout_interval, scores.heldout_seq = p.delta, p.interval, event.seq


@on(e.RunForked)
def _run_forked(state: RunState, event: Record, p: e.RunForked) -> None:
    # A fork has a budget of its own: what its parent used is not charged to it.
    budget = state.budget
    budget.usd_used, budget.tokens_used, budget.cached_tokens, budget.used_us, budget.warned = 0.0, 0, 0, 0, []
    state.status, state.reason, state.report, state.finished_ts, state.stop_reason = "created", "", "", None, ""
    # The parent's held-out scores are its own: the fork reads that split once, at its end.
    state.evaluations = {k: x for k, x in state.evaluations.items() if x.split != "heldout"}
    state.scores.heldout_baseline = state.scores.heldout_best = state.scores.heldout_delta = None
    state.scores.heldout_interval, state.scores.heldout_seq = None, 0
    state.parent = p.parent


@on(e.SettingsChanged)
def _settings_changed(state: RunState, event: Record, p: e.SettingsChanged) -> None:
    budget = state.budget
    state.autonomy = state.autonomy if p.autonomy is None else p.autonomy
    state.brain = state.brain if p.brain is None else p.brain
    state.effort = state.effort if p.effort is None else p.effort
    state.scope = state.scope if p.scope is None else p.scope
    budget.hours = budget.hours if p.hours is None else p.hours
    budget.usd = budget.usd if p.usd is None else p.usd
    budget.tokens = budget.tokens if p.tokens is None else p.tokens
    budget.disk_gb = budget.disk_gb if p.disk_gb is None else p.disk_gb


@on(e.WorkspaceSaved)
def _workspace_saved(state: RunState, event: Record, p: e.WorkspaceSaved) -> None:
    state.workspace, state.workspace_step = p.digest, p.step
    state.workspaces.append((p.digest, p.step))
    del state.workspaces[:-50]


@on(e.WorkspaceRestored)
def _workspace_restored(state: RunState, event: Record, p: e.WorkspaceRestored) -> None:
    state.workspace, state.workspace_step = p.digest, p.step
    while state.workspaces and state.workspaces[-1][1] > p.step:
        state.workspaces.pop()


@on(e.HostRecovered)
def _host_recovered(state: RunState, event: Record, p: e.HostRecovered) -> None:
    state.host_pid = p.pid
    for job in p.lost_jobs:
        if job in state.jobs:
            state.jobs[job].status = "lost"
    for call in state.open_calls.values():
        again = state.approvals.get(call.repeat_approval)
        if again is not None and again.decision:  # its yes was for one more time, in which this host has died
            call.repeats += 1


@on(e.PlanUpdated)
def _plan_updated(state: RunState, event: Record, p: e.PlanUpdated) -> None:
    state.plan, state.plan_seq = list(p.steps), event.seq


@on(e.StepStarted)
def _step_started(state: RunState, event: Record, p: e.StepStarted) -> None:
    state.step = p.step


@on(e.NoteAdded)
def _note_added(state: RunState, event: Record, p: e.NoteAdded) -> None:
    if p.kind == "title":
        state.title = p.text
    elif p.kind == "lesson":
        state.lessons.append(p.text)
    else:
        state.notes.append(p.text)
        del state.notes[:-NOTES]
