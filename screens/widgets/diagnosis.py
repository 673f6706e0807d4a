"""The last failure: what went wrong, how it is known, why, what was done, what came of it."""

from __future__ import annotations

from core.state import Failure
from screens.pane import Pane
from screens.text import Row, row, wrap
from screens.view import View
from screens.widgets.plan import empty


class Diagnosis(Pane):
    """The newest diagnosis in full, older ones in a line each."""

    NAME = "Diagnosis"
    LETTER = "x"

    def title(self, view: View) -> str:
        count = len(view.state.failures)
        return f"Diagnosis ({count})" if count else "Diagnosis"

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        failures = view.state.failures
        if not failures:
            return empty(width, "Nothing went wrong so far.", "Detectors read every training's metrics as they come.")
        rows = self._whole(failures[-1], width)
        if len(failures) > 1:
            rows += [row(), row(("Before", "title"))]
            rows += [r for f in reversed(failures[:-1]) for r in self._short(f, width)]
        return rows

    def _whole(self, f: Failure, width: int) -> list[Row]:
        role = "bad" if f.severity == "failing" else "waiting"
        head = f"{f.job}: {f.kind.replace('_', ' ')} from step {f.first_step}"
        rows = [row((line, role + " strong"), seq=f.seq) for line in wrap(head, width)]
        state = "stopped early" if f.stopped else "left running"
        if f.confidence:
            state += f", {100 * f.confidence:.0f} % sure"
        rows.append(row((state, "dim"), seq=f.seq))
        for name, texts, seq in (("evidence", f.evidence, f.seq), ("cause", f.causes[:1], f.seq)):
            for i, text in enumerate(texts):
                rows.extend(labelled(name if i == 0 else "", text, width, seq))
        if f.remedy:
            rows.extend(labelled("remedy", f.remedy, width, f.remedy_seq))
            good = (
                "good" if f.result.startswith("better") else "bad" if f.result.startswith(("worse", "failed")) else ""
            )
            rows.extend(labelled("result", f.result.replace("_", " ") or "not known yet", width, f.remedy_seq, good))
        else:
            for i, text in enumerate(f.remedies[:3]):
                rows.extend(labelled("could help" if i == 0 else "", text, width, f.seq))
        return rows

    def _short(self, f: Failure, width: int) -> list[Row]:
        result = f": {f.result.replace('_', ' ')}" if f.result else ""
        text = f"{f.job} {f.kind.replace('_', ' ')}" + (f" → {f.remedy}" if f.remedy else "") + result
        return [
            row((("· " if i == 0 else "  ") + line, "dim"), seq=f.seq)
            for i, line in enumerate(wrap(text, width - 2, 2))
        ]


def labelled(name: str, text: str, width: int, seq: int, role: str = "") -> list[Row]:
    """A text beside its name, wrapped in a column of its own."""
    gutter = 11
    lines = wrap(text, width - gutter, 4) or [""]
    return [row(((name if i == 0 else "").ljust(gutter), "dim"), (line, role), seq=seq) for i, line in enumerate(lines)]
