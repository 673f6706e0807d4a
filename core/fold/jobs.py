"""Trainings and other jobs, and what they log."""

from __future__ import annotations

from core import events as e
from core.fold.registry import mark, on
from core.series import Series
from core.state import Job, RunState
from store.event import Record

HEADLINE = frozenset(
    [
        "loss",
        "reward",
        "reward_std",
        "kl",
        "entropy",
        "dev_score",
        "grad_norm",
        "learning_rate",
        "mean_token_accuracy",
        "eval_loss",
        "completions/mean_length",
        "completions/clipped_ratio",
        "frac_reward_zero_std",
    ]
)
"""Metrics whose history the state keeps; all others have their latest value here and their history in the log."""


@on(e.JobLaunched)
def _job_launched(state: RunState, event: Record, p: e.JobLaunched) -> None:
    state.jobs[p.job] = Job(
        p.job, event.seq, p.kind, p.method, p.title, p.experiment, pid=p.pid, backend=p.backend,
        effect_id=p.effect_id, folder=p.folder, config=p.config, started_ts=event.ts, planned_steps=p.planned_steps,
        gpus=p.gpus,
    )  # fmt: skip
    if p.experiment in state.experiments:
        state.experiments[p.experiment].jobs.append(p.job)


@on(e.SandboxProbed)
def _sandbox_probed(state: RunState, event: Record, p: e.SandboxProbed) -> None:
    job = state.jobs.get(p.job)
    if job is not None:
        job.sandbox = f"{p.level}, network {p.network}" if p.network else p.level
    elif not p.job:
        state.sandbox = p.level


@on(e.JobAttached)
def _job_attached(state: RunState, event: Record, p: e.JobAttached) -> None:
    if p.job in state.jobs:
        state.jobs[p.job].status = "running"
        state.jobs[p.job].pid = p.pid or state.jobs[p.job].pid


@on(e.MetricLogged)
def _metric_logged(state: RunState, event: Record, p: e.MetricLogged) -> None:
    job = state.jobs.get(p.job)
    if job is None:
        return
    job.step, job.last_seq = p.step, event.seq
    job.metric_rows += 1
    job.last.update(p.values)
    for name, value in p.values.items():
        if value is not None and name in HEADLINE:
            series = job.series.get(name)
            if series is None:
                series = job.series[name] = Series()
            series.add(p.step, value)


@on(e.CheckpointSaved)
def _checkpoint_saved(state: RunState, event: Record, p: e.CheckpointSaved) -> None:
    if p.job in state.jobs:
        state.jobs[p.job].checkpoint = p.path
    mark(state, event, "C", f"{p.job} step {p.step}")


def _end_job(state: RunState, event: Record, job_id: str, status: str, reason: str, seconds: float) -> None:
    job = state.jobs.get(job_id)
    if job is not None:
        job.status, job.reason, job.seconds, job.ended_ts = status, reason, seconds, event.ts


@on(e.JobFinished)
def _job_finished(state: RunState, event: Record, p: e.JobFinished) -> None:
    _end_job(state, event, p.job, "finished", "", p.seconds)
    if p.job in state.jobs:
        job = state.jobs[p.job]
        job.checkpoint, job.result = p.checkpoint or job.checkpoint, p.result


@on(e.JobFailed)
def _job_failed(state: RunState, event: Record, p: e.JobFailed) -> None:
    _end_job(state, event, p.job, "failed", p.reason, p.seconds)
    mark(state, event, "!", f"{p.job}: {p.reason}")


@on(e.JobCancelled)
def _job_cancelled(state: RunState, event: Record, p: e.JobCancelled) -> None:
    _end_job(state, event, p.job, "cancelled", p.reason, p.seconds)


@on(e.JobPaused)
def _job_paused(state: RunState, event: Record, p: e.JobPaused) -> None:
    job = state.jobs.get(p.job)
    if job is not None:
        job.status, job.checkpoint, job.pid = "paused", p.checkpoint or job.checkpoint, None


@on(e.JobResumed)
def _job_resumed(state: RunState, event: Record, p: e.JobResumed) -> None:
    job = state.jobs.get(p.job)
    if job is not None:
        job.status, job.pid, job.reason, job.ended_ts = "running", p.pid, "", None
