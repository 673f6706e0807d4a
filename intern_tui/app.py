"""The terminal UI: opens a run live or as a replay, feeds the screens, carries commands to the host.

What the screens draw is in `screens/`; what moves is in `intern_tui/session.py`; what the screens ask for is in
`intern_tui/desk.py`; what the terminal gets is in `intern_tui/terminal.py`; how the command line gets here is in
`intern_tui/opening.py`. This file joins them: opening runs, the clock, switching screens, the palette.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.worker import get_current_worker

from core import home
from core.player import Index, nearest_speed
from core.replay_index import LONG, load_index, preview, read_index
from core.state import RunState
from intern_tui import ahead, said
from intern_tui.desk import AppDesk
from intern_tui.feed import LiveFeed
from intern_tui.session import Session, patient_source, session_for
from intern_tui.themes import DEFAULTS, OURS, wanted
from screens.base import RunScreen
from screens.by_name import make_screen
from screens.keys import KEYS, shown
from screens.view import Link, View
from screens.widgets.prompt import Prompt
from store.errors import StoreError
from store.source import EventSource

TICK_S = 0.25
"""The feed's rhythm: four times a second, but for what a person waits for, which is shown as it comes."""
CLOCK_S = 1.0
"""How often the clocks on the screen move when nothing else does."""
AHEAD_S = 1.0
"""When what later keys need is imported: after the first picture, which it must not hold up."""
BREATH_S = 0.02
"""Rest between two imports, for keys and pictures."""
LOOK_S = 60.0
"""How often the program's own files are looked at."""


