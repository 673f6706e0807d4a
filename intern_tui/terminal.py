"""What goes to the terminal beside the picture (its title, the way it is left), and of the picture only what differs."""

from __future__ import annotations

import os
import select
from typing import Any, cast

from rich.console import RenderableType
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.filter import Monochrome, NoColor
from textual.screen import Screen

from intern_tui import title
from intern_tui.cells import Difference, Frame
from intern_tui.key_order import KeyOrderApp
from screens.view import View

HANGUP_LOOK_S = 2.0


class TerminalApp(KeyOrderApp):
    """A Textual app that knows what stands on the terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.animation_level = "none"
        self._title = ""
        self._frame = Frame() if os.environ.get("INTERN_CELL_DIFF") != "0" else None

    def without_colours(self) -> None:
        """NO_COLOR. Textual chose its filter for the theme it began with: greys, which make the terminal's own colours black
        on black."""
        self._filters = [NoColor() if isinstance(f, Monochrome) else f for f in self._filters]

    def begin_terminal(self) -> None:
        """Before anything is written: the title there was comes back at the end."""
        self.write(title.SAVE)
        self.app_resume_signal.subscribe(self, self.forget_frame, immediate=True)
        if self._has_terminal():
            self.set_interval(HANGUP_LOOK_S, self._leave_if_hung_up)

    def leave_terminal(self) -> None:
        self.write(title.RESTORE)

    def entitle(self, view: View) -> None:
        """The terminal's title, when it changes."""
        now = title.title_of(view)
        if now != self._title:
            self._title = now
            self.write(title.sequence(now))

    def write(self, sequence: str) -> None:
        """To a real terminal only: not to a browser, not in tests."""
        if self._has_terminal() and self._driver is not None:
            self._driver.write(sequence)

    def _has_terminal(self) -> bool:
        return self._driver is not None and not self.is_headless and not self.is_web

    def _leave_if_hung_up(self) -> None:
        """A connection that breaks does not always end us by SIGHUP (under nohup or make, in some containers), and Textual then
        reads the terminal's end for ever, which takes a whole core from the trainings."""
        if hung_up(0):
            self.exit()

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Textual's way to the terminal: of an update, only the cells that differ."""
        if self._frame is not None and isinstance(renderable, ChopsUpdate | LayoutUpdate):
            renderable = cast(RenderableType, Difference(self._frame, renderable, self.size))
        super()._display(screen, renderable)

    def on_resize(self) -> None:
        self.forget_frame()

    def forget_frame(self, _: object = None) -> None:
        if self._frame is not None:
            self._frame.forget()

    def action_repaint(self) -> None:
        self.forget_frame()
        self.screen.refresh()


def hung_up(descriptor: int) -> bool:
    """Whether there is nobody at the other end of a terminal any more."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(state & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, state in poll.poll(0))
