"""What a run looks like after its events: the one state behind every screen, live and in replay.

`RunState` is plain data that serialises (snapshots) and copies cheaply. It is changed in one place only, `core/fold`;
everything else reads it. Each number keeps the sequence number of the event it came from (`seq` fields), so that a
screen can always answer "where is that from?".
"""

from __future__ import annotations

from typing import Any

import msgspec

from core.events import Concern, ErrorGroup, PlanStep
from core.series import Series

STATE_VERSION = 11
"""Raised whenever the fold or a field changes its meaning: older snapshots are then thrown away."""

FAILURES_WHOLE = 300
"""Failures kept with all their texts; of older ones what, where, when and the first line of evidence stay."""

GAP_US = 10_000_000
"""What counts at most between two events: a living host samples its devices every second."""

FEED_LENGTH, FEED_CUT = 200, 50
"""Lines the feed keeps, and how many are dropped at once when there are more."""


def kept_of(had: int, more: int, most: int, cut: int) -> int:
    """How many entries a list holds that had `had` and got `more`, when `cut` go each time it holds more than `most`."""
    over = had + more - most
    return had + more if over <= 0 else most - cut + 1 + (over - 1) % cut


class FeedLine(msgspec.Struct, frozen=True):
    """One line of the event feed."""

    seq: int
    ts: int
    """Microseconds, UTC."""
    type: str
    actor: str
    text: str
    level: str = "info"
    """info, good, bad or waiting."""


class Job(msgspec.Struct):
    id: str
    seq: int
    kind: str
    method: str
    title: str
    experiment: str = ""
    status: str = "running"
    """running, paused, finished, failed, cancelled or lost."""
    pid: int | None = None
    backend: str = "local"
    effect_id: str = ""
    folder: str = ""
    config: dict[str, Any] = {}
    started_ts: int = 0
    ended_ts: int | None = None
    planned_steps: int | None = None
    step: int = 0
    last: dict[str, float | None] = {}
    """Latest value of every metric."""
    last_seq: int = 0
    metric_rows: int = 0
    """Metric events so far: a new host goes on reading the job's stream behind them."""
    series: dict[str, Series] = {}
    """History of the headline metrics (HEADLINE in core/fold/jobs.py)."""
    checkpoint: str = ""
    reason: str = ""
    seconds: float = 0.0
    result: dict[str, Any] = {}
    alerts: list[str] = []
    """Alerts raised by its own script, as `level title: text`; the last twenty."""
    sandbox: str = ""
    """Level at which code of a brain in it is held and what of the network it has; empty: it runs only our own code."""
    gpus: int = 0
    usd: float = 0.0


class Experiment(msgspec.Struct):
    id: str
    seq: int
    hypothesis: str
    change: str = ""
    jobs: list[str] = []
    evaluations: list[str] = []
    verdict: str = ""
    """Empty while it runs; better, worse, no_difference or failed."""
    why: str = ""
    delta: float | None = None
    interval: tuple[float, float] | None = None
    concluded_seq: int = 0
    parent: str = ""
    """The experiment it branches off; empty: it starts from the base."""
    budget_s: float | None = None
    """Seconds it may take by the run's clock, which stands while the run is paused."""
    began_us: int = 0
    """`Budget.used_us` when it began, and when it was concluded."""
    ended_us: int = 0


class Evaluation(msgspec.Struct):
    id: str
    seq: int
    label: str
    model: str
    split: str
    done: bool = False
    samples: int = 0
    score: float = 0.0
    interval: tuple[float, float] = (0.0, 1.0)
    decoding: str = ""
    shots: int = 0
    experiment: str = ""
    against: str = ""
    delta: float | None = None
    delta_interval: tuple[float, float] | None = None
    paired: bool = False
    p_value: float | None = None
    groups: list[ErrorGroup] = []
    samples_path: str = ""
    ts: int = 0


class Failure(msgspec.Struct):
    seq: int
    job: str
    kind: str
    first_step: int
    severity: str
    confidence: float
    evidence: list[str]
    causes: list[str]
    remedies: list[str]
    options: list[dict[str, Any]]
    stopped: bool = False
    experiment: str = ""
    remedy: str = ""
    """What was done about it, once something was."""
    remedy_seq: int = 0
    result: str = ""
    ts: int = 0


