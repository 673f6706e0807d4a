"""`f`: a new run from the moment that is seen, with what it is told first."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from core.describe import percent
from core.sanitize import clean
from screens.dialog import Dialog
from screens.text import clock
from screens.view import View


def fork_words(view: View) -> str:
    """What a fork takes along and what it does not, in so many words."""
    state = view.state
    best = f"best development score {percent(state.scores.best)}" if state.scores.best is not None else "no score yet"
    lines = [
        f"A new run begins as this one stood at event {state.seq} ({clock(view.elapsed_s)}): {best},",
        f"{sum(1 for j in state.jobs.values() if j.status == 'finished')} finished jobs. It has a budget of its own"
        + (f" of {state.budget.hours:g} hours." if state.budget.hours else "."),
    ]
    running = [job.id for job in state.running_jobs()]
    if running:
        lines.append(
            f"{', '.join(running)} ran then: the new run has not got {'its' if len(running) == 1 else 'their'} result."
        )
    lines.append("This run stays as it is; nothing in it is changed or stopped.")
    return "\n".join(lines)


class Fork(Dialog[str]):
    """Enter starts it, Escape leaves."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "leave")]
    DEFAULT_CSS = """
    Fork { align: center middle; }
    Fork Vertical { width: 84; max-width: 96%; height: auto; border: round $primary; padding: 1 2; background: $surface; }
    Fork Input, Fork Input:focus { border: round $primary; margin-top: 1; }
    """

    def __init__(self, view: View) -> None:
        super().__init__()
        self._words = fork_words(view)
        self._seq = view.state.seq

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = f"Fork from event {self._seq}"
            box.border_subtitle = "Enter starts the new run   Esc leaves"
            yield Static(clean(self._words, newlines=True), markup=False)
            field = Input(placeholder="try a higher KL weight first", select_on_focus=False)
            field.border_title = "What to tell it first (may stay empty)"
            yield field

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        self.close_with(message.value.strip())
