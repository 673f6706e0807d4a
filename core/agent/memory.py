# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""A brain's memory, rebuilt from events: what a new host knows is what the dead one knew.

smolagents has no loader, but its steps are plain dataclasses: one ActionStep for every answer of the brain, one TaskStep
for the task and for every message of a person, one SummaryStep for what was compacted, in the log's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec
from smolagents.memory import ActionStep, TaskStep, ToolCall
from smolagents.monitoring import Timing

from core import events as e
from core.agent.circles import QUESTION
from core.agent.compaction import Summary, SummaryStep
from core.agent.loops import KEPT_TURNS, POLLS, Called
from core.agent.prompt import late_result, steering_message, undone
from core.agent.recorded import PATIENT
from store.event import Event

_BEGUN = (e.JobLaunched, e.JobResumed)
_OVER = (e.JobFinished, e.JobFailed, e.JobCancelled, e.JobPaused)


class Memory(NamedTuple):
    steps: list[Any]
    """ActionStep and TaskStep objects, without the first task."""
    unfinished: e.ModelCompleted | None
    """The last answer, if its tools had not all come back: to be carried out again, not asked again."""
    pending: list[tuple[int, str, str]]
    """What a person said that was never given to the brain: (seq, command, text)."""
    outputs: dict[str, str]
    """Results that the unfinished answer's calls have already."""
    undelivered: list[int]
    """Words that stand in the memory and were not yet in any request: (seq of the command)."""
    last_step: int
    calls: list[Called]
    """The last calls with their results, for the loop detector."""
    switched_at: int
    """Steps of the memory when the present brain took over."""
    brain: str
    """Whose name the last request bears."""
    loop: e.LoopDetected | None
    """The last one."""


