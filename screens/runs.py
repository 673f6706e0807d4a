"""Runs: every run on this machine, what state it is in, how its score rose, what waits. Enter opens one."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from core.describe import percent, shorten
from core.home import RunInfo, list_runs
from screens.base import RunScreen
from screens.pane import Pane
from screens.text import Part, Row, cut, fit, row
from screens.view import View
from screens.widgets.devices import spark

REFRESH_S = 2.0
ROLE = {
    "running": "good",
    "paused": "waiting",
    "finished": "",
    "failed": "bad",
    "stopped": "dim",
    "interrupted": "bad",
}
START = (
    "No runs yet.",
    "",
    "Start one in another terminal (no key, no network, no GPU needed):",
    "    intern run --task pocket/addition",
    "    intern run --task DIRECTORY --model PATH_OR_HUB_ID --hours 10",
    "",
    "It appears here at once; Enter opens it.",
)


class RunList(Pane):
    """Two lines a run: id, state, score; goal and what it does."""

    NAME = "Runs"
    LETTER = "r"

    def __init__(self) -> None:
        super().__init__(id="runlist")
        self.runs: list[RunInfo] | None = None

    def title(self, view: View) -> str:
        return f"Runs: {len(self.runs)}" if self.runs else "Runs"

    def subtitle(self, view: View) -> str:
        return "Enter opens   r replays" if self.runs else ""

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        if self.runs is None:
            return [row(("reading …", "dim"))]
        if not self.runs:
            return [row((cut(line, width), "accent" if line.startswith("    ") else "")) for line in START]
        return [r for info in self.runs for r in self._run(info, width)]

    def _run(self, info: RunInfo, width: int) -> list[Row]:
        s = info.summary
        role = ROLE.get(info.status, "dim")
        parts: list[Part] = [(fit(info.run, 22), "strong"), (fit(info.status, 12), role)]
        best = percent(s.best) if s.best is not None else "no score"
        base = f"{percent(s.baseline)} → " if s.baseline is not None and s.best is not None else ""
        parts.append(fit(base + best, 18))
        if len(s.spark) > 1 and width >= 90:
            parts.append((fit(spark(s.spark[-16:], min(len(s.spark), 16)), 17), "line"))
        if s.approvals:
            parts.append((f"! {s.approvals} waiting  ", "waiting strong"))
        parts.append((cut(s.task, 24), "dim"))
        what = shorten(s.title or s.goal or "", 70) + (f" · {s.doing}" if s.doing and info.host else "")
        return [row(*parts), row(("  " + cut(what, width - 2), "dim"))]

    @property
    def chosen(self) -> RunInfo | None:
        """The run under the cursor; the newest where there is none."""
        if not self.runs:
            return None
        return self.runs[max(self.cursor, 0) // 2]

    def move(self, by: int) -> None:
        """Run by run: the cursor stands on its first line."""
        if self.cursor < 0:
            super().move(by if by < 0 else 1)
            self.set_reactive(Pane.cursor, max(self.cursor, 0) // 2 * 2)
            self._draw()
        else:
            super().move(by * 2)

    def on_blur(self) -> None:
        """The choice is kept."""


class Runs(RunScreen):
    """The list, read again every two seconds without opening any log."""

    NAME = "runs"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "open(False)"), Binding("r", "open(True)")]
    DEFAULT_CSS = "Runs #runlist { height: 1fr; }"

    def body(self) -> ComposeResult:
        yield RunList()

    def on_mount(self) -> None:
        self._read()
        self.set_interval(REFRESH_S, self._read)

    def _read(self) -> None:
        if self.is_current:
            self.desk.in_background(list_runs, self._came)

    def on_screen_resume(self) -> None:
        self._read()

    def _came(self, runs: list[RunInfo]) -> None:
        pane = self.query_one(RunList)
        pane.runs = runs
        self.refresh_view()

    def action_open(self, replay: bool) -> None:
        info = self.query_one(RunList).chosen
        if info is None:
            self.desk.notice("there is no run to open yet", "dim")
            return
        over = info.host is None and info.summary.status in ("finished", "failed", "stopped")
        self.desk.open_run(Path(info.folder), replay=replay or over)
