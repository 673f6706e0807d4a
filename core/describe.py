"""One line a person can read for every event: the feed, plain output and exports all use it.

Text from outside (papers, data, model answers) passes through here as data; it is sanitised where it is displayed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec

from core import events as e
from store.event import Record

Line = tuple[str, str]
"""(text, level); level is info, good, bad or waiting."""


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def points(value: float | None) -> str:
    """A difference of two scores, in percentage points."""
    return "–" if value is None else f"{100 * value:+.1f}"


def shorten(text: str, width: int = 100) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def arguments(values: dict[str, Any], width: int = 80) -> str:
    return shorten(", ".join(f"{k}={_value(v)}" for k, v in values.items()), width)


def _value(value: Any) -> str:
    """A value as a person writes it: no quotes, and of a list of tables only how many there are."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_value(v)}" for k, v in cast(dict[str, Any], value).items()) + "}"
    if isinstance(value, list):
        items = cast(list[Any], value)
        if any(isinstance(v, dict | list) for v in items):
            return f"{len(items)} item{'s' * (len(items) != 1)}"
        return "[" + ", ".join(map(_value, items)) + "]"
    return msgspec.json.encode(value).decode()


def _evaluation(p: e.EvaluationFinished) -> Line:
    text = f"{p.label}: {percent(p.score)} on {p.split} (n={p.samples}, 95 % {percent(p.interval[0])}–{percent(p.interval[1])})"
    if p.delta is not None and p.delta_interval is not None:
        low, high = p.delta_interval
        text += f", {points(p.delta)} [{points(low)}, {points(high)}] points"
        return text, "good" if low > 0 else "bad" if high < 0 else "info"
    return text, "info"


def _finished(p: e.RunFinished) -> Line:
    text = f"run {p.status}: {p.reason}"
    if p.delta is not None and p.interval is not None:
        low, high = p.interval
        text += (
            f"; held-out {percent(p.baseline)} -> {percent(p.best)}, {points(p.delta)} [{points(low)}, {points(high)}]"
        )
    return text, "good" if p.status == "finished" else "bad"


def _prepared(p: e.DatasetPrepared) -> Line:
    dropped = ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in p.dropped.items()) or "nothing"
    return f"prepared {p.name}: {p.rows} train + {p.dev_rows} dev rows of {p.read}; dropped {dropped}", "info"


def _inspected(p: e.DatasetInspected) -> Line:
    worst = ", ".join(f"{c.count} {c.kind.replace('_', ' ')}" for c in p.concerns[:5]) or "no concerns"
    return f"inspected {p.dataset}: {p.rows} rows; {worst}", "info"


def _failure(p: e.FailureDiagnosed) -> Line:
    what = f"{p.job}: {p.kind.replace('_', ' ')} from step {p.first_step}"
    why = f" — {shorten(p.evidence[0], 80)}" if p.evidence else ""
    return what + (", stopped early" if p.stopped else "") + why, "bad" if p.severity == "failing" else "waiting"


def _plan(p: e.PlanUpdated) -> Line:
    doing = next((s.title for s in p.steps if s.status == "doing"), "")
    done = sum(s.status == "done" for s in p.steps)
    return f"plan: {done}/{len(p.steps)} done" + (f"; now {doing}" if doing else ""), "info"


def _model_completed(p: e.ModelCompleted) -> Line:
    calls = ", ".join(c.name for c in p.tool_calls)
    return shorten(p.text or f"-> {calls}", 160), "info"


HEADLINES = ("reward", "dev_score", "loss", "eval_loss", "kl", "entropy", "grad_norm", "learning_rate")
"""Metrics that say how a training goes; a line has room for four, and the others are bookkeeping."""


def _metric(p: e.MetricLogged) -> Line:
    names = [*(k for k in HEADLINES if k in p.values), *(k for k in p.values if k not in HEADLINES)][:4]
    values = ", ".join(
        f"{k.replace('_', ' ')} " + (f"{v:.4g}" if (v := p.values[k]) is not None else "n/a") for k in names
    )
    return f"{p.job} step {p.step}: {values}", "info"


