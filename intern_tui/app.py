"""The terminal UI: opens a run live or as a replay, feeds the screens, carries commands to the host.

What the screens draw is in `screens/`; what moves is in `intern_tui/session.py`. This file joins them to Textual:
timers, worker threads, screen switching, themes, the way out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, cast

from rich.console import RenderableType
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from core import home
from core.errors import InternError
from core.player import Index, nearest_speed
from core.replay_index import LONG, load_index, preview, read_index
from core.sanitize import one_line
from core.state import RunState
from intern_tui import bookmarks, said, start, title
from intern_tui.cells import Difference, Frame
from intern_tui.feed import FileFeed, LiveFeed
from intern_tui.session import Sent, Session
from intern_tui.themes import OURS, wanted
from screens.base import RunScreen
from screens.keys import KEYS
from screens.view import Link, View
from screens.widgets.prompt import Prompt
from store.errors import LogBusy, LogMissing, StoreError
from store.event import Event
from store.source import EventSource

TICK_S = 0.25
"""The feed's rhythm: four times a second, but for what a person waits for, which is shown as it comes."""
CLOCK_S = 1.0
"""How often the clocks on the screen move when nothing else does."""
MOST_EFFECTS = 20
"""Effects of one event that are named: an event has few, the run's first has thousands."""
NEEDS_PLAYER = ["play", "skip", "event", "mark", "plan_step", "start", "end", "seq", "share"]


