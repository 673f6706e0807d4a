"""Training: launch a job, wait for jobs, stop one, choose a remedy. Detectors watch every job by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from core import events as e
from core.agent.desk import OPEN, Desk, Order
from core.agent.foreign import is_foreign
from core.agent.workrules import await_first, check_tried
from core.compute.logs import telling
from core.compute.protocol import Elsewhere
from core.errors import InternError, ToolError
from core.series import Series
from core.state import Failure, Job, RunState
from core.tools.toolbox import array, integer, mapping, number, text, tool
from core.tracking.target import store_folder
from core.training.memory import GB, estimate
from core.training.preflight import check_light
from core.training.spec import KINDS, TrainSpec, check_train_spec, read_train_spec

METHODS = KINDS

OWNED = frozenset(
    {
        "kind",
        "model",
        "data",
        "output",
        "trust",
        "prompting",
        "verifier",
        "trackio_project",
        "trackio_dir",
        "run_name",
        "device",
        "stop_after",
    }
)
"""Fields of TrainSpec the desk fills in: the task decides them, not the brain."""

SETTINGS = ", ".join(f for f in TrainSpec.__struct_fields__ if f not in OWNED)


@tool(
    {
        "method": text("sft, grpo, dpo (pairs), reward (pairs) or rejection (sample, verify, fine-tune)"),
        "data": text("Name of prepared data"),
        "model": text("Start from: base, final or a job's id"),
        "title": text("A few words that say what this job is"),
        "settings": mapping(f"Hyperparameters: {SETTINGS}. The defaults are TRL's"),
        "experiment": text("Id of the experiment it belongs to", optional=True),
    },
    effect="keyed",
    tier="workspace",
    waits=True,
    runs=("settings",),
)
def train(
    desk: Desk,
    method: str,
    data: str,
    model: str,
    title: str,
    settings: dict[str, Any] | None = None,
    experiment: str | None = None,
) -> object:
    """Launch a training job and return its id at once (or once a slot is free). Use wait_for_jobs to follow it."""
    job = desk.launched()
    if job:  # by this very call, before a crash
        return _launched(job, read_train_spec(desk.folder / "jobs" / job / "spec.json"))
    spec = checked_spec(desk, method, data, model, settings or {}, experiment or "")
    check_tried(desk.state, method, spec.max_steps, spec.time_limit_s or desk.clock.work_left_s)
    await_first(desk, method)
    job = desk.new_job()
    desk.start(order(desk, spec, data, model, title, experiment or "", job, desk.effect_id()))
    return _launched(job, spec)


def order(
    desk: Desk, spec: TrainSpec, data: str, model: str, title: str, experiment: str, job: str, effect_id: str
) -> Order:
    """What the desk is asked to start for a checked spec."""
    config = {k: v for k, v in msgspec.to_builtins(spec).items() if k in SETTINGS.split(", ") and v is not None}
    return Order(
        kind="training",
        method=spec.kind,
        title=title,
        spec=msgspec.to_builtins(msgspec.structs.replace(spec, run_name=job)),
        config=config | {"data": data, "model": model},
        threads=spec.threads or desk.cores,
        experiment=experiment,
        time_limit_s=None if spec.time_limit_s is None else spec.time_limit_s + 30,
        planned_steps=spec.max_steps,
        job=job,
        effect_id=effect_id,
    )


def _launched(job: str, spec: TrainSpec) -> object:
    return {
        "job": job,
        "planned_steps": spec.max_steps,
        "time_limit_s": spec.time_limit_s,
        "lr": spec.learning_rate,
    }


def checked_spec(
    desk: Desk, method: str, data: str, model: str, settings: dict[str, Any], experiment: str = ""
) -> TrainSpec:
    """The checked spec, within what is left of its experiment's budget. Raises ToolError naming the field that does not fit."""
    if method not in METHODS:
        raise ToolError(f"No training method is called {method!r}", next="Use one of " + ", ".join(METHODS))
    wrong = sorted(set(settings) & OWNED) or sorted(set(settings) - set(TrainSpec.__struct_fields__))
    if wrong:
        raise ToolError(f"Settings that cannot be set: {', '.join(wrong)}", next=f"Known: {SETTINGS}")
    if (
        model not in ("", "base", "final", "final_model")
        and model not in desk.state.jobs
        and desk.model_path(model) != desk.settings.model
    ):
        raise ToolError(
            f"{model} is not a descendant of this run's base: only that is trained",
            next="Start from base, final or a job's id",
        )
    _check_resumed(desk, settings.get("resume_from"))
    left = desk.clock.work_left_s
    if left < 5:
        raise ToolError("No time is left for another training", next="Conclude and finish")
    own = _budget_left(desk.state, experiment)
    if own is not None and own < 5:
        raise ToolError(f"The budget of {experiment} is used", next="Conclude it, or open another experiment")
    left = left if own is None else min(left, own)
    limit = min(float(settings.get("time_limit_s") or left), left)
    fixed = {k: v for k, v in desk.state.scope.items() if k in ("max_length", "max_completion_length", "seed")}
    given = {
        "seed": desk.settings.seed,
        "eval_max_new_tokens": desk.max_new_tokens,
        "max_completion_length": desk.max_new_tokens,
        **fixed,
        **settings,
        "threads": desk.threads(settings.get("threads")),
        "time_limit_s": limit,
        "kind": method,
        "model": desk.model_path(model),
        "data": str(desk.data_path(data)),
        "prompting": msgspec.to_builtins(desk.prompting),
        "verifier": msgspec.to_builtins(desk.verifier),
        **_trackio(desk),
    }
    given["rewards"] = [_own_reward(desk, r) for r in cast(list[Any], given.get("rewards") or [])]
    if is_foreign(given):
        given["trackio_dir"] = None  # its own folder is all that code of a brain can write to
    try:
        spec = msgspec.convert(given, TrainSpec)
        check_train_spec(spec)
        if not isinstance(desk.compute, Elsewhere):  # of another machine's memory nothing is known here
            gpu_bytes = desk.gpu_bytes if desk.gpus else None
            check_light(spec, gpu_bytes, promised=0 if gpu_bytes else _promised(desk))
    except (msgspec.ValidationError, InternError) as error:
        raise ToolError(f"The settings do not fit: {error}", next=f"Known: {SETTINGS}") from error
    return spec