class Dataset(msgspec.Struct):
    name: str
    seq: int
    rows: int = 0
    columns: list[str] = []
    concerns: list[Concern] = []
    samples: list[str] = []
    prepared: str = ""
    """Path of the prepared rows; empty for a source."""
    sources: list[str] = []
    """What prepared rows were made of: files, or other prepared data."""
    train_rows: int = 0
    dev_rows: int = 0
    dropped: dict[str, int] = {}
    chosen: bool = False
    why: str = ""
    path: str = ""
    """Where its rows lie, of what was fetched or inspected."""
    licence: str = ""
    """As its repository, else its rows or folder, state it; empty: nothing is known."""
    licence_seq: int = 0
    made: str = ""
    """teacher or program: the rows were written in this run."""


class ContaminationVerdict(msgspec.Struct, frozen=True):
    """What a comparison of prepared rows with the evaluation's samples found."""

    dataset: str
    seq: int
    rows: int
    overlapping: int
    uncompared: int = 0


class Paper(msgspec.Struct):
    id: str
    seq: int
    title: str
    year: int | None = None
    source: str = ""
    why: str = ""
    read: bool = False
    taken: list[str] = []
    cites: dict[str, int] = {}
    """Papers it cites, and the event that says so."""


class Command(msgspec.Struct):
    seq: int
    command: str
    text: str
    status: str = "requested"
    """requested, applied, delivered or rejected."""
    result: str = ""
    ts: int = 0


class Approval(msgspec.Struct):
    id: str
    seq: int
    call: str
    tool: str
    arguments: dict[str, Any]
    arguments_hash: str
    tier: str
    reason: str
    cost_usd: float = 0.0
    untrusted: list[str] = []
    decision: str = ""
    why: str = ""
    """A person's reason."""
    ts: int = 0
    files: dict[str, str] = {}
    """SHA-256 of the workspace's files whose code the call runs, by path."""


class Question(msgspec.Struct):
    id: str
    seq: int
    text: str
    choices: list[str] = []
    answer: str = ""
    ts: int = 0


class OpenCall(msgspec.Struct):
    """A tool call that has begun and has no result yet."""

    call: str
    tool: str
    seq: int
    effect: str
    effect_id: str
    arguments: dict[str, Any]
    ts: int = 0
    started: bool = False
    """The effect may have begun: tool_started is in the log."""
    approval: str = ""
    """The approval it waits for while the brain goes on; empty for a call that is being carried out."""
    repeats: int = 0
    """How often a person has let it be done again and the host died once more."""

    @property
    def repeat_approval(self) -> str:
        """The approval to do it again, after the host died in it."""
        return f"repeat-{self.call}" + (f".{self.repeats}" if self.repeats else "")


class Device(msgspec.Struct):
    index: int
    name: str
    source: str
    seq: int
    util: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    own_memory: int | None = None
    others: int | None = None
    note: str = ""
    history: list[float] = []
    """Last 120 utilisations, in [0, 1]."""
    troubles: list[str] = []
    """What was wrong with a GPU at some time (throttled, memory errors), in the order in which it came up; at most eight."""


class Mark(msgspec.Struct, frozen=True):
    """A place on the timeline."""

    seq: int
    ts: int
    kind: str
    """A approval, E evaluation, ! failure, C checkpoint, S steer."""
    text: str = ""


class Scores(msgspec.Struct):
    """The numbers that matter most, each with its event."""

    metric: str = "accuracy"
    baseline: float | None = None
    """Development score of the base model."""
    baseline_seq: int = 0
    baseline_evaluation: str = ""
    best: float | None = None
    best_seq: int = 0
    best_evaluation: str = ""
    best_label: str = ""
    heldout_baseline: float | None = None
    heldout_best: float | None = None
    heldout_delta: float | None = None
    heldout_interval: tuple[float, float] | None = None
    heldout_seq: int = 0
    published: float | None = None
    """What the official instruct model scores, as published; not measured here."""
    published_model: str = ""
    published_source: str = ""
    published_seq: int = 0
    scale: str = ""
    """percent or fraction: what evaluate.py is known to give. All scores here are in [0, 1]."""


