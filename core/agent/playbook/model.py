# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""The policy behind a smolagents Model.

The policy is a generator that yields tool calls and is sent observations. It is deterministic, so the whole transcript
rebuilds it: after a crash, a resume or a fork, the next call follows from the messages alone, exactly as for an LLM.
What it knows of a call that waits for a person is what an LLM is told: that it waits, and later its result as a message.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, NamedTuple, cast

import msgspec
from smolagents import Model
from smolagents.models import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole

from core.agent.loops import ADVICE as LOOPING
from core.agent.patience import UNREACHED, WAITING
from core.agent.playbook.wishes import Wishes
from core.agent.prompt import EDITED, LATE


class Call(NamedTuple):
    """What the policy wants to do next, and why in a sentence."""

    tool: str
    arguments: dict[str, Any]
    why: str = ""


class Await(NamedTuple):
    """A part of the policy cannot go on before the result of a call that waits for a person."""

    call: str


_INTERRUPTED = re.compile(r"(?:The wait|\w+) was interrupted(?:;| by a person)")
"""How a call ends that a person interrupts, and with it an approval that it waited for."""


class Observation:
    """What a tool said: decoded JSON in `value`, or `error`, or the word that the call `call` waits for a person."""

    def __init__(self, text: str, call: str = "") -> None:
        self.text = text
        self.call = call
        self.waiting = text.startswith(WAITING)
        self.edited: dict[str, Any] = {}
        """The arguments it was carried out with, where a person changed them."""
        if text.startswith(EDITED):
            note, _, text = text[len(EDITED) :].partition("\n")
            self.edited = msgspec.json.decode(note, type=dict[str, Any])
        text = text.partition(LOOPING)[0]
        self.error = text[len("ERROR:") :].strip() if text.startswith("ERROR:") else ""
        self.interrupted = bool(_INTERRUPTED.match(self.error))
        """A person ended the wait for it, which is no denial: nothing of it was done."""
        self.unreached = UNREACHED in self.error
        """What it needs does not answer now: nothing of it was done, and later it may."""
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
Act = Generator[Call | Await, Observation, Any]
"""A part of the policy: yields calls, is sent observations, returns what its caller needs."""


class Turn(NamedTuple):
    """One thing a transcript says: an observation, a late result, or a person's words."""

    kind: str
    text: str
    call: str = ""
    """Id of the call an observation or a late result belongs to."""


class PlaybookModel(Model):
    """Answers every request with the policy's next tool call."""

    def __init__(self, seed: int = 0, policy: str = "playbook", file: str = "") -> None:
        """`file`: the recipe of the policy `hand`."""
        super().__init__()
        self.model_id = self.policy_name = policy
        self.file = file
        self.seed = seed
        self._policy: Policy | None = None
        self._wishes = Wishes()
        self._late: dict[str, Observation] = {}
        self._fed = 0
        self._pending: Call | None = None

    def generate(self, messages: list[ChatMessage], **options: Any) -> ChatMessage:  # type: ignore[override]
        call = self._next(transcript(messages))
        name, arguments = call.tool, call.arguments
        function = ChatMessageToolCallFunction(name=name, arguments=arguments)
        tool_call = ChatMessageToolCall(id=f"playbook-{self._fed}", type="function", function=function)
        return ChatMessage(role=MessageRole.ASSISTANT, content=call.why, tool_calls=[tool_call])

    def _next(self, turns: list[Turn]) -> Call:
        """Feed the turns not yet seen; rebuild from the first where they do not simply go on from those.

        Words that came between two requests of one call (the first was interrupted) are such a case: a policy that had
        not heard them is replaced by one that hears them before it decides, as it will be after a crash.
        """
        new = turns[self._fed :]
        if self._policy is None or self._fed > len(turns) or (new and new[0].kind != "observation"):
            self._wishes, self._late = Wishes(), {}
            self._policy = _start(self.policy_name, self.seed, self._wishes, self._late, self.file)
            self._pending, new = None, turns
        self._fed = len(turns)
        told: Observation | None = None
        for turn in new:
            if turn.kind == "observation":
                if told is not None or self._pending is None:
                    self._decide(told)
                told = Observation(turn.text, turn.call)
            elif turn.kind == "person":
                self._wishes.hear(turn.text)
            elif not (late := Observation(turn.text, turn.call)).waiting:  # it may wait once more, for another yes
                self._late[turn.call] = late
        if told is not None or self._pending is None:
            self._decide(told)
        assert self._pending is not None
        return self._pending

    def _decide(self, told: Observation | None) -> None:
        """The policy's next call. All that came before the request was fed: it decides on what it was shown."""
        assert self._policy is not None
        try:
            self._pending = next(self._policy) if told is None else self._policy.send(told)
        except StopIteration as end:
            if self._pending is None or self._pending.tool != "final_answer" or end.value is not None:
                self._pending = Call("final_answer", {"answer": str(end.value)})


def _start(policy: str, seed: int, wishes: Wishes, late: dict[str, Observation], file: str) -> Policy:
    if policy == "playbook":
        from core.agent.playbook.policy import research

        return research(seed, wishes, late)
    from core.agent.playbook.comparators import comparator

    return comparator(policy, seed, wishes, late, file)


_SECOND_TASK = re.compile(r"^New task:\n", re.MULTILINE)
_CALL_ID = re.compile(r"\{'id': '([^']+)'")
"""As smolagents shows a brain the calls of its last turn."""


def transcript(messages: list[ChatMessage]) -> list[Turn]:
    """Observations, late results and a person's words in order; the system prompt and the first task message are left out."""
    turns: list[Turn] = []
    first_task, call = True, ""
    for message in messages:
        text = _text(message)
        if message.role == MessageRole.TOOL_CALL:
            found = _CALL_ID.search(text)
            call = found.group(1) if found else ""
        elif message.role == MessageRole.TOOL_RESPONSE:
            turns.append(Turn("observation", text.removeprefix("Observation:\n"), call))
        elif message.role == MessageRole.USER and _SECOND_TASK.match(text):
            if not first_task:
                turns.append(_message(_SECOND_TASK.sub("", text, count=1)))
            first_task = False
    return turns


def _message(text: str) -> Turn:
    late = LATE.match(text)
    return Turn("late", text[late.end() :], late.group(1)) if late else Turn("person", text)


def _text(message: ChatMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(str(part.get("text", "")) for part in message.content or [])
