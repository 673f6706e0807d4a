# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""The policy behind a smolagents Model.

The policy is a generator that yields tool calls and is sent observations. It is deterministic, so the whole transcript
rebuilds it: after a crash, a resume or a fork, the next call follows from the messages alone, exactly as for an LLM.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, NamedTuple, cast

import msgspec
from smolagents import Model
from smolagents.models import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole

from core.agent.playbook.wishes import Wishes


class Call(NamedTuple):
    """What the policy wants to do next, and why in a sentence."""

    tool: str
    arguments: dict[str, Any]
    why: str = ""


class Observation:
    """What a tool said: decoded JSON in `value`, or `error`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.error = text[len("ERROR:") :].strip() if text.startswith("ERROR:") else ""
        self.value: Any = None
        if not self.error:
            try:
                self.value = msgspec.json.decode(text)
            except msgspec.DecodeError:
                self.value = text

    def get(self, key: str, default: Any = None) -> Any:
        """A field of the JSON object, `default` where there is none."""
        fields = cast(dict[str, Any], self.value) if isinstance(self.value, dict) else {}
        return fields.get(key, default)

    def rows(self, key: str) -> list[dict[str, Any]]:
        """A field that is a list of objects; empty where there is none."""
        found: list[dict[str, Any]] | None = self.get(key)
        return found or []


Policy = Generator[Call, Observation, str]
Act = Generator[Call, Observation, Any]
"""A part of the policy: yields calls, is sent observations, returns what its caller needs."""


class PlaybookModel(Model):
    """Answers every request with the policy's next tool call."""

    def __init__(self, seed: int = 0, policy: str = "playbook") -> None:
        super().__init__()
        self.model_id = self.policy_name = policy
        self.seed = seed
        self._policy: Policy | None = None
        self._wishes = Wishes()
        self._fed = 0
        self._pending: Call | None = None

    def generate(self, messages: list[ChatMessage], **options: Any) -> ChatMessage:  # type: ignore[override]
        call = self._next(transcript(messages))
        name, arguments = call.tool, call.arguments
        function = ChatMessageToolCallFunction(name=name, arguments=arguments)
        tool_call = ChatMessageToolCall(id=f"playbook-{self._fed}", type="function", function=function)
        return ChatMessage(role=MessageRole.ASSISTANT, content=call.why, tool_calls=[tool_call])

    def _next(self, turns: list[tuple[str, str]]) -> Call:
        """Feed the turns not yet seen; rebuild from the first where the transcript is not the one seen so far."""
        if self._policy is None or self._fed > len(turns):
            self._wishes, self._fed = Wishes(), 0
            self._policy = _start(self.policy_name, self.seed, self._wishes)
            self._pending = next(self._policy)
        for kind, text in turns[self._fed :]:
            self._fed += 1
            if kind == "person":
                self._wishes.hear(text)
                continue
            try:
                self._pending = self._policy.send(Observation(text))
            except StopIteration as end:
                self._pending = Call("final_answer", {"answer": str(end.value)})
        assert self._pending is not None
        return self._pending


def _start(policy: str, seed: int, wishes: Wishes) -> Policy:
    if policy == "playbook":
        from core.agent.playbook.policy import research

        return research(seed, wishes)
    from core.agent.playbook.comparators import comparator

    return comparator(policy, seed, wishes)


_SECOND_TASK = re.compile(r"^New task:\n", re.MULTILINE)


def transcript(messages: list[ChatMessage]) -> list[tuple[str, str]]:
    """("observation", text) and ("person", text) in order; the system prompt and the first task message are left out."""
    turns: list[tuple[str, str]] = []
    first_task = True
    for message in messages:
        text = _text(message)
        if message.role == MessageRole.TOOL_RESPONSE:
            turns.append(("observation", text.removeprefix("Observation:\n")))
        elif message.role == MessageRole.USER and _SECOND_TASK.match(text):
            if not first_task:
                turns.append(("person", _SECOND_TASK.sub("", text, count=1)))
            first_task = False
    return turns


def _text(message: ChatMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(str(part.get("text", "")) for part in message.content or [])
