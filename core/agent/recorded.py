# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""A brain with every call recorded: the request is committed before it is sent, the answer before anybody reads it.

Retries are here and nowhere below: each is an event, and a person can interrupt the wait between two of them. What a
brain says that is no tool call becomes a call of `no_tool_call`, which is refused with what to do instead; so whatever a
model answers has one shape in the log, in memory and after a recovery.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any, cast

import msgspec
from smolagents import Model
from smolagents.models import (
    ChatMessage,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
    get_tool_call_from_text,
)

from core import events as e
from core.agent.desk import Desk, Reply
from core.agent.patience import Beat, Interruption, RunOver, patiently
from core.agent.transcript import Transcript
from core.errors import InternError

ATTEMPTS = 8
"""Tries of one call; with the pauses below they span about four minutes of a provider's outage."""

LONGEST_PAUSE_S = 60.0

SILENCE_S = 180.0
"""Longest silence of an endpoint before the call is given up and tried again."""

MOST_TEXT = 50_000
"""Characters of one answer's text that are kept."""

MOST_BYTES = 100_000
"""Of one answer as an event; the log takes 128 KiB."""

MOST_CALLS = 32
"""Calls of one answer that are carried out."""

NO_CALL = "no_tool_call"
EARLY_END = "final_answer_beside_others"
WAITING_END = "final_answer_before_decisions"
"""final_answer while calls wait for a person: it waits for them, and their results come first."""
UNHEARD_END = "final_answer_before_words"
"""final_answer while a person's words wait for the next message: they said them before the end."""
PATIENT = (WAITING_END, UNHEARD_END)
"""Calls that are put off through no fault of the brain."""


