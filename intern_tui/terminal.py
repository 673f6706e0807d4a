"""What goes to the terminal beside the picture (its title, the way it is left), and of the picture only what differs."""

from __future__ import annotations

import os
from typing import Any, cast

from rich.console import RenderableType
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.filter import Monochrome, NoColor
from textual.screen import Screen

from intern_tui import title
from intern_tui.cells import Difference, Frame
from intern_tui.key_order import KeyOrderApp
from screens.view import View


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
        if self._driver is not None and not self.is_headless and not self.is_web:
            self._driver.write(sequence)

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
