"""The bridge between a run and the UI: a reader thread that follows a live host, or its file when no host lives.

The thread reads; the UI drains four times a second, or at once when `told` says that something came a person waits for.
Neither waits for the other. Live: a snapshot of the state, then a
subscription from the next event. A socket that breaks is tried again; when no host lives any more the file is read
instead, read-only, and a host that comes back is found. DuckDB is imported only when a file has to be opened.
"""

from __future__ import annotations

import base64
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from core import home
from core.fold import Folder
from core.replay_index import load_index
from core.state import STATE_VERSION, RunState, from_bytes
from screens.view import AWAITED, Link
from store.client import RemoteFeed, RemoteLog
from store.errors import ConnectionLost, LogBusy, LogDamaged, RemoteError, StoreError
from store.event import Event
from store.source import EventSource

RETRY_S = (0.2, 0.5, 1.0, 2.0)
"""Waits between tries to reach a host; the last one repeats."""
GIVE_UP_AFTER = 3
"""Failed tries after which, with no living host, the file is opened."""


class Update(NamedTuple):
    """What came since the last drain."""

    state: RunState | None
    """A new beginning: events that follow belong on top of it."""
    events: list[Event]
    link: Link


class Feed(Protocol):
    """Where a session's events come from."""

    def start(self) -> None: ...

    def drain(self, limit: int) -> Update:
        """At most `limit` new events, without waiting."""
        ...

    def source(self) -> EventSource:
        """The log, for look-ups and replay. Opened at the first call; not for the UI thread. Raises StoreError."""
        ...

    def command(self, command: str, text: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Ask the host. Not for the UI thread. Raises StoreError where none can be asked."""
        ...

    def close(self) -> None: ...


class Opened:
    """A log opened on demand: over the socket where a host lives, from the file otherwise."""

    def __init__(self, folder: Path, socket_path: Path | None) -> None:
        self.folder = folder
        self.socket_path = socket_path
        self._source: EventSource | None = None
        self._lock = threading.Lock()

    def get(self) -> EventSource:
        with self._lock:
            if self._source is None or not self._alive(self._source):
                self._source = open_source(self.folder, self.socket_path)
            return self._source

    def _alive(self, source: EventSource) -> bool:
        if not isinstance(source, RemoteLog):
            return home.living_host(self.folder) is None  # a new host owns the file now
        try:
            return source.last is not None
        except (StoreError, OSError):
            return False

    def close(self) -> None:
        with self._lock:
            if self._source is not None:
                self._source.close()
                self._source = None


def open_source(folder: Path, socket_path: Path | None) -> EventSource:
    """The log of a run for reading. Raises StoreError (LogBusy where a host holds the file and does not answer)."""
    if socket_path is not None and socket_path.exists():
        try:
            return RemoteLog(socket_path)
        except ConnectionLost:
            pass  # nobody listens: the file is free
    return open_file(folder)


def open_file(folder: Path) -> EventSource:
    """The file itself, up to its last good event."""
    from store.reader import LogFile  # DuckDB: only where a file is read

    try:
        return LogFile.open(folder)
    except LogDamaged:
        # Slow (the whole chain is walked), and better than nothing: what is good is shown, the damage is said.
        return LogFile.open(folder, salvage=True)


class LiveFeed:
    """Follows one run for as long as the session is open."""

    def __init__(self, folder: Path, socket_path: Path, *, snapshot: bool = True) -> None:
        """With `snapshot` it begins at the host's present state, otherwise at the first event."""
        self.folder = folder
        self.socket_path = socket_path
        self._snapshot = snapshot
        self._opened = Opened(folder, socket_path)
        self._queue: deque[Event] = deque()
        self._state: RunState | None = None
        self._lock = threading.Lock()
        self._link = Link("connecting", "looking for the run's host")
        self._seq = 0
        self._closed = threading.Event()
        self._news = threading.Event()
        """Something came that was not drained yet."""
        self.told: Callable[[], object] = lambda: None
        """Called from the reader's thread when something came that a person waits for: an event, the state, word of the
        host. Must not block."""
        self._subscription: RemoteFeed | None = None
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    # ------------------------------------------------------------------------------------------------ the UI's side

    def start(self) -> None:
        self._thread.start()

    def drain(self, limit: int) -> Update:
        with self._lock:
            state, self._state = self._state, None
            events = [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]
            if not self._queue:
                self._news.clear()
            return Update(state, events, self._link)

    def wait(self, seconds: float) -> bool:
        """Sleep until there is something to drain, at most so long; says whether there is."""
        return self._news.wait(seconds)

    def source(self) -> EventSource:
        return self._opened.get()

    def command(self, command: str, text: str, arguments: dict[str, Any]) -> dict[str, Any]:
        with RemoteLog(self.socket_path) as remote:
            return remote.call("command", command=command, text=text, arguments=arguments, client="tui")

    def close(self) -> None:
        self._closed.set()
        subscription = self._subscription
        if subscription is not None:
            subscription.close()
        self._opened.close()

    # -------------------------------------------------------------------------------------------- the reader's side

    def _run(self) -> None:
        tries = 0
        while not self._closed.is_set():
            try:
                self._follow()
                tries = 0
            except (StoreError, OSError) as error:
                tries += 1
                self._lost(error, tries)
            if not self._closed.is_set() and self._over():
                return
            self._closed.wait(RETRY_S[min(tries, len(RETRY_S) - 1)])

    def _follow(self) -> None:
        """Snapshot, subscribe, read until the host closes or is lost."""
        with RemoteLog(self.socket_path) as remote:
            if not self._seq and self._snapshot:
                self._begin(remote)
        subscription = self._subscription = RemoteFeed(self.socket_path, self._seq + 1)
        self._set_link(Link("live"))
        try:
            while not self._closed.is_set() and not subscription.ended:
                self._take(subscription.batch(1000, timeout=1.0))
        finally:
            subscription.close()
        if not self._closed.is_set():  # the host closed its log in order: it ended, or it will be resumed
            self._read_file()

    def _begin(self, remote: RemoteLog) -> None:
        """The host's own state where it has one to give; otherwise everything from the first event."""
        try:
            answer = remote.call("state")
            state = from_bytes(base64.b64decode(answer["state"]))
        except (RemoteError, KeyError, ValueError):
            return
        if state.version == STATE_VERSION:
            self._set_state(state)

    def _take(self, events: list[Event]) -> None:
        with self._lock:
            new = [event for event in events if event.seq > self._seq]  # a repetition after a reconnect is none
            self._queue += new
            if new:
                self._seq = new[-1].seq
                self._news.set()
        if any(event.type.startswith(AWAITED) for event in new):
            self.told()

    def _set_state(self, state: RunState) -> None:
        with self._lock:
            self._state, self._seq = state, state.seq
            self._queue.clear()
            self._news.set()
        self.told()

    def _set_link(self, link: Link) -> None:
        with self._lock:
            self._link = link
            self._news.set()
        self.told()

    def _lost(self, error: StoreError | OSError, tries: int) -> None:
        """Say so; after a few tries, with no host alive, read the file."""
        alive = home.living_host(self.folder) is not None
        if alive or tries < GIVE_UP_AFTER:
            if self._link.kind != "gone":
                note = "the run's host does not answer; trying again"
                self._set_link(Link("connecting" if not self._seq else "reconnecting", note, _now()))
            return
        if self._link.kind != "gone":
            self._read_file()

    def _read_file(self) -> None:
        """What the file holds beyond what was seen. The run has no host: it ended or was interrupted."""
        try:
            source = open_file(self.folder)
        except LogBusy:
            self._set_link(Link("reconnecting", "a new host is starting", _now()))
            return
        except StoreError as error:
            self._set_link(Link("gone", str(error), _now()))
            return
        try:
            if self._snapshot and not self._seq:
                self._set_state(_whole(self.folder, source))
            self._take(list(source.events(self._seq + 1)))
        finally:
            source.close()
        note = "the host is gone; showing what the log holds. Take it up again: intern resume " + self.folder.name
        self._set_link(Link("gone", note, _now()))

    def _over(self) -> bool:
        """Nothing will come any more: the file was read and says that the run has ended."""
        with self._lock:
            last = self._queue[-1] if self._queue else None
            ended = self._state is not None and self._state.finished_ts is not None
        return self._link.kind == "gone" and (ended or (last is not None and last.type == "run_finished"))


class FileFeed:
    """A run nobody works on: read once, for looking and replaying."""

    def __init__(self, folder: Path, socket_path: Path | None = None) -> None:
        self.folder = folder
        self._opened = Opened(folder, socket_path)

    def start(self) -> None:
        """Nothing to start: the session indexes the source itself."""

    def drain(self, limit: int) -> Update:
        return Update(None, [], Link("file"))

    def source(self) -> EventSource:
        return self._opened.get()

    def command(self, command: str, text: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"ok": False, "error": "a replay cannot be changed"}

    def close(self) -> None:
        self._opened.close()


def _whole(folder: Path, source: EventSource) -> RunState:
    """The state at the end of a file, without keeping its events."""
    kept = load_index(folder, source)
    if kept is not None:
        return from_bytes(kept.final)
    state = Folder()
    state.follow(source)
    return state.state


def _now() -> int:
    return time.time_ns() // 1000