class _Rebuilding:
    def __init__(self, blob: Callable[[str], bytes]) -> None:
        self.blob = blob
        self.steps: list[Any] = []
        self.answer: e.ModelCompleted | None = None
        self.outputs: dict[str, str] = {}
        self.deferred: dict[str, e.ToolCall] = {}
        """Calls that wait for a person while the brain goes on."""
        self.asked: dict[int, tuple[str, str]] = {}
        self.undelivered: list[int] = []
        self.last_step = 0
        self.calls: list[Called] = []
        self.loop: e.LoopDetected | None = None
        self.running: set[str] = set()
        """Jobs that run."""
        self.switched_at = 0
        self.brain = ""

    def take(self, event: Event) -> None:
        p = e.payload_of(event)
        if isinstance(p, e.CommandRequested) and p.command in e.WORDS and p.text.strip():
            self.asked[event.seq] = (p.command, p.text)
        elif isinstance(p, e.CommandApplied) and event.cause in self.asked:
            self._say(self.asked.pop(event.cause)[1])
            self.undelivered.append(event.cause)
        elif isinstance(p, e.CommandRejected) and event.cause in self.asked:
            del self.asked[event.cause]
        elif isinstance(p, e.ModelRequested):
            if self.brain and p.brain != self.brain:
                self.switched_at = len(self.steps)
            self.brain = p.brain
            self.undelivered = [seq for seq in self.undelivered if seq not in p.steering]
        elif isinstance(p, e.ModelCompleted):
            self.answer, self.outputs, self.last_step = p, {}, p.step
        elif isinstance(p, e.ToolCompleted):
            self._told(p.call, p.tool, self.blob(p.digest).decode("utf-8", "replace") if p.digest else p.output)
        elif isinstance(p, e.ToolFailed):
            self._told(p.call, p.tool, f"ERROR: {p.error}", interrupted=p.kind == "interrupted")
        elif isinstance(p, e.LoopDetected):
            self.loop = p
        elif isinstance(p, e.QuestionAnswered) and p.question.startswith(QUESTION):
            self.calls.clear()
            if p.by == "user":
                self._say(p.text)
        elif isinstance(p, e.WorkspaceRestored) and p.told:
            self.steps.append(TaskStep(task=undone(p.reason, p.step)))
        elif isinstance(p, _BEGUN):
            self.running.add(p.job)
        elif isinstance(p, _OVER):
            self.running.discard(p.job)
        elif isinstance(p, e.ToolDeferred):
            self._told(p.call, p.tool, p.output, waits=True)
        elif isinstance(p, e.ContextCompacted):
            self._compact(p)
        elif isinstance(p, e.RunForked) and self.answer is not None:
            # an end that was the parent's is not the fork's
            ended = [c.id for c in self.answer.tool_calls if c.name == "final_answer"]
            self.outputs |= dict.fromkeys(ended, "The run goes on from here: it was forked, with a budget of its own.")
        if isinstance(p, e.RunForked):
            self.calls.clear()
            self.running.clear()
        answer = self.answer
        if answer is not None and answer.tool_calls and all(c.id in self.outputs for c in answer.tool_calls):
            self.steps.append(step_of(answer, self.outputs))
            self.answer = None

    def _say(self, text: str) -> None:
        """A person's words; with them the loop detector begins anew."""
        self.steps.append(TaskStep(task=steering_message(text)))
        self.calls.clear()

    def _told(self, call: str, tool: str, told: str, waits: bool = False, interrupted: bool = False) -> None:
        """A result: of a call of the present answer, or of one that had waited and comes as a message."""
        waited = self.deferred.pop(call, None)
        if waited is None:
            self.outputs[call] = told
            asked = self.answer.tool_calls if self.answer is not None else []
            waited = next((c for c in asked if c.id == call), None)
        else:
            self.steps.append(TaskStep(task=late_result(tool, call, told)))
        if waits and waited is not None:
            self.deferred[call] = waited
        elif waited is not None and not interrupted and waited.name not in PATIENT:
            self._called(waited, told)

    def _called(self, asked: e.ToolCall, told: str) -> None:
        """As the loop detector saw it, when it saw it."""
        signs = self.loop.signs if self.loop is not None and self.loop.call == asked.id else 0
        polled = asked.name in POLLS and bool(self.running)
        self.calls.append(Called(asked.id, asked.name, asked.arguments, told, polled, signs))
        if len(self.calls) > 40 * KEPT_TURNS:  # an answer has 32 calls at most
            del self.calls[: 4 * KEPT_TURNS]

    def _compact(self, p: e.ContextCompacted) -> None:
        summary = msgspec.json.decode(self.blob(p.digest), type=Summary) if p.digest else Summary(p.summary, [], [])
        kept = self.steps[len(self.steps) - p.kept :] if p.kept else []
        self.switched_at = max(0, self.switched_at - (len(self.steps) - len(kept)) + 1)
        self.steps = [SummaryStep(summary), *kept]


def rebuild(events: Iterable[Event], blob: Callable[[str], bytes]) -> Memory:
    """The memory after `events` (from the run's first to its last)."""
    work = _Rebuilding(blob)
    for event in events:
        if event.type in _TELLING:
            work.take(event)
    answer = work.answer if work.answer is not None and work.answer.tool_calls else None
    pending = [(seq, command, text) for seq, (command, text) in work.asked.items()]
    return Memory(
        work.steps, answer, pending, work.outputs if answer else {}, work.undelivered, work.last_step, work.calls, work.switched_at,
        work.brain, work.loop,
    )  # fmt: skip


_TELLING = frozenset(
    cls.type
    for cls in (
        e.CommandRequested, e.CommandApplied, e.CommandRejected, e.ModelRequested, e.ModelCompleted, e.ToolCompleted,
        e.ToolFailed, e.ToolDeferred, e.ContextCompacted, e.RunForked, e.LoopDetected, e.QuestionAnswered, e.WorkspaceRestored,
        *_BEGUN, *_OVER,
    )
)  # fmt: skip


def step_of(answer: e.ModelCompleted, outputs: dict[str, str]) -> ActionStep:
    """One turn as smolagents would have kept it."""
    ordered = sorted(answer.tool_calls, key=lambda c: c.id)
    return ActionStep(
        step_number=answer.step,
        timing=Timing(start_time=0.0, end_time=0.0),
        model_output=answer.text,
        tool_calls=[ToolCall(name=c.name, arguments=c.arguments, id=c.id) for c in ordered],
        observations="".join(outputs[c.id].strip() + "\n" for c in ordered).rstrip("\n"),
    )
