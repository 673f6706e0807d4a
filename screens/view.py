"""What a screen is given to draw, and whom it asks to act: the only two things that come from outside.

A `View` is a state and a moment T; live and replay differ only in who moves them. A `Desk` is what the app offers the
screens: commands to the run's host, the log to look things up in, the replay position.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from core.player import Player
from core.state import Mark, RunState
from store.event import Event
from store.source import EventSource

AWAITED = ("command_", "approval_", "question_", "run_")
"""Beginnings of event types a person waits for; they are rare, so showing each at once costs a slow line nothing."""


@dataclass(frozen=True)
class Link:
    """How the view is connected to the run."""

    kind: str = "live"
    """live, reconnecting, gone (no host; file read-only), file, connecting, or none (no run is open)."""
    note: str = ""
    since_us: int = 0


@dataclass(frozen=True)
class View:
    """A run at a moment. `state` belongs to the app and moves on: take what is drawn, keep no reference."""

    state: RunState
    now_us: int
    """T: the wall clock while live, the replay's clock in replay."""
    mode: str = "live"
    """live or replay."""
    link: Link = field(default_factory=Link)
    player: Player | None = None
    line: tuple[str, str] = ("", "")
    """What the line above the footer says, and its role: the state of the last command, or why a key is off."""
    run: str = ""
    """The run's id, known before anything was read."""
    indexing: bool = False
    """True while the whole run is still being read (its end and marks are not known yet)."""
    unread: str = ""
    """Why nothing of a run can be drawn yet ("reading the run …"); empty once there is a state. A pane that said "nothing
    went wrong" before anything was read would lie."""

    @property
    def replay(self) -> bool:
        return self.mode == "replay"

    @property
    def elapsed_s(self) -> float:
        """Since the run was created, up to T or its end."""
        state = self.state
        if not state.created_ts:
            return 0.0
        end = state.finished_ts if state.finished_ts else max(self.now_us, state.ts)
        return max(0.0, (end - state.created_ts) / 1e6)

    @property
    def used_s(self) -> float:
        """Of the budget: without pauses and without the time in which no host lived."""
        return self.state.used_s(None if self.replay else self.now_us)

    def since_start(self, ts: int) -> float:
        """Seconds from the run's creation to `ts`."""
        return max(0.0, (ts - self.state.created_ts) / 1e6)

    updated: bool = False
    """The program's files are no longer those that were started."""

    bookmarks: tuple[Mark, ...] = ()
    """Places a person marked in this run."""

    @property
    def marks(self) -> list[Mark]:
        """All marks of the run in replay, those so far when live; and the person's own."""
        recorded = self.player.index.marks if self.player is not None else self.state.marks
        return [*recorded, *self.bookmarks] if self.bookmarks else recorded

    @property
    def refusal(self) -> str:
        """Why nothing can be asked of the run now; empty when it can."""
        if self.replay:
            return (
                "this is a replay: press L for live" if self.live_behind else "this is a replay, it cannot be changed"
            )
        if self.state.finished_ts:
            return f"the run has {self.state.status}"
        if self.link.kind == "reconnecting":
            return "the host does not answer; reconnecting"
        if self.link.kind == "none":
            return "no run is open"
        if self.link.kind != "live":
            return f"no host is running this: intern resume {self.run or self.state.run}"
        return ""

    live_behind: bool = False
    """In replay: the run is live and `L` returns to it."""


class Desk(Protocol):
    """What the app does for its screens."""

    keymap: Mapping[str, str]
    """A person's own keys, by the action's id."""

    @property
    def view(self) -> View | None: ...

    @property
    def folder(self) -> Path:
        """The open run's folder."""
        ...

    def around(self, event: Event, then: Callable[[int, list[int]], None]) -> None:
        """Find what an event comes from (0: nothing known) and what it led to, off the UI thread."""
        ...

    def source(self) -> EventSource:
        """The open run's log. For background work only: opening takes a moment. Raises StoreError."""
        ...

    def command(self, command: str, text: str = "", **arguments: Any) -> None:
        """Ask the run's host; the outcome shows on the command line of the screen."""
        ...

    def notice(self, text: str, role: str = "waiting") -> None:
        """Say something on the line above the footer for a few seconds."""
        ...

    def copy(self, text: str, what: str) -> None:
        """Put `text` on the clipboard (OSC 52) and into a file, and say so."""
        ...

    def move(self, how: str, amount: float = 0) -> None:
        """Move the replay: play, skip, event, mark, plan_step, speed, start, end, seq, share, live."""
        ...

    def bookmark(self) -> None:
        """Mark the moment that is seen, or take the mark away."""
        ...

    def fork(self, seq: int, steering: str) -> None:
        """Start a new run from an event of the open one."""
        ...

    def in_background(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Run `work` in a thread (it may read the log: `source`) and hand its result to `then` on the UI thread.

        A StoreError or OSError in `work` becomes a notice.
        """
        ...

    def open_run(self, folder: Path, replay: bool = False, approvals: bool = False) -> None:
        """Look at another run; with `approvals`, at what waits in it first."""
        ...

    def start_run(self, values: dict[str, str]) -> None:
        """Start a run from the form's fields and look at it."""
        ...

    def look_up(self, seq: int, then: Callable[[Any], None]) -> None:
        """Fetch the event at `seq` off the UI thread and hand it (or None) to `then`."""
        ...
