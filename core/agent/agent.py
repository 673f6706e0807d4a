# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""The smolagents agent with every tool call recorded: the request is committed before the effect, the result before
anybody reads it.

smolagents' own callbacks fire after a step only, which is too late for durability; so `execute_tool_call` is ours. A tool
that fails is an observation that says what to fix, never an exception through the loop.
"""

from __future__ import annotations

import time
from io import StringIO
from typing import Any, cast

import msgspec
from rich.console import Console
from smolagents import AgentLogger, LogLevel, Tool, ToolCallingAgent
from smolagents.memory import ActionStep, TaskStep
from smolagents.models import ChatMessage, ChatMessageToolCall
from smolagents.tools import validate_tool_arguments

from core import events as e
from core.agent.circles import Circles
from core.agent.desk import Desk
from core.agent.gate import Gate
from core.agent.patience import Deferred, Interruption, RunOver, patiently
from core.agent.prompt import EDITED, TEMPLATE, quoted
from core.agent.recorded import EARLY_END, NO_CALL, PATIENT, UNHEARD_END, WAITING_END, RecordedModel
from core.agent.taint import sources_of
from core.errors import InternError
from core.state import RunState
from core.tools.toolbox import ToolDef, observation

PREVIEW = 16_000
"""Characters of an observation kept in the event; the rest goes to a blob."""

OBSERVATION_LIMIT = 24_000
"""Characters of one observation a brain is given."""

DECIDED = "Not yet: a person has decided on a call that waited, and its result comes with the next message. Read it, then go on or call final_answer again"
UNHEARD = "Not yet: a person has said something meanwhile, and it comes with the next message. Read it, then go on or call final_answer again"


class DeclaredTool(Tool):
    """What smolagents needs to know of a tool; the work is done by `InternAgent.execute_tool_call`."""

    skip_forward_signature_validation = True
    name = "declared"
    description = "Set for each instance."
    inputs: dict[str, dict[str, Any]] = {}  # noqa: RUF012 - smolagents asks for a class attribute
    output_type = "string"

    def __init__(self, definition: ToolDef) -> None:
        self.name = definition.name
        self.description = definition.description
        self.inputs = definition.inputs
        self.definition = definition
        super().__init__()

    def forward(self, **arguments: Any) -> str:
        raise NotImplementedError(f"{self.name} runs through InternAgent.execute_tool_call")


class InternAgent(ToolCallingAgent):
    """ToolCallingAgent whose tool calls go through the gate and the log."""

    def __init__(self, model: RecordedModel, tools: list[ToolDef], desk: Desk, gate: Gate) -> None:
        self.desk = desk
        self.gate = gate
        self.definitions = {definition.name: definition for definition in tools}
        self.recorder = model
        self.results: dict[str, str] = {}
        """Results that calls of a recovered answer have already: they are told again, not carried out again."""
        self.circles: Circles | None = None
        gate.sources = self._sources
        gate.check = self._check
        gate.runs = lambda tool: self.definitions[tool].runs if tool in self.definitions else ()
        self._call_ids: list[str] = []
        super().__init__(
            tools=[DeclaredTool(definition) for definition in tools],
            model=model,
            prompt_templates=_templates(),
            max_tool_threads=1,
            max_steps=100_000,
            logger=AgentLogger(level=LogLevel.OFF, console=Console(file=StringIO())),
        )

    def write_memory_to_messages(self, summary_mode: bool = False) -> list[ChatMessage]:
        return self.recorder.transcript.messages([self.memory.system_prompt, *self.memory.steps])

    def process_tool_calls(self, chat_message: ChatMessage, memory_step: Any) -> Any:
        # What needs no person goes first; smolagents sorts results by their ids, so the memory has them in the brain's order.
        calls = sorted(chat_message.tool_calls or [], key=self._asks)
        chat_message.tool_calls = calls
        # smolagents hands execute_tool_call no id: keep them in the order in which it works through them.
        self._call_ids = [c.id for c in calls]
        if len(calls) > 1:  # several approvals may wait at once
            for c in calls:
                definition, arguments = self.definitions.get(c.function.name), c.function.arguments
                if definition is not None and isinstance(arguments, dict) and c.id not in self.results:
                    self.gate.announce(c.id, definition, cast(dict[str, Any], arguments))
        yield from super().process_tool_calls(chat_message, memory_step)
        memory_step.model_input_messages = None  # a copy of the whole memory in every step of it

    def execute_tool_call(self, tool_name: str, arguments: dict[str, Any] | str) -> Any:
        call = self._call_ids.pop(0) if self._call_ids else f"{self.recorder.step}.x"
        if call in self.results:
            return self.results.pop(call)
        if self.desk.stopping.is_set():
            raise RunOver
        if tool_name == WAITING_END:
            return self._refuse(call, tool_name, arguments, self._await_decision())
        if tool_name == UNHEARD_END:
            return self._refuse(call, tool_name, arguments, UNHEARD)
        if tool_name == "final_answer":
            said = arguments if isinstance(arguments, str) else str(arguments.get("answer", ""))
            return said
        problem, checked = self._check(tool_name, arguments)
        if problem:
            return self._refuse(call, tool_name, arguments, problem)
        return self._carry_out(call, self.definitions[tool_name], checked)

    # --------------------------------------------------------------------------------------------- what cannot be done

    def _check(self, name: str, arguments: dict[str, Any] | str) -> tuple[str, dict[str, Any]]:
        """What is wrong with a call, in words that say what to send instead; and the arguments without empty ones."""
        if name == NO_CALL:
            return "The reply held no tool call. Answer with one call of a tool; to end the run call final_answer", {}
        if name == EARLY_END:
            return "final_answer has to be the only call of a reply. The other calls were carried out", {}
        definition = self.definitions.get(name)
        if definition is None:
            known = ", ".join([*self.definitions, "final_answer"])
            return f"There is no tool {name!r}. Tools: {known}", {}
        if isinstance(arguments, str):
            if arguments:
                return f'The arguments are not one JSON object (perhaps cut off): {arguments[:200]!r}. Send {{"name": value, ...}}. {name} takes: {_signature(definition)}', {}  # fmt: skip
            arguments = {}
        given = {k: v for k, v in arguments.items() if v is not None}
        try:
            validate_tool_arguments(cast(Tool, self.tools[name]), given)
        except (ValueError, TypeError) as error:
            return f"{error}. {name} takes: {_signature(definition)}", {}
        return "", given

    def _sources(self, arguments: dict[str, Any]) -> list[str]:
        """Sources from outside whose words stand in a call's arguments."""
        said = [str(s.observations) for s in self.memory.steps if isinstance(s, ActionStep) and s.observations]
        # a summary, or a result that came late as a message, is no word of the person
        tasks = [str(s.task) for s in self.memory.steps if type(s) is TaskStep]
        outside = [t for t in tasks if "untrusted_source" in t]
        return sources_of(arguments, [*said, *outside], [t for t in tasks if t not in outside])

    def _asks(self, call: ChatMessageToolCall) -> bool:
        definition, arguments = self.definitions.get(call.function.name), call.function.arguments
        if definition is None or not isinstance(arguments, dict):
            return False
        return self.gate.asks(definition, cast(dict[str, Any], arguments))

    def _await_decision(self) -> str:
        """Wait until something that waits for a person is decided, or they say something; what the brain is told instead of
        the end it wanted."""
        waiting = [c.approval for c in self.desk.state.open_calls.values() if c.approval]

        def decided(state: RunState) -> bool:
            return any(state.approvals[a].decision for a in waiting)

        try:
            self.desk.wait_until(lambda s: decided(s) or self.recorder.words_wait(), None)
        except InternError as error:
            if self.desk.stopping.is_set():
                raise RunOver from error
            return str(error)
        return DECIDED if self.desk.journal.read(decided) else UNHEARD

    def _refuse(self, call: str, tool: str, arguments: dict[str, Any] | str, error: str) -> str:
        shown = arguments if isinstance(arguments, dict) else {"text": arguments[:500]}
        if call not in self.desk.state.open_calls:
            self.desk.emit(
                e.ToolRequested(call=call, tool=tool[:200], arguments=_shortened(shown), step=self.recorder.step)
            )
        error = quoted(self.desk.journal.clean_text(error))
        if tool not in PATIENT:
            error += self._noticed(call, tool, arguments, f"ERROR: {error}")
        self.desk.emit(e.ToolFailed(call=call, tool=tool[:200], error=error, kind="usage"))
        return f"ERROR: {error}"

    # ------------------------------------------------------------------------------------------------ what can be done

    def carry_out_decided(self, call: str) -> str:
        """Carry out, or refuse, an open call a person has decided on while the brain went on; returns its result."""
        waited = self.desk.state.open_calls[call]
        definition = self.definitions.get(waited.tool)
        if definition is None:  # a server of tools that is gone
            return self._refuse(call, waited.tool, waited.arguments, f"There is no tool {waited.tool!r} any more")
        return self._carry_out(call, definition, waited.arguments)

    def _carry_out(self, call: str, definition: ToolDef, arguments: dict[str, Any]) -> str:
        desk, name = self.desk, definition.name
        open_call = desk.state.open_calls.get(call)
        desk.begin(call, definition.effect, arguments, definition.tier, name, self.recorder.step)
        began = time.monotonic()
        asked, note = arguments, ""
        try:
            arguments = self.gate.admit(call, definition, asked)
            note = _edited(asked, arguments)
            if open_call is not None and open_call.started and definition.effect == "unsafe":
                self.gate.repeat(open_call, definition, arguments)
            # What has an effect, or takes long, is in the log before it begins; a look is recorded with its result.
            say = desk.emit_soon if definition.effect == "pure" and not definition.waits else desk.emit
            if open_call is None or not open_call.started:
                say(e.ToolStarted(call=call, tool=name))
            told = self._run(definition, arguments)
        except Deferred as waits:
            desk.emit(e.ToolDeferred(call=call, tool=name, approval=waits.approval, output=waits.told))
            return waits.told
        except InternError as error:
            stopped = desk.interrupt.is_set() or desk.stopping.is_set() or isinstance(error, Interruption)
            kind = getattr(error, "kind", "interrupted" if stopped else "error")
            text = _after(note, desk.journal.clean_text(str(error)))
            desk.abandon(call, "the call ended before a person decided")
            if kind != "interrupted":
                text += self._noticed(call, name, asked, f"ERROR: {text}")
            desk.emit(e.ToolFailed(call=call, tool=name, error=text, kind=kind, seconds=time.monotonic() - began))
            if desk.stopping.is_set():
                raise RunOver from error
            return f"ERROR: {text}"
        finally:
            desk.end()
        return self._completed(call, definition, asked, _after(note, told), time.monotonic() - began)

    def _run(self, definition: ToolDef, arguments: dict[str, Any]) -> str:
        def work() -> str:
            return observation(definition.run(self.desk, **arguments))

        try:
            return patiently(work, self.desk, definition.name, waits=definition.waits, timeout_s=definition.timeout_s)
        except InternError:
            raise
        except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError) as error:
            # A bug in one tool, or input nobody thought of, is told to the brain and stands in the log; the run goes on.
            raise InternError(
                f"{definition.name} broke: {type(error).__name__}: {error}",
                next="Try it with other arguments, or another way",
            ) from error

    def _completed(self, call: str, definition: ToolDef, arguments: dict[str, Any], told: str, seconds: float) -> str:
        desk, name = self.desk, definition.name
        told = self.cut(desk.journal.clean_text(told))
        told += self._noticed(call, name, arguments, told)
        digest = desk.blobs.put(told.encode("utf-8", "replace")) if len(told) > PREVIEW else ""
        say = desk.emit_soon if definition.effect in ("pure", "idempotent") else desk.emit
        say(
            e.ToolCompleted(call=call, tool=name, output=told[:PREVIEW], digest=digest, size=len(told), seconds=seconds)
        )
        return told

    @staticmethod
    def cut(told: str) -> str:
        """What a brain is given of a long result."""
        if len(told) <= OBSERVATION_LIMIT:
            return told
        return told[: OBSERVATION_LIMIT - 60] + f"\n[cut: {len(told)} characters in all]"

    def _noticed(self, call: str, name: str, arguments: dict[str, Any] | str, told: str) -> str:
        """What stands behind a result where the brain goes round in circles."""
        return self.circles.noticed(call, name, arguments, told) if self.circles is not None else ""


def _edited(asked: dict[str, Any], admitted: dict[str, Any]) -> str:
    """What a brain is told of arguments that are not its own."""
    if admitted == asked:
        return ""
    return f"{EDITED}{msgspec.json.encode(admitted, order='sorted').decode()}\n"


def _after(note: str, told: str) -> str:
    """What a brain is told, behind a note; nothing in it reads as words of ours. A result from the log stays as it is."""
    return note + quoted(told.removeprefix(note))


def _signature(definition: ToolDef) -> str:
    return ", ".join(f"{n}: {f['type']}{'?' if f.get('nullable') else ''}" for n, f in definition.inputs.items()) or "nothing"  # fmt: skip


def _shortened(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a refused call may be of any size; the model's own words are in its answer."""
    return {str(k)[:100]: v[:2000] if isinstance(v, str) else v for k, v in list(arguments.items())[:50]}


def _templates() -> Any:
    planning = {"initial_plan": "", "update_plan_pre_messages": "", "update_plan_post_messages": ""}
    managed = {"task": "", "report": ""}
    final = {"pre_messages": "", "post_messages": ""}
    return {"system_prompt": TEMPLATE, "planning": planning, "managed_agent": managed, "final_answer": final}