class RecordedModel(Model):
    """Records every request and answer of a brain; retries what may pass; hands back recorded answers on recovery."""

    def __init__(self, inner: Any, name: str, desk: Desk, transcript: Transcript, last_step: int = 0) -> None:
        super().__init__()
        self.inner = inner
        self.name = name
        self.desk = desk
        self.transcript = transcript
        self.step = last_step
        """The last step that has an answer. A step that a dead host only asked for keeps its number."""
        self.system = ""
        """Blob of the system prompt."""
        self.recovered: e.ModelCompleted | None = None
        """The last answer of a host that died before its tools ran: given back instead of asking again."""
        self.delivering: list[int] = []
        """Steering commands first shown to the model in the next call."""
        self.after_interrupt: Callable[[], list[ChatMessage]] | None = None
        """What to ask instead after a person interrupted a call: the memory with their words in it."""

        self.words_wait: Callable[[], bool] = lambda: False
        """Set by the loop: whether a person has said something the brain was not given yet."""
        self.view: Callable[[list[ChatMessage]], list[ChatMessage]] = lambda messages: messages
        """What of the memory the brain is sent."""

    def generate(self, messages: list[ChatMessage], **options: Any) -> ChatMessage:  # type: ignore[override]
        if self.recovered is not None:
            answer, self.recovered = self.recovered, None
            return as_message(answer)
        step = self.step + 1
        self.desk.emit_soon(e.StepStarted(step=step))
        while True:
            try:
                answer = self._request(step, messages, options)
            except Interruption as error:
                if self.desk.stopping.is_set():
                    raise RunOver from error
                self.desk.emit(e.ModelFailed(step=step, error=str(error)))
                if self.after_interrupt is None:
                    raise
                messages = self.after_interrupt()
            else:
                self.step = step
                return as_message(answer)

    def _request(self, step: int, messages: list[ChatMessage], options: dict[str, Any]) -> e.ModelCompleted:
        self.desk.emit(
            e.ModelRequested(
                step=step, brain=self.name, messages=len(messages), characters=self.transcript.characters,
                digest=self.transcript.digest, steering=self.delivering, system=self.system, effort=self.desk.state.effort,
            )
        )  # fmt: skip
        self.delivering = []
        messages = self.view(messages)
        for attempt in range(1, ATTEMPTS + 1):
            began, beat = time.monotonic(), Beat()
            try:
                answer = patiently(lambda b=beat: self._ask(messages, b, options), self.desk, "brain", beat=beat, timeout_s=SILENCE_S)  # fmt: skip
            except Interruption:
                raise
            except Exception as error:  # noqa: BLE001 - the boundary to a provider: recorded, retried or raised as ours
                self._failed(step, error, attempt)
                continue
            completed = self._completed(step, answer, time.monotonic() - began)
            self.desk.emit_soon(completed)
            return completed
        raise AssertionError("unreachable: the last attempt raises")

    def _ask(self, messages: list[ChatMessage], beat: Beat, options: dict[str, Any]) -> Any:
        if hasattr(self.inner, "answer"):  # an endpoint of ours: it streams, and every piece is a sign of life
            return self.inner.answer(messages, beat, effort=self.desk.state.effort, **options)
        return self.inner.generate(messages, **options)

    def _failed(self, step: int, error: Exception, attempt: int) -> None:
        """Record a failed try; sleep before the next, or raise where there is none."""
        text = f"{type(error).__name__}: {error}"[:2000]
        last = attempt == ATTEMPTS or not may_pass(error)
        pause = None if last else (asked_pause(error) or min(LONGEST_PAUSE_S, 2.0**attempt * random.uniform(0.5, 1.0)))
        self.desk.emit(e.ModelFailed(step=step, error=text, attempt=attempt, retry_in_s=pause))
        if pause is None:
            raise InternError(
                f"The brain {self.name} does not answer: {error}",
                where=f"step {step}",
                next=f"Check it with intern doctor --brain {self.name}, then intern fork this run to go on",
            ) from error
        until = time.monotonic() + pause
        while time.monotonic() < until and not self.desk.stopping.wait(0.05):
            if self.desk.interrupt.is_set():
                raise Interruption("The wait before the next try was interrupted by a person")
        if self.desk.stopping.is_set():
            raise RunOver

    def _completed(self, step: int, answer: Any, seconds: float) -> e.ModelCompleted:
        text = answer.content if isinstance(answer.content, str) else ""
        found = answer.tool_calls or call_in_text(text)
        waiting = any(c.approval for c in self.desk.state.open_calls.values())
        ending = WAITING_END if waiting else UNHEARD_END if self.words_wait() else "final_answer"
        calls = [
            e.ToolCall(
                id=f"{step}.{i}", name=_name(c, len(found), ending), arguments=arguments_of(c.function.arguments)
            )
            for i, c in enumerate(found[:MOST_CALLS])
        ] or [e.ToolCall(id=f"{step}.0", name=NO_CALL, arguments={})]
        usage = answer.token_usage
        given = usage.input_tokens if usage else 0
        written = usage.output_tokens if usage else 0
        cached = int(getattr(answer, "cached_tokens", 0))
        completed = e.ModelCompleted(
            step=step, text=whole_text(text[:MOST_TEXT]), tool_calls=calls, input_tokens=given, output_tokens=written,
            cached_tokens=cached, cost_usd=self._cost(answer, given, written, cached), seconds=seconds,
        )  # fmt: skip
        # As the log will have it, keys sorted: memory now and memory rebuilt are then the same to the byte.
        clean = msgspec.json.decode(e.encode(self.desk.journal.clean(completed)), type=e.ModelCompleted)
        if len(e.encode(clean)) > MOST_BYTES:  # 300 kB of arguments: the log takes 128, and no tool needs them
            cut = [e.ToolCall(id=c.id, name=c.name, arguments=_cut(c.arguments)) for c in calls]
            clean = self.desk.journal.clean(
                msgspec.structs.replace(completed, text=whole_text(text[:2000]), tool_calls=cut)
            )
        return clean

    def _cost(self, answer: Any, given: int, written: int, cached: int) -> float:
        told = getattr(answer, "cost_usd", None)
        if told is not None:
            return float(told)
        price = getattr(self.inner, "price", None)
        return price.of(given, written, cached) if price is not None else 0.0