class InternApp(AppDesk):
    """Views out, commands in (`intern_tui/desk.py`)."""

    TITLE = "ML Intern"
    ENABLE_COMMAND_PALETTE = True
    CSS = "Input > .input--placeholder { color: $text-muted; }"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "detach", "detach", show=False, priority=True)]

    def __init__(
        self,
        session: Session | None = None,
        *,
        to: int | None = None,
        speed: float = 1,
        keymap: dict[str, str] | None = None,
        first: str = "",
    ) -> None:
        super().__init__(session)
        for theme in OURS:
            self.register_theme(theme)
        self.theme = wanted()
        if self.no_color:
            self.without_colours()
        self._to = to
        self._speed = nearest_speed(speed)
        self._first = first or ("mission" if session is not None else "runs")
        self._drawn_at = 0.0
        self._waiting = 0
        self._ask_at_once = False
        self._screens: dict[str, Screen[None]] = {}
        self._started_from: ahead.Stamp = {}
        self.imported_ahead = False
        self.updated = False
        """The program's files have changed since it was started."""
        if keymap:
            self.set_keymap(keymap)

    # ------------------------------------------------------------------------------------------------------ running

    def on_mount(self) -> None:
        self.begin_terminal()
        Prompt.said[:] = said.load()
        self.action_screen(self._first)
        if self.session is not None:
            self._begin(self.session)
        else:
            self.redraw()
        self.set_interval(TICK_S, self._tick)
        self.set_timer(AHEAD_S, lambda: self.run_worker(self.import_ahead, thread=True, group="ahead"))

    def import_ahead(self) -> None:
        """In a thread: take in what later keys need, then watch whether the program is replaced under us."""
        worker = get_current_worker()
        self._started_from = ahead.stamp()
        for _ in ahead.imports():
            if worker.is_cancelled:
                return
            time.sleep(BREATH_S)
        self.imported_ahead = True
        self.call_from_thread(self.set_interval, LOOK_S, self.look_at_program_soon)

    def look_at_program_soon(self) -> None:
        self.run_worker(self.look_at_program, thread=True, group="ahead")

    def look_at_program(self) -> None:
        """In a thread, for a slow disk: once the files are others, say so and look no more."""
        if not self.updated and ahead.stamp() != self._started_from:
            self.updated = True
            self.call_from_thread(self.redraw)

    def _begin(self, session: Session) -> None:
        if isinstance(session.feed, LiveFeed):
            session.feed.told = lambda: self.call_later(self._tick)
        session.feed.start()
        self._waiting = 0
        if not session.live:
            self._load_replay(session, self._to)
        self._tick()

    def open_run(self, folder: Path, replay: bool = False, approvals: bool = False) -> None:
        self._ask_at_once = approvals
        if self.session is not None:
            self.session.feed.close()
        self.session = session_for(folder, replay=replay)
        self._to, self._view = None, None
        self.action_screen("mission")
        self._begin(self.session)

    def replay_and(self, session: Session, how: str, amount: float) -> None:
        self._load_replay(session, None, then=how, amount=amount)

    def _load_replay(self, session: Session, to: int | None, then: str = "", amount: float = 0) -> None:
        """Read the whole run in a thread, then stand at `to` and make the move that asked for it."""
        session.loading = True
        session.notice("reading the run …", "dim")

        def read() -> None:
            try:
                source = patient_source(session)
                index = load_index(session.folder, source)
                if index is None:
                    if source.last[0] >= LONG:
                        self.call_from_thread(session.show_preview, preview(source))
                    index = read_index(session.folder, source, session.report_progress)
            except StoreError as error:
                self.call_from_thread(self._not_readable, session, str(error))
                return
            self.call_from_thread(ready, source, index)

        def ready(source: EventSource, index: Index) -> None:
            session.start_replay(source, index, to, self._speed)
            session.notice("", "")
            if then and not (then == "play" and session.live):
                self.move(then, amount)
            self.redraw()

        self.run_worker(read, thread=True, group="replay")

    def _not_readable(self, session: Session, error: str) -> None:
        session.loading = False
        session.error = error
        session.notice(error, "bad")
        self.redraw()

    def _tick(self) -> None:
        try:
            changed = self.session.tick() if self.session is not None else False
        except StoreError as error:
            if self.session is not None:
                self._not_readable(self.session, str(error))
            return
        if changed or (self._clock_moves() and time.monotonic() - self._drawn_at >= CLOCK_S):
            self.redraw()

    def _clock_moves(self) -> bool:
        """Whether time alone changes the picture: a replay that stands still has no clock, but a notice that ends."""
        session = self.session
        if session is None or session.player is None or self._view is None:
            return session is not None
        return session.line(session.state) != self._view.line

    def redraw(self) -> None:
        """Hand a fresh view to the screen that is seen (below a dialog it goes on moving)."""
        if not self.is_running:
            return  # on the way out timers and threads still call, and the screens lose their widgets one by one
        view = self.session.view() if self.session is not None else idle_view()
        self._view = replace(view, updated=True) if self.updated else view
        self._drawn_at = time.monotonic()
        for screen in reversed(self.screen_stack):
            if isinstance(screen, RunScreen):
                screen.refresh_view()
                break
        self._ring(self._view)
        self.entitle(self._view)

    def _ring(self, view: View) -> None:
        """One bell when something new waits for a person."""
        waiting = len(view.state.waiting_approvals()) + sum(not q.answer for q in view.state.questions.values())
        if waiting > self._waiting and not view.replay:
            self.bell()
        self._waiting = waiting
        if waiting and self._ask_at_once and isinstance(self.screen, RunScreen):
            self._ask_at_once = False
            self.screen.action_approvals()

    # ------------------------------------------------------------------------------------------------------ actions

    def action_screen(self, name: str) -> None:
        """Switch to one of the six screens; made when first seen."""
        if name not in self._screens:
            self._screens[name] = make_screen(name)
        screen = self._screens[name]
        while len(self.screen_stack) > 2:
            self.pop_screen()
        if len(self.screen_stack) == 1:
            self.push_screen(screen)
        elif self.screen is not screen:
            self.install_once(name)
            self.switch_screen(screen)

    def install_once(self, name: str) -> None:
        """Installed screens keep their state when another one takes their place."""
        for known, screen in self._screens.items():
            if not self.is_screen_installed(screen):
                self.install_screen(screen, known)

    def action_detach(self) -> None:
        self.exit("detached")

    def get_system_commands(self, screen: Screen[Any]) -> Any:
        """The palette: every action of the key table that this screen has, and the themes."""
        if isinstance(screen, RunScreen):
            for key in KEYS:
                if key.action != "app.command_palette" and key.screen in ("", screen.NAME):
                    yield SystemCommand(
                        key.words, f"{key.group}, key {shown(key, self.keymap)}", self._runner(screen, key.action)
                    )
        themes = () if self.no_color else (*(t.name for t in OURS), "ansi-dark", "ansi-light")
        for theme in themes:
            yield SystemCommand(f"Theme {theme}", "colours", lambda name=theme: setattr(self, "theme", name))

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return DEFAULTS

    def _runner(self, screen: RunScreen, action: str) -> Callable[[], None]:
        async def run() -> None:
            await screen.run_action(action)

        return lambda: self.call_next(run)

    def on_unmount(self) -> None:
        self.leave_terminal()
        if self.session is not None:
            self.session.feed.close()


def idle_view() -> View:
    """What the bars show while no run is open."""
    return View(
        RunState(title="ML Intern"),
        time.time_ns() // 1000,
        link=Link("none", f"runs live in {home.runs_dir()}"),
        unread="no run is open: 6 lists them, Enter opens one",
    )
