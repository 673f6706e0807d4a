"""The one door into the log for everything the host does: redact, append (durable), fold, wake who waits.

`emit` returns after the commit, so whatever follows it in the code happens after the event is safe. While one thread
waits for its commit, others read the state and queue events of their own: a person's command stands behind what is
being committed now, never behind a backlog of metrics that somebody else has still to hand in.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from core import events as e
from core.fold import Folder
from core.redact import Redactor
from core.state import RunState, from_bytes, to_bytes
from store.errors import StoreError
from store.event import Event, NewEvent
from store.faults import point
from store.log import EventLog

PIECE = 500
"""Events of one bulk append that are handed to the writer at once: a command waits for one such piece at most."""

T = TypeVar("T")
PayloadT = TypeVar("PayloadT", bound=e.Payload)


class _Handed(NamedTuple):
    """An append the writer has been given."""

    events: list[NewEvent]
    stored: Future[list[Event]]


class Journal:
    """Owns the writer and the live state of one run. Safe to use from any thread."""

    def __init__(self, log: EventLog, state: RunState, redact: Redactor | None = None) -> None:
        self._log = log
        self._folder = Folder(state)
        self._redact = redact or Redactor()
        self._changed = threading.Condition(threading.RLock())
        """Held while the state is read or changed; never while anybody waits for a commit."""
        self._order = threading.Lock()
        """Held while events are handed to the writer, so that `_handed` has the log's order."""
        self._handed: deque[_Handed] = deque()
        """What is not folded yet."""
        self._listeners: list[Callable[[Event], None]] = []
        self._soon: list[NewEvent] = []

    def emit(
        self, payload: e.Payload, *, actor: str = "host", cause: int | None = None, id: str | None = None
    ) -> Event:
        """Append one event; returns it once it is durable."""
        return self._append([e.new(payload, actor=actor, cause=cause, id=id)])[0]

    def last_words(self, payload: e.Payload) -> bool:
        """Append one event on a disk that takes no others: why the host leaves. Says whether that worked."""
        try:
            self._log.append([self._masked(e.new(payload, actor="host"))], urgent=True)
        except StoreError:
            return False
        return True

    def emit_many(self, payloads: Sequence[e.Payload], *, actor: str = "host", cause: int | None = None) -> list[Event]:
        """Append several events, up to PIECE of them in one commit."""
        stored: list[Event] = []
        for start in range(0, len(payloads), PIECE):
            stored += self._append([e.new(p, actor=actor, cause=cause) for p in payloads[start : start + PIECE]])
        return stored

    def emit_soon(
        self, payload: e.Payload, *, actor: str = "host", cause: int | None = None, id: str | None = None
    ) -> int:
        """Append with the next event that anybody emits, in one commit, before it. Returns the event's time.

        For what has to be in order and need not be safe yet, because nothing is done upon it before the next event.
        """
        new = self._masked(e.new(payload, actor=actor, cause=cause, id=id))
        with self._order:
            self._soon.append(new)
        return new.ts

    def flush(self) -> None:
        """Return once everything emitted so far is durable and in the state, also what was emitted for soon."""
        with self._order:
            pending = bool(self._soon or self._handed)
        if pending:
            self._append([])

    def _append(self, new: list[NewEvent]) -> list[Event]:
        handed = self._hand_in([self._masked(n) for n in new])
        try:
            stored = handed.stored.result()
            self._tell_faults("after", handed.events)
        finally:
            self._fold()
        for listener in self._listeners:
            for event in stored:
                listener(event)
        return stored[len(stored) - len(new) :] if new else []

    def _hand_in(self, new: list[NewEvent]) -> _Handed:
        with self._order:
            events, self._soon = [*self._soon, *new], []
            self._tell_faults("before", events)
            handed = _Handed(events, self._log.append_async(events))
            self._handed.append(handed)
        return handed

    def _fold(self) -> None:
        """Fold what is committed. The writer answers in the log's order: all before an answered append are answered."""
        with self._changed:
            while self._handed and self._handed[0].stored.done():
                stored = self._handed.popleft().stored
                if stored.exception() is not None:
                    continue  # it tells whoever handed it in
                for event in stored.result():
                    if (
                        event.seq > self._folder.state.seq
                    ):  # an id that was there already comes back with its old number
                        self._folder.apply(event)
            self._changed.notify_all()

    def _masked(self, new: NewEvent) -> NewEvent:
        return msgspec.structs.replace(new, payload=self._redact(new.payload))

    @staticmethod
    def _tell_faults(when: str, events: list[NewEvent]) -> None:
        for n in events:
            if n.type not in e.SERIES:  # which come by the clock: a planned death would be another one in every run
                point(f"{when} {n.type}")

    def clean(self, payload: PayloadT) -> PayloadT:
        """The payload as it will stand in the log, secrets masked."""
        body = e.encode(payload)
        masked = self._redact(body)
        return payload if masked == body else msgspec.json.decode(masked, type=type(payload))

    def clean_text(self, text: str) -> str:
        """Text with its secrets masked: what is told to a brain, and what becomes a blob."""
        return self._redact.text(text)

    def secret_in(self, path: Path) -> bool:
        """Whether a file holds one of the secrets that are masked in the log."""
        return self._redact.found_in(path)

    def events(self) -> Iterator[Event]:
        """Every event of the log up to now, in order."""
        last = self._log.last[0]
        feed = self._log.subscribe(1)
        try:
            for event in feed:
                yield event
                if event.seq >= last:
                    return
        finally:
            feed.close()

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` after every event, on the thread that emitted it."""
        self._listeners.append(listener)

    @property
    def state(self) -> RunState:
        """The live state. Read single fields; use `snapshot` for anything that must hold together."""
        return self._folder.state

    def read(self, look: Callable[[RunState], T]) -> T:
        """`look` at the state while nothing changes it."""
        with self._changed:
            return look(self._folder.state)

    def snapshot(self) -> RunState:
        """An independent copy of the state."""
        return from_bytes(self.read(to_bytes))  # decoding takes longer than encoding, and holds nobody up

    def snapshot_bytes(self) -> tuple[int, bytes]:
        return self.read(lambda s: (s.seq, to_bytes(s)))

    def wait(self, ready: Callable[[RunState], bool], timeout: float) -> bool:
        """Sleep until `ready(state)` or the time is over; says which."""
        with self._changed:
            return self._changed.wait_for(lambda: ready(self._folder.state), timeout)

    def settle(self, timeout: float = 1.0) -> None:
        """Return once the state has all that readers of the log may have seen."""
        self.wait(lambda s: s.seq >= self._log.last[0], timeout)

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
