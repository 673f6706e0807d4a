"""`t` in replay: go to a time or an event number."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from core.player import Player, parse_place
from screens.dialog import Dialog
from screens.text import clock


class Goto(Dialog[int | None]):
    """One line; Enter goes there, Escape stays."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "stay")]
    DEFAULT_CSS = """
    Goto { align: center bottom; background: transparent; }
    Goto Input, Goto Input:focus { width: 72; max-width: 95%; border: round $primary; }
    """

    def __init__(self, player: Player) -> None:
        super().__init__()
        self._player = player

    def compose(self) -> ComposeResult:
        box = Input(placeholder="412 (event)   1:30 (time)   5m   50%", select_on_focus=False)
        end = clock((self._player.end_us - self._player.start_us) / 1e6)
        box.border_title = f"Go to: an event up to {self._player.last_seq}, or a time up to {end}"
        yield box

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        seq = parse_place(message.value, self._player)
        if seq is None:
            self.query_one(Input).border_subtitle = "not a place: try 412, 1:30, 90s, 5m or 50%"
        else:
            self.close_with(seq)