def one_question(recorder: RecordedModel, messages: list[ChatMessage], tools: list[Any]) -> Reply:
    """Ask the brain outside the main context: its call, and what that cost. Retries as in the main one."""
    desk = recorder.desk
    for attempt in range(1, ATTEMPTS + 1):
        beat = Beat()
        try:
            answer = recorder._ask(messages, beat, {"tools_to_call_from": tools})  # pyright: ignore[reportPrivateUsage]
        except Exception as error:
            if attempt == ATTEMPTS or not may_pass(error) or desk.stopping.is_set() or desk.interrupt.is_set():
                raise InternError(f"The brain does not answer the helper: {error}") from error
            desk.stopping.wait(min(LONGEST_PAUSE_S, 2.0**attempt))
            continue
        text = answer.content if isinstance(answer.content, str) else ""
        found = (answer.tool_calls or call_in_text(text))[:1]
        usage = answer.token_usage
        given, written = (usage.input_tokens, usage.output_tokens) if usage else (0, 0)
        cost = recorder._cost(answer, given, written, int(getattr(answer, "cached_tokens", 0)))  # pyright: ignore[reportPrivateUsage]
        arguments = arguments_of(found[0].function.arguments) if found else {}
        name = str(found[0].function.name) if found else NO_CALL
        return Reply(name, arguments if isinstance(arguments, dict) else {}, float(given + written), cost)
    raise AssertionError("unreachable: the last attempt raises")


def _name(call: ChatMessageToolCall, beside: int, ending: str) -> str:
    """`ending`: what a final_answer is called that is the only call."""
    name = str(call.function.name or "")[:200]
    if name != "final_answer":
        return name
    return EARLY_END if beside > 1 else ending


def _cut(arguments: dict[str, Any] | str) -> str:
    """What is left of arguments that are too large: no JSON object any more, so the call is refused with the reason."""
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    return text if len(text) < 1000 else f"[{len(text)} characters, more than a call may have] {text[:500]}"


def call_in_text(text: str) -> list[ChatMessageToolCall]:
    """A tool call that a model wrote as JSON into its text, as small local models do."""
    if "{" not in text:
        return []
    try:
        call = get_tool_call_from_text(text, "name", "arguments")
    except (ValueError, KeyError, AssertionError, TypeError):
        return []
    return [call] if call.function.name else []


def whole_text(value: Any) -> Any:
    """`value` with U+FFFD for halves of surrogate pairs in any text of it: no event can hold them."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {whole_text(k): whole_text(v) for k, v in cast(dict[Any, Any], value).items()}
    return [whole_text(v) for v in cast(list[Any], value)] if isinstance(value, list) else value


def arguments_of(raw: Any) -> dict[str, Any] | str:
    """The arguments as an object; as the text they are where that is none."""
    if isinstance(raw, dict):
        return whole_text(cast(dict[str, Any], raw))
    text = whole_text(str(raw or "{}"))
    try:
        decoded = msgspec.json.decode(text)
    except msgspec.DecodeError:
        try:  # half of a surrogate pair, escaped, is legal JSON to others, and smolagents would read it so
            decoded = whole_text(json.loads(text))
        except ValueError:
            return text
    # smolagents would make a list of "[1]" again, and memory rebuilt from the log would not be the memory there was
    return cast(dict[str, Any], decoded) if isinstance(decoded, dict) else f"(no object) {raw}"


def as_message(answer: e.ModelCompleted) -> ChatMessage:
    """The answer as smolagents reads it."""
    calls = [
        ChatMessageToolCall(
            id=c.id,
            type="function",
            function=ChatMessageToolCallFunction(name=c.name, arguments=c.arguments),
        )
        for c in answer.tool_calls
    ]
    return ChatMessage(role=MessageRole.ASSISTANT, content=answer.text, tool_calls=calls or None)


def may_pass(error: Exception) -> bool:
    """Rate limits, server errors, time-outs and dropped connections may pass; a wrong key or model does not."""
    status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        return status in (408, 409, 425, 429) or status >= 500
    if isinstance(error, (OSError, ConnectionError, TimeoutError)):
        return True
    family = {cls.__name__ for cls in type(error).__mro__}
    return bool(family & {"APIConnectionError", "TransportError", "HTTPError", "BadAnswer"})


def asked_pause(error: Exception) -> float | None:
    """Seconds a provider asks to wait (Retry-After), at most `LONGEST_PAUSE_S`."""
    headers: Any = getattr(getattr(error, "response", None), "headers", None)
    try:
        return min(LONGEST_PAUSE_S, max(0.0, float(headers["retry-after"])))
    except (TypeError, ValueError, KeyError):
        return None
