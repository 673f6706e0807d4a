# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""A brain's memory as messages, made once a step: what a step says never changes, so its messages and their digest are kept.

smolagents makes every message anew at every step and keeps a copy of them all in each step; over a thousand steps that
is quadratic in time and memory.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from smolagents.models import ChatMessage


class Said(NamedTuple):
    """What one step of the memory contributes."""

    step: Any
    """Kept, so that its id() is not given to another object."""
    messages: list[ChatMessage]
    digest: bytes
    characters: int


class Transcript:
    """The messages of a memory and their digest."""

    def __init__(self) -> None:
        self._said: dict[int, Said] = {}
        self._current: list[Said] = []

    def messages(self, steps: list[Any]) -> list[ChatMessage]:
        """Messages of `steps`, system prompt first."""
        current = [self._of(step) for step in steps]
        self._said = {id(s.step): s for s in current}  # compacted steps are forgotten
        self._current = current
        return [message for said in current for message in said.messages]

    def without(self, first: int, count: int) -> list[ChatMessage]:
        """The messages last handed out, without those of `count` steps from index `first` on."""
        kept = [*self._current[:first], *self._current[first + count :]]
        return [message for said in kept for message in said.messages]

    @property
    def digest(self) -> str:
        """SHA-256 over the digests of the steps' messages last handed out."""
        return hashlib.sha256(b"".join(s.digest for s in self._current)).hexdigest()

    @property
    def characters(self) -> int:
        return sum(s.characters for s in self._current)

    def _of(self, step: Any) -> Said:
        known = self._said.get(id(step))
        if known is not None:
            return known
        messages: list[ChatMessage] = step.to_messages(summary_mode=False)
        whole = "\x00".join(f"{m.role}\x01{text_of(m)}" for m in messages)
        return Said(step, messages, hashlib.sha256(whole.encode("utf-8", "replace")).digest(), len(whole))


def text_of(message: ChatMessage) -> str:
    """A message's text."""
    if isinstance(message.content, str):
        return message.content
    return "".join(str(part.get("text", "")) for part in message.content or [])
