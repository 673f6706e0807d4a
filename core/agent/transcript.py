# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""A brain's memory as messages, made once: what a step says never changes, so its messages and their digest are kept.

smolagents makes every message anew at every step and keeps a copy of them all in each step; over a thousand steps that
is quadratic in time and memory. Here a request costs the steps that came since the last one, and one look at each of
the others to see that it is still the same object.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from operator import is_
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
        self._steps: list[Any] = []
        self._said: list[Said] = []
        """One a step, as last handed out."""
        self._flat: list[ChatMessage] = []
        self._hash = hashlib.sha256()
        self.characters = 0
        """Of all messages last handed out."""

    def messages(self, steps: list[Any]) -> list[ChatMessage]:
        """Messages of `steps`, system prompt first."""
        if not goes_on(self._steps, steps):  # compacted, or the loop has just begun
            self._begin_with(steps)
        for step in steps[len(self._steps) :]:
            self._add(said_by(step))
        return self._flat.copy()

    def without(self, first: int, count: int) -> list[ChatMessage]:
        """The messages last handed out, without those of `count` steps from index `first` on."""
        kept = [*self._said[:first], *self._said[first + count :]]
        return [message for said in kept for message in said.messages]

    @property
    def digest(self) -> str:
        """SHA-256 over the digests of the steps' messages last handed out."""
        return self._hash.hexdigest()

    def _begin_with(self, steps: list[Any]) -> None:
        """Start over with what is known of `steps`; the others are forgotten."""
        known = {id(s.step): s for s in self._said}
        self._steps, self._said, self._flat = [], [], []
        self._hash, self.characters = hashlib.sha256(), 0
        for step in steps:
            self._add(known.get(id(step)) or said_by(step))

    def _add(self, said: Said) -> None:
        self._steps.append(said.step)
        self._said.append(said)
        self._flat += said.messages
        self._hash.update(said.digest)
        self.characters += said.characters


def goes_on(known: Sequence[object], now: Sequence[object]) -> bool:
    """Whether `now` begins with the very objects of `known`."""
    return len(known) <= len(now) and all(map(is_, known, now))


def said_by(step: Any) -> Said:
    """A step's messages, made for the first time."""
    messages: list[ChatMessage] = step.to_messages(summary_mode=False)
    whole = "\x00".join(f"{m.role}\x01{text_of(m)}" for m in messages)
    return Said(step, messages, hashlib.sha256(whole.encode("utf-8", "replace")).digest(), len(whole))


def text_of(message: ChatMessage) -> str:
    """A message's text."""
    if isinstance(message.content, str):
        return message.content
    return "".join(str(part.get("text", "")) for part in message.content or [])
