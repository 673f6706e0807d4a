"""Runs: every run on this machine, what state it is in, how its score rose, what waits. Enter opens one."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from core.describe import percent, points, shorten
from core.home import RunInfo, Summary, list_runs
from core.remove import delete_run
from core.summary import lacks_summary, with_summary
from screens.base import RunScreen
from screens.keys import bindings
from screens.pane import Pane
from screens.text import Part, Row, cut, fit, row, span_of
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
    "n starts one by a form. Or in another terminal (no key, no network, no GPU needed):",
    "    intern run --task pocket/addition",
    "    intern run --task DIRECTORY --model PATH_OR_HUB_ID --hours 10",
    "",
    "It appears here at once; Enter opens it.",
)


class RunList(Pane):
    """Two lines a run: id, state, score; goal and what it does."""

    NAME = "Runs"
    LETTER = "r"
    KEEPS_CHOICE = True
    OF_A_RUN = False

    def __init__(self) -> None:
        super().__init__(id="runlist")
        self.runs: list[RunInfo] | None = None
        self.marked: list[str] = []
        """Runs to compare, in the order in which they were marked."""

    def title(self, view: View) -> str:
        return f"Runs: {len(self.runs)}" if self.runs else "Runs"

    def subtitle(self, view: View) -> str:
        return "Enter opens   r replays   n new   v compare   D delete" if self.runs else "n starts a run"

    def rows(self, view: View, width: int, height: int) -> list[Row]:
        if self.runs is None:
            return [row(("reading …", "dim"))]
        if not self.runs:
            return [row((cut(line, width), "accent" if line.startswith("    ") else "")) for line in START]
        rows = [r for info in self.runs for r in self._run(info, width)]
        return rows + compared([i for m in self.marked for i in self.runs if i.run == m], width)

    def _run(self, info: RunInfo, width: int) -> list[Row]:
        s = info.summary
        role = ROLE.get(info.status, "dim")
        mark = "◆ " if info.run in self.marked else "  "
        parts: list[Part] = [(mark, "accent"), (fit(info.run, 22), "strong"), (fit(info.status, 12), role)]
        best = percent(s.best) if s.best is not None else "no score"
        base = f"{percent(s.baseline)} → " if s.baseline is not None and s.best is not None else ""
        parts.append(fit(base + best, 18))
        if len(s.spark) > 1 and width >= 90:
            parts.append((fit(spark(s.spark[-16:], min(len(s.spark), 16)), 17), "line"))
        if width >= 90:
            parts.append((fit(lasted(s), 11), "dim"))
        if s.approvals:
            parts.append((f"! {s.approvals} waiting  ", "waiting strong"))
        parts.append((cut(s.task, 24), "dim"))
        what = shorten(s.title or s.goal or "", 70) + (f" · {s.doing}" if s.doing and info.host else "")
        if info.status == "interrupted":
            what = f"no host works on it: intern resume {info.run} · {what}"
        return [row(*parts), row(("    " + cut(what, width - 4), "dim"))]

    @property
    def chosen(self) -> RunInfo | None:
        """The run under the cursor; the newest where there is none."""
        if not self.runs:
            return None
        return self.runs[min(max(self.cursor, 0) // 2, len(self.runs) - 1)]

    def move(self, by: int) -> None:
        """Run by run: the cursor stands on its first line."""
        if self.cursor < 0:
            super().move(by if by < 0 else 1)
            self.set_reactive(Pane.cursor, max(self.cursor, 0) // 2 * 2)
            self._draw()
        else:
            super().move(by * 2)


def lasted(s: Summary) -> str:
    """From the run's start to its last event."""
    if not s.started or not s.updated:
        return ""
    return "in " + span_of((datetime.fromisoformat(s.updated) - datetime.fromisoformat(s.started)).total_seconds())


def compared(runs: list[RunInfo], width: int) -> list[Row]:
    """Marked runs against each other: scores are compared where they measure the same thing, and only there."""
    if len(runs) < 2:
        return []
    rows = [row(), row(("Marked runs", "title"))]
    for info in runs:
        s = info.summary
        gain = f"{points(s.delta)} held-out" if s.delta is not None else "no held-out result"
        text = f"{percent(s.baseline)} → {percent(s.best)}"
        rows.append(
            row(
                fit("  " + info.run, 25),
                fit(text, 20),
                fit(gain, 20),
                (cut(f"{s.task}, {s.brain}", max(width - 66, 8)), "dim"),
            )
        )
    tasks = {info.summary.task for info in runs}
    if len(tasks) > 1:
        rows.append(row(("  of different tasks: these scores cannot be compared", "waiting")))
    elif all(i.summary.best is not None for i in runs):
        best = max(runs, key=lambda i: i.summary.best or 0.0)
        rows.append(row((f"  highest: {best.run}. Their curves: Enter, then 2 and v", "dim")))
    return rows


