# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""The agent's loop on its own thread: step, boundary, step, until the brain is done, the time is up or a person stops it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec
from smolagents import AgentGenerationError
from smolagents.memory import ActionStep, FinalAnswerStep, SystemPromptStep, TaskStep

from core import events as e
from core.agent.agent import DeclaredTool, InternAgent
from core.agent.brain import POLICIES, make_model, parse_brain
from core.agent.circles import QUESTION, Circles, question
from core.agent.compaction import SummaryStep, keep_from, limit_characters, summarise
from core.agent.control import Control
from core.agent.desk import EXPIRED, Desk, Reply
from core.agent.gate import Gate
from core.agent.loops import LoopDetector
from core.agent.memory import Memory, rebuild
from core.agent.patience import RunOver
from core.agent.prompt import late_result, steering_message, task_message, undone
from core.agent.recorded import RecordedModel, one_question
from core.agent.transcript import Transcript
from core.errors import InternError
from core.state import RunState
from core.tools.toolbox import ToolDef
from core.workspace import Workspace
from store.event import Event

DETERMINISTIC = POLICIES
"""Brains that live by their whole transcript: nothing of it is compacted, and one that takes over starts afresh."""

CLOSED = "The run ended before a person decided"
"""Why a call that waited for a person is carried out no more."""


