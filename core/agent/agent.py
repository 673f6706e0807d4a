# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""The smolagents agent with every call recorded: the model and each tool are wrapped so that a call is two events.

smolagents' own callbacks fire after a step only, which is too late for durability; so `RecordedModel` and
`InternAgent.execute_tool_call` commit the request before the effect and the result before anybody reads it.
A tool that fails is an observation that says what to fix, never an exception through the loop.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from io import StringIO
from typing import Any, cast

import msgspec
from rich.console import Console
from smolagents import AgentLogger, LogLevel, Model, Tool, ToolCallingAgent
from smolagents.models import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole
from smolagents.tools import validate_tool_arguments

from core import events as e
from core.agent.desk import Desk
from core.agent.gate import Gate
from core.agent.prompt import TEMPLATE
from core.errors import InternError
from core.tools.toolbox import ToolDef, observation

PREVIEW = 16_000
"""Characters of an observation kept in the event; the rest goes to a blob."""

OBSERVATION_LIMIT = 24_000
"""Characters of one observation a brain is given."""


class RunOver(BaseException):
    """Leaves the loop: the time is up or a person stopped the run. No `except Exception` may catch it."""


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


class RecordedModel(Model):
    """Records every request and answer of a brain; retries what may pass; hands back recorded answers on recovery."""

    def __init__(self, inner: Model, name: str, desk: Desk) -> None:
        super().__init__()
        self.inner = inner
        self.name = name
        self.desk = desk
        self.recovered: e.ModelCompleted | None = None
        """The last answer of a host that died before its tools ran: given back instead of asking again."""
        self.delivering: list[int] = []
        """Steering commands first shown to the model in the next call."""
        self.after_interrupt: Callable[[], list[ChatMessage]] | None = None
        """What to ask instead after a person interrupted a call: the memory with their words in it."""

    def generate(self, messages: list[ChatMessage], **options: Any) -> ChatMessage:  # type: ignore[override]
        if self.recovered is not None:
            answer, self.recovered = self.recovered, None
            return _message(answer)
        step = self.desk.state.step + 1
        self.desk.emit(e.StepStarted(step=step))
        while True:
            try:
                return _message(self._request(step, messages, options))
            except Interruption as error:
                self.desk.emit(e.ModelFailed(step=step, error=str(error)))
                if self.after_interrupt is None:
                    raise
                messages = self.after_interrupt()

    def _request(self, step: int, messages: list[ChatMessage], options: dict[str, Any]) -> e.ModelCompleted:
        characters = sum(len(_text(m)) for m in messages)
        digest = hashlib.sha256("\x00".join(f"{m.role}\x01{_text(m)}" for m in messages).encode()).hexdigest()
        self.desk.emit(
            e.ModelRequested(
                step=step, brain=self.name, messages=len(messages), characters=characters, digest=digest,
                steering=self.delivering,
            )
        )  # fmt: skip
        self.delivering = []
        return self._ask(step, messages, options)

    def _ask(self, step: int, messages: list[ChatMessage], options: dict[str, Any]) -> e.ModelCompleted:
        for attempt in range(1, 7):
            began = time.monotonic()
            try:
                answer = patiently(lambda: self.inner.generate(messages, **options), self.desk)
            except Interruption:
                raise
            except Exception as error:
                last = attempt == 6 or not _may_pass(error)
                pause = None if last else min(60.0, 2.0**attempt)
                self.desk.emit(
                    e.ModelFailed(
                        step=step, error=f"{type(error).__name__}: {error}"[:2000], attempt=attempt, retry_in_s=pause
                    )
                )
                if pause is None:
                    raise InternError(
                        f"The brain {self.name} does not answer: {error}",
                        where=f"step {step}",
                        next="Check the endpoint with intern doctor, then intern resume",
                    ) from error
                self.desk.stopping.wait(pause)
                continue
            completed = self._completed(step, answer, time.monotonic() - began)
            self.desk.emit(completed)
            return completed
        raise AssertionError("unreachable: the last attempt raises")

    def _completed(self, step: int, answer: ChatMessage, seconds: float) -> e.ModelCompleted:
        calls = [
            e.ToolCall(id=f"{step}.{i}", name=c.function.name, arguments=_arguments(c.function.arguments))
            for i, c in enumerate(answer.tool_calls or [])
        ]
        usage = answer.token_usage
        return e.ModelCompleted(
            step=step,
            text=answer.content if isinstance(answer.content, str) else "",
            tool_calls=calls,
            input_tokens=usage.input_tokens if usage else 0,
            output_tokens=usage.output_tokens if usage else 0,
            seconds=seconds,
        )


def _arguments(raw: Any) -> dict[str, Any] | str:
    if isinstance(raw, dict):
        return raw  # pyright: ignore[reportUnknownVariableType]
    try:
        decoded = msgspec.json.decode(str(raw))
    except msgspec.DecodeError:
        return str(raw)
    return cast(dict[str, Any], decoded) if isinstance(decoded, dict) else str(raw)


def _message(answer: e.ModelCompleted) -> ChatMessage:
    calls = [
        ChatMessageToolCall(
            id=c.id,
            type="function",
            function=ChatMessageToolCallFunction(name=c.name, arguments=c.arguments),
        )
        for c in answer.tool_calls
    ]
    return ChatMessage(role=MessageRole.ASSISTANT, content=answer.text, tool_calls=calls or None)


