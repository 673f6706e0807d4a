"""The brain, its tools, and the people who steer it."""

from __future__ import annotations

from core import events as e
from core.fold.registry import mark, on
from core.state import Approval, Command, OpenCall, Question, RunState
from store.event import Record


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


@on(e.CommandRequested)
def _command_requested(state: RunState, event: Record, p: e.CommandRequested) -> None:
    state.commands.append(Command(event.seq, p.command, p.text, ts=event.ts))
    del state.commands[:-100]
    if p.command in e.WORDS:
        mark(state, event, "S", p.text or p.command)


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
    mark(state, event, "A", p.tool)


@on(e.ApprovalDecided)
def _approval_decided(state: RunState, event: Record, p: e.ApprovalDecided) -> None:
    if p.approval in state.approvals:
        approval = state.approvals[p.approval]
        if approval.decision == "expired":
            return  # its call ended while the person decided: what they said can have no effect any more
        approval.decision, approval.why = p.decision, p.reason
        if p.decision == "edited":
            approval.arguments, approval.arguments_hash = p.arguments, p.arguments_hash
            approval.files = approval.files if p.files is None else p.files


@on(e.QuestionAsked)
def _question_asked(state: RunState, event: Record, p: e.QuestionAsked) -> None:
    state.questions[p.question] = Question(p.question, event.seq, p.text, p.choices, ts=event.ts)


@on(e.QuestionAnswered)
def _question_answered(state: RunState, event: Record, p: e.QuestionAnswered) -> None:
    if p.question in state.questions:
        state.questions[p.question].answer = p.text
