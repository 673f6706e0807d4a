"""Live events for readers in the writer's process, without a queue a reader.

The log keeps one ring of its newest events. A subscription is only a position: it takes what the ring still holds,
and what the ring has already dropped it reads from the database. So catch-up and live are joined by construction (a
sequence number is either in the ring or stored, never neither), memory is bounded however many readers there are, a
reader that stalls costs the writer nothing, and a slow one finds itself back in catch-up.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from store.event import Event

RING_EVENTS = 4096
RING_BYTES = 4_000_000
_PAGE = 256
"""Events read from disk at a time: at most 32 MB, however large their payloads."""


class Ring:
    """The newest events, bounded by number and by payload bytes."""

    def __init__(self, last_seq: int) -> None:
        self._batches: deque[tuple[list[Event], int]] = deque()
        """As they were committed, with their payload bytes: dropped whole, which costs the writer a tenth."""
        self._starts: deque[int] = deque()
        """The first sequence number of each."""
        self._bytes = 0
        self._changed = threading.Condition()
        self.last_seq = last_seq
        self.closed = False

    def publish(self, events: Sequence[Event]) -> None:
        """Make committed events visible. Constant work an event, whatever the readers do."""
        if not events:
            return
        size = sum([len(event.payload) for event in events])
        with self._changed:
            self._batches.append((list(events), size))
            self._starts.append(events[0].seq)
            self._bytes += size
            self.last_seq = events[-1].seq
            while len(self._starts) > 1 and (
                self.last_seq - self._starts[1] + 1 >= RING_EVENTS or self._bytes > RING_BYTES
            ):
                self._starts.popleft()
                self._bytes -= self._batches.popleft()[1]
            self._changed.notify_all()

    def close(self) -> None:
        """No more events will come."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def wake(self) -> None:
        """Let waiting readers look again (one of them was closed)."""
        with self._changed:
            self._changed.notify_all()

    def take(self, seq: int, limit: int, timeout: float | None, given_up: Callable[[], bool]) -> list[Event] | None:
        """Up to `limit` events from `seq` on; [] after `timeout` or at the end; None if `seq` must come from disk."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self.last_seq < seq:
                left = None if deadline is None else deadline - time.monotonic()
                if self.closed or given_up() or (left is not None and left <= 0):
                    return []
                self._changed.wait(left)
            if not self._starts or seq < self._starts[0]:
                return None
            taken: list[Event] = []
            at = bisect_right(self._starts, seq) - 1
            skipped = seq - self._starts[at]
            while at < len(self._batches) and len(taken) < limit:
                taken += self._batches[at][0][skipped : skipped + limit - len(taken)]
                at, skipped = at + 1, 0
            return taken


class Subscription:
    """Events from a position on, stored and live, in order, each once. For one thread; `close` may come from any."""

    def __init__(self, ring: Ring, page: Callable[[int, int], list[Event]], from_seq: int) -> None:
        self._ring = ring
        self._page = page
        self._next = max(from_seq, 1)
        self._ready: deque[Event] = deque()
        self._closed = False

    def batch(self, limit: int = 1000, timeout: float | None = None) -> list[Event]:
        """At least one and at most `limit` next events; empty when `timeout` seconds pass or the feed has ended."""
        if self._ready:
            return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
        if self._closed:
            return []
        events = self._ring.take(self._next, limit, timeout, lambda: self._closed)
        if events is None:
            events = self._page(self._next, min(self._next + min(limit, _PAGE) - 1, self._ring.last_seq))
        if events:
            self._next = events[-1].seq + 1
        return events

    def get(self, timeout: float | None = None) -> Event | None:
        """The next event; None when `timeout` seconds pass, or when the feed has `ended`."""
        if not self._ready:
            self._ready.extend(self.batch(256, timeout))
        return self._ready.popleft() if self._ready else None

    @property
    def ended(self) -> bool:
        """True when no event will follow."""
        return not self._ready and (self._closed or (self._ring.closed and self._next > self._ring.last_seq))

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = self.get()
        if event is None:
            raise StopIteration
        return event

    def close(self) -> None:
        """Stop; whoever waits in `get` or `batch` returns."""
        self._closed = True
        self._ring.wake()
