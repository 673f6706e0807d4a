"""What can happen in a run: one frozen class an event.

Everything a screen, a report, a recovery or a replay knows comes from these. A class here is a promise to logs already
written: fields are added with defaults, never renamed; a change of meaning raises `version` and brings an upcaster
(`core/upcast.py`). The envelope around a payload (seq, id, ts, actor, cause, hash) belongs to the store.

Units stand in the names (`_s` seconds, `_usd` dollars); scores and rates are fractions in [0, 1]; texts are previews
where a `digest` stands beside them (the whole text is a blob).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import msgspec

from core.upcast import upcast
from store.event import NewEvent, Record


class Payload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Base of all event payloads."""

    type: ClassVar[str] = ""
    version: ClassVar[int] = 1


class Unknown(Payload, frozen=True, kw_only=True):
    """An event this version has no class for. Kept and shown raw."""

    fields: dict[str, Any]


P = TypeVar("P", bound=type[Payload])
EVENTS: dict[str, type[Payload]] = {}
SERIES = frozenset({"metric_logged", "gpu_sampled"})
"""Types that come by the clock, thousands to a job."""
ENDED = ("finished", "failed", "stopped")
"""Statuses of a run that is over."""
_DECODERS: dict[str, msgspec.json.Decoder[Payload]] = {}
_ENCODER = msgspec.json.Encoder(order="sorted")


def event(name: str, version: int = 1) -> Callable[[P], P]:
    """Register a payload class under its name in the log."""

    def register(cls: P) -> P:
        cls.type = name
        cls.version = version
        EVENTS[name] = cls
        _DECODERS[name] = msgspec.json.Decoder(cls)
        return cls

    return register


# ---------------------------------------------------------------------------------------------------------- the run


@event("run_created")
class RunCreated(Payload, frozen=True, kw_only=True):
    """A run was asked for. The first event of every log."""

    run: str
    goal: str
    task: str
    task_path: str
    model: str
    """Path or Hub id of the base model."""
    brain: str = "playbook"
    autonomy: str = "network"
    compute: str = "local"
    hours: float = 10.0
    usd: float = 0.0
    seed: int = 0
    unattended: bool = False
    parent: str | None = None
    parent_seq: int | None = None
    versions: dict[str, str] = {}
    tokens: int = 0
    """Tokens the brain may use; 0: no limit."""
    disk_gb: float = 0.0
    """Gigabytes the run's folder may take; 0: no limit."""
    effort: str = ""
    """Reasoning effort of the brain; empty: its own default."""
    scope: dict[str, Any] = {}
    """What the person named and nobody may change without asking: method, data, max_length, lora, ..."""
    trackio: str = ""
    """Where Trackio logs besides the run's folder: a Space, a server's address, or off; empty: nowhere."""


@event("run_started")
class RunStarted(Payload, frozen=True, kw_only=True):
    """A host took the run up."""

    pid: int
    boot_id: str = ""
    cores: int = 0
    accelerators: list[str] = []
    note: str = ""


@event("run_paused")
class RunPaused(Payload, frozen=True, kw_only=True):
    reason: str
    jobs_running: int = 0


@event("run_resumed")
class RunResumed(Payload, frozen=True, kw_only=True):
    reason: str = ""


@event("run_finished")
class RunFinished(Payload, frozen=True, kw_only=True):
    """The end. Scores are held-out scores of the base and of `final_model`."""

    status: str
    """finished, failed or stopped."""
    reason: str
    baseline: float | None = None
    best: float | None = None
    delta: float | None = None
    interval: tuple[float, float] | None = None
    checkpoint: str | None = None
    report: str | None = None
    seconds: float = 0.0


@event("run_forked")
class RunForked(Payload, frozen=True, kw_only=True):
    parent: str
    parent_seq: int
    steering: str = ""


@event("host_recovered")
class HostRecovered(Payload, frozen=True, kw_only=True):
    """A new host found the log of one that died."""

    pid: int
    open_calls: list[str] = []
    running_jobs: list[str] = []
    lost_jobs: list[str] = []


@event("settings_changed")
class SettingsChanged(Payload, frozen=True, kw_only=True):
    """A person changed what the run may do or who decides. None: as it was."""

    autonomy: str | None = None
    hours: float | None = None
    usd: float | None = None
    tokens: int | None = None
    disk_gb: float | None = None
    brain: str | None = None
    effort: str | None = None
    scope: dict[str, Any] | None = None


