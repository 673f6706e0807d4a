"""The plan: what is done, what it does now, what comes."""

from __future__ import annotations

from core.events import PlanStep
from screens.pane import Pane
from screens.text import Row, row, wrap
from screens.view import View

SIGNS = {
    "done": ("✓", "good"),
    "doing": ("●", "accent"),
    "failed": ("✗", "bad"),
    "skipped": ("–", "dim"),
    "todo": ("○", "dim"),
}


class Plan(Pane):
    """Steps with their state; the current one stands out. Below: what was learnt so far."""

    NAME = "Plan"
    LETTER = "p"
    REST_S = 0.9

    def title(self, view: View) -> str:
        steps = view.state.plan
        done = sum(s.status == "done" for s in steps)
        skipped = sum(s.status == "skipped" for s in steps)
        return f"Plan {done}/{len(steps) - skipped}" if steps else "Plan"

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        state = view.state
        if not state.plan:
            return empty(width, "No plan yet.", "The intern writes it in its first steps, after a look at the task.")
        rows: list[Row] = []
        for step in state.plan:
            rows.extend(self._step(step, width, state.plan_seq))
        if state.lessons and len(rows) + 2 < height:
            rows += [row(), row(("Learnt", "title"))]
            for lesson in reversed(state.lessons):
                rows += [
                    row(("· " if i == 0 else "  ") + line, seq=0) for i, line in enumerate(wrap(lesson, width - 2, 3))
                ]
        return rows

    def _step(self, step: PlanStep, width: int, seq: int) -> list[Row]:
        sign, role = SIGNS.get(step.status, ("○", "dim"))
        words = {"doing": "strong", "done": "", "failed": ""}.get(step.status, "dim")
        rows: list[Row] = []
        for i, line in enumerate(wrap(step.title, width - 2, 2)):
            rows.append(row((sign + " " if i == 0 else "  ", role), (line, words), seq=seq))
        rows += [row(("  " + line, "dim"), seq=seq) for line in wrap(step.note, width - 2, 2)]
        return rows


def empty(width: int, what: str, when: str) -> list[Row]:
    """An empty state: what will appear here, and when."""
    return [row((line, "")) for line in wrap(what, width)] + [row((line, "dim")) for line in wrap(when, width)]