_TEXTS: dict[str, Callable[[Any], Line]] = {
    "run_created": lambda p: (f"created: {shorten(p.goal)} [task {p.task}, brain {p.brain}]", "info"),
    "sandbox_probed": lambda p: (f"code of a brain runs under {p.level}" + (f" in {p.job}" if p.job else "") + (f" ({p.reason})" if p.reason else "") + (f"; network {p.network}" if p.network else ""), "info"),
    "run_started": lambda p: (f"host {p.pid} started", "info"),
    "run_paused": lambda p: (f"paused: {p.reason}", "waiting"),
    "run_resumed": lambda p: (f"resumed {p.reason}".strip(), "info"),
    "run_finished": _finished,
    "run_forked": lambda p: (f"forked from {p.parent} at event {p.parent_seq}", "info"),
    "settings_changed": lambda p: ("changed: " + arguments({k: v for k, v in msgspec.to_builtins(p).items() if v is not None}), "info"),
    "workspace_saved": lambda p: (f"workspace saved: {p.files} files, {p.changed} changed", "info"),
    "workspace_restored": lambda p: (f"workspace is that of step {p.step} again" + (f": {p.reason}" if p.reason else ""), "waiting"),
    "call_stalled": lambda p: (f"{p.what} has been silent for {p.seconds:.0f} s", "waiting"),
    "job_paused": lambda p: (f"{p.job} paused at {shorten(p.checkpoint.rsplit('/', 1)[-1], 40)}", "waiting"),
    "job_resumed": lambda p: (f"{p.job} goes on from {shorten(p.checkpoint.rsplit('/', 1)[-1], 40)}", "info"),
    "host_recovered": lambda p: (f"host {p.pid} recovered; running {p.running_jobs}, lost {p.lost_jobs}", "waiting"),
    "plan_updated": _plan,
    "step_started": lambda p: (f"step {p.step}", "info"),
    "step_finished": lambda p: (f"step {p.step} took {p.seconds:.1f} s", "info"),
    "note_added": lambda p: (f"{p.kind}: {shorten(p.text, 140)}", "info"),
    "model_requested": lambda p: (f"asked {p.brain} ({p.messages} messages)", "info"),
    "model_completed": _model_completed,
    "model_failed": lambda p: (f"brain failed (try {p.attempt}): {shorten(p.error)}", "bad"),
    "context_compacted": lambda p: (f"context {p.messages_before} -> {p.messages_after} messages", "info"),
    "loop_detected": lambda p: (f"loop: {p.tool} {p.repeats} times; {p.advice}", "bad" if p.level == "limit" else "waiting"),
    "tool_requested": lambda p: (f"{p.tool}({arguments(p.arguments)})", "info"),
    "tool_started": lambda p: (f"{p.tool} began", "info"),
    "tool_completed": lambda p: (f"{p.tool} done in {p.seconds:.1f} s", "info"),
    "tool_failed": lambda p: (f"{p.tool} failed: {shorten(p.error)}", "bad"),
    "tool_deferred": lambda p: (f"{p.tool} waits for {p.approval}; the work goes on without it", "waiting"),
    "command_requested": lambda p: (f"{p.command}" + (f': "{shorten(p.text)}"' if p.text else ""), "waiting"),
    "command_applied": lambda p: (f"{p.command} applied" + (f": {p.result}" if p.result else ""), "info"),
    "command_rejected": lambda p: (f"{p.command} rejected: {p.reason}", "bad"),
    "approval_requested": lambda p: (f"approval needed: {p.tool} ({p.tier}): {p.reason}", "waiting"),
    "approval_decided": lambda p: (f"{p.decision}" + (f": {p.reason}" if p.reason else ""), "info"),
    "question_asked": lambda p: (f"question: {shorten(p.text)}", "waiting"),
    "question_answered": lambda p: (f"answer by {p.by}: {shorten(p.text)}", "info"),
    "paper_found": lambda p: (f"found {shorten(p.title, 70)} ({p.year or '?'}) via {p.source}", "info"),
    "paper_read": lambda p: (f"read {shorten(p.title, 60)} via {p.source}" + (f": {shorten(p.taken[0], 70)}" if p.taken else ""), "info"),
    "citation_followed": lambda p: (f"{p.paper} cites {shorten(p.title or p.cites, 70)}", "info"),
    "recipe_extracted": lambda p: (f"recipe {p.recipe}: {p.method} {arguments(p.settings, 60)}", "info"),
    "dataset_found": lambda p: (f"found data {p.dataset}" + (f" ({p.rows} rows)" if p.rows else ""), "info"),
    "dataset_inspected": _inspected,
    "licence_found": lambda p: (f"licence of {shorten(p.model, 60)}: {shorten(p.licence, 80)}", "info"),
    "dataset_chosen": lambda p: (f"chose {p.dataset}: {shorten(p.why)}", "info"),
    "dataset_prepared": _prepared,
    "contamination_checked": lambda p: (f"contamination: {p.overlapping} of {p.rows} rows overlap {p.against} evaluation samples" + (f"; {p.uncompared:,} pairs alike not compared" if p.uncompared else ""), "bad" if p.overlapping else "info"),
    "job_launched": lambda p: (f"{p.job} launched: {p.title}", "info"),
    "job_attached": lambda p: (f"{p.job} re-attached", "info"),
    "metric_logged": _metric,
    "checkpoint_saved": lambda p: (f"{p.job} saved a checkpoint at step {p.step}", "info"),
    "job_finished": lambda p: (f"{p.job} finished in {p.seconds:.1f} s", "info"),
    "job_failed": lambda p: (f"{p.job} failed: {shorten(p.reason)}", "bad"),
    "job_cancelled": lambda p: (f"{p.job} stopped: {shorten(p.reason)}", "waiting"),
    "baseline_published": lambda p: (f"published: {p.model} scores {percent(p.score)} on {p.benchmark} ({p.source}); not measured here", "info"),
    "evaluation_started": lambda p: (f"evaluating {p.label} on {p.split}" + (f" (n={p.samples}: shows a difference from {100 * p.detectable:.1f} points on)" if p.detectable and p.samples else ""), "info"),
    "evaluation_finished": _evaluation,
    "failure_diagnosed": _failure,
    "alert_raised": lambda p: (f"alert {p.job} {shorten(p.title)}".replace("  ", " ") + (f": {shorten(p.text, 80)}" if p.text else ""), {"error": "bad", "warn": "waiting"}.get(p.level, "info")),
    "remedy_chosen": lambda p: (f"remedy: {shorten(p.remedy)}" + (f" ({p.source})" if p.source else ""), "info"),
    "experiment_started": lambda p: (f"{p.experiment}: {shorten(p.hypothesis)}", "info"),
    "experiment_concluded": lambda p: (f"{p.experiment} {p.verdict.replace('_', ' ')}: {shorten(p.why)}", "good" if p.verdict == "better" else "bad" if p.verdict in ("worse", "failed") else "info"),
    "checkpoint_promoted": lambda p: (f"final_model is now {p.source} ({percent(p.score)})", "good"),
    "submission_verified": lambda p: ("final_model verified" if p.ok else f"final_model is not valid: {'; '.join(p.checks)}", "good" if p.ok else "bad"),
    "gpu_sampled": lambda p: (f"{p.name}: {percent(p.util)}", "info"),
    "budget_charged": lambda p: (f"charged {p.amount:g} {p.kind} for {p.what}", "info"),
    "budget_warned": lambda p: (f"{p.kind} at {100 * p.fraction:.0f} % ({p.used:.3g} of {p.limit:.3g})", "waiting"),
}  # fmt: skip