@event("workspace_saved")
class WorkspaceSaved(Payload, frozen=True, kw_only=True):
    """The workspace as it is after a step, by content: fork and undo bring it back."""

    step: int
    digest: str
    """Blob of the manifest: {path: [digest, mode]}."""
    files: int = 0
    changed: int = 0
    size: int = 0
    """Bytes of all files."""
    skipped: list[str] = []
    """Files too large to keep."""


@event("workspace_restored")
class WorkspaceRestored(Payload, frozen=True, kw_only=True):
    digest: str
    step: int
    reason: str = ""
    told: bool = False
    """The brain was told, in its next message; older programs did not."""


# --------------------------------------------------------------------------------------------------------- the plan


class PlanStep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    title: str
    status: str = "todo"
    """todo, doing, done, failed or skipped."""
    note: str = ""


@event("plan_updated")
class PlanUpdated(Payload, frozen=True, kw_only=True):
    steps: list[PlanStep]
    reason: str = ""


@event("step_started")
class StepStarted(Payload, frozen=True, kw_only=True):
    step: int


@event("step_finished")
class StepFinished(Payload, frozen=True, kw_only=True):
    step: int
    seconds: float = 0.0


@event("note_added")
class NoteAdded(Payload, frozen=True, kw_only=True):
    text: str
    kind: str = "note"
    """note, lesson or title."""


# -------------------------------------------------------------------------------------------------------- the brain


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    arguments: dict[str, Any] | str
    """A string where the brain sent something that is no JSON object."""


@event("model_requested")
class ModelRequested(Payload, frozen=True, kw_only=True):
    step: int
    brain: str
    messages: int
    characters: int
    digest: str = ""
    """SHA-256 of the canonical messages: replay and verify compare it."""
    steering: list[int] = []
    """Sequence numbers of the steering commands first given to the model in this call."""
    system: str = ""
    """Blob of the system prompt."""
    effort: str = ""


@event("model_completed")
class ModelCompleted(Payload, frozen=True, kw_only=True):
    step: int
    text: str = ""
    tool_calls: list[ToolCall] = []
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0
    cached_tokens: int = 0
    """Of the input tokens: those the provider had in its cache."""


@event("model_failed")
class ModelFailed(Payload, frozen=True, kw_only=True):
    step: int
    error: str
    attempt: int = 1
    retry_in_s: float | None = None


@event("context_compacted")
class ContextCompacted(Payload, frozen=True, kw_only=True):
    messages_before: int
    messages_after: int
    summary: str
    digest: str = ""
    """Blob of the whole summary: {text, words, lines}."""
    kept: int = 0
    """Steps of the memory's end that were kept as they are."""
    state_seq: int = 0
    """The event up to which the summary knows the run."""


@event("call_stalled")
class CallStalled(Payload, frozen=True, kw_only=True):
    """A call to a model or a tool has been silent for long. It goes on; a person may interrupt it."""

    what: str
    seconds: float
    call: str = ""


@event("loop_detected")
class LoopDetected(Payload, frozen=True, kw_only=True):
    """The brain goes round in circles; what it was told about that."""

    tool: str
    repeats: int
    advice: str
    level: str = "advice"
    """advice, firm or limit: at the limit a person is asked, or an unattended run ends."""
    kind: str = ""
    """same result, round, same error or failures; empty in older logs."""
    call: str = ""
    """The call it was told with."""
    calls: list[str] = []
    """The calls that make the loop, as far as the detector looks back."""
    result: str = ""
    """The beginning of what the last of them gave."""
    fruitless: int = 0
    """Of the last twelve turns, how many brought nothing new."""
    signs: int = 0
    """Signs that counted so far; see core/agent/loops.py."""


# ------------------------------------------------------------------------------------------------------------ tools


@event("tool_requested")
class ToolRequested(Payload, frozen=True, kw_only=True):
    """Committed before the effect begins."""

    call: str
    tool: str
    arguments: dict[str, Any]
    effect: str = "pure"
    """pure, idempotent, keyed or unsafe: what recovery may do with a call without a result."""
    effect_id: str = ""
    tier: str = "read"
    """read, workspace, network, spend or publish."""
    step: int = 0


@event("tool_started")
class ToolStarted(Payload, frozen=True, kw_only=True):
    call: str
    tool: str


@event("tool_completed")
class ToolCompleted(Payload, frozen=True, kw_only=True):
    call: str
    tool: str
    output: str
    """What the brain was told; a preview where `digest` is set."""
    digest: str = ""
    size: int = 0
    seconds: float = 0.0


@event("tool_failed")
class ToolFailed(Payload, frozen=True, kw_only=True):
    call: str
    tool: str
    error: str
    kind: str = "error"
    """error, usage, refused, interrupted or unknown_outcome."""
    seconds: float = 0.0


