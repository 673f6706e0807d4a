"""Where a person speaks to the intern: Enter sends, Ctrl+J is a new line, Alt+Enter queues, Escape leaves."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.message import Message
from textual.widgets import TextArea


class Prompt(TextArea):
    """A text field above the footer, hidden until `s`. The arrows bring back what was said before."""

    DEFAULT_CSS = """
    Prompt { display: none; height: auto; min-height: 3; max-height: 7; border: round $primary; padding: 0 1; }
    Prompt:focus { border: round $primary; }
    """

    class Sent(Message):
        def __init__(self, text: str, queue: bool) -> None:
            super().__init__()
            self.text = text
            self.queue = queue

    class Left(Message):
        """Escape: nothing was sent; what was typed stays for the next time."""

    said: ClassVar[list[str]] = []
    """What was said in this program so far, oldest first; shared by the screens."""

    def __init__(self) -> None:
        super().__init__(id="prompt", soft_wrap=True, tab_behavior="focus", show_line_numbers=False)
        self._back = 0
        self.border_title = "Steer: read before the next decision"
        self.border_subtitle = "Enter send  Ctrl+J new line  Alt+Enter queue as the next turn  Esc leave"
        self.cursor_blink = False

    def on_key(self, event: events.Key) -> None:
        """Handled here and not by priority bindings: those overtake letters that are still on their way."""
        if event.key in ("enter", "alt+enter"):
            self._send(queue=event.key == "alt+enter")
        elif event.key == "ctrl+j":
            self.insert("\n")
        elif event.key == "escape":
            self.post_message(self.Left())
        elif event.key == "tab":
            pass  # the prompt keeps the focus until it is left
        elif event.key not in ("up", "down") or not self._recall(-1 if event.key == "up" else 1):
            return
        event.stop()
        event.prevent_default()

    def _send(self, queue: bool) -> None:
        text = self.text.strip()
        if not text:
            self.post_message(self.Left())
            return
        self.said.append(text)
        self._back = 0
        self.clear()
        self.post_message(self.Sent(text, queue))

    def _recall(self, by: int) -> bool:
        """Earlier or later texts from the first or last line; False where the arrow only moves within the text."""
        row = self.cursor_location[0]
        if (by < 0 and row > 0) or (by > 0 and row < self.document.line_count - 1):
            return False
        back = min(max(self._back - by, 0), len(self.said))
        if back != self._back:
            self._back = back
            self.text = self.said[-back] if back else ""
            self.move_cursor(self.document.end)
        return True
