"""Research: what was read and taken from where, what the data looks like, what was tried and what came of it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal

from core.describe import percent, points
from core.state import Dataset, Experiment, Paper
from screens.base import RunScreen
from screens.pane import Pane
from screens.text import Row, row, wrap
from screens.view import View
from screens.widgets.diagnosis import labelled
from screens.widgets.plan import empty

VERDICTS = {"better": "good", "worse": "bad", "failed": "bad", "no_difference": ""}


class Papers(Pane):
    """Papers that were read first, with what was taken from each and its place; then those only found."""

    NAME = "Papers"
    LETTER = "p"

    def title(self, view: View) -> str:
        papers = view.state.papers.values()
        return f"Papers: {sum(p.read for p in papers)} read, {len(papers)} found" if papers else "Papers"

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        state = view.state
        if not state.papers and not state.recipes:
            return empty(
                width, "Nothing read yet.", "Reading comes first in the plan; offline, the recipe library answers."
            )
        rows = [
            r for p in sorted(state.papers.values(), key=lambda p: (not p.read, p.seq)) for r in self._paper(p, width)
        ]
        if state.recipes:
            rows += [row(), row(("Recipes taken", "title"))]
            rows += [row((line, "")) for line in wrap(", ".join(state.recipes), width)]
        return rows

    def _paper(self, p: Paper, width: int) -> list[Row]:
        sign = "✓ " if p.read else "○ "
        year = f" ({p.year})" if p.year else ""
        rows = [
            row((sign if i == 0 else "  ", "good" if p.read else "dim"), (line, "" if p.read else "dim"), seq=p.seq)
            for i, line in enumerate(wrap(p.title + year, width - 2, 2))
        ]
        rows.append(row((f"  {p.id} via {p.source}", "dim"), seq=p.seq))
        for taken in p.taken:
            rows += [row(("    " + line, "accent"), seq=p.seq) for line in wrap(taken, width - 4, 3)]
        if p.cites:
            rows += [row(("    cites " + line, "dim"), seq=p.seq) for line in wrap(", ".join(p.cites), width - 10, 2)]
        return rows


class Data(Pane):
    """Data sets with what inspection found, and rows as they are."""

    NAME = "Data"
    LETTER = "d"

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        data = view.state.datasets.values()
        if not data:
            return empty(width, "No data seen yet.", "Inspection comes before the first training.")
        return [r for d in data for r in (*self._dataset(d, width), row())]

    def _dataset(self, d: Dataset, width: int) -> list[Row]:
        rows = [row((line, "strong"), seq=d.seq) for line in wrap(d.name + (" (chosen)" if d.chosen else ""), width, 2)]
        if d.prepared:
            rows.append(row((f"{d.train_rows} train + {d.dev_rows} dev rows of {d.rows} read", ""), seq=d.seq))
            rows += [
                row((f"  {n:>6} dropped: {why.replace('_', ' ')}", "dim"), seq=d.seq) for why, n in d.dropped.items()
            ]
        else:
            rows.append(row((f"{d.rows} rows", ""), (f"   {', '.join(d.columns)}"[: width - 12], "dim"), seq=d.seq))
        for c in d.concerns:
            role = "bad" if c.score >= 0.5 else "waiting"
            rows.append(row((f"  {c.count:>6} {c.kind.replace('_', ' ')}", role), seq=d.seq))
            rows += [row(("         " + line, "dim"), seq=d.seq) for line in wrap(c.note, width - 9, 2)]
        for sample in d.samples[:3]:
            rows += [row(("  “" + line if i == 0 else "   " + line, "dim"), seq=d.seq)
                     for i, line in enumerate(wrap(sample, width - 3, 3))]  # fmt: skip
        return rows


class Tried(Pane):
    """Experiments with their verdicts, and every diagnosis with its evidence."""

    NAME = "Tried"
    LETTER = "x"

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        state = view.state
        if not state.experiments and not state.failures:
            return empty(width, "Nothing tried yet.", "An experiment is a hypothesis, its jobs and its verdict.")
        rows = [r for x in state.experiments.values() for r in self._experiment(x, width)]
        for f in state.failures:
            head = f"{f.job}: {f.kind.replace('_', ' ')} from step {f.first_step}"
            rows += [row(), *(row((line, "bad strong"), seq=f.seq) for line in wrap(head, width))]
            for name, texts, seq in (("evidence", f.evidence, f.seq), ("cause", f.causes, f.seq)):
                for i, text in enumerate(texts):
                    rows += labelled(name if i == 0 else "", text, width, seq)
            if f.remedy:
                rows += labelled("remedy", f.remedy, width, f.remedy_seq)
            if f.result:
                rows += labelled("result", f.result.replace("_", " "), width, f.remedy_seq)
        return rows

    def _experiment(self, x: Experiment, width: int) -> list[Row]:
        rows = [row((line, "strong"), seq=x.seq) for line in wrap(f"{x.id}: {x.hypothesis or x.change}", width)]
        verdict = x.verdict.replace("_", " ") or "running"
        if x.delta is not None and x.interval is not None:
            verdict += f", {points(x.delta)} [{points(x.interval[0])}, {points(x.interval[1])}] points"
        elif x.delta is not None:
            verdict += f", {percent(x.delta)}"
        rows += labelled("verdict", verdict, width, x.concluded_seq or x.seq, VERDICTS.get(x.verdict, "accent"))
        return rows + (labelled("", x.why, width, x.concluded_seq, "dim") if x.why else [])


class Research(RunScreen):
    """Three panes; stacked where it is narrow."""

    NAME = "research"
    DEFAULT_CSS = """
    Research #thirds { height: 1fr; }
    Research #thirds > Pane { width: 1fr; height: 1fr; }
    Research.-narrow #thirds { layout: vertical; }
    """

    def body(self) -> ComposeResult:
        with Horizontal(id="thirds"):
            yield Papers(id="papers")
            yield Data(id="data")
            yield Tried(id="tried")
