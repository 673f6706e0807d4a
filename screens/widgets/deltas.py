"""Scores of every evaluated model with their intervals on one axis, against the baseline."""

from __future__ import annotations

from typing import NamedTuple

from core.describe import percent, points
from core.state import Evaluation, RunState
from screens.pane import Pane, spans
from screens.text import Row, fit, row, span_of, wrap
from screens.view import View
from screens.widgets.plan import empty

LEAST_PLOT = 10
"""Cells an interval needs to be seen; the rest goes to the labels first."""


class Scale(NamedTuple):
    low: float
    high: float
    width: int

    def at(self, score: float) -> int:
        """The column of a score."""
        fraction = (score - self.low) / ((self.high - self.low) or 1.0)
        return min(max(round(fraction * (self.width - 1)), 0), self.width - 1)


def scale_for(evaluations: list[Evaluation], width: int) -> Scale:
    """From a tenth below the least to a tenth above the greatest bound, in whole tenths, at least 0.2 wide."""
    low = min(e.interval[0] for e in evaluations)
    high = max(e.interval[1] for e in evaluations)
    low, high = int(low * 10) / 10, min(1.0, -(int(-high * 10 - 0.999)) / 10)
    if high - low < 0.2:
        high = min(1.0, low + 0.2)
        low = max(0.0, high - 0.2)
    return Scale(low, high, width)


def whisker(e: Evaluation, scale: Scale, baseline: float | None) -> str:
    """`├──┼──┤` at the score's place; a thin line where the baseline stands."""
    cells = [" "] * scale.width
    if baseline is not None:
        cells[scale.at(baseline)] = "┊"
    left, right = scale.at(e.interval[0]), scale.at(e.interval[1])
    for x in range(left, right + 1):
        cells[x] = "─"
    cells[left], cells[right] = "├", "┤"
    cells[scale.at(e.score)] = "●" if right > left else "┼"
    return "".join(cells)


def significant(e: Evaluation) -> bool:
    """The delta's interval leaves zero out."""
    return e.delta_interval is not None and (e.delta_interval[0] > 0 or e.delta_interval[1] < 0)


class Deltas(Pane):
    """Development scores to choose by; the held-out result, read once at the end, apart."""

    NAME = "Eval deltas"
    LETTER = "e"
    REST_S = 0.9

    def title(self, view: View) -> str:
        done = [e for e in view.state.evaluations.values() if e.done and e.split == "dev"]
        sizes = sorted({e.samples for e in done})
        if not sizes:
            return "Eval deltas"
        n = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]}–{sizes[-1]}"
        return f"Eval deltas (dev, n {n})"

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        state = view.state
        done = [e for e in state.evaluations.values() if e.done and e.split == "dev"]
        open_ = [e for e in state.evaluations.values() if not e.done]
        rows: list[Row] = []
        if done:
            rows.extend(self._table(done, state, width))
        for e in open_:
            rows += self._at_work(e, view, width)
        if not rows:
            rows = empty(width, "No score yet.", "The first is the base model's, before any training.")
        return rows + self._heldout(state, width)

    def _at_work(self, e: Evaluation, view: View, width: int) -> list[Row]:
        of = f", n {e.samples}" if e.samples else ""
        since = f", {span_of((view.now_us - e.ts) / 1e6)} so far" if e.ts and not view.state.finished_ts else ""
        ended = ", never finished" if view.state.finished_ts else ""
        text = f"{e.label}: evaluation on {e.split}{of}{since}{ended}"
        return [
            row(("● " if i == 0 else "  ", "dim" if ended else "accent"), (line, "dim"), seq=e.seq)
            for i, line in enumerate(wrap(text, width - 2, 2))
        ]

    def _table(self, done: list[Evaluation], state: RunState, width: int) -> list[Row]:
        starred = [len(e.label) + 2 * (e.id == state.scores.best_evaluation) for e in done]
        label = min(max(starred) + 1, max(12, width - 9 - LEAST_PLOT), 28)
        plot = max(width - label - 9, LEAST_PLOT)
        scale = scale_for(done, plot)
        rows = [self._score(e, state, label, scale) for e in done]
        low, high = f"{100 * scale.low:.0f}", f"{100 * scale.high:.0f} %"
        rows.append(row((" " * (label + 7) + low + high.rjust(plot - len(low)), "dim")))
        best = state.evaluations.get(state.scores.best_evaluation)
        if best is not None and best.delta is not None and best.delta_interval is not None:
            bounds = f"[{points(best.delta_interval[0])}, {points(best.delta_interval[1])}]"
            how = "paired, " if best.paired else ""
            base = state.evaluations.get(best.against)
            over = f" over {base.label}" if base is not None else ""
            text = f"best: {best.label}, {points(best.delta)} {bounds} points{over} ({how}95 %)"
            rows += [row((line, "dim"), seq=best.seq) for line in wrap(text, width, 3)]
        return rows

    def _score(self, e: Evaluation, state: RunState, label: int, scale: Scale) -> Row:
        best = e.id == state.scores.best_evaluation
        role = "strong" if best else ""
        worse = e.delta is not None and e.delta < 0
        star = "*" if significant(e) else " "
        line = "bad" if worse and significant(e) else "good" if significant(e) else "dim"
        parts = [
            (fit(("★ " if best else "") + e.label, label), role),
            (f"{100 * e.score:5.1f}  ", role),
            (whisker(e, scale, state.scores.baseline), line),
            (f" {star}", line + " strong"),
        ]
        return spans(parts, e.seq)

    def _heldout(self, state: RunState, width: int) -> list[Row]:
        s = state.scores
        if s.heldout_best is None or s.heldout_delta is None:
            return []
        n = [e.samples for e in state.evaluations.values() if e.done and e.split == "heldout"]
        rows = [row(), row((f"Held-out{f', n {n[-1]}' if n else ''}, read once", "title"), seq=s.heldout_seq)]
        bounds = f" [{points(s.heldout_interval[0])}, {points(s.heldout_interval[1])}]" if s.heldout_interval else ""
        clear = s.heldout_interval is not None and s.heldout_interval[0] > 0
        role = "good strong" if clear else "bad" if s.heldout_delta < 0 else ""
        text = f"{percent(s.heldout_baseline)} → {percent(s.heldout_best)}"
        delta = f"  {points(s.heldout_delta)}{bounds}"
        if len(text) + len(delta) <= width:
            return [*rows, row((text, "strong"), (delta, role), seq=s.heldout_seq)]
        return [*rows, row((text, "strong"), seq=s.heldout_seq), row((delta, role), seq=s.heldout_seq)]