def _budget_left(state: RunState, experiment: str) -> float | None:
    """Seconds of the run's clock that an experiment may still take; None where it has no budget."""
    known = state.experiments.get(experiment)
    if known is None or known.budget_s is None:
        return None
    return known.budget_s - (state.budget.used_us - known.began_us) / 1e6


def _check_resumed(desk: Desk, checkpoint: Any) -> None:
    """Weights to go on from are a job's of this run: others would be another base by a side door. Raises ToolError."""
    if checkpoint is None:
        return
    jobs = (desk.folder / "jobs").resolve()
    if not isinstance(checkpoint, str) or not (jobs / checkpoint).resolve().is_relative_to(jobs):
        raise ToolError(
            f"resume_from is {str(checkpoint)[:200]!r}, which is no checkpoint of this run's jobs",
            next="Name a checkpoint folder of one of its jobs, or start from its id with `model`",
        )


def _promised(desk: Desk) -> int:
    """Bytes that running trainings are reckoned to take and have not taken yet: started together, each would see all of it free."""
    total = 0
    for job in desk.state.jobs.values():
        if job.kind != "training" or job.status != "running":
            continue
        path = desk.folder / "jobs" / job.id / "spec.json"
        need = estimate(read_train_spec(path), gpu=False) if path.is_file() else None
        taken = (job.last.get("rss_gb") or 0.0) * GB
        total += max(int((need.total if need else 0) - taken), 0)
    return total


def _trackio(desk: Desk) -> dict[str, Any]:
    """The run's own project. On a rented machine it is kept in the job's folder, which comes back with the job."""
    if desk.settings.trackio == "off":
        return {}
    rented = desk.state.compute.startswith("hf")
    return {"trackio_project": desk.settings.run, "trackio_dir": None if rented else str(store_folder(desk.folder))}


def _own_reward(desk: Desk, reward: Any) -> Any:
    """A reward function of the brain's is a file of the workspace. Raises ToolError."""
    given = cast(dict[str, Any], reward) if isinstance(reward, dict) else {}
    if given.get("kind") != "python":
        return cast(Any, reward)
    file, _, name = str(given.get("function") or "").rpartition(":")
    workspace = (desk.folder / "workspace").resolve()
    path = (workspace / file).resolve()
    if not name or not path.is_file() or not path.is_relative_to(workspace):
        raise ToolError(
            f"No reward function {given.get('function')!r}", next="Write it as FILE.py:NAME, a file of the workspace"
        )
    return {**given, "function": f"{path}:{name}"}


@tool(
    {
        "jobs": array("Ids of jobs"),
        "seconds": number("Come back after this many seconds at the latest", optional=True),
        "until": text("all (default): every job ended; any: one ended or a failure was diagnosed", optional=True),
    },
    effect="pure",
    waits=True,
)
def wait_for_jobs(desk: Desk, jobs: Sequence[str], seconds: float | None = None, until: str | None = None) -> object:
    """Wait for jobs and read how they went: status, metrics, development scores, diagnosis, checkpoint. Comes back early,
    with `person`, where somebody steers or pauses the run: the jobs go on, and so does the wait if you call it again."""
    for job in jobs:
        if job not in desk.state.jobs:
            raise ToolError(f"No job is called {job!r}", next="Known: " + ", ".join(desk.state.jobs))
    before = len(desk.state.failures)

    def ready(state: RunState) -> bool:
        ended = [state.jobs[j].status not in OPEN for j in jobs]
        if until == "any":
            return any(ended) or any(f.job in jobs for f in state.failures[before:])
        return all(ended)

    desk.wait_until(lambda s: ready(s) or bool(_called(s)), seconds)
    reports, called = desk.journal.read(lambda s: ([_report(s, job) for job in jobs], "" if ready(s) else _called(s)))
    return {
        "jobs": reports,
        "seconds_left_for_research": round(desk.clock.work_left_s),
        **({"person": called} if called else {}),
    }


