"""What went wrong: how it is known, why, what was done, what came of it. What is open and severe stands first."""

from __future__ import annotations

from screens.findings import Finding, count_open, findings
from screens.pane import Pane
from screens.text import Row, row, wrap
from screens.view import View
from screens.widgets.plan import empty


class Diagnosis(Pane):
    """The finding that matters most in full, the others in a line or two each."""

    NAME = "Diagnosis"
    LETTER = "x"
    REST_S = 0.9

    def title(self, view: View) -> str:
        count, waiting = len(view.state.failures), count_open(view.state)
        if not count:
            return "Diagnosis"
        return f"Diagnosis ({waiting} open of {count})" if waiting else f"Diagnosis ({count}, none open)"

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        found = findings(view.state)
        if not found:
            return empty(width, "Nothing went wrong so far.", "Detectors read every training's metrics as they come.")
        rows = self._whole(found[0], width)
        for failing, name in ((True, "Failing"), (False, "Warnings")):
            others = [f for f in found[1:] if f.failing is failing]
            if others:
                rows += [row(), row((name, "title"))]
                rows += [r for f in others for r in self._short(f, width)]
        return rows

    def _whole(self, found: Finding, width: int) -> list[Row]:
        f = found.newest
        role = "bad" if found.failing else "waiting"
        rows = [
            row((line, role + " strong"), seq=f.seq)
            for line in wrap(f"{f.job}: {found.kind} from step {f.first_step}", width)
        ]
        sure = f", {100 * f.confidence:.0f} % sure" if f.confidence else ""
        also = f"; also {names(found.jobs[1:])}" if found.jobs[1:] else ""
        about = ("failing" if found.failing else "a warning") + sure + also
        rows += [row((line, "dim"), seq=f.seq) for line in wrap(about, width, 2)]
        for name, texts in (("evidence", f.evidence), ("cause", f.causes[:1])):
            for i, text in enumerate(texts):
                rows.extend(labelled(name if i == 0 else "", text, width, f.seq))
        rows += labelled("remedy" if f.remedy else "done", found.done, width, f.remedy_seq or f.seq)
        if found.result:
            rows += labelled("result", found.result, width, f.remedy_seq or f.seq, verdict_role(found.result))
        if found.open:
            for i, text in enumerate(f.remedies[:3]):
                rows.extend(labelled("could help" if i == 0 else "", text, width, f.seq))
        return rows

    def _short(self, found: Finding, width: int) -> list[Row]:
        seq = found.newest.seq
        outcome = found.done + (f": {found.result}" if found.result else "")
        rows = [
            row(("· " if i == 0 else "  ", "bad" if found.failing else "waiting"), line, seq=seq)
            for i, line in enumerate(wrap(f"{found.kind}: {names(found.jobs)}", width - 2, 2))
        ]
        return rows + [
            row((("  → " if i == 0 else "    ") + line, "dim"), seq=seq)
            for i, line in enumerate(wrap(outcome, width - 4, 2))
        ]


def names(jobs: tuple[str, ...]) -> str:
    """A few jobs by name, the rest by number."""
    return ", ".join(jobs[:4]) + (f" and {len(jobs) - 4} more" if len(jobs) > 4 else "")


def verdict_role(result: str) -> str:
    """The colour of a verdict."""
    return "good" if "better" in result else "bad" if "worse" in result or "failed" in result else ""


def labelled(name: str, text: str, width: int, seq: int, role: str = "") -> list[Row]:
    """A text beside its name, wrapped in a column of its own."""
    gutter = 11
    lines = wrap(text, width - gutter, 4) or [""]
    return [row(((name if i == 0 else "").ljust(gutter), "dim"), (line, role), seq=seq) for i, line in enumerate(lines)]
