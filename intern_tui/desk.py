"""What the app does for its screens (`Desk` in `screens/view.py`): looks things up, carries commands, moves the replay.

It is the lower half of the app: `intern_tui/app.py` puts drawing, timers and opening of runs on top.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from core import home
from core.causality import cause_of, effects_of
from core.errors import InternError
from core.sanitize import one_line
from intern_tui import bookmarks, said, start
from intern_tui.session import Sent, Session
from intern_tui.terminal import TerminalApp
from screens.view import View
from store.errors import LogMissing, StoreError
from store.event import Event
from store.source import EventSource

MOST_EFFECTS = 20
"""Effects of one event that are named: an event has few, the run's first has thousands."""
NEEDS_PLAYER = ["play", "skip", "event", "mark", "plan_step", "start", "end", "seq", "share"]


class AppDesk(TerminalApp):
    """Owned by the UI thread; what takes long runs in worker threads and comes back through `call_from_thread`."""

    def __init__(self, session: Session | None = None) -> None:
        super().__init__()
        self.session = session
        self._view: View | None = None
        self.keymap: Mapping[str, str] = {}

    def set_keymap(self, keymap: Mapping[str, str]) -> None:
        """A person's own keys: for the bindings, and for whatever names a key."""
        self.keymap = keymap
        super().set_keymap(dict(keymap))

    def redraw(self) -> None:
        """Show what changed."""
        raise NotImplementedError

    def open_run(self, folder: Path, replay: bool = False, approvals: bool = False) -> None:
        """Look at another run (from the Runs screen)."""
        raise NotImplementedError

    def replay_and(self, session: Session, how: str, amount: float) -> None:
        """Read a live run whole, then make a move in it."""
        raise NotImplementedError

    # ----------------------------------------------------------------------------------------------- what is looked at

    @property
    def view(self) -> View | None:
        return self._view

    @property
    def folder(self) -> Path:
        return self.session.folder if self.session is not None else Path()

    def around(self, event: Event, then: Callable[[int, list[int]], None]) -> None:
        session = self.session
        kept = session.player.index.kept if session is not None and session.player is not None else None

        def read(first: int, last: int | None, types: Collection[str] | None) -> Iterable[Event]:
            if kept is None:
                return self.source().events(first, last, types)
            return (
                kept[seq - 1]
                for seq in range(first, min(last or len(kept), len(kept)) + 1)
                if types is None or kept[seq - 1].type in types
            )

        self.in_background(
            lambda: (cause_of(event, read), effects_of(event, read, MOST_EFFECTS)), lambda found: then(*found)
        )

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

    # ------------------------------------------------------------------------------------------------------ commands

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

    # ------------------------------------------------------------------------------------------------------ the replay

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
                self.replay_and(session, how, amount)
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

    # ---------------------------------------------------------------------------------------------- things that stay

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
