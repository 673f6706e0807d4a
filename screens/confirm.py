"""A question before something that cannot be taken back, with what will happen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from core.sanitize import clean
from screens.dialog import Dialog
from screens.text import span_of
from screens.view import View


def stop_words(view: View) -> str:
    """What stopping does to jobs and money, in so many words."""
    state = view.state
    jobs = state.running_jobs()
    lines: list[str] = []
    for job in jobs:
        of = f" of {job.planned_steps}" if job.planned_steps else ""
        since = span_of((view.now_us - job.started_ts) / 1e6)
        keeps = (
            f"its last checkpoint stays ({job.checkpoint})"
            if job.checkpoint
            else "it has no checkpoint yet: its work is lost"
        )
        lines.append(f"{job.id} ({job.method or job.kind}, step {job.step}{of}, {since}) is stopped; {keeps}.")
    if not jobs:
        lines.append("No job is running.")
    lines.append(
        f"final_model stays as it is: {state.checkpoint}." if state.checkpoint else "There is no final_model yet."
    )
    lines.append("A last evaluation and the report follow, then the run ends; it can be read, replayed and forked.")
    lines.append(
        f"Spent so far: ${state.budget.usd_used:.2f}; nothing more is spent."
        if state.budget.usd_used
        else "No money was spent."
    )
    return "\n".join(lines)


def pause_words(view: View) -> str:
    """What a pause leaves running, and that it goes on costing."""
    lines = ["The agent stops at its next step boundary and takes nothing up until it is resumed (p)."]
    return "\n".join(lines + _jobs_go_on(view))


def interrupt_words(view: View) -> str:
    """What an interruption ends and what it does not."""
    what = f" ({view.state.doing})" if view.state.doing else ""
    lines = [f"What the agent waits for now{what} is given up; it is told so and decides anew."]
    return "\n".join(lines + _jobs_go_on(view))


def undo_words(view: View) -> str:
    lines = ["The workspace goes back to what it was before the last step that changed it; the log keeps both."]
    return "\n".join(lines + _jobs_go_on(view))


def _jobs_go_on(view: View) -> list[str]:
    state = view.state
    lines = [
        f"{job.id} ({job.method or job.kind}, step {job.step}{f' of {job.planned_steps}' if job.planned_steps else ''}) goes on."
        for job in state.running_jobs()
    ]
    if not lines:
        return ["No job is running."]
    spent = f" ${state.budget.usd_used:.2f} so far." if state.budget.usd_used else ""
    return [*lines, f"What runs goes on costing.{spent} P pauses a job at a checkpoint, x ends everything."]


class Confirm(Dialog[bool]):
    """y does it, n or Escape leaves everything as it is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,q", "answer(False)", "no"),
    ]
    DEFAULT_CSS = """
    Confirm { align: center middle; }
    Confirm Vertical {
        width: 76; max-width: 95%; height: auto; max-height: 90%;
        border: round $error; padding: 1 2; background: $surface;
    }
    Confirm .keys { margin-top: 1; color: $text-muted; }
    """

    def __init__(self, question: str, words: str, verb: str, otherwise: str = "n leave it running") -> None:
        super().__init__()
        self._question, self._words, self._keys = question, words, f"y {verb}   {otherwise}"

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = self._question
            yield Static(clean(self._words, newlines=True), markup=False)
            yield Static(self._keys, classes="keys", markup=False)

    def action_answer(self, yes: bool) -> None:
        self.close_with(yes)