def _text(message: ChatMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(str(part.get("text", "")) for part in message.content or [])


def _may_pass(error: Exception) -> bool:
    """Rate limits, server errors, time-outs and dropped connections may pass; a wrong key or model does not."""
    status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        return status in (408, 409, 425, 429) or status >= 500
    return isinstance(error, OSError) or "onnection" in type(error).__name__ or "imeout" in type(error).__name__


class Interruption(InternError):
    """A person interrupted the model call."""


def patiently(ask: Callable[[], Any], desk: Desk) -> Any:
    """Run a call that may hang on a thread of its own, so that interrupt and stop work while it does."""
    box: dict[str, Any] = {}

    def work() -> None:
        try:
            box["value"] = ask()
        except BaseException as error:  # noqa: BLE001 - carried over to the waiting thread
            box["error"] = error

    thread = threading.Thread(target=work, daemon=True, name="brain")
    thread.start()
    while thread.is_alive():
        thread.join(0.05)
        if desk.stopping.is_set():
            raise RunOver
        if desk.interrupt.is_set() and thread.is_alive():
            raise Interruption("The model call was interrupted by a person")
    if "error" in box:
        raise box["error"]
    return box["value"]


class InternAgent(ToolCallingAgent):
    """ToolCallingAgent whose tool calls go through the gate and the log."""

    def __init__(self, model: RecordedModel, tools: list[ToolDef], desk: Desk, gate: Gate) -> None:
        self.desk = desk
        self.gate = gate
        self.definitions = {definition.name: definition for definition in tools}
        super().__init__(
            tools=[DeclaredTool(definition) for definition in tools],
            model=model,
            prompt_templates=_templates(),
            max_tool_threads=1,
            max_steps=100_000,
            logger=AgentLogger(level=LogLevel.OFF, console=Console(file=StringIO())),
        )
        self._call_ids: list[str] = []

    def process_tool_calls(self, chat_message: ChatMessage, memory_step: Any) -> Any:
        # smolagents hands execute_tool_call no id: keep them in the order in which it works through them.
        self._call_ids = [c.id for c in chat_message.tool_calls or []]
        yield from super().process_tool_calls(chat_message, memory_step)

    def execute_tool_call(self, tool_name: str, arguments: dict[str, Any] | str) -> Any:
        call = self._call_ids.pop(0) if self._call_ids else f"{self.desk.state.step}.x"
        if self.desk.stopping.is_set():
            raise RunOver
        if tool_name == "final_answer":
            return super().execute_tool_call(tool_name, arguments)
        definition = self.definitions.get(tool_name)
        if definition is None:
            known = ", ".join([*self.definitions, "final_answer"])
            return self._refuse(call, tool_name, arguments, f"There is no tool {tool_name!r}. Tools: {known}")
        if isinstance(arguments, str):
            if arguments:
                return self._refuse(
                    call, tool_name, arguments, 'The arguments are not one JSON object. Send {"name": value, ...}'
                )
            arguments = {}
        arguments = {k: v for k, v in arguments.items() if v is not None}
        try:
            validate_tool_arguments(cast(Tool, self.tools[tool_name]), arguments)
        except (ValueError, TypeError) as error:
            return self._refuse(call, tool_name, arguments, f"{error}. {tool_name} takes: {_signature(definition)}")
        return self._carry_out(call, definition, arguments)

    def _refuse(self, call: str, tool: str, arguments: dict[str, Any] | str, error: str) -> str:
        shown = arguments if isinstance(arguments, dict) else {"text": arguments[:500]}
        self.desk.emit(e.ToolRequested(call=call, tool=tool, arguments=shown, step=self.desk.state.step))
        self.desk.emit(e.ToolFailed(call=call, tool=tool, error=error, kind="usage"))
        return f"ERROR: {error}"

    def _carry_out(self, call: str, definition: ToolDef, arguments: dict[str, Any]) -> str:
        desk, name = self.desk, definition.name
        desk.call = call
        request = e.ToolRequested(
            call=call, tool=name, arguments=arguments, effect=definition.effect,
            effect_id=desk.effect_id() if definition.effect == "keyed" else "", tier=definition.tier, step=desk.state.step,
        )  # fmt: skip
        if call not in desk.state.open_calls:  # a call taken up again after a crash was requested already
            desk.emit(request)
        began = time.monotonic()
        try:
            arguments = self.gate.admit(call, definition, arguments)
            desk.emit(e.ToolStarted(call=call, tool=name))
            told = observation(definition.run(desk, **arguments))
        except InternError as error:
            kind = "interrupted" if desk.interrupt.is_set() else "error"
            desk.emit(e.ToolFailed(call=call, tool=name, error=str(error), kind=kind, seconds=time.monotonic() - began))
            if desk.stopping.is_set():
                raise RunOver from error
            return f"ERROR: {error}"
        told = (
            told
            if len(told) <= OBSERVATION_LIMIT
            else told[:OBSERVATION_LIMIT] + f"\n[cut: {len(told)} characters in all]"
        )
        digest = desk.blobs.put(told.encode()) if len(told) > PREVIEW else ""
        seconds = time.monotonic() - began
        desk.emit(
            e.ToolCompleted(call=call, tool=name, output=told[:PREVIEW], digest=digest, size=len(told), seconds=seconds)
        )
        return told


def _signature(definition: ToolDef) -> str:
    return ", ".join(f"{n}: {f['type']}{'?' if f.get('nullable') else ''}" for n, f in definition.inputs.items())


def _templates() -> Any:
    planning = {"initial_plan": "", "update_plan_pre_messages": "", "update_plan_post_messages": ""}
    managed = {"task": "", "report": ""}
    final = {"pre_messages": "", "post_messages": ""}
    return {"system_prompt": TEMPLATE, "planning": planning, "managed_agent": managed, "final_answer": final}
