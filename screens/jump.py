"""`g`, then a letter: straight to a pane."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.widgets import Static

from screens.dialog import Dialog
from screens.pane import Pane


class Jump(Dialog[int | None]):
    """Shows the letters and waits for one key."""

    DEFAULT_CSS = """
    Jump { align: center bottom; background: transparent; }
    Jump Static { width: auto; max-width: 100%; border: round $primary; padding: 0 1; background: $surface; }
    """

    def __init__(self, panes: Sequence[Pane]) -> None:
        super().__init__()
        self._letters = [p.LETTER for p in panes]
        self._names = [p.NAME for p in panes]

    def compose(self) -> ComposeResult:
        pairs = "   ".join(f"{a} {b}" for a, b in zip(self._letters, self._names, strict=True))
        yield Static(f"go to   {pairs}", markup=False)

    def on_key(self, event: events.Key) -> None:
        event.stop()
        self.close_with(self._letters.index(event.key) if event.key in self._letters else None)