def _called(state: RunState) -> str:
    """What a person asks for that comes between two steps; "" where nobody does. A job may take hours, their words not."""
    asked = {c.command for c in state.commands if c.status == "requested"}
    if "steer" in asked:
        return "Somebody steers: their words come now. The jobs go on; call wait_for_jobs again to go on waiting."
    if "pause" in asked:
        return "Somebody pauses the run. The jobs go on; call wait_for_jobs again once it goes on."
    return ""


def _report(state: RunState, job_id: str) -> object:
    """Of one job, in values of its own: the state goes on changing."""
    job = state.jobs[job_id]
    failures = [f for f in state.failures if f.job == job_id]
    return {
        "job": job.id,
        "title": job.title,
        "method": job.method,
        "status": job.status,
        "reason": job.reason,
        "step": job.step,
        "planned_steps": job.planned_steps,
        "seconds": round((job.seconds or (state.ts - job.started_ts) / 1e6), 1),
        "seconds_per_step": _median_step_time(job),
        "checkpoint": bool(job.checkpoint),
        "dev_scores": _curve(job.series.get("dev_score")),
        "curves": {
            name: _curve(job.series[name]) for name in ("loss", "reward", "entropy", "kl") if name in job.series
        },
        "last": {k: v for k, v in job.last.items() if v is not None},
        "diagnosis": [_finding(f) for f in failures],
        **({"alerts": {"untrusted_source": f"alerts of {job.id}", "content": list(job.alerts)}} if job.alerts else {}),
    }


def _median_step_time(job: Job) -> float | None:
    value = job.last.get("step_time")
    return value if value is not None else None


def _curve(series: Series | None, most: int = 12) -> list[list[float]]:
    """[[train step, mean], ...] thinned to at most `most` points, the last always among them."""
    if series is None:
        return []
    points = [[step, mean] for step, _, _, mean in series.points()]
    stride = max(1, -(-len(points) // most))
    thinned = points[::stride]
    return thinned if not points or thinned[-1] == points[-1] else [*thinned, points[-1]]


def _finding(f: Failure) -> object:
    return {
        "failure": f.seq, "kind": f.kind, "severity": f.severity, "first_step": f.first_step, "confidence": f.confidence,
        "evidence": f.evidence, "causes": f.causes, "remedies": f.options, "stopped_early": f.stopped,
    }  # fmt: skip


@tool({"job": text("Id"), "reason": text("Why")}, effect="idempotent", tier="workspace", waits=True)
def stop_job(desk: Desk, job: str, reason: str) -> object:
    """Stop a job; it saves its model first where it can."""
    if job not in desk.state.jobs:
        raise ToolError(f"No job is called {job!r}", next="Known: " + ", ".join(desk.state.jobs))
    if desk.state.jobs[job].status != "running":
        return f"{job} had already {desk.state.jobs[job].status}"
    desk.compute.cancel(job)
    desk.wait_until(lambda s: s.jobs[job].status != "running", 30)
    return f"{job} is {desk.state.jobs[job].status}"


@tool({"job": text("Id"), "characters": integer("How much of the end (default 4000)")})
def read_job_log(desk: Desk, job: str, characters: int | None = None) -> object:
    """The end of a job's log, progress bars and lines that repeat themselves shortened."""
    if job not in desk.state.jobs:
        raise ToolError(f"No job is called {job!r}", next="Known: " + ", ".join(desk.state.jobs))
    path = desk.folder / "jobs" / job / "log.txt"
    try:
        said = telling(path, max(200, characters or 4000))
    except OSError as error:
        raise ToolError(f"The log cannot be read: {error.strerror}", where=str(path)) from error
    return {"untrusted_source": f"log of {job}", "content": said}


@tool(
    {
        "failure": integer("The number of the diagnosis (field `failure`)", optional=False),
        "remedy": text("What will be changed, in words"),
        "change": mapping("The settings that change"),
        "source": text("Recipe or paper it comes from", optional=True),
        "experiment": text("Experiment that tries it", optional=True),
    },
    effect="idempotent",
    tier="workspace",
)
def choose_remedy(
    desk: Desk,
    failure: int,
    remedy: str,
    change: dict[str, Any] | None = None,
    source: str | None = None,
    experiment: str | None = None,
) -> object:
    """Record what is done about a diagnosed failure."""
    found = next((f for f in desk.state.failures if f.seq == failure), None)
    if found is None:
        raise ToolError(f"No failure has the number {failure}", next="Use the field `failure` of a diagnosis")
    desk.emit(
        e.RemedyChosen(
            remedy=remedy, change=change or {}, source=source or "", kind=found.kind, experiment=experiment or ""
        ),
        cause=failure,
    )
    return "recorded"


TOOLS = [train, wait_for_jobs, stop_job, read_job_log, choose_remedy]
