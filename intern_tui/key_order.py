"""Keys one after the other: what was typed ahead goes where the key before it leads.

Textual hands a key to whatever has the focus when it comes; the key before it may be on its way still. Over a slow line, or
beside trainings on all cores, `s` and the words after it come at once, and the words would be commands: `p` would pause.
"""

from __future__ import annotations

from collections import deque

from textual import events
from textual.app import App
from textual.message import Message
from textual.widget import Widget

LOOK_S = 0.05
GIVE_UP_S = 1.0
"""A key whose end is not seen in that time holds the next ones no longer."""


class Settled(Message):
    """Follows a key on its way from the widget that got it up to the app: what the key did is done when this arrives."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class KeyOrderApp(App[str]):
    """Holds every key back until what the one before it asked for (a prompt, a dialog, another focus) is there."""

    def __init__(self) -> None:
        super().__init__()
        self._held = deque[events.Key]()
        self._number = 0
        """Of the newest key that was handed over."""
        self._under_way = False

    async def on_event(self, event: events.Event) -> None:
        if not isinstance(event, events.Key):
            await super().on_event(event)
        elif event.is_forwarded:  # no widget wanted it, and now it is ours
            await super().on_event(event)
            self._done_with(self._number)
        elif self._under_way:
            self._held.append(event)
        else:
            await self._hand_over(event)

    async def _hand_over(self, event: events.Key) -> None:
        self._number, self._under_way = self._number + 1, True
        target = self.focused or self.screen
        await super().on_event(event)
        target.post_message(Settled(self._number))
        self._look_after(self._number, target, GIVE_UP_S)

    def on_settled(self, message: Settled) -> None:
        self._done_with(message.number)

    def _look_after(self, number: int, target: Widget, left_s: float) -> None:
        """A widget that went away with its dialog answers no more."""
        if number != self._number or not self._under_way:
            return
        if left_s <= 0 or not target.is_attached:
            self._done_with(number)
        else:
            self.set_timer(LOOK_S, lambda: self._look_after(number, target, left_s - LOOK_S))

    def _done_with(self, number: int, rounds: int = 2) -> None:
        """The focus moves, and a screen comes up, by callbacks that stand in our queue by now: the next key after them."""
        self.call_later(self._next, number) if rounds <= 1 else self.call_later(self._done_with, number, rounds - 1)

    async def _next(self, number: int) -> None:
        if number != self._number or not self._under_way:
            return
        self._under_way = False
        if self._held:
            await self._hand_over(self._held.popleft())
