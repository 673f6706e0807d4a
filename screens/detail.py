"""One event in full: what it says in a line, its envelope, its JSON. From here to its cause."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import msgspec
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from core.describe import describe
from core.events import payload_of
from core.sanitize import clean, one_line
from screens.dialog import Dialog
from screens.view import Desk
from store.event import Event, envelope

SHOWN = 20_000
"""Characters of JSON shown at once; the rest is in `intern events R --json`."""


def detail_text(event: Event) -> str:
    body: dict[str, Any] = envelope(event)
    text = msgspec.json.format(msgspec.json.encode(body), indent=2).decode()
    more = f"\n… {len(text) - SHOWN} more characters: intern events R --json" if len(text) > SHOWN else ""
    return clean(text[:SHOWN], newlines=True) + more


class Detail(Dialog[None]):
    """The source of a number. `,` and `.` walk along the log, `c` goes to the cause, `e` to what it led to, `y` copies."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "close", "close"),
        Binding("comma,left", "go(-1)", "before"),
        Binding("full_stop,right", "go(1)", "after"),
        Binding("c", "cause", "cause"),
        Binding("e", "effect", "effect"),
        Binding("y", "copy", "copy"),
    ]
    DEFAULT_CSS = """
    Detail { align: center middle; }
    Detail VerticalScroll {
        width: 100; max-width: 96%; height: auto; max-height: 92%;
        border: round $primary; padding: 0 1; background: $surface;
    }
    Detail .what { text-style: bold; margin-bottom: 1; }
    """

    def __init__(self, event: Event) -> None:
        super().__init__()
        self._event = event
        self._cause = event.cause or 0
        self._effects: list[int] = []

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(classes="what", markup=False)
            yield Static(classes="json", markup=False)

    def on_mount(self) -> None:
        self._draw()
        self.query_one(VerticalScroll).focus()

    def _found(self, of: int, cause: int, effects: list[int]) -> None:
        if self.is_attached and self._event.seq == of:
            self._cause, self._effects = cause, effects
            self._set_keys()

    def _set_keys(self) -> None:
        cause = f"   c cause ({self._cause})" if self._cause else ""
        led = (
            f"   e led to ({', '.join(map(str, self._effects[:3]))}{' …' if len(self._effects) > 3 else ''})"
            if self._effects
            else ""
        )
        self.query_one(VerticalScroll).border_subtitle = Content(f", . along{cause}{led}   y copy   Esc close")

    def _draw(self) -> None:
        event = self._event
        box = self.query_one(VerticalScroll)
        box.border_title = Content(f"Event {event.seq} · {clean(event.type)} · by {clean(event.actor)}")
        self._cause, self._effects = event.cause or 0, []
        self._set_keys()
        cast(Desk, self.app).around(event, lambda cause, effects: self._found(event.seq, cause, effects))
        self.query_one(".what", Static).update(one_line(describe(event, payload_of(event))[0]))
        self.query_one(".json", Static).update(detail_text(event))
        box.scroll_home(animate=False)

    def _show(self, event: Event | None) -> None:
        if event is not None and self.is_attached:
            self._event = event
            self._draw()

    def action_go(self, by: int) -> None:
        cast(Desk, self.app).look_up(self._event.seq + by, self._show)

    def action_cause(self) -> None:
        if self._cause:
            cast(Desk, self.app).look_up(self._cause, self._show)

    def action_effect(self) -> None:
        if self._effects:
            cast(Desk, self.app).look_up(self._effects[0], self._show)

    def action_copy(self) -> None:
        cast(Desk, self.app).copy(detail_text(self._event), f"event {self._event.seq}")