class InternApp(App[str]):
    """The desk of `screens/view.py`: views out, commands in."""

    TITLE = "ML Intern"
    ENABLE_COMMAND_PALETTE = True
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
        super().__init__()
        self.animation_level = "none"
        for theme in OURS:
            self.register_theme(theme)
        self.theme = wanted()
        self.session = session
        self._to = to
        self._speed = nearest_speed(speed)
        self._first = first or ("mission" if session is not None else "runs")
        self._view: View | None = None
        self._drawn_at = 0.0
        self._waiting = 0
        self._title = ""
        self._ask_at_once = False
        self._screens: dict[str, Screen[None]] = {}
        self._frame = Frame() if os.environ.get("INTERN_CELL_DIFF") != "0" else None
        if keymap:
            self.set_keymap(keymap)

    # -------------------------------------------------------------------------------------------------- the desk

    @property
    def view(self) -> View | None:
        return self._view

    @property
    def folder(self) -> Path:
        return self.session.folder if self.session is not None else Path()

    def effects(self, seq: int, then: Callable[[list[int]], None]) -> None:
        session = self.session
        kept = session.player.index.kept if session is not None and session.player is not None else None
        if kept is not None:
            then([event.seq for event in kept if event.cause == seq][:MOST_EFFECTS])
            return
        query = f"SELECT seq FROM events WHERE cause = {int(seq)} ORDER BY seq"
        self.in_background(lambda: [int(r[0]) for r in self.source().sql(query, limit=MOST_EFFECTS).rows], then)

    def source(self) -> EventSource:
        if self.session is None:
            raise LogMissing("no run is open", next="Choose one on the Runs screen (6)")
        return self.session.feed.source()

    def in_background(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        def run() -> None:
            try:
                result = work()
            except (StoreError, InternError, OSError) as error:
                self.call_from_thread(self.notice, str(error), "bad")
                return
            self.call_from_thread(then, result)

        self.run_worker(run, thread=True, group="background")

    def notice(self, text: str, role: str = "waiting") -> None:
        if self.session is not None:
            self.session.notice(text, role)
            self.redraw()
        else:
            self.notify(text, markup=False)

    def command(self, command: str, text: str = "", **arguments: Any) -> None:
        session = self.session
        if session is None:
            return
        if command in ("steer", "queue"):
            said.add(text)
        sent = session.sent = Sent(command, text, time.monotonic())
        self.redraw()

        def ask() -> None:
            try:
                answer = session.feed.command(command, text, arguments)
            except StoreError as error:
                answer = {"ok": False, "error": str(error)}
            self.call_from_thread(self._answered, sent, answer)

        self.run_worker(ask, thread=True, group="command")

    def _answered(self, sent: Sent, answer: dict[str, Any]) -> None:
        if answer.get("ok"):
            sent.seq = int(answer.get("seq") or 0)
        else:
            sent.error = str(answer.get("error") or "the host refused without a reason")
        self.redraw()

    def look_up(self, seq: int, then: Callable[[Event | None], None]) -> None:
        session = self.session
        kept = session.player.index.kept if session is not None and session.player is not None else None
        if kept is not None and 1 <= seq <= len(kept):
            then(kept[seq - 1])
            return

        self.in_background(lambda: self.source().get(seq) if seq > 0 else None, then)

    def move(self, how: str, amount: float = 0) -> None:
        session = self.session
        if session is None or session.loading:
            return
        if how == "live":
            self._back_to_live(session)
            return
        player = session.player
        if player is None:
            if how in NEEDS_PLAYER and session.live:
                self._load_replay(session, None, then=how, amount=amount)
            return
        moves: dict[str, Callable[[], object]] = {
            "play": player.toggle,
            "skip": lambda: player.skip(amount),
            "event": lambda: player.step(int(amount)),
            "mark": lambda: player.mark(int(amount), session.bookmarks),
            "plan_step": lambda: player.plan_step(int(amount)),
            "speed": lambda: player.faster(int(amount)),
            "start": player.home,
            "end": player.end,
            "seq": lambda: player.seek(int(amount)),
            "share": lambda: player.seek_time(player.start_us + int(amount * (player.end_us - player.start_us))),
        }
        moves[how]()
        self.redraw()

    def _back_to_live(self, session: Session) -> None:
        if not session.live:
            self.notice("this run is not live: it is replayed from its log", "dim")
        elif session.player is not None:
            session.player = None
            self.redraw()

    def bookmark(self) -> None:
        session, view = self.session, self._view
        if session is None or view is None or not view.state.seq:
            return
        marks = bookmarks.toggled(session.bookmarks, view.state.seq, view.now_us)
        session.bookmarks, added = marks, len(marks) > len(session.bookmarks)
        self.in_background(lambda: bookmarks.save(session.folder.name, marks), lambda _: None)
        self.notice(f"bookmark {'set' if added else 'taken away'} at event {view.state.seq}; [ and ] go there", "dim")

    def copy(self, text: str, what: str) -> None:
        self.copy_to_clipboard(text)
        path = home.home() / "copied.txt"

        def write() -> Path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")
            return path

        self.in_background(write, lambda at: self.notice(f"copied {one_line(what)[:60]}; also in {at}", "dim"))

    def fork(self, seq: int, steering: str) -> None:
        session = self.session
        if session is None:
            return
        self.notice(f"forking from event {seq} …", "dim")
        self.in_background(
            lambda: start.fork_run(session.folder, seq, steering),
            lambda folder: self.notice(f"{folder.name} begins at event {seq}: 6, then Enter, opens it", "good"),
        )

    def start_run(self, values: dict[str, str]) -> None:
        self.notice("starting the run …", "dim")
        self.in_background(lambda: start.new_run(values), self.open_run)

    # ------------------------------------------------------------------------------------------------------ running

    def on_mount(self) -> None:
        Prompt.said[:] = said.load()
        self._write(title.SAVE)
        self.app_resume_signal.subscribe(self, self._forget_frame, immediate=True)
        self.action_screen(self._first)
        if self.session is not None:
            self._begin(self.session)
        else:
            self.redraw()
        self.set_interval(TICK_S, self._tick)

    def _begin(self, session: Session) -> None:
        if isinstance(session.feed, LiveFeed):
            session.feed.told = lambda: self.call_later(self._tick)
        session.feed.start()
        self._waiting = 0
        if not session.live:
            self._load_replay(session, self._to)
        self._tick()

    def open_run(self, folder: Path, replay: bool = False, approvals: bool = False) -> None:
        """Look at another run (from the Runs screen)."""
        self._ask_at_once = approvals
        if self.session is not None:
            self.session.feed.close()
        self.session = session_for(folder, replay=replay)
        self._to, self._view = None, None
        self.action_screen("mission")
        self._begin(self.session)

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
        if changed or time.monotonic() - self._drawn_at >= CLOCK_S:
            self.redraw()

    def redraw(self) -> None:
        """Hand a fresh view to the screen that is seen (below a dialog it goes on moving)."""
        if not self.is_running:
            return  # on the way out timers and threads still call, and the screens lose their widgets one by one
        self._view = self.session.view() if self.session is not None else idle_view()
        self._drawn_at = time.monotonic()
        for screen in reversed(self.screen_stack):
            if isinstance(screen, RunScreen):
                screen.refresh_view()
                break
        self._ring(self._view)
        self._entitle(self._view)

    def _ring(self, view: View) -> None:
        """One bell when something new waits for a person."""
        waiting = len(view.state.waiting_approvals()) + sum(not q.answer for q in view.state.questions.values())
        if waiting > self._waiting and not view.replay:
            self.bell()
        self._waiting = waiting
        if waiting and self._ask_at_once and isinstance(self.screen, RunScreen):
            self._ask_at_once = False
            self.screen.action_approvals()

    def _entitle(self, view: View) -> None:
        """The terminal's title, when it changes."""
        now = title.title_of(view)
        if now != self._title:
            self._title = now
            self._write(title.sequence(now))

    def _write(self, sequence: str) -> None:
        """To a real terminal only: not to a browser, not in tests."""
        if self._driver is not None and not self.is_headless and not self.is_web:
            self._driver.write(sequence)

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Textual's way to the terminal: of an update, only the cells that differ."""
        if self._frame is not None and isinstance(renderable, ChopsUpdate | LayoutUpdate):
            renderable = cast(RenderableType, Difference(self._frame, renderable, self.size))
        super()._display(screen, renderable)

    def on_resize(self) -> None:
        self._forget_frame()

    def _forget_frame(self, _: object = None) -> None:
        if self._frame is not None:
            self._frame.forget()

    # ------------------------------------------------------------------------------------------------------ actions

    def action_repaint(self) -> None:
        self._forget_frame()
        self.screen.refresh()

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
        """The palette: every action of the key table, and the themes."""
        if isinstance(screen, RunScreen):
            for key in KEYS:
                if key.action != "app.command_palette":
                    yield SystemCommand(key.words, f"{key.group}, key {key.shown}", self._runner(screen, key.action))
        for theme in (*(t.name for t in OURS), "ansi-dark", "ansi-light"):
            yield SystemCommand(f"Theme {theme}", "colours", lambda name=theme: setattr(self, "theme", name))

    def _runner(self, screen: RunScreen, action: str) -> Callable[[], None]:
        async def run() -> None:
            await screen.run_action(action)

        return lambda: self.call_next(run)

    def on_unmount(self) -> None:
        self._write(title.RESTORE)
        if self.session is not None:
            self.session.feed.close()


def make_screen(name: str) -> Screen[None]:
    """A screen by its name; imported when first used."""
    if name == "mission":
        from screens.mission import Mission

        return Mission()
    if name == "events":
        from screens.events import Events

        return Events()
    if name == "curves":
        from screens.curves import Curves

        return Curves()
    if name == "evals":
        from screens.evals import Evals

        return Evals()
    if name == "research":
        from screens.research import Research

        return Research()
    from screens.runs import Runs

    return Runs()


def idle_view() -> View:
    """What the bars show while no run is open."""
    return View(
        RunState(title="ML Intern"), time.time_ns() // 1000, link=Link("none", f"runs live in {home.runs_dir()}")
    )


def session_for(folder: Path, *, replay: bool) -> Session:
    """Live where a host is working on the run (or it is unfinished), a replay otherwise."""
    socket = home.socket_path(folder)
    if replay:
        return Session(folder, FileFeed(folder, socket), "replay")
    return Session(folder, LiveFeed(folder, socket), "live")


def patient_source(session: Session) -> EventSource:
    """The run's log. A host that is just starting holds the file before it answers: wait for it a little."""
    for _ in range(10):
        try:
            return session.feed.source()
        except LogBusy:
            time.sleep(0.3)
    return session.feed.source()


def quiet_animations() -> None:
    """Over a slow line every byte counts; a calm screen needs no animation anywhere."""
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")


def run_live(folder: Path, socket_path: Path | None = None) -> int:
    """Follow a run until the person leaves; then say how to come back. The run goes on."""
    quiet_animations()
    feed = LiveFeed(folder, socket_path or home.socket_path(folder))
    app = InternApp(Session(folder, feed, "live"), keymap=user_keymap())
    app.run()
    print(farewell(app))
    return app.return_code or 0


def run_replay(folder: Path, to: int | None = None, speed: float = 1) -> int:
    """Replay a run from its log."""
    quiet_animations()
    app = InternApp(session_for(folder, replay=True), to=to, speed=speed, keymap=user_keymap())
    app.run()
    return app.return_code or 0


def run_home() -> int:
    """The list of runs; from there into one of them."""
    quiet_animations()
    app = InternApp(keymap=user_keymap())
    app.run()
    if app.session is not None and app.session.live:
        print(farewell(app))
    return app.return_code or 0


def user_keymap() -> dict[str, str]:
    from intern_tui.keys import load_keymap

    return load_keymap(home.home() / "keys.toml")


def farewell(app: InternApp) -> str:
    """The last line on the terminal: what became of the run, and how to come back to it."""
    session = app.session
    if session is None:
        return ""
    run, state = session.folder.name, session.folder_state.state
    if state.finished_ts:
        return f"Run {run} has {state.status}. Its report: intern report {run}"
    if session.link.kind == "gone":
        return f"Run {run} has no host. Take it up again: intern resume {run}"
    return f"Run {run} goes on. Come back with: intern attach {run}"
