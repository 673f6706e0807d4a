"""One metric of one job as a curve: a smoothed line over the band between minimum and maximum."""

from __future__ import annotations

from core.series import Series
from core.state import Job, RunState
from screens.braille import Axis, Cell, axis_for, draw
from screens.pane import Pane, spans
from screens.text import Part, Row, number, row
from screens.view import View
from screens.widgets.plan import empty

PREFERRED = ("reward", "dev_score", "loss", "eval_loss", "kl", "entropy")


def curve_jobs(state: RunState) -> list[Job]:
    """Jobs that have something to draw, oldest first."""
    return [job for job in state.jobs.values() if job.series]


def by_interest(state: RunState) -> list[Job]:
    """Jobs with curves, those one wants to see first: what runs, then the newest; a training that ended after a step or
    two comes last, for there is nothing to see."""
    jobs = curve_jobs(state)[::-1]
    return sorted(jobs, key=lambda job: (job.status != "running", not _has_curve(job)))


def _has_curve(job: Job) -> bool:
    return any(sum(series.count) >= 3 for series in job.series.values())


def metrics_of(job: Job) -> list[str]:
    """Metrics with a history, the telling ones first; a single point is no curve and comes last."""
    rest = sorted(m for m in job.series if m not in PREFERRED)
    names = [m for m in PREFERRED if m in job.series] + rest
    return sorted(names, key=lambda m: sum(job.series[m].count) < 2)


def steps_shown(job: Job) -> int | None:
    """The right end of a job's plots: its plan while it runs, where it ended once it is over."""
    return job.planned_steps if job.status == "running" else max(job.step, 1)


class Curve(Pane):
    """The running (or last) training's reward or loss; `c` takes another metric, `b` another job."""

    NAME = "Curve"
    LETTER = "c"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._metric = 0
        self._job_back = 0

    def next_metric(self, by: int) -> None:
        self._metric += by
        self.again()

    def next_job(self, by: int) -> None:
        self._job_back += by
        self.again()

    def again(self) -> None:
        if self._view is not None:
            self.show(self._view)

    def chosen(self, state: RunState) -> tuple[Job, str] | None:
        order = by_interest(state)
        if not order:
            return None
        job = order[self._job_back % len(order)]
        names = metrics_of(job)
        return job, names[self._metric % len(names)]

    def title(self, view: View) -> str:
        chosen = self.chosen(view.state)
        if chosen is None:
            return "Curve"
        job, metric = chosen
        name = metric.replace("_", " ").capitalize() if metric != "kl" else "KL"
        return f"{name} · {job.id}, {job.method or job.kind}"

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        chosen = self.chosen(view.state)
        if chosen is None:
            jobs = view.state.running_jobs()
            when = (
                "The first point comes with the first logged train step." if jobs else "Starts with the first training."
            )
            return empty(width, "No curve yet.", when)
        job, metric = chosen
        series = job.series[metric]
        axis = axis_for([series], steps_shown(job))
        if axis is None or height < 4 or width < 16:
            return [row(f"{metric} {number(series.last)}", seq=job.last_seq)]
        return [self._legend(job, metric, series, width), *plot_rows(series, axis, width, height - 1, job.last_seq)]

    def _legend(self, job: Job, metric: str, series: Series, width: int) -> Row:
        parts: list[Part] = [(number(series.last), "strong"), (f" at step {series.last_step}", "dim")]
        others = [m for m in metrics_of(job) if m != metric][:2]
        used = len(number(series.last)) + len(f" at step {series.last_step}")
        for other in others:
            text = f"   {other.replace('_', ' ')} {number(job.series[other].last)}"
            if used + len(text) <= width:
                parts.append((text, "dim"))
                used += len(text)
        return row(*parts, seq=job.last_seq)


def plot_rows(series: Series, axis: Axis, width: int, height: int, seq: int, role: str = "line") -> list[Row]:
    """A plot with its axes in `height` rows: labels left and below."""
    gutter = gutter_of(axis)
    grid = draw(series.points(), axis, max(width - gutter, 8), height - 1)
    return framed(grid, axis, seq, role)


def gutter_of(axis: Axis) -> int:
    """Cells left of the plot: the widest label and the edge."""
    return max(len(number(v)) for v in (axis.high, axis.middle(), axis.low)) + 2


def framed(grid: list[list[Cell]], axis: Axis, seq: int, role: str = "line") -> list[Row]:
    """Drawn cells with labels at the left and the train steps below."""
    gutter, body, plot = gutter_of(axis), len(grid), len(grid[0]) if grid else 0
    labels = {0: number(axis.high), body - 1: number(axis.low)}
    if body >= 7:
        labels[(body - 1) // 2] = number(axis.middle())
    rows: list[Row] = []
    for y, cells in enumerate(grid):
        label = labels.get(y, "")
        edge = "┤" if label else "│"
        parts = [(label.rjust(gutter - 2) + " " + edge, "dim")]
        parts.extend(_runs(cells, role))
        rows.append(spans(parts, seq))
    left, right = str(axis.x_start), f"{axis.x_end} steps"
    rows.append(row((" " * (gutter - 1) + "└" + left + right.rjust(plot - len(left)), "dim"), seq=seq))
    return rows


def _runs(cells: list[Cell], role: str) -> list[tuple[str, str]]:
    """Neighbouring cells of one role as one span."""
    out: list[tuple[str, str]] = []
    for character, kind in cells:
        kind = role if kind == "line" else kind
        if out and out[-1][1] == kind:
            out[-1] = (out[-1][0] + character, kind)
        else:
            out.append((character, kind))
    return out
