"""Curves: every metric of a job, side by side or one large; beside other jobs and runs; with a cursor that reads values."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import BindingType

from core.state import Job
from screens.base import RunScreen
from screens.braille import Axis, Cell, Point, axis_of, draw, over
from screens.histories import FRESH, Asked, Histories, History
from screens.keys import bindings
from screens.pane import Pane
from screens.text import BLANK, Part, Row, Span, cut, number, row
from screens.view import View
from screens.widgets.curve import by_interest, curve_jobs, framed, gutter_of, metrics_of, steps_shown
from screens.widgets.plan import empty

CELL_WIDTH, CELL_HEIGHT = 38, 9
"""Least size of one plot with its title."""
ROLES = ("accent", "mark", "waiting")
"""Colours of the curves that are compared with."""
CLOSEST = 8
"""Train steps: no closer look than that."""


class Other(NamedTuple):
    """A job beside the chosen one."""

    name: str
    folder: Path | None
    """Another run's folder; None for a job of this run."""
    job: str
    steps: int


class Grid(Pane):
    """As many plots as fit in columns, or the chosen one alone; the pane scrolls for the rest."""

    NAME = "Curves"
    LETTER = "c"
    KEEPS_CHOICE = True

    def __init__(self) -> None:
        super().__init__(id="curves")
        self.back = 0
        """Which job, counted back from the newest."""
        self.at = 0
        """Which metric is chosen."""
        self.single = False
        self.log_scale = False
        self.others: list[Other] = []
        self.cursor_step: int | None = None
        self.closer = 0
        """How many times the look was halved."""
        self.histories: Histories | None = None
        self._columns = 1
        self._names: list[str] = []

    # ------------------------------------------------------------------------------------------------- what is shown

    def chosen(self, view: View) -> Job | None:
        jobs = by_interest(view.state)
        return jobs[self.back % len(jobs)] if jobs else None

    def names(self, job: Job) -> list[str]:
        """Headline metrics first, then all others the job logged."""
        return metrics_of(job) + sorted(n for n in job.last if n not in job.series)

    def span(self, job: Job) -> tuple[int, int]:
        """The train steps looked at: all, or a part around the cursor."""
        end = max(steps_shown(job) or 1, job.step, *(o.steps for o in self.others), 1)
        width = max(end >> self.closer, CLOSEST)
        if not self.closer or width >= end:
            return 0, end
        middle = self.cursor_step if self.cursor_step is not None else job.step
        start = min(max(middle - width // 2, 0), end - width)
        return start, start + width

    def title(self, view: View) -> str:
        job = self.chosen(view)
        if job is None:
            return "Curves"
        scale = ", log scale" if self.log_scale else ""
        start, end = self.span(job)
        part = f", steps {start} to {end}" if self.closer else ""
        return f"{job.id} {job.title or job.method or job.kind} ({job.status}), one of {len(curve_jobs(view.state))} jobs{scale}{part}"

    def subtitle(self, view: View) -> str:
        return "↑ ↓ metric   z zoom   b job   h l values   Enter the event"

    # ----------------------------------------------------------------------------------------------------------- rows

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        job = self.chosen(view)
        if job is None:
            return empty(width, "No curve yet.", "They start with the first logged train step.")
        self._names = self.names(job)
        self.at = min(self.at, len(self._names) - 1)
        own = self._own(job, view)
        head = self._legend(job, width)
        if self.single:
            return head + self._cell(job, self._names[self.at], own, width, height - len(head), view)
        self._columns = max(1, min(width // CELL_WIDTH, len(self._names)))
        lines = -(-len(self._names) // self._columns)
        cell_height = max(CELL_HEIGHT, (height - len(head)) // lines)
        cell_width = width // self._columns
        self._keep_in_sight(len(head), cell_height, height)
        rows = head
        for at in range(0, len(self._names), self._columns):
            names = self._names[at : at + self._columns]
            cells = [self._cell(job, name, own, cell_width - 2, cell_height, view) for name in names]
            rows = rows + _beside(cells, cell_width, job.last_seq)
        return rows

    def _keep_in_sight(self, head: int, cell_height: int, height: int) -> None:
        top = head + self.at // self._columns * cell_height
        if self.at < self._columns:
            self._top = 0
        else:
            self._top = min(max(self._top, top + cell_height - height), top)

    def _own(self, job: Job, view: View) -> History:
        """The state's histories, and from the log those it does not keep, and all of them in a close-up."""
        found: History = {name: series.points() for name, series in job.series.items()}
        if self.histories is None or (len(found) == len(self._names) and not self.closer):
            return found
        start, end = self.span(job)
        read = self.histories.get(Asked(None, job.id, start, end, _known(job, view)))
        return {**found, **read} if self.closer else {**read, **found}

    def _legend(self, job: Job, width: int) -> list[Row]:
        if not self.others:
            return []
        parts: list[Part] = [("━ ", "line"), (f"{job.id}   ", "")]
        for other, role in zip(self.others, ROLES, strict=False):
            parts += [("━ ", role), (f"{cut(other.name, 40)}   ", "")]
        return [row(*parts), BLANK]

    def _cell(self, job: Job, name: str, own: History, width: int, height: int, view: View) -> list[Row]:
        points = own.get(name, [])
        start, end = self.span(job)
        theirs = [self._theirs(other, name) for other in self.others]
        axis = axis_of([*points, *(p for t in theirs for p in t)], start, end, self.log_scale)
        head = self._head(job, name, points, theirs, width)
        plot = max(width - gutter_of(axis), 8)
        body = max(height - 3, 2)
        if not points:
            return [
                head,
                row(("reading …" if self.histories else "its history is in the log", "dim")),
                *[BLANK] * (height - 2),
            ]
        grid = draw(points, axis, plot, body)
        for their, role in zip(theirs, ROLES, strict=False):
            grid = over(grid, draw(their, axis, plot, body), role)
        return [head, *framed(self._with_cursor(grid, axis), axis, job.last_seq), BLANK]

    def _head(self, job: Job, name: str, points: list[Point], theirs: list[list[Point]], width: int) -> Row:
        chosen = self._names[self.at] == name if self._names else False
        mark = ("▸ ", "accent") if chosen else ("  ", "")
        if self.cursor_step is None:
            values = f"  {number(job.last.get(name))}"
        else:
            values = f"  {_reading(points, self.cursor_step)} at {self.cursor_step}"
        parts: list[Part] = [mark, (cut(name.replace("_", " "), max(width - len(values) - 2, 6)), "title"), values]
        if self.cursor_step is not None:
            parts += [(f"  {_value(t, self.cursor_step)}", role) for t, role in zip(theirs, ROLES, strict=False)]
        return row(*parts, seq=job.last_seq)

    def _theirs(self, other: Other, name: str) -> list[Point]:
        if self.histories is None:
            return []
        return self.histories.get(Asked(other.folder, other.job, 0, max(other.steps, 1))).get(name, [])

    def _with_cursor(self, grid: list[list[Cell]], axis: Axis) -> list[list[Cell]]:
        if self.cursor_step is None or not grid:
            return grid
        width = len(grid[0])
        x = int((self.cursor_step - axis.x_start) / (axis.x_end - axis.x_start) * (width - 1))
        if 0 <= x < width:
            for line in grid:
                if line[x].role in ("", "band"):
                    line[x] = Cell("┊", "accent")
        return grid

    # ---------------------------------------------------------------------------------------------------------- moving

    def again(self) -> None:
        if self._view is not None:
            self.show(self._view)

    def move(self, by: int) -> None:
        """The chosen metric, row by row."""
        if self._names:
            step = by if self.single or abs(by) > 1 else by * self._columns
            wanted = self.at + step
            self.at = wanted if 0 <= wanted < len(self._names) else self.at + (by > 0) - (by < 0)
            self.at = min(max(self.at, 0), len(self._names) - 1)
            self.again()

    def page(self, direction: int) -> None:
        self.move(2 * direction)

    def along(self, columns: int) -> None:
        """The cursor by columns of a plot; it comes in at the last train step."""
        job = self.chosen(self._view) if self._view is not None else None
        if job is None:
            return
        start, end = self.span(job)
        if self.cursor_step is None:
            self.cursor_step = min(job.step, end)
        else:
            plot = max(self.content_size.width // (1 if self.single else self._columns) - 8, 8)
            step = max(1, (end - start) // plot)
            self.cursor_step = min(
                max(self.cursor_step + columns * step, 0), max(job.step, *(o.steps for o in self.others), 0)
            )
        self.again()

    def look(self, closer: int) -> None:
        self.closer = min(max(self.closer + closer, 0), 12)
        self.again()

    def clear_cursor(self) -> None:
        self.cursor_step = None
        self.again()

    def source_seq(self) -> int:
        job = self.chosen(self._view) if self._view is not None else None
        return job.last_seq if job is not None else 0


def _known(job: Job, view: View) -> int:
    """Up to which event to ask: a replay for exactly what it may know, a live run not at every train step anew."""
    if view.replay or job.status != "running":
        return job.last_seq
    return job.last_seq - job.last_seq % FRESH


def _at(points: list[Point], step: int) -> Point | None:
    """The bin that holds a train step."""
    return next((p for p in reversed(points) if p[0] <= step), None)


def _value(points: list[Point], step: int) -> str:
    point = _at(points, step)
    return "–" if point is None else number(point[3])


def _reading(points: list[Point], step: int) -> str:
    """The mean there, and the range where the bin holds several."""
    point = _at(points, step)
    if point is None:
        return "–"
    return number(point[3]) + (f" ({number(point[1])} to {number(point[2])})" if point[1] != point[2] else "")


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
    """`b` goes through the jobs, newest first; `v` lays others on top."""

    NAME = "curves"
    BINDINGS: ClassVar[list[BindingType]] = list(bindings("curves"))
    DEFAULT_CSS = "Curves #curves { height: 1fr; }"

    def body(self) -> ComposeResult:
        yield Grid()

    @property
    def grid(self) -> Grid:
        return self.query_one(Grid)

    def on_mount(self) -> None:
        self.grid.histories = Histories(self.desk, self.refresh_view)

    def action_job(self, by: int) -> None:
        self.grid.back += by
        self.refresh_view()

    def action_metric(self, by: int) -> None:
        self.grid.move(by)

    @property
    def zooms(self) -> bool:
        return True

    def action_zoom(self) -> None:
        self.grid.single = not self.grid.single
        self.grid.again()

    def action_log_scale(self) -> None:
        self.grid.log_scale = not self.grid.log_scale
        self.grid.again()

    def action_along(self, columns: int) -> None:
        self.grid.along(columns)

    def action_window(self, closer: int) -> None:
        self.grid.look(closer)

    def key_escape(self) -> None:
        """Back to the plain picture."""
        grid = self.grid
        grid.others, grid.closer, grid.single = [], 0, False
        grid.clear_cursor()

    def action_compare(self) -> None:
        from screens.compare import Compare

        view = self.desk.view
        job = self.grid.chosen(view) if view is not None else None
        if view is None or job is None:
            self.desk.notice("there is no curve to compare yet", "dim")
            return
        others = [
            Other(f"{j.id} {j.title or j.method}", None, j.id, max(j.step, 1))
            for j in curve_jobs(view.state)
            if j.id != job.id
        ]
        self.app.push_screen(Compare(others, self.grid.others, len(ROLES), view.run), self._compared)

    def _compared(self, others: list[Other] | None) -> None:
        if others is not None:
            self.grid.others = others
            self.grid.again()
