"""The fold: events in, RunState out. Replay, live panes and recovery all use it.

`fold(state, events)` is pure: it leaves `state` as it was. `Folder` is the same code for those who follow a run event by
event and keep the state to themselves (no copy an event: a million events fold in seconds). A handler a type; a type
without one only moves `seq`, `ts` and the feed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from core import events as e
from core.describe import QUIET, describe, telling
from core.series import Series
from core.state import (
    FEED_CUT,
    FEED_LENGTH,
    Approval,
    Command,
    ContaminationVerdict,
    Dataset,
    Device,
    Evaluation,
    Experiment,
    Failure,
    FeedLine,
    Job,
    Mark,
    OpenCall,
    Paper,
    Question,
    RunState,
    copy,
    kept_of,
)
from core.tables import TABLES
from store.event import Record
from store.source import EventSource, Span

if TYPE_CHECKING:
    from store.columns import Columns

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

HISTORY_LENGTH, HISTORY_CUT = 120, 40
"""Utilisations a device keeps, and how many are dropped at once when there are more."""
NOTES = 200
"""Notes the state keeps, the newest; all of them are in the log."""

Handler = Callable[[RunState, Record, Any], None]
P = TypeVar("P", bound=e.Payload)
_HANDLERS: dict[str, Handler] = {}


def fold(state: RunState, events: Iterable[Record]) -> RunState:
    """The state after `events`."""
    folder = Folder(copy(state))
    for event in events:
        folder.apply(event)
    return folder.state


class Folder:
    """Owns one RunState and moves it forward."""

    def __init__(self, state: RunState | None = None) -> None:
        self.state = state if state is not None else RunState()

    def apply(self, event: Record) -> None:
        """Move on by one event."""
        state = self.state
        payload = self._handle(event)
        state.seq = event.seq
        if event.ts > state.ts:  # a clock that went back must not turn time round
            state.ts = event.ts
        if telling(event, payload):
            state.feed.append(_line(event, payload))
            if len(state.feed) > FEED_LENGTH:
                del state.feed[:FEED_CUT]

    def follow(self, source: EventSource, to_seq: int | None = None) -> None:
        """Move on by all that `source` has after the present event, up to `to_seq` (default: its last)."""
        for span in source.spans(self.state.seq + 1, to_seq, TABLES):
            self.apply_span(span)

    def apply_span(self, span: Span) -> None:
        """As `apply` for each of many events: only the end of it can be seen, so what it does not show is left out."""
        told, count = deque[tuple[Record, e.Payload | None]](maxlen=FEED_LENGTH), 0
        columns = [_Pending(part) for part in span.columns]
        by_type = {part.type: part for part in columns}
        for event in span.records:
            kind = event.type
            if kind in by_type:
                by_type[kind].fold_before(self.state, event.seq)
            if kind in _HANDLERS:
                payload = self._handle(event)
                if kind not in QUIET and telling(event, payload):
                    told.append((event, payload))
                    count += 1
            elif kind not in QUIET:
                told.append((event, None))
                count += 1
        for part in columns:
            part.fold_before(self.state, span.last + 1)
        self.state.seq, self.state.ts = span.last, max(self.state.ts, max(span.times, default=0))
        self._tell(told, count)

    def _handle(self, event: Record) -> e.Payload:
        payload = e.payload_of(event)
        handler = _HANDLERS.get(event.type)
        if handler is not None and not isinstance(payload, e.Unknown):
            handler(self.state, event, payload)
        return payload

    def _tell(self, told: Iterable[tuple[Record, e.Payload | None]], count: int) -> None:
        """Extend the feed by `count` lines, of which the last ones are at hand; only those that stay are written."""
        feed = self.state.feed
        kept = kept_of(len(feed), count, FEED_LENGTH, FEED_CUT)
        lines = [_line(event, payload or e.payload_of(event)) for event, payload in list(told)[-kept:]] if count else []
        self.state.feed = [*feed[len(feed) - (kept - len(lines)) :], *lines]


class _Pending:
    """The columns of a span, folded up to some event."""

    def __init__(self, rows: Columns) -> None:
        from core.bulk import BULK  # numpy, which a short log does without

        self.type = rows.type
        self._rows = rows
        self._fold = BULK[rows.type]
        self._at = 0

    def fold_before(self, state: RunState, seq: int) -> None:
        """Fold the rows before event `seq` that were not folded yet."""
        end = int(self._rows.seq.searchsorted(seq))
        if end > self._at:
            self._fold(state, self._rows.part(self._at, end))
            self._at = end


def _line(event: Record, payload: e.Payload) -> FeedLine:
    text, level = describe(event, payload)
    return FeedLine(event.seq, event.ts, event.type, event.actor, text, level)


def on(cls: type[P]) -> Callable[[Callable[[RunState, Record, P], None]], Callable[[RunState, Record, P], None]]:
    """Register the handler of one event type."""

    def register(function: Callable[[RunState, Record, P], None]) -> Callable[[RunState, Record, P], None]:
        _HANDLERS[cls.type] = function
        return function

    return register


def _mark(state: RunState, event: Record, kind: str, text: str) -> None:
    state.marks.append(Mark(event.seq, event.ts, kind, text))


# ---------------------------------------------------------------------------------------------------------- the run


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
    budget.usd_used, budget.tokens_used, budget.cached_tokens, budget.paused_us, budget.warned = 0.0, 0, 0, 0, []
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


# --------------------------------------------------------------------------------------------------------- the plan


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


# -------------------------------------------------------------------------------------------------- brain and tools


@on(e.ModelRequested)
def _model_requested(state: RunState, event: Record, p: e.ModelRequested) -> None:
    state.doing = "thinking"
    if p.steering:
        for command in state.commands:
            if command.seq in p.steering:
                command.status = "delivered"


@on(e.ModelCompleted)
def _model_completed(state: RunState, event: Record, p: e.ModelCompleted) -> None:
    state.budget.usd_used += p.cost_usd
    state.budget.tokens_used += p.input_tokens + p.output_tokens
    state.budget.cached_tokens += p.cached_tokens


@on(e.CallStalled)
def _call_stalled(state: RunState, event: Record, p: e.CallStalled) -> None:
    state.doing = f"{p.what}: stalled, silent for {p.seconds:.0f} s"


@on(e.ToolStarted)
def _tool_started(state: RunState, event: Record, p: e.ToolStarted) -> None:
    if p.call in state.open_calls:
        state.open_calls[p.call].started = True


@on(e.ToolDeferred)
def _tool_deferred(state: RunState, event: Record, p: e.ToolDeferred) -> None:
    if p.call in state.open_calls:
        state.open_calls[p.call].approval = p.approval


@on(e.ToolRequested)
def _tool_requested(state: RunState, event: Record, p: e.ToolRequested) -> None:
    state.open_calls[p.call] = OpenCall(p.call, p.tool, event.seq, p.effect, p.effect_id, p.arguments, event.ts)
    state.doing = p.tool.replace("_", " ")


@on(e.ToolCompleted)
def _tool_completed(state: RunState, event: Record, p: e.ToolCompleted) -> None:
    state.open_calls.pop(p.call, None)


@on(e.ToolFailed)
def _tool_failed(state: RunState, event: Record, p: e.ToolFailed) -> None:
    state.open_calls.pop(p.call, None)


# --------------------------------------------------------------------------------------------------------- a person


@on(e.CommandRequested)
def _command_requested(state: RunState, event: Record, p: e.CommandRequested) -> None:
    state.commands.append(Command(event.seq, p.command, p.text, ts=event.ts))
    del state.commands[:-100]
    if p.command in ("steer", "queue", "interrupt"):
        _mark(state, event, "S", p.text or p.command)


def _outcome(state: RunState, cause: int | None, status: str, result: str) -> None:
    for command in state.commands:
        if command.seq == cause:
            command.status, command.result = status, result


@on(e.CommandApplied)
def _command_applied(state: RunState, event: Record, p: e.CommandApplied) -> None:
    _outcome(state, event.cause, "applied", p.result)
    if p.command == "stop":
        state.stop_reason = next((c.text for c in state.commands if c.seq == event.cause), "") or "asked by a person"


@on(e.CommandRejected)
def _command_rejected(state: RunState, event: Record, p: e.CommandRejected) -> None:
    _outcome(state, event.cause, "rejected", p.reason)


@on(e.ApprovalRequested)
def _approval_requested(state: RunState, event: Record, p: e.ApprovalRequested) -> None:
    state.approvals[p.approval] = Approval(
        p.approval, event.seq, p.call, p.tool, p.arguments, p.arguments_hash, p.tier, p.reason, p.cost_usd,
        p.untrusted, ts=event.ts, files=p.files,
    )  # fmt: skip
    _mark(state, event, "A", p.tool)


@on(e.ApprovalDecided)
def _approval_decided(state: RunState, event: Record, p: e.ApprovalDecided) -> None:
    if p.approval in state.approvals:
        approval = state.approvals[p.approval]
        approval.decision, approval.why = p.decision, p.reason
        if p.decision == "edited":
            approval.arguments, approval.arguments_hash = p.arguments, p.arguments_hash


@on(e.QuestionAsked)
def _question_asked(state: RunState, event: Record, p: e.QuestionAsked) -> None:
    state.questions[p.question] = Question(p.question, event.seq, p.text, p.choices, ts=event.ts)


@on(e.QuestionAnswered)
def _question_answered(state: RunState, event: Record, p: e.QuestionAnswered) -> None:
    if p.question in state.questions:
        state.questions[p.question].answer = p.text


# ----------------------------------------------------------------------------------------------- literature and data


@on(e.PaperFound)
def _paper_found(state: RunState, event: Record, p: e.PaperFound) -> None:
    if p.paper not in state.papers:
        state.papers[p.paper] = Paper(p.paper, event.seq, p.title, p.year, p.source, p.why)


@on(e.PaperRead)
def _paper_read(state: RunState, event: Record, p: e.PaperRead) -> None:
    paper = state.papers.setdefault(p.paper, Paper(p.paper, event.seq, p.title, source=p.source))
    paper.read, paper.source = True, p.source
    paper.taken.extend(p.taken)


@on(e.CitationFollowed)
def _citation_followed(state: RunState, event: Record, p: e.CitationFollowed) -> None:
    paper = state.papers.setdefault(p.paper, Paper(p.paper, event.seq, p.paper, source=p.source))
    if p.cites not in paper.cites:
        paper.cites.append(p.cites)


@on(e.RecipeExtracted)
def _recipe_extracted(state: RunState, event: Record, p: e.RecipeExtracted) -> None:
    if p.recipe not in state.recipes:
        state.recipes.append(p.recipe)


@on(e.DatasetFound)
def _dataset_found(state: RunState, event: Record, p: e.DatasetFound) -> None:
    data = state.datasets.setdefault(p.dataset, Dataset(p.dataset, event.seq, rows=p.rows or 0, why=p.why))
    data.made = p.made or data.made
    if p.source not in (p.dataset, "hub") and not p.made:
        data.path = p.source
    if p.licence:
        data.licence, data.licence_seq = p.licence, event.seq


@on(e.DatasetInspected)
def _dataset_inspected(state: RunState, event: Record, p: e.DatasetInspected) -> None:
    data = state.datasets.setdefault(p.dataset, Dataset(p.dataset, event.seq))
    data.seq, data.rows, data.columns = event.seq, p.rows, p.columns
    data.concerns, data.samples = p.concerns, p.samples
    if p.licence and not data.licence:  # what a repository states stands above what a copy of some of its rows holds
        data.licence, data.licence_seq = p.licence, event.seq


@on(e.LicenceFound)
def _licence_found(state: RunState, event: Record, p: e.LicenceFound) -> None:
    if p.model == state.model:
        state.licence, state.licence_seq = p.licence, event.seq


@on(e.DatasetChosen)
def _dataset_chosen(state: RunState, event: Record, p: e.DatasetChosen) -> None:
    data = state.datasets.setdefault(p.dataset, Dataset(p.dataset, event.seq))
    data.chosen, data.why = True, p.why


@on(e.DatasetPrepared)
def _dataset_prepared(state: RunState, event: Record, p: e.DatasetPrepared) -> None:
    data = state.datasets.setdefault(p.name, Dataset(p.name, event.seq))
    data.seq, data.prepared, data.rows = event.seq, p.path, p.read
    data.train_rows, data.dev_rows, data.dropped = p.rows, p.dev_rows, p.dropped
    data.sources = p.sources


@on(e.ContaminationChecked)
def _contamination_checked(state: RunState, event: Record, p: e.ContaminationChecked) -> None:
    if p.digest:
        state.contamination[p.digest] = ContaminationVerdict(p.dataset, event.seq, p.rows, p.overlapping)


# ------------------------------------------------------------------------------------------------------------- jobs


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
        job.sandbox = p.level
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
    _mark(state, event, "C", f"{p.job} step {p.step}")


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
    _mark(state, event, "!", f"{p.job}: {p.reason}")


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


# -------------------------------------------------------------------------------------------------------- judgement


@on(e.ExperimentStarted)
def _experiment_started(state: RunState, event: Record, p: e.ExperimentStarted) -> None:
    state.experiments[p.experiment] = Experiment(p.experiment, event.seq, p.hypothesis, p.change)


@on(e.ExperimentConcluded)
def _experiment_concluded(state: RunState, event: Record, p: e.ExperimentConcluded) -> None:
    experiment = state.experiments.setdefault(p.experiment, Experiment(p.experiment, event.seq, ""))
    experiment.verdict, experiment.why, experiment.concluded_seq = p.verdict, p.why, event.seq
    experiment.delta, experiment.interval = p.delta, p.interval
    for failure in state.failures:
        if failure.remedy and failure.experiment == p.experiment and not failure.result:
            failure.result = p.verdict if p.delta is None else f"{p.verdict} {p.delta:+.3f}"


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
    if p.experiment in state.experiments:
        state.experiments[p.experiment].evaluations.append(p.evaluation)
    _mark(state, event, "E", f"{p.label} {p.score:.3f}")
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
    _mark(state, event, "!", f"{p.job}: {p.kind}")


@on(e.AlertRaised)
def _alert_raised(state: RunState, event: Record, p: e.AlertRaised) -> None:
    job = state.jobs.get(p.job)
    if job is not None:
        job.alerts = [*job.alerts[-19:], f"{p.level} {p.title}" + (f": {p.text}" if p.text else "")]


@on(e.RemedyChosen)
def _remedy_chosen(state: RunState, event: Record, p: e.RemedyChosen) -> None:
    for failure in state.failures:
        if failure.seq == event.cause:
            failure.remedy, failure.remedy_seq = p.remedy, event.seq
            failure.experiment = p.experiment or failure.experiment


@on(e.CheckpointPromoted)
def _checkpoint_promoted(state: RunState, event: Record, p: e.CheckpointPromoted) -> None:
    state.checkpoint, state.checkpoint_seq = p.path, event.seq
    scores = state.scores
    scores.best, scores.best_seq, scores.best_evaluation = p.score, event.seq, p.evaluation
    evaluation = state.evaluations.get(p.evaluation)
    scores.best_label = evaluation.label if evaluation else p.source
    _mark(state, event, "C", f"final_model {p.score:.3f}")


# -------------------------------------------------------------------------------------------------------- resources


TROUBLES = 8


@on(e.GpuSampled)
def _gpu_sampled(state: RunState, event: Record, p: e.GpuSampled) -> None:
    device = state.devices.get(p.index)
    if device is None or device.name != p.name:
        device = state.devices[p.index] = Device(p.index, p.name, p.source, event.seq)
    show_device(device, event.seq, p)


def show_device(device: Device, seq: int, p: e.GpuSampled) -> None:
    """Take a reading in. Of many at once `core/bulk.py` takes the last one so, and from the others what must not be lost."""
    device.seq, device.source, device.util = seq, p.source, p.util
    device.memory_used, device.memory_total = p.memory_used, p.memory_total
    device.power_w, device.temperature_c = p.power_w, p.temperature_c
    device.own_memory, device.others, device.note = p.own_memory, p.others, p.note
    note_trouble(device, p.source, p.note)
    device.history.append(p.util if p.util is not None else 0.0)
    if len(device.history) > HISTORY_LENGTH:
        del device.history[:HISTORY_CUT]


def note_trouble(device: Device, source: str, note: str) -> None:
    """Keep what was wrong at some time."""
    if note and source != "psutil" and note not in device.troubles and len(device.troubles) < TROUBLES:
        device.troubles.append(note)


@on(e.BudgetCharged)
def _budget_charged(state: RunState, event: Record, p: e.BudgetCharged) -> None:
    if p.kind == "usd":
        state.budget.usd_used += p.amount
        if p.job in state.jobs:
            state.jobs[p.job].usd += p.amount
    elif p.kind == "tokens":
        state.budget.tokens_used += int(p.amount)
    elif p.kind == "disk":
        state.budget.disk_used = int(p.amount)


@on(e.BudgetWarned)
def _budget_warned(state: RunState, event: Record, p: e.BudgetWarned) -> None:
    state.budget.warned.append(f"{p.kind} {p.fraction:g}")
