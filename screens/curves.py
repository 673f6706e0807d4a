"""Curves: every metric with a history of one job, side by side."""

from __future__ import annotations

from textual.app import ComposeResult

from core.state import Job
from screens.base import RunScreen
from screens.braille import axis_for
from screens.pane import Pane
from screens.text import BLANK, Row, Span, cut, number, row
from screens.view import View
from screens.widgets.curve import curve_jobs, metrics_of, plot_rows, steps_shown
from screens.widgets.plan import empty

CELL_WIDTH, CELL_HEIGHT = 38, 9
"""Least size of one plot with its title."""


class Grid(Pane):
    """As many plots as fit in columns; the pane scrolls for the rest."""

    NAME = "Curves"
    LETTER = "c"

    def __init__(self) -> None:
        super().__init__(id="curves")
        self.back = 0
        """Which job, counted back from the newest."""

    def chosen(self, view: View) -> Job | None:
        jobs = curve_jobs(view.state)
        return jobs[-1 - self.back % len(jobs)] if jobs else None

    def title(self, view: View) -> str:
        job = self.chosen(view)
        count = len(curve_jobs(view.state))
        return f"{job.id}, {job.method or job.kind} ({job.status}), one of {count} jobs" if job else "Curves"

    def subtitle(self, view: View) -> str:
        return "b another job   Enter the event"

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        job = self.chosen(view)
        if job is None:
            return empty(width, "No curve yet.", "They start with the first logged train step.")
        names = metrics_of(job)
        columns = max(1, min(width // CELL_WIDTH, len(names)))
        lines = -(-len(names) // columns)
        cell_height = max(CELL_HEIGHT, height // lines)
        cell_width = width // columns
        rows: list[Row] = []
        for at in range(0, len(names), columns):
            cells = [self._cell(job, name, cell_width - 2, cell_height) for name in names[at : at + columns]]
            rows.extend(_beside(cells, cell_width, job.last_seq))
        return rows + self._others(job, width)

    def _cell(self, job: Job, name: str, width: int, height: int) -> list[Row]:
        series = job.series[name]
        head = row((cut(name.replace("_", " "), width - 12), "title"), f"  {number(series.last)}")
        axis = axis_for([series], steps_shown(job))
        plot = plot_rows(series, axis, width, height - 2, job.last_seq) if axis is not None else []
        return [head, *plot, BLANK]

    def _others(self, job: Job, width: int) -> list[Row]:
        """Metrics of which only the latest value is kept here."""
        rest = [f"{name} {number(value)}" for name, value in sorted(job.last.items()) if name not in job.series]
        if not rest:
            return []
        rows = [row(("latest values of the other metrics", "title"), seq=job.last_seq)]
        line = ""
        for text in rest:
            if line and len(line) + len(text) + 3 > width:
                rows.append(row((line, "dim"), seq=job.last_seq))
                line = ""
            line = f"{line}   {text}" if line else text
        return [*rows, row((line, "dim"), seq=job.last_seq)]


def _beside(cells: list[list[Row]], width: int, seq: int) -> list[Row]:
    """Blocks of rows next to each other, each `width` cells wide."""
    rows: list[Row] = []
    for y in range(max(len(cell) for cell in cells)):
        spans: list[Span] = []
        for cell in cells:
            parts = cell[y].spans if y < len(cell) else ()
            used = sum(len(s.text) for s in parts)
            spans += [*parts, Span(" " * max(width - used, 0))]
        rows.append(Row(tuple(spans), seq))
    return rows


class Curves(RunScreen):
    """`b` goes through the jobs, newest first."""

    NAME = "curves"
    DEFAULT_CSS = "Curves #curves { height: 1fr; }"

    def body(self) -> ComposeResult:
        yield Grid()

    def action_job(self, by: int) -> None:
        self.query_one(Grid).back += by
        self.refresh_view()

    def action_metric(self, by: int) -> None:
        self.desk.notice("all metrics are shown: b takes another job", "dim")
