"""Evals: every evaluation with interval and delta, its kinds of errors, and single answers, wrong ones first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from textual.app import ComposeResult
from textual.containers import Horizontal

from core.describe import percent, points
from core.state import Evaluation
from screens.base import RunScreen
from screens.pane import Pane
from screens.text import Row, fit, row, wrap
from screens.view import View
from screens.widgets.deltas import scale_for, significant, whisker
from screens.widgets.plan import empty

ANSWERS = 300
"""Answers shown of one evaluation; wrong ones first."""


class Table(Pane):
    """One evaluation a row, in the order they were finished."""

    NAME = "Evaluations"
    LETTER = "e"

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        done = [e for e in view.state.evaluations.values() if e.done]
        if not done:
            return empty(width, "No score yet.", "The first is the base model's, before any training.")
        label = max(10, min(26, width - 45))
        head = fit("", label) + "  score     n  split    delta [95 %]"
        rows = [row((head, "dim"))]
        plot = width - 2 - label - 7
        for e in done:
            star = "*" if significant(e) else " "
            delta = "" if e.delta is None else points(e.delta)
            if e.delta is not None and e.delta_interval is not None:
                delta += f" [{points(e.delta_interval[0])}, {points(e.delta_interval[1])}]{star}"
            best = "★ " if e.id == view.state.scores.best_evaluation else ""
            role = "good" if significant(e) and (e.delta or 0) > 0 else "bad" if significant(e) else ""
            text = f"{100 * e.score:6.1f} {e.samples:>5}  {fit(e.split, 8)}"
            rows.append(row((fit(best + e.label, label), "strong" if best else ""), text, (delta, role), seq=e.seq))
        dev = [e for e in done if e.split == "dev"]
        if dev and plot >= 16:
            scale = scale_for(dev, plot)
            rows += [row(), row(("development scores on one axis", "title"))]
            for e in dev:
                line = whisker(e, scale, view.state.scores.baseline)
                rows.append(row(fit(e.label, label), f"{100 * e.score:6.1f} ", (line, "line"), seq=e.seq))
        return rows

    def chosen(self, view: View) -> Evaluation | None:
        """The evaluation under the cursor, else the last one."""
        done = [e for e in view.state.evaluations.values() if e.done]
        selected = self.selected_row
        found = next((e for e in done if selected is not None and e.seq == selected.seq), None)
        return found or (done[-1] if done else None)

    def on_blur(self) -> None:
        """The choice is kept: the other pane speaks of it."""


class Answers(Pane):
    """How the chosen evaluation was made, its kinds of errors, its answers."""

    NAME = "Answers"
    LETTER = "a"

    def __init__(self) -> None:
        super().__init__(id="answers")
        self.evaluation: Evaluation | None = None
        self.samples: list[dict[str, Any]] | None = None

    def title(self, view: View) -> str:
        return f"Answers of {self.evaluation.label} on {self.evaluation.split}" if self.evaluation else "Answers"

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        e = self.evaluation
        if e is None:
            return empty(width, "No answers yet.", "Choose an evaluation with the arrows once there is one.")
        low, high = e.interval
        how = f"{e.decoding or 'greedy'}, {e.shots} shots, n {e.samples}, 95 % {percent(low)}–{percent(high)}"
        rows = [row((line, "dim"), seq=e.seq) for line in wrap(how, width)]
        if e.p_value is not None:
            rows.append(row((f"p {e.p_value:.3g}{', paired' if e.paired else ''}", "dim"), seq=e.seq))
        for group in e.groups:
            rows.append(row((f"{group.count:>5} {group.kind.replace('_', ' ')}", "waiting"), seq=e.seq))
            rows += [
                row(("      " + line, "dim"), seq=e.seq) for x in group.examples[:1] for line in wrap(x, width - 6, 2)
            ]
        return rows + self._answers(e, width)

    def _answers(self, e: Evaluation, width: int) -> list[Row]:
        if self.samples is None:
            why = "reading …" if e.samples_path else "This evaluation kept no single answers."
            return [row(), row((why, "dim"))]
        rows = [row()]
        for s in self.samples:
            sign, role = ("✓", "good") if s.get("correct") else ("✗", "bad")
            for name, text in (("", s.get("prompt")), ("said", s.get("completion")), ("want", s.get("answer"))):
                lines = wrap(str(text or ""), width - 7, 2) or [""]
                for i, line in enumerate(lines):
                    head = f"{sign} " if not name and i == 0 else "  "
                    rows.append(row((head, role), ((name if i == 0 else "").ljust(5), "dim"), line, seq=e.seq))
        return rows


def read_answers(path: Path) -> list[dict[str, Any]]:
    """Sample records of an evaluation, wrong ones first. Broken lines are left out."""
    records: list[dict[str, Any]] = []
    with path.open("rb") as file:
        for line in file:
            try:
                record = msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue
            if isinstance(record, dict):
                records.append(record)
    records.sort(key=lambda r: bool(r.get("correct")))
    return records[:ANSWERS]


class Evals(RunScreen):
    """The table on the left; what is behind a row on the right (below, where it is narrow)."""

    NAME = "evals"
    DEFAULT_CSS = """
    Evals #halves { height: 1fr; }
    Evals #halves > Pane { width: 1fr; height: 1fr; }
    Evals.-narrow #halves { layout: vertical; }
    """

    def body(self) -> ComposeResult:
        with Horizontal(id="halves"):
            yield Table(id="table")
            yield Answers()

    def show(self, view: View) -> None:
        super().show(view)
        self._choose(view)

    def action_cursor(self, by: int) -> None:
        super().action_cursor(by)
        if self.desk.view is not None:
            self._choose(self.desk.view)

    def _choose(self, view: View) -> None:
        pane = self.query_one(Answers)
        chosen = self.query_one(Table).chosen(view)
        if chosen is None or (pane.evaluation is not None and pane.evaluation.seq == chosen.seq):
            return
        pane.evaluation, pane.samples = chosen, None
        pane.show(view)
        if chosen.samples_path:
            self.desk.in_background(lambda: read_answers(Path(chosen.samples_path)), lambda s: self._came(chosen, s))

    def _came(self, evaluation: Evaluation, samples: list[dict[str, Any]]) -> None:
        pane = self.query_one(Answers)
        if pane.evaluation is evaluation and self.desk.view is not None:
            pane.samples = samples
            pane.show(self.desk.view)
