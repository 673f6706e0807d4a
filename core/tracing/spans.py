"""Events of a run as spans, named by OpenTelemetry's conventions for generative AI (semantic conventions 1.41).

One trace a run: `invoke_agent` over all of it, below it each model call (`chat`), each tool call (`execute_tool`) and, in
no convention, each job; a job hangs on the tool call that launched it. Scores are `gen_ai.evaluation.result` events.
What was said to and by models and tools is left out unless it is asked for, as the conventions want. Ids are made of the
run and the event's number: the same log gives the same trace. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from core import events as e
from store.event import Event

INTERNAL, CLIENT = 1, 3
"""Kinds of span, as OTLP numbers them."""
OK, ERROR = 1, 2
P = TypeVar("P", bound=e.Payload)


class Moment(msgspec.Struct, frozen=True):
    """Something within a span."""

    name: str
    ts_us: int
    attributes: dict[str, Any]


class Span(msgspec.Struct):
    """A piece of work with its beginning and end. `end_us` is None while it goes on."""

    id: str
    """16 hex digits."""
    parent: str
    name: str
    start_us: int
    end_us: int | None = None
    kind: int = INTERNAL
    attributes: dict[str, Any] = {}
    moments: list[Moment] = []
    status: int = 0
    message: str = ""


def trace_id(run: str) -> str:
    """32 hex digits, never all zero."""
    return hashlib.sha256(f"trace:{run}".encode()).hexdigest()[:32]


def span_id(run: str, what: str) -> str:
    return hashlib.sha256(f"span:{run}:{what}".encode()).hexdigest()[:16]


def spans(events: Iterable[Event], content: bool = False) -> list[Span]:
    """All spans of a run, the agent's first. `content`: with what models and tools were told and answered.

    What never ended (a killed host, a run still going) ends with the last event and says so.
    """
    tracer = _Tracer(content)
    for event in events:
        tracer.take(event)
    return tracer.finished()


class _Tracer:
    def __init__(self, content: bool) -> None:
        self.content = content
        self.run = ""
        self.model = ""
        self.provider = ""
        self.last_us = 0
        self.all: list[Span] = []
        self.open: dict[str, Span] = {}
        """By what they are: `agent`, `chat`, `call <id>`, `job <id>`."""
        self.effects: dict[str, str] = {}
        """Effect id -> span id of the call that had it."""

    def take(self, event: Event) -> None:
        handler = _HANDLERS.get(event.type)
        payload = e.payload_of(event) if handler else None
        self.last_us = max(self.last_us, event.ts)
        if handler and payload is not None and not isinstance(payload, e.Unknown):
            handler(self, event, payload)

    def finished(self) -> list[Span]:
        for span in self.open.values():
            span.end_us = self.last_us
            span.attributes["intern.open"] = True
        return self.all

    def begin(
        self, key: str, what: str, name: str, ts: int, kind: int, parent: str, attributes: dict[str, Any]
    ) -> Span:
        span = Span(span_id(self.run, what), parent, name, ts, kind=kind, attributes=attributes)
        self.all.append(span)
        self.open[key] = span
        return span

    def end(self, key: str, ts: int, error: str = "", error_type: str = "", **attributes: Any) -> None:
        span = self.open.pop(key, None)
        if span is None:
            return
        span.end_us = max(ts, span.start_us)
        span.attributes |= attributes
        if error_type:
            span.status, span.message = ERROR, error[:1000]
            span.attributes["error.type"] = error_type

    def moment(self, key: str, name: str, ts: int, attributes: dict[str, Any]) -> None:
        span = self.open.get(key) or (self.all[0] if self.all else None)
        if span is not None:
            span.moments = [*span.moments, Moment(name, ts, attributes)]

    @property
    def agent(self) -> str:
        return self.all[0].id if self.all else ""


_HANDLERS: dict[str, Callable[[_Tracer, Event, Any], None]] = {}


def _on(cls: type[P]) -> Callable[[Callable[[_Tracer, Event, P], None]], Callable[[_Tracer, Event, P], None]]:
    def register(function: Callable[[_Tracer, Event, P], None]) -> Callable[[_Tracer, Event, P], None]:
        _HANDLERS[cls.type] = function
        return function

    return register


@_on(e.RunCreated)
def _created(t: _Tracer, event: Event, p: e.RunCreated) -> None:
    t.run, t.model, t.provider = p.run, *_model_of(p.brain)
    attributes = {
        "gen_ai.operation.name": "invoke_agent", "gen_ai.provider.name": t.provider, "gen_ai.agent.name": "intern",
        "gen_ai.agent.id": p.run, "gen_ai.conversation.id": p.run, "gen_ai.request.model": t.model,
        "intern.task": p.task, "intern.base_model": p.model, "intern.seed": p.seed,
    }  # fmt: skip
    t.begin("agent", "agent", "invoke_agent intern", event.ts, INTERNAL, "", attributes)


@_on(e.RunFinished)
def _finished(t: _Tracer, event: Event, p: e.RunFinished) -> None:
    scores = {"intern.baseline": p.baseline, "intern.best": p.best, "intern.delta": p.delta}
    attributes = {"intern.status": p.status, **{k: v for k, v in scores.items() if v is not None}}
    t.end("agent", event.ts, p.reason, "run_failed" if p.status == "failed" else "", **attributes)


@_on(e.ModelRequested)
def _asked(t: _Tracer, event: Event, p: e.ModelRequested) -> None:
    _close_chat(t, event.ts)
    t.model, t.provider = _model_of(p.brain)
    attributes = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": t.provider, "gen_ai.request.model": t.model,
        "gen_ai.conversation.id": t.run, "intern.step": p.step, "intern.event": event.seq,
    }  # fmt: skip
    t.begin("chat", f"event {event.seq}", f"chat {t.model}", event.ts, CLIENT, t.agent, attributes)


@_on(e.ModelCompleted)
def _answered(t: _Tracer, event: Event, p: e.ModelCompleted) -> None:
    attributes: dict[str, Any] = {
        "gen_ai.usage.input_tokens": p.input_tokens, "gen_ai.usage.output_tokens": p.output_tokens,
        "gen_ai.response.finish_reasons": ["tool_calls" if p.tool_calls else "stop"],
    }  # fmt: skip
    if p.cached_tokens:
        attributes["gen_ai.usage.cache_read.input_tokens"] = p.cached_tokens
    if p.cost_usd:
        attributes["intern.cost_usd"] = p.cost_usd
    if t.content:
        attributes["gen_ai.output.messages"] = _text([_message(p)])
    t.end("chat", event.ts, **attributes)


@_on(e.ModelFailed)
def _model_failed(t: _Tracer, event: Event, p: e.ModelFailed) -> None:
    """One attempt; the call itself ends with an answer, or with the next thing that happens."""
    t.moment("chat", "exception", event.ts, {"exception.message": p.error[:1000], "intern.attempt": p.attempt})


@_on(e.ToolRequested)
def _requested(t: _Tracer, event: Event, p: e.ToolRequested) -> None:
    _close_chat(t, event.ts)
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": p.tool, "gen_ai.tool.call.id": p.call,
        "gen_ai.tool.type": "function", "intern.effect": p.effect, "intern.tier": p.tier, "intern.step": p.step,
        "intern.event": event.seq,
    }  # fmt: skip
    if t.content:
        attributes["gen_ai.tool.call.arguments"] = _text(p.arguments)
    span = t.begin(
        f"call {p.call}", f"event {event.seq}", f"execute_tool {p.tool}", event.ts, INTERNAL, t.agent, attributes
    )
    if p.effect_id:
        t.effects[p.effect_id] = span.id


@_on(e.ToolCompleted)
def _completed(t: _Tracer, event: Event, p: e.ToolCompleted) -> None:
    t.end(f"call {p.call}", event.ts, **({"gen_ai.tool.call.result": p.output} if t.content else {}))


@_on(e.ToolFailed)
def _tool_failed(t: _Tracer, event: Event, p: e.ToolFailed) -> None:
    t.end(f"call {p.call}", event.ts, p.error if t.content else p.kind, p.kind)


@_on(e.JobLaunched)
def _launched(t: _Tracer, event: Event, p: e.JobLaunched) -> None:
    attributes: dict[str, Any] = {
        "intern.job.id": p.job, "intern.job.kind": p.kind, "intern.job.method": p.method, "intern.job.backend": p.backend,
        "intern.event": event.seq,
    }  # fmt: skip
    settings = {f"intern.job.config.{k}": v for k, v in p.config.items() if isinstance(v, str | int | float | bool)}
    parent = t.effects.get(p.effect_id) or next(
        (s for x, s in t.effects.items() if p.effect_id.startswith(f"{x}:")), t.agent
    )
    t.begin(f"job {p.job}", f"event {event.seq}", f"job {p.method}", event.ts, INTERNAL, parent, attributes | settings)


@_on(e.JobFinished)
def _job_finished(t: _Tracer, event: Event, p: e.JobFinished) -> None:
    t.end(f"job {p.job}", event.ts)


@_on(e.JobFailed)
def _job_failed(t: _Tracer, event: Event, p: e.JobFailed) -> None:
    t.end(f"job {p.job}", event.ts, p.reason, "job_failed")


@_on(e.JobCancelled)
def _job_cancelled(t: _Tracer, event: Event, p: e.JobCancelled) -> None:
    t.end(f"job {p.job}", event.ts, **{"intern.job.stopped": p.reason[:1000]})


@_on(e.FailureDiagnosed)
def _diagnosed(t: _Tracer, event: Event, p: e.FailureDiagnosed) -> None:
    said = {"intern.failure": p.kind, "intern.severity": p.severity, "intern.first_step": p.first_step}
    t.moment(f"job {p.job}", "intern.failure_diagnosed", event.ts, said | {"intern.evidence": "; ".join(p.evidence)})


@_on(e.EvaluationFinished)
def _evaluated(t: _Tracer, event: Event, p: e.EvaluationFinished) -> None:
    said: dict[str, Any] = {
        "gen_ai.evaluation.name": p.split, "gen_ai.evaluation.score.value": p.score, "gen_ai.evaluation.score.label": p.label,
        "intern.samples": p.samples, "intern.interval": list(p.interval), "intern.event": event.seq,
    }  # fmt: skip
    if p.delta is not None:
        said |= {"intern.delta": p.delta, "intern.against": p.against}
    t.moment(f"job {p.job}", "gen_ai.evaluation.result", event.ts, said)


def _close_chat(t: _Tracer, ts: int) -> None:
    """A model call without an answer ended before what came next: all its attempts failed, or its host died."""
    t.end("chat", ts, "no answer", "no_answer")


def _model_of(brain: str) -> tuple[str, str]:
    """(model, provider) of a brain's name; the playbook is no model and says so."""
    kind, _, rest = brain.partition(":")
    if not rest:
        return brain, "intern"
    return rest.rpartition("@")[0] or rest, {"hf": "huggingface"}.get(kind, kind)


def _message(p: e.ModelCompleted) -> dict[str, Any]:
    """An answer in the conventions' form: a message of parts."""
    parts: list[dict[str, Any]] = [{"type": "text", "content": p.text}] if p.text else []
    parts += [{"type": "tool_call", "id": c.id, "name": c.name, "arguments": c.arguments} for c in p.tool_calls]
    return {"role": "assistant", "parts": parts, "finish_reason": "tool_call" if p.tool_calls else "stop"}


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