class Research:
    """One agent at work on one desk."""

    def __init__(self, desk: Desk, control: Control, memory: Memory, tools: list[ToolDef], inner: Any = None) -> None:
        self.desk = desk
        self.control = control
        self.brain = desk.state.brain
        self.transcript = Transcript()
        self.inner = inner
        model = inner or make_model(parse_brain(self.brain), desk.settings.seed)
        self.model = RecordedModel(model, self.brain, desk, self.transcript, memory.last_step)
        self.agent = InternAgent(self.model, tools, desk, Gate(desk))
        self.agent.circles = self.circles = Circles(desk, LoopDetector(memory.calls), memory.loop)
        self.agent.results = dict(memory.outputs)
        desk.gate = self.agent.gate
        self._offer_brain()
        self.memory = memory
        self.switched_at = memory.switched_at
        self.asked_brain = memory.brain or self.brain
        """Whose name the last request bears."""
        self.workspace = Workspace(desk.folder / "workspace", desk.blobs, desk.state.workspace)
        self.task = task_message(desk.state)
        self.model.recovered = memory.unfinished
        self.model.after_interrupt = self.after_interrupt
        self.model.view = self._view
        self.model.words_wait = lambda: control.words_wait
        self.ended = ""
        """Why the run ends where neither the brain nor a person said so."""
        control.take_back(memory.pending, memory.undelivered)
        control.compact = self.compact_now
        control.undo = self.undo

    # ------------------------------------------------------------------------------------------------------- running

    def run(self) -> str:
        """Until the end; returns why it ended. Raises InternError where the brain cannot go on."""
        try:
            if self.memory.unfinished is None:
                self.boundary()
            for item in self._steps():
                if isinstance(item, FinalAnswerStep):
                    return str(item.output)
                if isinstance(item, ActionStep) and item.tool_calls is not None:
                    self._after(item)
                if self.desk.stopping.is_set():
                    break
        except RunOver:
            pass
        except AgentGenerationError as error:
            self._close_waiting()
            cause = error.__cause__
            raise cause if isinstance(cause, InternError) else InternError(f"The brain broke: {error}") from error
        self._close_waiting()
        return self.control.stop_reason or self.ended or "the time for research is used"

    def _close_waiting(self) -> None:
        """The run ends: what still waits for a person is not carried out any more, and nobody needs to decide on it."""
        for call in list(self.desk.state.open_calls.values()):
            if call.approval:
                self.desk.abandon(call.call, CLOSED)
                self.desk.emit(e.ToolFailed(call=call.call, tool=call.tool, error=CLOSED, kind="interrupted"))
        for asked in self.desk.journal.read(lambda s: s.waiting_approvals()):  # of calls that were not even begun
            self.desk.emit_soon(e.ApprovalDecided(approval=asked.id, decision=EXPIRED, reason=CLOSED))

    def _steps(self) -> Iterable[Any]:
        """smolagents' own stream over a memory of our making; `run()` would append the task once more."""
        agent = self.agent
        agent.task = self.task
        prompt = self.system_prompt()
        agent.memory.system_prompt = SystemPromptStep(system_prompt=prompt)
        self.model.system = self.desk.blobs.put(prompt.encode())
        agent.memory.steps = [TaskStep(task=self.task), *self.memory.steps, *agent.memory.steps]
        agent.interrupt_switch = False
        return cast(Iterable[Any], agent._run_stream(task=self.task, max_steps=agent.max_steps))  # pyright: ignore[reportPrivateUsage]

    def system_prompt(self) -> str:
        return self.agent.system_prompt

    def _after(self, step: ActionStep) -> None:
        step.model_input_messages = None
        step.step_number = self.model.step
        self._save()
        self.desk.emit_soon(e.StepFinished(step=self.model.step))
        if not step.is_final_answer:
            self.boundary()

    def boundary(self) -> None:
        """Between two steps: a brain caught in a loop, what a person wants, a brain that changed, a context that is full."""
        self._out_of_circles()
        self.model.delivering = self.control.boundary(self.give)
        for call in self._decided():
            tool = self.desk.state.open_calls[call].tool
            told = self.agent.carry_out_decided(call)
            self.tell(late_result(tool, call, told))
        self._settle()

    def _out_of_circles(self) -> None:
        """At the limit a person says how to go on. Raises RunOver where nobody is there to ask."""
        why = self.circles.why()
        if not why or self.control.words_wait:  # a person's words are the way out
            return
        if self.desk.settings.unattended:
            self.ended = why
            raise RunOver
        said = self.control.hold(e.QuestionAsked(question=f"{QUESTION}{self.model.step}", text=question(why)), why)
        self.circles.forget()
        if said:
            self.give(said)

    def _decided(self) -> list[str]:
        """Calls that waited for a person and wait no more."""

        def decided(state: RunState) -> list[str]:
            return [c.call for c in state.open_calls.values() if c.approval and state.approvals[c.approval].decision]

        return self.desk.journal.read(decided)

    def _settle(self) -> None:
        self._follow_brain()
        if self._too_long():
            self._compact()

    def give(self, text: str) -> None:
        """A person's words to the brain."""
        self.tell(steering_message(text))
        self.circles.forget()

    def tell(self, text: str) -> None:
        """Words that are ours."""
        self.agent.memory.steps.append(TaskStep(task=text))

    def after_interrupt(self) -> list[Any]:
        """What to ask after a model call was interrupted."""
        self.boundary()
        return self.agent.write_memory_to_messages()

    # ----------------------------------------------------------------------------------------------------- the brain

    def _follow_brain(self) -> None:
        wanted = self._wanted_brain()
        if wanted == self.brain:
            return
        self.brain = wanted
        self.model.inner = self.inner or make_model(parse_brain(wanted), self.desk.settings.seed)
        self.model.name = wanted
        self._offer_brain()

    def _wanted_brain(self) -> str:
        return self.desk.state.brain

    def _offer_brain(self) -> None:
        """Tools may ask the brain in a context of its own, unless it is a fixed policy."""
        fixed = self.brain.partition(":")[0] in DETERMINISTIC

        def ask(messages: list[Any], tools: list[Any]) -> Reply:
            return one_question(self.model, messages, [DeclaredTool(t) for t in tools])

        self.desk.ask_brain = None if fixed else ask

    def _view(self, messages: list[Any]) -> list[Any]:
        """What the brain is sent. A fixed policy cannot go on from another's steps: it sees those after it took over."""
        if self.asked_brain != self.brain:
            self.asked_brain, self.switched_at = self.brain, len(self.agent.memory.steps) - 1
        if self.switched_at and self.brain.partition(":")[0] in DETERMINISTIC:
            return self.transcript.without(2, self.switched_at)
        return messages

    # --------------------------------------------------------------------------------------------------- the context

    def _too_long(self) -> bool:
        kind = self.brain.partition(":")[0]
        return kind not in DETERMINISTIC and self._characters() > limit_characters()

    def _characters(self) -> int:
        self.transcript.messages([self.agent.memory.system_prompt, *self.agent.memory.steps])
        return self.transcript.characters

    def compact_now(self) -> str:
        """As asked by a person."""
        if self.brain.partition(":")[0] in DETERMINISTIC:
            return f"{self.brain} needs no context: it is a fixed policy"
        before = self._characters()
        self._compact()
        return f"{before} -> {self._characters()} characters"

    def _compact(self) -> None:
        steps = self.agent.memory.steps
        sizes = [sum(len(str(m.content)) for m in s.to_messages()) for s in steps[1:]]
        start = keep_from(sizes, limit_characters())
        gone, kept = steps[1 : 1 + start], steps[1 + start :]
        if not gone or (len(gone) == 1 and isinstance(gone[0], SummaryStep)):
            return
        self.desk.journal.flush()
        state = self._state_for_summary()
        summary = summarise(state, gone)
        before = len(self.agent.write_memory_to_messages())
        digest = self.desk.blobs.put(msgspec.json.encode(summary))
        self.agent.memory.steps = [steps[0], SummaryStep(summary), *kept]
        after = len(self.agent.write_memory_to_messages())
        self.desk.emit(
            e.ContextCompacted(
                messages_before=before,
                messages_after=after,
                summary=summary.text[:4000],
                digest=digest,
                kept=len(kept),
                state_seq=state.seq,
            )
        )

    def _state_for_summary(self) -> RunState:
        return self.desk.journal.snapshot()

    # ------------------------------------------------------------------------------------------------- the workspace

    def _save(self) -> None:
        taken = self.workspace.save()
        if taken is not None:
            self.desk.emit_soon(
                e.WorkspaceSaved(
                    step=self.model.step, digest=taken.digest, files=len(taken.manifest), changed=taken.changed,
                    size=taken.size, skipped=taken.skipped,
                )
            )  # fmt: skip

    def undo(self) -> str:
        """The workspace as it was before the last step that changed it; the brain is told."""
        self.desk.journal.flush()
        saved = self.desk.journal.read(lambda s: list(s.workspaces))
        if not saved:
            return "no step has changed the workspace"
        before = saved[-2] if len(saved) > 1 else ("", 0)
        files = self.workspace.restore(before[0])
        told = f"undo of step {saved[-1][1]}"
        self.desk.emit(e.WorkspaceRestored(digest=before[0], step=before[1], reason=told, told=True))
        self.tell(undone(told, before[1]))
        return f"{told}: {files} files are as they were after step {before[1]}"


def research(desk: Desk, control: Control, past: Iterable[Event], tools: list[ToolDef]) -> str:
    """Run the agent to its end. `past` are the events of this run so far; returns why it ended."""
    return Research(desk, control, rebuild(past, desk.blobs.get), tools).run()
