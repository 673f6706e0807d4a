"""One open run in the UI: its state as it moves, the replay on top of it, and the commands on their way.

Owned by the UI thread. `tick` is called four times a second; it folds what the feed brought, or moves the replay, and
says whether anything changed. What takes long (opening a log, reading it whole, asking the host) runs in the app's
worker threads and comes back through a method here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from core import home
from core.fold import Folder
from core.player import Index, Player
from core.sanitize import one_line
from core.state import Command, RunState
from intern_tui import bookmarks
from intern_tui.feed import Feed, FileFeed, LiveFeed
from screens.view import Link, View
from store.errors import LogBusy
from store.source import EventSource

FOLD_BUDGET_S = 0.06
"""Longest folding in one tick: a burst is caught up over several, so that keys stay quick."""
CHUNK = 500
LINGER_S = 20.0
"""How long a finished command and a notice stay on the line above the footer."""


@dataclass
class Sent:
    """A command given in this program."""

    command: str
    text: str
    at: float
    seq: int = 0
    """Its command_requested event, once the host acknowledged it."""
    error: str = ""
    done_at: float = 0.0


class Session:
    """A run being looked at."""

    def __init__(self, folder: Path, feed: Feed, mode: str) -> None:
        self.folder = folder
        self.feed = feed
        self.live = mode == "live"
        """There is a host (or was): commands go to it, `L` goes back to it."""
        self.folder_state = Folder()
        self.link = Link("connecting", "opening the run")
        self.player: Player | None = None
        self.loading = False
        self.preview: RunState | None = None
        """What is shown of a long run while it is still being read."""
        self.progress = 0.0
        """Share of a long run that was read, in [0, 1]."""
        self.error = ""
        self.bookmarks = bookmarks.load(folder.name)
        self.sent: Sent | None = None
        self._notice: tuple[str, str, float] = ("", "", 0.0)
        self._last = time.monotonic()

    # ------------------------------------------------------------------------------------------------------ moving on

    def tick(self) -> bool:
        """Fold what came, move the replay. True when something changed."""
        now = time.monotonic()
        passed, self._last = now - self._last, now
        changed = self._fold() if self.live else False
        changed |= self.loading and self.preview is not None  # the progress moves
        if self.player is not None and self.player.playing:
            self.player.advance(passed)
            changed = True
        return changed

    def _fold(self) -> bool:
        deadline = time.monotonic() + FOLD_BUDGET_S
        changed = False
        while True:
            update = self.feed.drain(CHUNK)
            if update.state is not None:
                self.folder_state = Folder(update.state)
            for event in update.events:
                self.folder_state.apply(event)
            changed |= update.state is not None or bool(update.events) or update.link != self.link
            self.link = update.link
            if len(update.events) < CHUNK or time.monotonic() > deadline:
                return changed

    def start_replay(self, source: EventSource, index: Index, to: int | None, speed: int) -> None:
        """The whole run has been read: stand at `to`, or at the end."""
        self.player = Player(source, index, speed)
        self.player.seek(to if to is not None else self.player.last_seq)
        self.loading, self.preview = False, None

    def show_preview(self, state: RunState) -> None:
        """From the reading thread: something to look at until everything was read."""
        if not self.live:
            self.preview = state

    def report_progress(self, share: float) -> None:
        """From the reading thread."""
        self.progress = share

    # -------------------------------------------------------------------------------------------------------- showing

    @property
    def state(self) -> RunState:
        if self.player is not None:
            return self.player.state()
        return self.preview if self.preview is not None else self.folder_state.state

    def view(self) -> View:
        state = self.state
        return View(
            state=state,
            now_us=self.player.clock_us if self.player is not None else self._now_us(state),
            mode="replay" if self.player is not None or not self.live else "live",
            link=self.link if self.live else Link("file", self.error or self._reading()),
            player=self.player,
            run=self.folder.name,
            line=self.line(state),
            live_behind=self.live and self.player is not None,
            indexing=self.preview is not None,
            bookmarks=self.bookmarks,
            unread="" if state.seq else self._unread(),
        )

    def _unread(self) -> str:
        """Why there is nothing to draw; empty for a run whose log is really empty."""
        if self.error or self.link.kind == "gone":
            return "the run could not be read"
        if self.player is not None or self.link.kind == "live":
            return ""
        return "reading the run …" if not self.live else "looking for the run's host …"

    def _reading(self) -> str:
        if self.preview is None:
            return "reading the run"
        return f"reading the run, {100 * self.progress:.0f} %; until then curves and times are incomplete"

    def _now_us(self, state: RunState) -> int:
        """The wall clock; where no host lives time stands at the last event."""
        return (
            state.ts if self.link.kind == "gone" or self.preview is not None else max(time.time_ns() // 1000, state.ts)
        )

    def notice(self, text: str, role: str) -> None:
        self._notice = (one_line(text), role, time.monotonic())

    def line(self, state: RunState) -> tuple[str, str]:
        """The newer of the last notice and the last command's progress."""
        now = time.monotonic()
        text, role, at = self._notice
        if self.sent is not None and self.sent.at >= at:
            return self._progress(self.sent, self.folder_state.state, now)
        return (text, role) if text and now - at < LINGER_S else ("", "")

    def _progress(self, sent: Sent, state: RunState, now: float) -> tuple[str, str]:
        what = sent.command + (f' "{one_line(sent.text)[:60]}"' if sent.text else "")
        found = next((c for c in reversed(state.commands) if c.seq == sent.seq), None) if sent.seq else None
        words, role, done = progress(sent, found)
        if done and not sent.done_at:
            sent.done_at = now
        if sent.done_at and now - sent.done_at > LINGER_S:
            return "", ""
        number = f" (event {sent.seq})" if sent.seq else ""
        return f"{what}: {words}{number}", role


def progress(sent: Sent, command: Command | None) -> tuple[str, str, bool]:
    """A command's way so far in words, its role, and whether it is at its end."""
    if sent.error:
        return f"rejected: {sent.error}", "bad", True
    if not sent.seq:
        return "sending …", "dim", False
    if command is None or command.status == "requested":
        return "requested, waiting for the next step", "waiting", False
    if command.status == "rejected":
        return f"rejected: {one_line(command.result)}", "bad", True
    result = f": {one_line(command.result)}" if command.result else ""
    if command.status == "delivered":
        return "requested → applied → delivered", "good", True
    if command.command in ("steer", "queue"):
        return f"requested → applied{result}, reaches the intern before its next decision", "waiting", False
    return f"requested → applied{result}", "good", True


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
