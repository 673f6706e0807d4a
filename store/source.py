"""One interface for reading a log, whether a file nobody writes or a live host behind a socket.

A screen, a replay or a script is written against `EventSource` and does not ask which it has. This module and all it
imports are free of DuckDB: a program that only watches a live run stays light.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from store.event import Event, Record

if TYPE_CHECKING:
    from store.columns import Columns
    from store.tables import TypedTable

Scalar = str | int | float | bool | None


class Bucket(msgspec.Struct, frozen=True, gc=False):
    """Some neighbouring points of a series, as what a chart needs of them."""

    x: float
    """Where the bucket's first point lies, in the units of the column asked for."""
    x_end: float
    """Where its last point lies."""
    low: float | None
    high: float | None
    """Least and greatest finite value; None if no point is finite."""
    n: int
    """Points in the bucket, finite or not."""
    bad: int
    """Points that are NaN, infinite or NULL."""


class Rows(msgspec.Struct, frozen=True):
    """The answer to an SQL query. Over a socket, values that JSON lacks arrive as text."""

    columns: list[str]
    types: list[str]
    rows: list[list[Any]]
    truncated: bool = False
    """True if there were more rows than the limit."""


@dataclass(frozen=True)
class Span:
    """Some neighbouring events, for whoever folds many: texts one by one, typed tables as columns.

    Both are in order. How they interleave, the sequence numbers say.
    """

    first: int
    """Sequence number of the first event; the others follow without a hole."""
    times: Sequence[int]
    """Of all the events, microseconds since 1970, UTC."""
    records: Sequence[Record]
    columns: Sequence[Columns] = ()

    @property
    def last(self) -> int:
        """Sequence number of the last event."""
        return self.first + len(self.times) - 1

    def until(self, seq: int) -> tuple[Span, Span]:
        """The events up to `seq`, and those after it."""
        count = min(max(seq - self.first + 1, 0), len(self.times))
        texts = bisect_right(self.records, seq, key=lambda record: record.seq)
        cuts = [int(part.seq.searchsorted(seq, "right")) for part in self.columns]
        parts = list(zip(self.columns, cuts, strict=True))
        head = [part.part(0, cut) for part, cut in parts if cut]
        rest = [part.part(cut, len(part)) for part, cut in parts if cut < len(part)]
        return (
            Span(self.first, self.times[:count], self.records[:texts], head),
            Span(self.first + count, self.times[count:], self.records[texts:], rest),
        )


def span_of(events: Sequence[Event]) -> Span:
    """Events that are at hand one by one, at least one."""
    return Span(events[0].seq, [event.ts for event in events], events)


class Feed(Protocol):
    """Events as they come: first those already stored, then the live ones, without a gap or a repetition."""

    def get(self, timeout: float | None = None) -> Event | None:
        """The next event; None when `timeout` seconds pass, or when the feed has `ended`."""
        ...

    def batch(self, limit: int = 1000, timeout: float | None = None) -> list[Event]:
        """At least one and at most `limit` next events; empty when `timeout` seconds pass or the feed has ended."""
        ...

    @property
    def ended(self) -> bool:
        """True when no event will follow: the feed or the log was closed and everything was read."""
        ...

    def __iter__(self) -> Iterator[Event]: ...

    def __next__(self) -> Event: ...

    def close(self) -> None: ...


class EventSource(Protocol):
    """Reading, the same for `LogFile`, `EventLog` and `RemoteLog`."""

    @property
    def last(self) -> tuple[int, str]:
        """Sequence number and full hash (64 hex digits) of the last event; (0, hash before the first) when empty."""
        ...

    def events(
        self,
        from_seq: int = 1,
        to_seq: int | None = None,
        types: Collection[str] | None = None,
        limit: int | None = None,
    ) -> Iterator[Event]:
        """Stored events in order, both ends included, streamed in pages."""
        ...

    def spans(
        self, from_seq: int = 1, to_seq: int | None = None, columns: Collection[TypedTable] = ()
    ) -> Iterator[Span]:
        """What stored events say, in order, both ends included, for folds over many of them.

        Long stretches may come with the typed tables in `columns` as columns.
        """
        ...

    def tail(self, n: int) -> list[Event]:
        """The last `n` events, oldest first."""
        ...

    def get(self, seq: int) -> Event | None:
        """The event at `seq`, or None."""
        ...

    def series(
        self, table: str, x: str, y: str, where: Mapping[str, Scalar] | None = None, buckets: int = 500
    ) -> list[Bucket]:
        """Column `y` over column `x` of a typed table, where the columns equal `where`, in at most `buckets` parts."""
        ...

    def sql(self, query: str, limit: int = 10_000) -> Rows:
        """Run one read-only query. Raises BadQuery if it is wrong or wants to write."""
        ...

    def close(self) -> None: ...
