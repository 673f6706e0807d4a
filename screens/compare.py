"""`v` on Curves: which jobs to lay over the chosen one, of this run and of others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.strip import Strip
from textual.widgets import SelectionList
from textual.widgets.selection_list import Selection

from core.errors import InternError
from core.home import RunInfo, list_runs
from core.sanitize import one_line
from core.session import open_source
from screens.dialog import Dialog
from screens.view import Desk
from store.errors import StoreError

if TYPE_CHECKING:
    from screens.curves import Other

MOST_RUNS = 30
"""Other runs whose jobs are offered, newest first."""


def jobs_of(folder: Path) -> list[Other]:
    """Jobs of another run that logged something, the longest first. Raises StoreError."""
    from screens.curves import Other

    source = open_source(folder)
    try:
        rows = source.sql("SELECT job, max(step) AS steps FROM metrics GROUP BY job ORDER BY steps DESC", limit=12).rows
    finally:
        source.close()
    return [Other(f"{folder.name} {job}", folder, str(job), max(int(steps or 1), 1)) for job, steps in rows]


class Marks(SelectionList[int]):
    """A cross stands only before what is marked: Textual draws it before all and tells them apart by colour alone."""

    def render_line(self, y: int) -> Strip:
        line = super().render_line(y)
        at = self.scroll_offset.y + y
        if at >= self.option_count or self.get_option_at_index(at).value in self.selected:
            return line
        left, cross, *rest = line
        return Strip([left, Segment(" " * len(cross.text), cross.style), *rest])


class Compare(Dialog["list[Other]"]):
    """Space marks, Enter compares, Escape leaves it as it was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "leave"),
        Binding("enter", "take", "compare", priority=True),
    ]
    DEFAULT_CSS = """
    Compare { align: center middle; }
    Compare SelectionList { width: 84; max-width: 96%; height: auto; max-height: 80%; border: round $primary; background: $surface; }
    """

    def __init__(self, others: list[Other], marked: list[Other], most: int, run: str) -> None:
        super().__init__()
        self._others = list(others)
        self._marked = list(marked)
        self._most = most
        self._run = run

    def compose(self) -> ComposeResult:
        box = Marks()
        box.border_title = f"Compare with (at most {self._most})"
        box.border_subtitle = "Space marks   Enter compares   Esc leaves"
        yield box

    def on_mount(self) -> None:
        self._fill(self._others)
        box = self.query_one(Marks)
        box.highlighted = 0 if self._others else None
        box.focus()
        desk: Desk = self.app  # type: ignore[assignment]
        desk.in_background(self._elsewhere, self._came)

    def _elsewhere(self) -> list[Other]:
        found: list[Other] = []
        runs: list[RunInfo] = [info for info in list_runs() if info.run != self._run]
        for info in runs[:MOST_RUNS]:
            try:
                found += jobs_of(Path(info.folder))[:4]
            except (StoreError, InternError, OSError):
                continue  # a run that cannot be read is no reason not to offer the others
        return found

    def _came(self, found: list[Other]) -> None:
        if self.is_attached:
            self._others += found
            self._fill(found)

    def _fill(self, others: list[Other]) -> None:
        box = self.query_one(Marks)
        start = len(self._others) - len(others)
        box.add_options(
            [
                Selection(Content(f"{one_line(o.name)}, {o.steps} steps"), start + i, o in self._marked)
                for i, o in enumerate(others)
            ]
        )

    def action_take(self) -> None:
        chosen = [self._others[at] for at in self.query_one(Marks).selected]
        self.close_with(chosen[: self._most])
