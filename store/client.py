"""A live log, seen through its host's socket: the same methods as `LogFile`, plus `subscribe` and `call`.

Free of DuckDB. When the socket breaks, every method raises ConnectionLost; connecting again, and from which event to
go on, is the caller's business, for only the caller knows what it has seen.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from store import wire
from store.errors import ConnectionLost
from store.event import Event
from store.lines import LineSocket
from store.source import Bucket, Rows, Scalar, Span, span_of
from store.tables import TypedTable

_PAGE = 1000
_decode_any = msgspec.json.Decoder(dict[str, Any]).decode
_decode_last = msgspec.json.Decoder(tuple[int, str]).decode
_decode_event = msgspec.json.Decoder(wire.WireEvent | None).decode
_decode_buckets = msgspec.json.Decoder(list[Bucket]).decode
_decode_rows = msgspec.json.Decoder(Rows).decode


def _connect(path: Path) -> LineSocket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(wire.checked_path(path))
    except OSError as error:
        connection.close()
        raise ConnectionLost(f"no host answers: {error.strerror}", where=str(path)) from error
    return LineSocket(connection, str(path))


def _ask(lines: LineSocket, request: Mapping[str, Any]) -> bytes:
    """Send a request; the raw result of its answer. Raises what the host raised."""
    lines.send(wire.encode(request))
    answer = wire.decode_reply(lines.line() or b"")
    if answer.error is not None:
        raise wire.raised(answer.error)
    return bytes(answer.result)


class RemoteLog:
    """A live log behind a socket. Thread-safe; each subscription has a connection of its own."""

    def __init__(self, socket_path: Path) -> None:
        """Connect. Raises ConnectionLost if no host listens at `socket_path`."""
        self.socket_path = socket_path
        self._lines = _connect(socket_path)
        self._one_at_a_time = threading.Lock()

    def call(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Ask the host for an operation of its own (`command`, `state`, ...).

        Raises RemoteError with the host's what, where and next if it refuses, ConnectionLost if it is gone.
        """
        return _decode_any(self._request({**arguments, "op": op}))

    @property
    def last(self) -> tuple[int, str]:
        """Sequence number and full hash of the last event."""
        return _decode_last(self._request({"op": "last"}))

    def events(
        self,
        from_seq: int = 1,
        to_seq: int | None = None,
        types: Collection[str] | None = None,
        limit: int | None = None,
    ) -> Iterator[Event]:
        """Stored events in order, both ends included, fetched in pages."""
        left = limit
        end = to_seq if to_seq is not None else self.last[0]
        while left is None or left > 0:
            page = self._window(from_seq, end, types, _PAGE if left is None else min(left, _PAGE))
            yield from page
            if not page:
                return
            from_seq = page[-1].seq + 1
            left = None if left is None else left - len(page)

    def spans(
        self, from_seq: int = 1, to_seq: int | None = None, columns: Collection[TypedTable] = ()
    ) -> Iterator[Span]:
        """What stored events say, in order, both ends included; over a socket they come one by one."""
        events = self.events(from_seq, to_seq)
        while page := list(itertools.islice(events, _PAGE)):
            yield span_of(page)

    def tail(self, n: int) -> list[Event]:
        """The last `n` events, oldest first."""
        return self._events({"op": "tail", "n": n})

    def get(self, seq: int) -> Event | None:
        """The event at `seq`, or None."""
        found = _decode_event(self._request({"op": "get", "seq": seq}))
        return wire.from_wire(found) if found is not None else None

    def series(
        self, table: str, x: str, y: str, where: Mapping[str, Scalar] | None = None, buckets: int = 500
    ) -> list[Bucket]:
        """Column `y` over column `x` of a typed table, where the columns equal `where`, in at most `buckets` parts."""
        request = {"op": "series", "table": table, "x": x, "y": y, "where": dict(where or {}), "buckets": buckets}
        return _decode_buckets(self._request(request))

    def sql(self, query: str, limit: int = 10_000) -> Rows:
        """Run one read-only query at the host. Raises BadQuery if it is wrong or wants to write."""
        return _decode_rows(self._request({"op": "sql", "query": query, "limit": limit}))

    def subscribe(self, from_seq: int = 1) -> RemoteFeed:
        """All events from `from_seq` on: the stored ones, then the live ones, without a gap."""
        return RemoteFeed(self.socket_path, from_seq)

    def close(self) -> None:
        """Hang up."""
        self._lines.close()

    def __enter__(self) -> RemoteLog:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _request(self, request: Mapping[str, Any]) -> bytes:
        with self._one_at_a_time:
            return _ask(self._lines, request)

    def _events(self, request: Mapping[str, Any]) -> list[Event]:
        return [wire.from_wire(event) for event in wire.decode_events(self._request(request))]

    def _window(self, first: int, last: int | None, types: Collection[str] | None, limit: int) -> list[Event]:
        wanted = None if types is None else sorted(types)
        return self._events({"op": "window", "from": first, "to": last, "types": wanted, "limit": limit})


class RemoteFeed:
    """A subscription over a socket. For one thread; `close` may come from any."""

    def __init__(self, socket_path: Path, from_seq: int) -> None:
        self._lines = _connect(socket_path)
        _ask(self._lines, {"op": "subscribe", "from": from_seq})
        self._ready: deque[Event] = deque()
        self._over = False

    def batch(self, limit: int = 1000, timeout: float | None = None) -> list[Event]:
        """At least one and at most `limit` next events; empty when `timeout` seconds pass or the feed has ended.

        Raises ConnectionLost when the host died rather than closed its log.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._ready and not self._over:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            line = self._next_line(left)
            if line is None:
                break
            streamed = wire.decode_streamed(line)
            self._ready.extend(wire.from_wire(event) for event in streamed.events)
            self._over = streamed.end
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    def _next_line(self, timeout: float | None) -> bytes | None:
        try:
            return self._lines.line(timeout)
        except ConnectionLost:
            if not self._lines.closed:
                raise
            self._over = True
            return None

    def get(self, timeout: float | None = None) -> Event | None:
        """The next event; None when `timeout` seconds pass, or when the feed has `ended`."""
        return next(iter(self.batch(1, timeout)), None)

    @property
    def ended(self) -> bool:
        """True when no event will follow."""
        return self._over and not self._ready

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = self.get()
        if event is None:
            raise StopIteration
        return event

    def close(self) -> None:
        """Hang up; whoever waits in `get` or `batch` returns."""
        self._lines.close()