class Budget(msgspec.Struct):
    hours: float = 0.0
    usd: float = 0.0
    usd_used: float = 0.0
    tokens_used: int = 0
    used_us: int = 0
    """Microseconds of `hours` that were used: without pauses, and without the gaps in which no host lived."""
    tokens: int = 0
    """Limit; 0: none."""
    disk_gb: float = 0.0
    """Limit; 0: none."""
    disk_used: int = 0
    """Bytes of the run's folder when last measured."""
    cached_tokens: int = 0
    warned: list[str] = []
    """Warnings given, as `wall 0.5`."""


class RunState(msgspec.Struct):
    """State after event `seq`."""

    version: int = STATE_VERSION
    run: str = ""
    seq: int = 0
    ts: int = 0
    """Time of the last event, microseconds UTC."""
    created_ts: int = 0
    started_ts: int = 0
    finished_ts: int | None = None
    goal: str = ""
    task: str = ""
    task_path: str = ""
    model: str = ""
    brain: str = ""
    autonomy: str = ""
    compute: str = ""
    sandbox: str = ""
    """How code of a brain is held: bubblewrap, landlock or limits; empty in runs before there was one."""
    seed: int = 0
    unattended: bool = False
    trackio: str = ""
    """Where Trackio logs besides the run's folder; see RunCreated."""
    parent: str | None = None
    title: str = ""
    status: str = "created"
    """created, running, paused, finished, failed or stopped."""
    reason: str = ""
    doing: str = ""
    """What the agent is doing right now, in a few words."""
    host_pid: int | None = None
    step: int = 0
    """Turn of the agent's loop."""
    plan: list[PlanStep] = []
    plan_seq: int = 0
    jobs: dict[str, Job] = {}
    experiments: dict[str, Experiment] = {}
    evaluations: dict[str, Evaluation] = {}
    failures: list[Failure] = []
    on_trial: list[int] = []
    """Failures, by `seq`, for which a remedy was chosen whose experiment is not concluded."""
    papers: dict[str, Paper] = {}
    recipes: list[str] = []
    datasets: dict[str, Dataset] = {}
    licence: str = ""
    """Of the base model, where it was looked up; empty: nothing is known."""
    licence_seq: int = 0
    contamination: dict[str, ContaminationVerdict] = {}
    """By the digest of the training rows."""
    commands: list[Command] = []
    approvals: dict[str, Approval] = {}
    questions: dict[str, Question] = {}
    open_calls: dict[str, OpenCall] = {}
    devices: dict[int, Device] = {}
    scores: Scores = msgspec.field(default_factory=Scores)
    budget: Budget = msgspec.field(default_factory=Budget)
    notes: list[str] = []
    lessons: list[str] = []
    feed: list[FeedLine] = []
    marks: list[Mark] = []
    checkpoint: str = ""
    """Path of final_model once one exists."""
    checkpoint_seq: int = 0
    report: str = ""
    effort: str = ""
    scope: dict[str, Any] = {}
    scope_at_start: dict[str, Any] = {}
    stop_reason: str = ""
    """A person's stop that was applied: a new host only ends the run."""
    workspace: str = ""
    """Manifest blob of the last snapshot."""
    workspace_step: int = 0
    workspaces: list[tuple[str, int]] = []
    """(manifest blob, step) of the last snapshots, newest last."""

    def running_jobs(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.status == "running"]

    def waiting_approvals(self) -> list[Approval]:
        return [a for a in self.approvals.values() if not a.decision]

    def used_s(self, now_us: int | None = None) -> float:
        """Seconds of the budget that were used, up to the last event or `now_us`."""
        used = self.budget.used_us
        if now_us is not None and now_us > self.ts and self.clock_runs:
            used += min(now_us - self.ts, GAP_US)
        return used / 1e6

    @property
    def clock_runs(self) -> bool:
        """Whether time that passes is time used."""
        return bool(self.started_ts) and self.status != "paused" and not self.finished_ts

    def elapsed_s(self, now_us: int | None = None) -> float:
        """Seconds since the run was created, up to its end, its last event or `now_us`."""
        end = self.finished_ts or max(now_us or 0, self.ts)
        return max(0.0, (end - self.created_ts) / 1e6) if self.created_ts else 0.0


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(RunState)


def to_bytes(state: RunState) -> bytes:
    """A snapshot."""
    return _ENCODER.encode(state)


def from_bytes(data: bytes) -> RunState:
    return _DECODER.decode(data)


def copy(state: RunState) -> RunState:
    """An independent copy: the original stays as it is whatever the fold does to the copy."""
    return from_bytes(to_bytes(state))
