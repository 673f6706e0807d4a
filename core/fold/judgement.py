"""Experiments, evaluations, failures and the best model so far."""

from __future__ import annotations

from bisect import bisect_left

from core import events as e
from core.describe import points
from core.fold.registry import mark, on
from core.state import FAILURES_WHOLE, Evaluation, Experiment, Failure, RunState
from store.event import Record


@on(e.ExperimentStarted)
def _experiment_started(state: RunState, event: Record, p: e.ExperimentStarted) -> None:
    state.experiments[p.experiment] = Experiment(
        p.experiment,
        event.seq,
        p.hypothesis,
        p.change,
        parent=p.parent,
        budget_s=p.budget_s,
        began_us=state.budget.used_us,
    )


@on(e.ExperimentConcluded)
def _experiment_concluded(state: RunState, event: Record, p: e.ExperimentConcluded) -> None:
    experiment = state.experiments.setdefault(p.experiment, Experiment(p.experiment, event.seq, ""))
    experiment.verdict, experiment.why, experiment.concluded_seq = p.verdict, p.why, event.seq
    experiment.delta, experiment.interval, experiment.ended_us = p.delta, p.interval, state.budget.used_us
    for seq in list(state.on_trial):
        failure = _failure_at(state, seq)
        if failure is not None and failure.experiment == p.experiment:
            failure.result = p.verdict if p.delta is None else f"{p.verdict}, {points(p.delta)} points"
            state.on_trial.remove(seq)


@on(e.EvaluationStarted)
def _evaluation_started(state: RunState, event: Record, p: e.EvaluationStarted) -> None:
    state.evaluations[p.evaluation] = Evaluation(
        p.evaluation, event.seq, p.label, p.model, p.split, samples=p.samples or 0, ts=event.ts
    )


@on(e.EvaluationFinished)
def _evaluation_finished(state: RunState, event: Record, p: e.EvaluationFinished) -> None:
    state.evaluations[p.evaluation] = Evaluation(
        p.evaluation, event.seq, p.label, p.model, p.split, True, p.samples, p.score, p.interval, p.decoding, p.shots,
        p.experiment, p.against, p.delta, p.delta_interval, p.paired, p.p_value, p.groups, p.samples_path, event.ts,
    )  # fmt: skip
    state.scores.scale = p.scale or state.scores.scale
    if p.experiment in state.experiments:
        state.experiments[p.experiment].evaluations.append(p.evaluation)
    mark(state, event, "E", f"{p.label} {p.score:.3f}")
    if p.split == "dev" and state.scores.baseline is None:
        state.scores.baseline, state.scores.baseline_seq = p.score, event.seq
        state.scores.baseline_evaluation = p.evaluation


@on(e.BaselinePublished)
def _baseline_published(state: RunState, event: Record, p: e.BaselinePublished) -> None:
    scores = state.scores
    scores.published, scores.published_seq = p.score, event.seq
    scores.published_model, scores.published_source = p.model, p.source


@on(e.FailureDiagnosed)
def _failure_diagnosed(state: RunState, event: Record, p: e.FailureDiagnosed) -> None:
    experiment = p.experiment or (state.jobs[p.job].experiment if p.job in state.jobs else "")
    state.failures.append(
        Failure(
            event.seq,
            p.job,
            p.kind,
            p.first_step,
            p.severity,
            p.confidence,
            p.evidence,
            p.causes,
            p.remedies,
            p.options,
            p.stopped,
            experiment,
            ts=event.ts,
        )
    )
    mark(state, event, "!", f"{p.job}: {p.kind}")
    if len(state.failures) > FAILURES_WHOLE:
        old = state.failures[-FAILURES_WHOLE - 1]
        old.evidence, old.causes, old.remedies, old.options = old.evidence[:1], [], [], []


@on(e.AlertRaised)
def _alert_raised(state: RunState, event: Record, p: e.AlertRaised) -> None:
    job = state.jobs.get(p.job)
    if job is not None:
        job.alerts = [*job.alerts[-19:], f"{p.level} {p.title}" + (f": {p.text}" if p.text else "")]


@on(e.RemedyChosen)
def _remedy_chosen(state: RunState, event: Record, p: e.RemedyChosen) -> None:
    failure = _failure_at(state, event.cause or 0)
    if failure is not None:
        failure.remedy, failure.remedy_seq = p.remedy, event.seq
        failure.experiment = p.experiment or failure.experiment
        if p.remedy and not failure.result and failure.seq not in state.on_trial:
            state.on_trial.append(failure.seq)


def _failure_at(state: RunState, seq: int) -> Failure | None:
    """The failure that event `seq` diagnosed; they stand in the order of their events."""
    at = bisect_left(state.failures, seq, key=lambda failure: failure.seq)
    return state.failures[at] if at < len(state.failures) and state.failures[at].seq == seq else None


@on(e.CheckpointPromoted)
def _checkpoint_promoted(state: RunState, event: Record, p: e.CheckpointPromoted) -> None:
    state.checkpoint, state.checkpoint_seq = p.path, event.seq
    scores = state.scores
    scores.best, scores.best_seq, scores.best_evaluation = p.score, event.seq, p.evaluation
    evaluation = state.evaluations.get(p.evaluation)
    scores.best_label = evaluation.label if evaluation else p.source
    mark(state, event, "C", f"final_model {p.score:.3f}")