def delete_words(info: RunInfo) -> str:
    """What deleting takes away."""
    size = sum(f.stat().st_size for f in Path(info.folder).rglob("*") if f.is_file() and not f.is_symlink())
    return (
        f"{info.run} ({info.status}, {info.summary.task}): its log, its report, its checkpoints and final_model are deleted, "
        f"{size / 1e6:.0f} MB in {info.folder}.\nThere is no way back. Runs forked from it stay."
    )


class Runs(RunScreen):
    """The list, read again every two seconds; a log is opened only where a run came without its summary."""

    NAME = "runs"
    BINDINGS: ClassVar[list[BindingType]] = list(bindings("runs"))
    DEFAULT_CSS = "Runs #runlist { height: 1fr; }"

    def body(self) -> ComposeResult:
        yield RunList()

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[str, RunInfo] = {}
        """Runs that came without a summary, by folder, once their logs were looked into."""

    def on_mount(self) -> None:
        self._read()
        self.set_interval(REFRESH_S, self._read)

    def _read(self) -> None:
        if self.is_current:
            self.desk.in_background(list_runs, self._came)

    def on_screen_resume(self) -> None:
        self._read()

    def _came(self, runs: list[RunInfo]) -> None:
        known = [self._made.get(info.folder, info) if lacks_summary(info) else info for info in runs]
        for pane in self.query(RunList):  # none while the screen is still being put together, or on the way out
            pane.runs = known
        self.refresh_view()
        missing = [info for info in known if lacks_summary(info) and info.folder not in self._made]
        if missing:
            self._made.update((info.folder, info) for info in missing)  # asked for once
            self.desk.in_background(lambda: [with_summary(info) for info in missing], self._completed)

    def _completed(self, infos: list[RunInfo]) -> None:
        self._made.update((info.folder, info) for info in infos)
        self._read()

    @property
    def list(self) -> RunList:
        return self.query_one(RunList)

    def action_new_run(self) -> None:
        from screens.new_run import NewRun

        self.app.push_screen(NewRun(), lambda values: self.desk.start_run(values) if values is not None else None)

    def action_mark_run(self) -> None:
        info, pane = self.list.chosen, self.list
        if info is None:
            return
        if pane.cursor < 0:
            pane.move(1)  # the run that is marked is the one that is seen to be chosen
        if info.run in pane.marked:
            pane.marked.remove(info.run)
        else:
            pane.marked.append(info.run)
        if len(pane.marked) == 1:
            self.desk.notice("marked: v on another run compares the two", "dim")
        self.refresh_view()

    def action_delete(self) -> None:
        from screens.confirm import Confirm

        info = self.list.chosen
        if info is None:
            return
        if info.host is not None:
            self.desk.notice(f"not now: {info.run} is running (pid {info.host.pid}); stop it first")
            return

        def measured(words: str) -> None:
            ask = Confirm("Delete this run?", words, "delete", "n keep it")
            self.app.push_screen(ask, lambda yes: self._delete(info) if yes else None)

        self.desk.in_background(lambda: delete_words(info), measured)

    def _delete(self, info: RunInfo) -> None:
        def gone(_: None) -> None:
            self.desk.notice(f"deleted {info.run}", "dim")
            self._read()

        self.desk.in_background(lambda: delete_run(Path(info.folder)), gone)

    def action_fork(self) -> None:
        """A fork begins at a moment, and only an open run has one."""
        info, view = self.list.chosen, self.desk.view
        if info is not None and (view is None or view.run != info.run):
            self.desk.notice(f"r opens {info.run}; go to the moment to begin at, then f", "dim")
        else:
            super().action_fork()

    def action_approvals(self) -> None:
        """Those of the run under the cursor: it is opened, and they are asked at once."""
        info = self.list.chosen
        view = self.desk.view
        if info is None or (view is not None and view.run == info.run):
            super().action_approvals()
        elif info.host is None:
            self.desk.notice(f"{info.run} has no host: nothing can be decided there", "dim")
        else:
            self.desk.open_run(Path(info.folder), approvals=True)

    def action_open(self, replay: bool) -> None:
        info = self.query_one(RunList).chosen
        if info is None:
            self.desk.notice("there is no run to open yet", "dim")
            return
        over = info.host is None and info.summary.status in ("finished", "failed", "stopped")
        self.desk.open_run(Path(info.folder), replay=replay or over)
