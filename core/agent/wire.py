# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""A conversation as the chat API's `messages`, encoded once: a request repeats the one before it and adds at its end.

smolagents copies the whole memory deeply at every step, and the client walks and encodes it once more; both take longer
than all else a step does from some hundred steps on. Here only what is new is encoded; the rest is joined as bytes.
"""

from __future__ import annotations

from typing import Any

import msgspec
from smolagents.models import ChatMessage, MessageRole

from core.agent.transcript import goes_on, text_of

_ROLES = {MessageRole.TOOL_CALL: "assistant", MessageRole.TOOL_RESPONSE: "user"}
"""smolagents' roles as the API's."""

CONVERSATIONS = 2
"""Kept at once: the run's own, and that of a helper asked in between."""


MARK = {"cache_control": {"type": "ephemeral"}}
"""Beside a text: a provider that caches only what it is told to keeps the request up to here."""


class Conversation:
    """One growing list of messages. Texts of one role in a row go out as one message: some servers want roles to alternate."""

    def __init__(self, *, marked: bool = False) -> None:
        self._marked = marked
        self._messages: list[ChatMessage] = []
        self._done: list[bytes] = []
        """Messages of the API that nothing can be added to any more, as JSON."""
        self._role = ""
        self._texts: list[str] = []
        """The last message of the API: the next one of its role is added to it."""

    def begins_as(self, messages: list[ChatMessage]) -> bool:
        """Whether `messages` are a later, or a compacted, state of this conversation."""
        return bool(self._messages and messages) and self._messages[0] is messages[0]

    def encode(self, messages: list[ChatMessage]) -> bytes:
        """The JSON array for `messages`."""
        if not goes_on(self._messages, messages):
            self._messages, self._done, self._role, self._texts = [], [], "", []
        for message in messages[len(self._messages) :]:
            self._add(message)
        self._messages = messages.copy()
        last = [_message(self._role, self._texts, marked=self._marked)] if self._texts else []
        return b"[" + b",".join([*self._done, *last]) + b"]"

    def _add(self, message: ChatMessage) -> None:
        role = _ROLES.get(message.role, str(getattr(message.role, "value", message.role)))
        if role != self._role:
            if self._texts:
                rules = self._marked and not self._done  # the same in every request, also after a compaction
                self._done.append(_message(self._role, self._texts, marked=rules))
            self._role, self._texts = role, []
        self._texts.append(text_of(message))


class Wire:
    """Encodes requests; knows the conversations it has lately encoded. For one thread at a time.

    `marked`: the first message and the last one tell the provider to keep the request up to there in its cache.
    """

    def __init__(self, *, marked: bool = False) -> None:
        self._marked = marked
        self._lately: list[Conversation] = []

    def body(self, messages: list[ChatMessage], options: dict[str, Any]) -> bytes:
        """The JSON object of a request: `options` (at least one) and the messages."""
        known = next((c for c in self._lately if c.begins_as(messages)), None)
        known = known or Conversation(marked=self._marked)
        self._lately = [known, *(c for c in self._lately if c is not known)][:CONVERSATIONS]
        return msgspec.json.encode(options)[:-1] + b',"messages":' + known.encode(messages) + b"}"


def _message(role: str, texts: list[str], *, marked: bool) -> bytes:
    text = "\n".join(texts)
    part: dict[str, Any] = {"type": "text", "text": text, **(MARK if marked else {})}
    made = {"role": role, "content": [part]}
    try:
        return msgspec.json.encode(made)
    except UnicodeEncodeError:  # half of a surrogate pair, in a text from outside
        part["text"] = text.encode("utf-8", "replace").decode()
        return msgspec.json.encode(made)