QUIET = frozenset(
    {
        "metric_logged",
        "gpu_sampled",
        "tool_started",
        "step_started",
        "step_finished",
        "model_requested",
        "workspace_saved",
    }
)
"""Types that would flood the feed; the Events screen shows them all."""

BOOKKEEPING = frozenset({"update_plan", "budget", "note", "start_experiment", "conclude_experiment", "choose_remedy", "promote", "wait_for_jobs"})  # fmt: skip
"""Tools whose calls say nothing that their own events do not say better."""

WORTH_SAYING_S = 1.0
"""A tool that took less time than this is not announced as done."""


def telling(event: Record, payload: e.Payload) -> bool:
    """Whether the event belongs in a feed that a person reads."""
    if event.type in QUIET:
        return False
    rule = _WORTH_TELLING.get(event.type)
    return rule is None or isinstance(payload, e.Unknown) or rule(payload)


_WORTH_TELLING: dict[str, Callable[[Any], bool]] = {
    "tool_requested": lambda p: p.tool not in BOOKKEEPING,
    "tool_completed": lambda p: p.tool not in BOOKKEEPING and p.seconds >= WORTH_SAYING_S,
    "model_completed": lambda p: bool(p.text),
}


def describe(event: Record, payload: e.Payload) -> Line:
    """The event in one line and how it should feel."""
    if isinstance(payload, e.Unknown):
        return shorten(f"{event.type} {msgspec.json.encode(payload.fields).decode()}"), "info"
    text = _TEXTS.get(event.type)
    return text(payload) if text else (event.type, "info")
