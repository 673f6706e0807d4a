"""Evals: every evaluation with interval and delta, its kinds of errors, and single answers, wrong ones first."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal

from core.describe import percent, points
from core.sanitize import clean
from core.state import Evaluation
from screens.answers import KINDS, Answer, Answers, baselines, find_file, read
from screens.base import RunScreen
from screens.keys import bindings
from screens.pane import Pane
from screens.text import Row, fit, row, wrap
from screens.view import View
from screens.widgets.deltas import scale_for, significant, whisker
from screens.widgets.plan import empty

SIGNS = {"broken": ("✓→✗", "bad"), "still wrong": ("✗→✗", "bad"), "put right": ("✗→✓", "good"), "right": ("✓→✓", "")}


class Table(Pane):
    """One evaluation a row, in the order they were finished."""

    NAME = "Evaluations"
    LETTER = "e"
    KEEPS_CHOICE = True

    def subtitle(self, view: View) -> str:
        return "* more than noise" if any(significant(e) for e in view.state.evaluations.values() if e.done) else ""

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        done = [e for e in view.state.evaluations.values() if e.done]
        if not done:
            return empty(width, "No score yet.", "The first is the base model's, before any training.")
        with_n = width >= 66
        label = max(10, min(26, width - (47 if with_n else 41)))
        head = fit("", label + 2) + "score %" + ("     n" if with_n else "") + "  split    points [95 %]"
        rows = [row((head, "dim"))]
        plot = width - 4 - label - 7
        chosen = self.chosen(view)
        for e in done:
            star = "*" if significant(e) else " "
            delta = "" if e.delta is None else points(e.delta)
            if e.delta is not None and e.delta_interval is not None:
                delta += f" [{points(e.delta_interval[0])}, {points(e.delta_interval[1])}]{star}"
            best = "★ " if e.id == view.state.scores.best_evaluation else ""
            if e is chosen:
                self._keep_in_sight(len(rows), height)
            role = "good" if significant(e) and (e.delta or 0) > 0 else "bad" if significant(e) else ""
            count = f" {e.samples:>5}" if with_n else ""
            text = f"{100 * e.score:6.1f}{count}  {fit(e.split, 8)}"
            mark = ("▸ ", "accent") if e is chosen else ("  ", "")
            rows.append(
                row(mark, (fit(best + e.label, label), "strong" if best else ""), text, (delta, role), seq=e.seq)
            )
        dev = [e for e in done if e.split == "dev"]
        if dev and plot >= 16:
            scale = scale_for(dev, plot)
            rows += [row(), row(("development scores on one axis", "title"))]
            for e in dev:
                line = whisker(e, scale, view.state.scores.baseline)
                rows.append(row(fit("  " + e.label, label + 2), f"{100 * e.score:6.1f} ", (line, "line"), seq=e.seq))
        return rows

    def _keep_in_sight(self, at: int, height: int) -> None:
        """Without a cursor the table stands where the row is that the other pane speaks of."""
        if self.cursor < 0:
            self._top = max(0, at + 1 - height)

    def chosen(self, view: View) -> Evaluation | None:
        """The evaluation under the cursor, else the last one."""
        done = [e for e in view.state.evaluations.values() if e.done]
        selected = self.selected_row
        found = next((e for e in done if selected is not None and e.seq == selected.seq), None)
        return found or (done[-1] if done else None)


class Detail(Pane):
    """How the chosen evaluation was made, its change against each baseline, its kinds of errors, its answers."""

    NAME = "Answers"
    LETTER = "a"

    def __init__(self) -> None:
        super().__init__(id="answers")
        self.evaluation: Evaluation | None = None
        self.answers: Answers | None = None
        self.missing = ""
        """Why the answers cannot be shown."""
        self.only = 0
        """Which answers: 0 all, else one of KINDS."""

    def title(self, view: View) -> str:
        return f"Answers of {self.evaluation.label} on {self.evaluation.split}" if self.evaluation else "Answers"

    def subtitle(self, view: View) -> str:
        return "c " + (KINDS[self.only - 1] if self.only else "all answers") if self.answers else ""

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        e = self.evaluation
        if e is None:
            return empty(width, "No answers yet.", "Choose an evaluation with the arrows once there is one.")
        low, high = e.interval
        how = f"{e.decoding or 'greedy'}, {e.shots} shots, n {e.samples}, {percent(e.score)}, 95 % {percent(low)}–{percent(high)}"
        rows = [row((line, "dim"), seq=e.seq) for line in wrap(how, width)]
        rows += self._changes(e, view.state.evaluations.get(e.against), width)
        for group in e.groups:
            rows.append(row((f"{group.count:>5} {group.kind.replace('_', ' ')}", "waiting"), seq=e.seq))
        return rows + self._answers(e, width)

    def _changes(self, e: Evaluation, base: Evaluation | None, width: int) -> list[Row]:
        """Against what it began from (the table's change) and every baseline: points, interval, more than noise or not."""
        if self.answers is None or not self.answers.against:
            return []
        rows = [row(("against", "dim"))]
        began = base is not None and base.label not in [label for label, _ in self.answers.against]
        if base is not None and began and e.delta is not None and e.delta_interval is not None:
            text = f"{points(e.delta):>6} [{points(e.delta_interval[0])}, {points(e.delta_interval[1])}]"
            role = ("good" if e.delta > 0 else "bad") if significant(e) else ""
            verdict = "" if significant(e) else "  within noise"
            name = fit(f"  {base.label}", max(min(22, width - 38), 8))
            rows.append(row(name, (text, role), (verdict, "dim"), seq=e.seq))
        for label, d in self.answers.against:
            role = ("good" if d.delta > 0 else "bad") if d.significant else ""
            verdict = ("p < 0.001" if d.p < 0.001 else f"p {d.p:.2g}") if d.significant else "within noise"
            text = f"{points(d.delta):>6} [{points(d.interval[0])}, {points(d.interval[1])}]"
            rows.append(
                row(fit("  " + label, max(min(22, width - 38), 8)), (text, role), (f"  {verdict}", "dim"), seq=e.seq)
            )
        return rows

    def _answers(self, e: Evaluation, width: int) -> list[Row]:
        if self.answers is None:
            why = self.missing or ("reading …" if e.samples_path else "This evaluation kept no single answers.")
            return [row(), *(row((line, "dim"), seq=e.seq) for line in wrap(why, width))]
        found = self.answers
        names = KINDS if found.paired else ("still wrong", "right")
        counts = ", ".join(f"{found.counts.get(k, 0)} {k if found.paired or k == 'right' else 'wrong'}" for k in names)
        rows = [row(), row((counts, "title"), seq=e.seq)]
        wanted = KINDS[self.only - 1] if self.only else ""
        for a in found.shown:
            if wanted and a.kind != wanted:
                continue
            sign, role = SIGNS[a.kind]
            rows += self._answer(a, sign if found.paired else sign[-1], role, width, e.seq)
        return rows

    def _answer(self, a: Answer, sign: str, role: str, width: int, seq: int) -> list[Row]:
        """The question, then what was said; on one line where that fits."""
        head = sign.ljust(4)
        short = f"{a.said} (as before)" if a.before == a.said else f"{a.before} → {a.said}" if a.before else a.said
        line = f"{a.prompt}   {short}   want {a.want}"
        if "\n" not in line and cell_len(clean(line)) <= width - 4:
            return [row((head, role), (a.prompt + "   ", ""), (short, role), (f"   want {a.want}", "dim"), seq=seq)]
        rows: list[Row] = []
        parts = (("", a.prompt), ("was", a.before), ("said", a.said), ("want", a.want))
        for name, text in parts:
            if name == "was" and not text:
                continue
            for i, piece in enumerate(wrap(text, width - 9, 3) or [""]):
                first = head if not name and i == 0 else "    "
                rows.append(
                    row(
                        (first, role),
                        ((name if i == 0 else "").ljust(5), "dim"),
                        (piece, role if name == "said" else ""),
                        seq=seq,
                    )
                )
        return rows


class Evals(RunScreen):
    """The table on the left; what is behind a row on the right (below, where it is narrow)."""

    NAME = "evals"
    BINDINGS: ClassVar[list[BindingType]] = list(bindings("evals"))
    DEFAULT_CSS = """
    Evals #halves { height: 1fr; }
    Evals #halves > Pane { width: 1fr; height: 1fr; }
    Evals.-narrow #halves { layout: vertical; }
    Evals.-narrow #table { height: 2fr; }
    Evals.-narrow #answers { height: 3fr; }
    """

    def body(self) -> ComposeResult:
        with Horizontal(id="halves"):
            yield Table(id="table")
            yield Detail()

    zoomed = False

    @property
    def zooms(self) -> bool:
        return True

    def action_zoom(self) -> None:
        self.zoomed = not self.zoomed
        self.go_to_pane(self._at)

    @property
    def _at(self) -> int:
        return 1 if isinstance(self.current_pane, Detail) else 0

    def action_pane(self, by: int) -> None:
        self.go_to_pane((self._at + by) % 2)

    def go_to_pane(self, at: int) -> None:
        """Zoomed, the pane with the focus has the screen for itself."""
        for i, pane in enumerate(self.panes()):
            pane.display = not self.zoomed or i == at
        self.panes()[at].focus()
        self.call_after_refresh(self.refresh_view)

    def show(self, view: View) -> None:
        super().show(view)
        self._choose(view)

    def action_cursor(self, by: int) -> None:
        super().action_cursor(by)
        if self.desk.view is not None:
            self._choose(self.desk.view)

    def action_metric(self, by: int) -> None:
        pane = self.query_one(Detail)
        if pane.answers is None:
            self.desk.notice("there are no answers to choose from here", "dim")
            return
        pane.only = (pane.only + by) % (len(KINDS) + 1)
        pane.clear_cursor()
        self.refresh_view()

    def _choose(self, view: View) -> None:
        pane = self.query_one(Detail)
        chosen = self.query_one(Table).chosen(view)
        if chosen is None or (pane.evaluation is not None and pane.evaluation.seq == chosen.seq):
            return
        pane.evaluation, pane.answers, pane.missing = chosen, None, ""
        pane.show(view)
        if chosen.samples_path:
            bases = baselines(view.state, chosen)
            against = view.state.evaluations.get(chosen.against)
            folder = self.desk.folder
            self.desk.in_background(
                lambda: _read_or_say(chosen, against, bases, folder), lambda found: self._came(chosen, found)
            )

    def _came(self, evaluation: Evaluation, found: Answers | str) -> None:
        pane = next(iter(self.query(Detail)), None)
        if pane is not None and pane.evaluation is evaluation and self.desk.view is not None:
            if isinstance(found, str):
                pane.missing = found
            else:
                pane.answers = found
            pane.show(self.desk.view)


def _read_or_say(
    chosen: Evaluation, against: Evaluation | None, bases: list[Evaluation], folder: Path
) -> Answers | str:
    """The answers, or why there are none: a run is often copied without its files."""
    try:
        return read(chosen, against, bases, folder)
    except FileNotFoundError:
        return (
            f"The single answers are not in this folder ({find_file(chosen.samples_path, folder)}): the run was copied "
            "without them, or they were deleted. The scores come from the log."
        )
    except OSError as error:
        return f"The single answers cannot be read: {error.strerror or error} ({error.filename})"
