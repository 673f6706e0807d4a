# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""A brain's memory, rebuilt from events: what a new host knows is what the dead one knew.

smolagents has no loader, but its steps are plain dataclasses: one ActionStep for every answer of the brain, one TaskStep
for the task and for every message of a person, in the log's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from smolagents.memory import ActionStep, TaskStep, ToolCall
from smolagents.monitoring import Timing

from core import events as e
from core.agent.prompt import steering_message
from store.event import Event


class Memory(NamedTuple):
    steps: list[Any]
    """ActionStep and TaskStep objects, without the first task."""
    unfinished: e.ModelCompleted | None
    """The last answer, if its tools had not all come back: to be carried out again, not asked again."""
    pending: list[tuple[int, str]]
    """Steering that was requested and never given to the brain: (seq, text)."""


def rebuild(events: Iterable[Event], blob: Callable[[str], bytes]) -> Memory:
    """The memory after `events` (from the run's first to its last)."""
    steps: list[Any] = []
    answer: e.ModelCompleted | None = None
    outputs: dict[str, str] = {}
    asked: dict[int, str] = {}
    for event in events:
        p = e.payload_of(event)
        if isinstance(p, e.CommandRequested) and p.command in ("steer", "queue"):
            asked[event.seq] = p.text
        elif isinstance(p, e.CommandApplied) and event.cause in asked:
            steps.append(TaskStep(task=steering_message(asked.pop(event.cause))))
        elif isinstance(p, e.CommandRejected) and event.cause in asked:
            del asked[event.cause]
        elif isinstance(p, e.ModelCompleted):
            answer, outputs = p, {}
        elif isinstance(p, e.ToolCompleted):
            outputs[p.call] = blob(p.digest).decode() if p.digest else p.output
        elif isinstance(p, e.ToolFailed):
            outputs[p.call] = f"ERROR: {p.error}"
        if answer is not None and answer.tool_calls and all(c.id in outputs for c in answer.tool_calls):
            steps.append(_step(answer, outputs))
            answer = None
    return Memory(steps, answer if answer is not None and answer.tool_calls else None, list(asked.items()))


def _step(answer: e.ModelCompleted, outputs: dict[str, str]) -> ActionStep:
    calls = [ToolCall(name=c.name, arguments=c.arguments, id=c.id) for c in answer.tool_calls]
    told = "\n".join(outputs[c.id].strip() for c in sorted(answer.tool_calls, key=lambda c: c.id))
    return ActionStep(
        step_number=answer.step,
        timing=Timing(start_time=0.0, end_time=0.0),
        model_output=answer.text,
        tool_calls=sorted(calls, key=lambda c: c.id),
        observations=told,
    )
