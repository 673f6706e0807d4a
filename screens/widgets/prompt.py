"""Where a person speaks to the intern: Enter sends, Ctrl+J is a new line, Alt+Enter queues, Escape leaves."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea


class Prompt(TextArea):
    """A text field above the footer, hidden until `s`. The arrows bring back what was said before."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send(False)", "send", priority=True),
        Binding("alt+enter", "send(True)", "queue", priority=True),
        Binding("ctrl+j", "new_line", "new line", priority=True),
        Binding("escape", "leave", "leave", priority=True),
        Binding("up", "history(-1)", "earlier", show=False, priority=True),
        Binding("down", "history(1)", "later", show=False, priority=True),
    ]
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

    history: ClassVar[list[str]] = []
    """What was said in this program so far, oldest first; shared by the screens."""

    def __init__(self) -> None:
        super().__init__(id="prompt", soft_wrap=True, tab_behavior="focus", show_line_numbers=False)
        self._back = 0
        self.border_title = "Steer: read before the next decision"
        self.border_subtitle = "Enter send  Ctrl+J new line  Alt+Enter queue as the next turn  Esc leave"
        self.cursor_blink = False

    def action_send(self, queue: bool) -> None:
        text = self.text.strip()
        if not text:
            self.post_message(self.Left())
            return
        self.history.append(text)
        self._back = 0
        self.clear()
        self.post_message(self.Sent(text, queue))

    def action_new_line(self) -> None:
        self.insert("\n")

    def action_leave(self) -> None:
        self.post_message(self.Left())

    def action_history(self, by: int) -> None:
        """Earlier or later texts from the first or last line; within a text the arrows move the cursor."""
        row = self.cursor_location[0]
        if (by < 0 and row > 0) or (by > 0 and row < self.document.line_count - 1):
            self.move_cursor_relative(rows=by)
            return
        back = min(max(self._back - by, 0), len(self.history))
        if back == self._back:
            return
        self._back = back
        self.text = self.history[-back] if back else ""
        self.move_cursor(self.document.end)
