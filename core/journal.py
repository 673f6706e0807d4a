"""The one door into the log for everything the host does: redact, append (durable), fold, wake who waits.

`emit` returns after the commit, so whatever follows it in the code happens after the event is safe.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec

from core import events as e
from core.fold import Folder
from core.redact import Redactor
from core.state import RunState, copy, to_bytes
from store.event import Event, NewEvent
from store.faults import point
from store.log import EventLog

T = TypeVar("T")
PayloadT = TypeVar("PayloadT", bound=e.Payload)
SERIES = frozenset({"metric_logged", "gpu_sampled"})
"""Types that come by the clock: a planned death among them would be another one in every run."""


class Journal:
    """Owns the writer and the live state of one run. Safe to use from any thread."""

    def __init__(self, log: EventLog, state: RunState, redact: Redactor | None = None) -> None:
        self._log = log
        self._folder = Folder(state)
        self._redact = redact or Redactor()
        self._changed = threading.Condition(threading.RLock())
        self._listeners: list[Callable[[Event], None]] = []
        self._soon: list[NewEvent] = []

    def emit(
        self, payload: e.Payload, *, actor: str = "host", cause: int | None = None, id: str | None = None
    ) -> Event:
        """Append one event; returns it once it is durable."""
        return self._append([e.new(payload, actor=actor, cause=cause, id=id)])[0]

    def emit_many(self, payloads: Sequence[e.Payload], *, actor: str = "host", cause: int | None = None) -> list[Event]:
        """Append several events in one commit."""
        return self._append([e.new(p, actor=actor, cause=cause) for p in payloads]) if payloads else []

    def emit_soon(
        self, payload: e.Payload, *, actor: str = "host", cause: int | None = None, id: str | None = None
    ) -> int:
        """Append with the next event that anybody emits, in one commit, before it. Returns the event's time.

        For what has to be in order and need not be safe yet, because nothing is done upon it before the next event.
        """
        new = e.new(payload, actor=actor, cause=cause, id=id)
        with self._changed:
            self._soon.append(new)
        return new.ts

    def flush(self) -> None:
        """Make what was emitted for soon durable now."""
        with self._changed:
            if self._soon:
                self._append([])

    def _append(self, new: list[NewEvent]) -> list[Event]:
        # One lock over append and fold keeps the fold in the log's order; batches make it cheap enough.
        with self._changed:
            before, self._soon = self._soon, []
            wanted = len(new)
            new = [*before, *new]
            clean = [msgspec.structs.replace(n, payload=self._redact(n.payload)) for n in new]
            for n in new:
                if n.type not in SERIES:
                    point(f"before {n.type}")
            stored = self._log.append(clean)
            for n in new:
                if n.type not in SERIES:
                    point(f"after {n.type}")
            for event in stored:
                if event.seq > self._folder.state.seq:  # an id that was there already comes back with its old number
                    self._folder.apply(event)
            self._changed.notify_all()
        for listener in self._listeners:
            for event in stored:
                listener(event)
        return stored[len(stored) - wanted :] if wanted else []

    def clean(self, payload: PayloadT) -> PayloadT:
        """The payload as it will stand in the log, secrets masked."""
        body = e.encode(payload)
        masked = self._redact(body)
        return payload if masked == body else msgspec.json.decode(masked, type=type(payload))

    def clean_text(self, text: str) -> str:
        """Text with its secrets masked: what is told to a brain, and what becomes a blob."""
        return self._redact.text(text)

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
        return self.read(copy)

    def snapshot_bytes(self) -> tuple[int, bytes]:
        return self.read(lambda s: (s.seq, to_bytes(s)))

    def wait(self, ready: Callable[[RunState], bool], timeout: float) -> bool:
        """Sleep until `ready(state)` or the time is over; says which."""
        with self._changed:
            return self._changed.wait_for(lambda: ready(self._folder.state), timeout)

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