@event("tool_deferred")
class ToolDeferred(Payload, frozen=True, kw_only=True):
    """A call waits for a person and the brain goes on without it; it stays open until it is carried out or refused."""

    call: str
    tool: str
    approval: str
    output: str
    """What the brain was told for now."""


# --------------------------------------------------------------------------------------------------------- a person


WORDS = ("steer", "queue", "interrupt")
"""Commands whose text goes to the brain."""


@event("command_requested")
class CommandRequested(Payload, frozen=True, kw_only=True):
    command: str
    text: str = ""
    arguments: dict[str, Any] = {}
    client: str = ""


@event("command_applied")
class CommandApplied(Payload, frozen=True, kw_only=True):
    """The request is named by the envelope's `cause`."""

    command: str
    result: str = ""


@event("command_rejected")
class CommandRejected(Payload, frozen=True, kw_only=True):
    command: str
    reason: str


@event("approval_requested")
class ApprovalRequested(Payload, frozen=True, kw_only=True):
    approval: str
    call: str
    tool: str
    arguments: dict[str, Any]
    arguments_hash: str
    tier: str
    reason: str
    cost_usd: float = 0.0
    untrusted: list[str] = []
    files: dict[str, str] = {}
    """SHA-256 of the workspace's files whose code the call runs, by path: the approval is for these."""


@event("approval_decided")
class ApprovalDecided(Payload, frozen=True, kw_only=True):
    approval: str
    decision: str
    """approved, edited, denied or expired."""
    arguments_hash: str = ""
    arguments: dict[str, Any] = {}
    reason: str = ""
    files: dict[str, str] | None = None
    """Of an edit: the programs that the new arguments run, as in approval_requested."""


@event("question_asked")
class QuestionAsked(Payload, frozen=True, kw_only=True):
    question: str
    text: str
    choices: list[str] = []


@event("question_answered")
class QuestionAnswered(Payload, frozen=True, kw_only=True):
    question: str
    text: str
    by: str = "user"


# ------------------------------------------------------------------------------------------------------- literature


@event("paper_found")
class PaperFound(Payload, frozen=True, kw_only=True):
    paper: str
    title: str
    year: int | None = None
    query: str = ""
    source: str = ""
    """Where the answer came from: arxiv, hf, semantic_scholar, cache, library (offline)."""
    why: str = ""


@event("paper_read")
class PaperRead(Payload, frozen=True, kw_only=True):
    paper: str
    title: str
    source: str
    sections: list[str] = []
    taken: list[str] = []
    """What was taken from it, each with its place."""


@event("citation_followed")
class CitationFollowed(Payload, frozen=True, kw_only=True):
    paper: str
    cites: str
    title: str = ""
    source: str = ""


@event("recipe_extracted")
class RecipeExtracted(Payload, frozen=True, kw_only=True):
    recipe: str
    paper: str
    title: str
    method: str
    settings: dict[str, Any] = {}
    places: dict[str, str] = {}
    source: str = ""


# ------------------------------------------------------------------------------------------------------------- data


