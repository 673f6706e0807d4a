"""Mission: the screen left open all day. What is it doing, is it going well, does it need me?"""

from __future__ import annotations

from pathlib import Path

from textual import events
from textual.app import ComposeResult
from textual.containers import Container

from screens.base import RunScreen
from screens.findings import count_open
from screens.pane import Pane
from screens.view import View
from screens.widgets.curve import Curve
from screens.widgets.deltas import Deltas
from screens.widgets.devices import Devices
from screens.widgets.diagnosis import Diagnosis
from screens.widgets.feed import Feed
from screens.widgets.footer import Tabs
from screens.widgets.plan import Plan

PANES: tuple[type[Pane], ...] = (Plan, Curve, Devices, Deltas, Feed, Diagnosis)
GRID_WIDTH, GRID_HEIGHT = 100, 24
"""From this size on the six panes fit; below, one pane and tabs."""


class Mission(RunScreen):
    """Six panes in a grid, or one of them with tabs (narrow terminals, or zoomed)."""

    NAME = "mission"
    CSS = Path(__file__).with_name("mission.tcss").read_text(encoding="utf-8")
    """Read with the module: a path would be read when the screen is first shown, from a newer version perhaps."""

    def __init__(self) -> None:
        super().__init__()
        self.zoomed = False
        self.at = 0
        """Which pane is the current one."""

    def body(self) -> ComposeResult:
        yield Tabs([(cls.NAME.split()[0], "") for cls in PANES])
        with Container(id="grid", classes="body"):
            for cls in PANES:
                yield cls(id=cls.__name__.lower())

    @property
    def single(self) -> bool:
        """Only the current pane is shown."""
        size = self.app.size
        return self.zoomed or size.width < GRID_WIDTH or size.height < GRID_HEIGHT

    def on_mount(self) -> None:
        self._arrange()

    def on_resize(self, event: events.Resize) -> None:
        self._arrange()

    def _arrange(self) -> None:
        single = self.single
        self.set_class(single, "-single")
        panes = self.panes()
        for i, pane in enumerate(panes):
            pane.display = not single or i == self.at
        self.query_one(Tabs).current = self.at
        if not isinstance(self.focused, Pane) and self.focused is not None:
            return  # somebody is typing
        if self.focused is not panes[self.at]:
            panes[self.at].focus()
        self.call_after_refresh(self.refresh_view)

    def show(self, view: View) -> None:
        state = view.state
        waiting = count_open(state)
        news = {"Diagnosis": f" {waiting} open" if waiting else f" {len(state.failures)}" if state.failures else ""}
        self.query_one(Tabs).names = [(cls.NAME.split()[0], news.get(cls.NAME, "")) for cls in PANES]
        super().show(view)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if isinstance(event.widget, Pane) and event.widget in self.panes():
            self.at = self.panes().index(event.widget)

    def on_tabs_chosen(self, message: Tabs.Chosen) -> None:
        self.go_to_pane(message.at)

    def action_pane(self, by: int) -> None:
        self.go_to_pane((self.at + by) % len(PANES))

    def go_to_pane(self, at: int) -> None:
        self.at = at
        self._arrange()

    def focus_first(self) -> None:
        self.panes()[self.at].focus()

    @property
    def zooms(self) -> bool:
        return self.app.size.width >= GRID_WIDTH and self.app.size.height >= GRID_HEIGHT

    def action_zoom(self) -> None:
        if not self.zooms:
            self.desk.notice("one pane at a time at this size: Tab shows the next", "dim")
            return
        self.zoomed = not self.zoomed
        self._arrange()

    def action_metric(self, by: int) -> None:
        self.query_one(Curve).next_metric(by)

    def action_job(self, by: int) -> None:
        self.query_one(Curve).next_job(by)