class Concern(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    kind: str
    count: int
    score: float = 0.0
    """Severity in [0, 1]."""
    note: str = ""
    examples: list[str] = []


@event("dataset_found")
class DatasetFound(Payload, frozen=True, kw_only=True):
    dataset: str
    source: str
    rows: int | None = None
    why: str = ""
    licence: str = ""
    """As its repository or folder states it; empty: nothing is known."""
    made: str = ""
    """teacher or program: `source` wrote the rows in this run; empty: they were there before."""


@event("dataset_inspected")
class DatasetInspected(Payload, frozen=True, kw_only=True):
    dataset: str
    rows: int
    columns: list[str] = []
    concerns: list[Concern] = []
    lengths: dict[str, float] = {}
    samples: list[str] = []
    digest: str = ""
    licence: str = ""
    """As its rows or its folder state it; empty: they do not."""


@event("licence_found")
class LicenceFound(Payload, frozen=True, kw_only=True):
    """The licence of a model, so far: a data set's stands in the events about it."""

    model: str
    """As the run names it: a path or a Hub id."""
    licence: str
    source: str
    """Where it was read: a folder, or the Hub's address."""


@event("dataset_chosen")
class DatasetChosen(Payload, frozen=True, kw_only=True):
    dataset: str
    why: str = ""


@event("dataset_prepared")
class DatasetPrepared(Payload, frozen=True, kw_only=True):
    name: str
    sources: list[str]
    path: str
    rows: int
    """Rows for training."""
    dev_rows: int
    read: int
    """Rows read from the sources."""
    dropped: dict[str, int] = {}
    """Rows dropped, by reason."""
    digest: str = ""


@event("contamination_checked")
class ContaminationChecked(Payload, frozen=True, kw_only=True):
    dataset: str
    against: int
    """Evaluation samples compared with."""
    rows: int
    overlapping: int
    kinds: dict[str, int] = {}
    examples: list[str] = []
    digest: str = ""
    """SHA-256 of the training rows compared; empty for a source as found."""
    uncompared: int = 0
    """Pairs of a row and a sample that resemble each other and were not compared: there were too many."""


# ------------------------------------------------------------------------------------------------------------- jobs


@event("job_launched")
class JobLaunched(Payload, frozen=True, kw_only=True):
    job: str
    kind: str
    """training, evaluation or export."""
    method: str
    title: str
    effect_id: str
    folder: str
    argv: list[str] = []
    config: dict[str, Any] = {}
    experiment: str = ""
    pid: int | None = None
    started: float | None = None
    boot_id: str = ""
    planned_steps: int | None = None
    gpus: int = 0
    """GPUs that it holds while it runs."""
    backend: str = "local"


@event("job_attached")
class JobAttached(Payload, frozen=True, kw_only=True):
    job: str
    pid: int | None = None


@event("metric_logged")
class MetricLogged(Payload, frozen=True, kw_only=True):
    job: str
    step: int
    """Train step."""
    values: dict[str, float | None]
    """None stands for a value that was not finite (`nonfinite` names it)."""
    nonfinite: list[str] = []


@event("checkpoint_saved")
class CheckpointSaved(Payload, frozen=True, kw_only=True):
    job: str
    path: str
    step: int = 0


@event("job_finished")
class JobFinished(Payload, frozen=True, kw_only=True):
    job: str
    seconds: float
    checkpoint: str = ""
    result: dict[str, Any] = {}


@event("job_failed")
class JobFailed(Payload, frozen=True, kw_only=True):
    job: str
    reason: str
    exit_code: int | None = None
    seconds: float = 0.0
    log_tail: str = ""


@event("job_cancelled")
class JobCancelled(Payload, frozen=True, kw_only=True):
    job: str
    reason: str
    seconds: float = 0.0


@event("job_paused")
class JobPaused(Payload, frozen=True, kw_only=True):
    """A job saved a checkpoint and stopped; it can go on from there."""

    job: str
    checkpoint: str
    seconds: float = 0.0


@event("job_resumed")
class JobResumed(Payload, frozen=True, kw_only=True):
    """A paused or lost job goes on from a checkpoint under its own name."""

    job: str
    checkpoint: str
    pid: int | None = None
    reason: str = ""


# -------------------------------------------------------------------------------------------------------- judgement


@event("evaluation_started")
class EvaluationStarted(Payload, frozen=True, kw_only=True):
    evaluation: str
    label: str
    model: str
    split: str
    """dev, heldout or contract (a look at the benchmark that only checks that it works)."""
    samples: int | None = None
    detectable: float | None = None
    """Smallest difference this many samples can show (80 % power, 5 % level)."""


class ErrorGroup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    kind: str
    count: int
    examples: list[str] = []


@event("evaluation_finished")
class EvaluationFinished(Payload, frozen=True, kw_only=True):
    """Scores of one model on one set of samples."""

    evaluation: str
    label: str
    model: str
    split: str
    samples: int
    score: float
    """Mean over samples, in [0, 1]."""
    interval: tuple[float, float]
    """95 % interval (Wilson for rates)."""
    decoding: str = "greedy"
    shots: int = 0
    job: str = ""
    experiment: str = ""
    against: str = ""
    """The evaluation the delta is taken against."""
    delta: float | None = None
    delta_interval: tuple[float, float] | None = None
    paired: bool = False
    p_value: float | None = None
    groups: list[ErrorGroup] = []
    samples_path: str = ""
    digest: str = ""
    seconds: float = 0.0
    scale: str = ""
    """percent or fraction: what the task's own script is known to give; `score` is in [0, 1] all the same. Where a script
    turns out to give percent, scores that had been taken for shares are recorded again under their ids."""


@event("baseline_published")
class BaselinePublished(Payload, frozen=True, kw_only=True):
    """What the official instruct model scores on the benchmark, as somebody published it. Not measured here."""

    model: str
    score: float
    source: str
    benchmark: str = ""


@event("failure_diagnosed")
class FailureDiagnosed(Payload, frozen=True, kw_only=True):
    job: str
    kind: str
    first_step: int
    severity: str
    """warning or failing."""
    confidence: float = 0.0
    evidence: list[str] = []
    causes: list[str] = []
    remedies: list[str] = []
    options: list[dict[str, Any]] = []
    """The remedies as data: {text, source, changes}; `changes` are settings to set, or "*0.3" to multiply."""
    stopped: bool = False
    """The job was ended early because of it."""
    experiment: str = ""


@event("alert_raised")
class AlertRaised(Payload, frozen=True, kw_only=True):
    """Somebody raised an alert in a Trackio project of the run: a script, mostly. Its text is data from outside."""

    title: str
    text: str = ""
    level: str = "warn"
    """info, warn or error."""
    job: str = ""
    """Empty where it is of no job of this run."""
    step: int | None = None
    source: str = ""


@event("remedy_chosen")
class RemedyChosen(Payload, frozen=True, kw_only=True):
    """Answers the failure named by the envelope's `cause`."""

    remedy: str
    change: dict[str, Any] = {}
    source: str = ""
    kind: str = ""
    experiment: str = ""


@event("experiment_started")
class ExperimentStarted(Payload, frozen=True, kw_only=True):
    experiment: str
    hypothesis: str
    change: str = ""
    budget_s: float | None = None
    parent: str = ""


@event("experiment_concluded")
class ExperimentConcluded(Payload, frozen=True, kw_only=True):
    experiment: str
    verdict: str
    """better, worse, no_difference or failed."""
    why: str = ""
    evaluation: str = ""
    delta: float | None = None
    interval: tuple[float, float] | None = None


@event("checkpoint_promoted")
class CheckpointPromoted(Payload, frozen=True, kw_only=True):
    """`final_model` was replaced by a better model."""

    source: str
    path: str
    evaluation: str
    score: float
    digest: str = ""


@event("submission_verified")
class SubmissionVerified(Payload, frozen=True, kw_only=True):
    """`final_model` was loaded in a fresh process and looked at."""

    path: str
    ok: bool
    checks: list[str] = []


# -------------------------------------------------------------------------------------------------------- resources


@event("gpu_sampled")
class GpuSampled(Payload, frozen=True, kw_only=True):
    """One reading of one device; `source` says who measured: nvml, psutil (this machine's CPU) or fake."""

    index: int
    name: str
    source: str
    util: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    own_memory: int | None = None
    others: int | None = None
    note: str = ""


@event("budget_charged")
class BudgetCharged(Payload, frozen=True, kw_only=True):
    kind: str
    """usd, tokens or disk; wall clock is read from the envelopes."""
    amount: float
    what: str = ""
    job: str = ""


@event("budget_warned")
class BudgetWarned(Payload, frozen=True, kw_only=True):
    kind: str
    fraction: float
    used: float
    limit: float


@event("sandbox_probed")
class SandboxProbed(Payload, frozen=True, kw_only=True):
    """How code that a brain wrote is held on this machine."""

    level: str
    """bubblewrap, landlock or limits."""
    reason: str = ""
    """Why not a higher level."""
    job: str = ""
    """The job that is held so, on the machine it runs on; empty: the host's own machine."""
    network: str = ""
    """What that job can reach, in words."""


# --------------------------------------------------------------------------------------------------- to and from the log


def encode(payload: Payload) -> bytes:
    """Canonical JSON: sorted keys, no spaces."""
    return _ENCODER.encode(payload)


def new(payload: Payload, *, actor: str, cause: int | None = None, id: str | None = None) -> NewEvent:
    """The event to append for `payload`."""
    body = encode(payload)
    if id is None:
        return NewEvent(type=payload.type, payload=body, actor=actor, cause=cause, v=payload.version)
    return NewEvent(type=payload.type, payload=body, actor=actor, cause=cause, v=payload.version, id=id)


def payload_of(stored: Record) -> Payload:
    """The typed payload; `Unknown` for types or shapes this version does not know. Older versions are upcast."""
    cls, decoder = EVENTS.get(stored.type), _DECODERS.get(stored.type)
    if cls is None or decoder is None:
        return Unknown(fields=msgspec.json.decode(stored.payload))
    try:
        return decoder.decode(stored.payload) if stored.v >= cls.version else _upcast(cls, stored)
    except msgspec.ValidationError:
        return Unknown(fields=msgspec.json.decode(stored.payload))


def _upcast(cls: type[Payload], stored: Record) -> Payload:
    fields = msgspec.json.decode(stored.payload)
    newer = upcast(stored.type, stored.v, cls.version, fields)
    return msgspec.convert(newer, cls) if newer is not None else Unknown(fields=fields)
