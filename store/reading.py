"""Reading a log by SQL: what a file nobody writes and a host's own open log have in common.

Everything is read in short pages, each a query of its own, so no reader holds a transaction open while its caller
thinks: the writer can checkpoint, and a database that has to be reopened is not kept from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import starmap
from typing import Any

import msgspec

from store.database import Database
from store.errors import BadQuery, LogDamaged, TooLarge
from store.event import Event, Record
from store.packing import Unpacker, read_tables
from store.schema import COLUMNS, RECORD_COLUMNS, TS_US
from store.source import Bucket, Rows, Scalar, Span, span_of
from store.tables import TypedTable

PAGE = 4096
"""Sequence numbers a page spans when every event is wanted."""
_FILTERED_PAGE = 65536
"""And when only some types are."""
_FIRST_PAGE = 256
_MOST_BUCKETS = 10_000
_PAGE_BYTES = 4_000_000
"""Pages grow from small to full size as long as their payloads stay below this."""

SPAN = 32768
"""Sequence numbers a span holds: some 20 MB while it is folded."""
_SHORT = 4096
"""Stretches up to here are not worth loading numpy for."""

_Row = tuple[Any, ...]
_TYPE, _PAYLOAD = 2, 6  # places in a row of COLUMNS


class Pages:
    """Windows of an open log, for those who know their sequence numbers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._packed: list[Unpacker] | None = None

    def page(self, first: int, last: int, types: Collection[str] | None = None, limit: int = PAGE) -> list[Event]:
        """The events from `first` to `last`, in order, at most `limit` of them."""
        try:
            return self._page(first, last, types, limit)
        except TooLarge:  # uncommonly large payloads: take the halves one after the other
            if first >= last:
                raise
        middle = (first + last) // 2
        lower = self.page(first, middle, types, limit)
        return lower + self.page(middle + 1, last, types, limit - len(lower)) if len(lower) < limit else lower

    def _page(self, first: int, last: int, types: Collection[str] | None, limit: int) -> list[Event]:
        sql = f"SELECT {COLUMNS} FROM event_log WHERE seq BETWEEN ? AND ?"
        parameters: list[object] = [first, last]
        if types is not None:
            sql += " AND type IN (SELECT unnest(?::VARCHAR[]))"
            parameters.append(sorted(types))
        sql += f" ORDER BY seq LIMIT {int(limit)}"
        rows = self._database.query(sql, parameters)
        packed = {row[_TYPE] for row in rows if row[_PAYLOAD] is None}
        if packed:
            rows = self._unpacked(rows, packed)
        return list(starmap(Event, rows))

    def _unpacked(self, rows: list[_Row], types: set[str]) -> list[_Row]:
        """The rows with the payloads that lie in typed tables. Where one is not there, `_missing` says what follows."""
        payloads: dict[int, bytes] = {}
        for unpacker in self._unpackers():
            if unpacker.table.type in types:
                payloads.update(unpacker.payloads(rows[0][0], rows[-1][0]))
        return [
            row
            if row[_PAYLOAD] is not None
            else (*row[:_PAYLOAD], payloads.get(row[0]) or self._missing(row[0]), *row[_PAYLOAD + 1 :])
            for row in rows
        ]

    def _missing(self, seq: int) -> bytes:
        """No payload, then: it will not match the event's hash, and whoever walks the chain stops there."""
        return b""

    def _unpackers(self) -> list[Unpacker]:
        if self._packed is None:
            self._packed = [Unpacker(self._database, table) for table in read_tables(self._database)]
        return self._packed

    def get(self, seq: int) -> Event | None:
        """The event at `seq`, or None."""
        found = self.page(seq, seq)
        return found[0] if found else None

    def count(self) -> int:
        """How many rows there are, whatever their sequence numbers."""
        return int(self._database.query("SELECT count(*) FROM event_log")[0][0])

    def after(self, seq: int) -> bool:
        """True if any event has a greater sequence number."""
        return bool(self._database.query("SELECT 1 FROM event_log WHERE seq > ? LIMIT 1", [seq]))

    def walk(
        self,
        start: int,
        end: int,
        types: Collection[str] | None = None,
        limit: int | None = None,
        span: int = _FIRST_PAGE,
    ) -> Iterator[list[Event]]:
        """The events from `start` to `end`, at most `limit` of them, as lists of moderate length.

        The first holds `span` events: few for who may stop early, as each costs queries of its own.
        """
        left = limit if limit is not None else end
        most = PAGE if types is None else _FILTERED_PAGE
        while start <= end and left > 0:
            page = self.page(start, min(start + span - 1, end), types, left)
            if page:
                yield page
            left -= len(page)
            start += span
            large = sum(len(event.payload) for event in page) > _PAGE_BYTES
            span = max(span // 2, 1) if large else min(span * 2, most)


class LogReader(Pages):
    """Queries over an open log. Subclasses say what `last` is."""

    @property
    def last(self) -> tuple[int, str]:
        """Sequence number and full hash of the last event."""
        raise NotImplementedError

    def _missing(self, seq: int) -> bytes:
        raise LogDamaged(f"the payload of event {seq} is gone", seq=seq)

    def events(
        self,
        from_seq: int = 1,
        to_seq: int | None = None,
        types: Collection[str] | None = None,
        limit: int | None = None,
    ) -> Iterator[Event]:
        """Stored events in order, both ends included, streamed in pages."""
        end = self.last[0] if to_seq is None else min(self.last[0], to_seq)
        for page in self.walk(max(from_seq, 1), end, types, limit):
            yield from page

    def spans(
        self, from_seq: int = 1, to_seq: int | None = None, columns: Collection[TypedTable] = ()
    ) -> Iterator[Span]:
        """What stored events say, in order, both ends included, for folds over many of them.

        Long stretches come with the typed tables in `columns` as columns, if all the log has are among these.
        """
        end = self.last[0] if to_seq is None else min(self.last[0], to_seq)
        start = max(from_seq, 1)
        if end - start < _SHORT or not {unpacker.table for unpacker in self._unpackers()} <= set(columns):
            yield from map(span_of, self.walk(start, end, span=PAGE))
            return
        with ThreadPoolExecutor(1, "log-reader") as reader:  # the next span is read while this one is folded
            ahead = [reader.submit(self._span, at, min(at + SPAN - 1, end)) for at in range(start, end + 1, SPAN)[:2]]
            while ahead:
                yield ahead.pop(0).result()
                start += SPAN
                if start + SPAN <= end:
                    ahead.append(reader.submit(self._span, start + SPAN, min(start + 2 * SPAN - 1, end)))

    def _span(self, first: int, last: int) -> Span:
        sql = f"SELECT {RECORD_COLUMNS} FROM event_log WHERE seq BETWEEN ? AND ? AND payload IS NOT NULL ORDER BY seq"
        try:
            found = self._database.arrays(sql, [first, last])
        except TooLarge:  # uncommonly large payloads: event by event, in pages as small as needed
            return span_of(self.page(first, last, limit=last))
        rows = list(map(Record, *(column.tolist() for column in found.values())))
        columns = [part for part in (unpacker.columns(first, last) for unpacker in self._unpackers()) if len(part)]
        sql = f"SELECT {TS_US} AS ts FROM event_log WHERE seq BETWEEN ? AND ? ORDER BY seq"
        times = self._database.arrays(sql, [first, last])["ts"].tolist()
        if not len(rows) + sum(map(len, columns)) == len(times) == last - first + 1:
            return span_of(self.page(first, last, limit=last))  # says which event has no payload
        return Span(first, times, rows, columns)

    def tail(self, n: int) -> list[Event]:
        """The last `n` events, oldest first."""
        end = self.last[0]
        return list(self.events(max(1, end - n + 1), end)) if n > 0 else []

    def get(self, seq: int) -> Event | None:
        """The event at `seq`, or None."""
        return super().get(seq) if seq <= self.last[0] else None

    def series(
        self, table: str, x: str, y: str, where: Mapping[str, Scalar] | None = None, buckets: int = 500
    ) -> list[Bucket]:
        """Column `y` over column `x` of a typed table, where the columns equal `where`, in at most `buckets` parts.

        The parts are of equal width in `x` (the first and last half as wide); empty ones are left out. Raises
        BadQuery for an unknown table or column, or one that holds no numbers.
        """
        known = {unpacker.table.name: unpacker for unpacker in self._unpackers()}
        if table not in known:
            raise BadQuery(f"there is no table {table!r}")
        named = dict(where or {})
        name = named.get("name") if known[table].table.values else None
        source = known[table].source({x, y, *named}, name if isinstance(name, str) else None)
        asked = _Series(source, x, y, named, max(2, min(buckets, _MOST_BUCKETS)))
        low, high, rows, finite = self._database.query(*asked.extent())[0]
        if not rows:
            return []
        return [Bucket(*row) for row in self._database.query(*asked.buckets_of(low, high, all_finite=rows == finite))]

    def sql(self, query: str, limit: int = 10_000, timeout_s: float = 60.0) -> Rows:
        """Run one read-only query. Raises BadQuery if it is wrong, wants to write or takes longer than `timeout_s`."""
        return self._database.ask(query, limit, timeout_s)


class _Series(msgspec.Struct, frozen=True):
    """A question for a series, and its SQL. The columns are known to exist, so their names are safe to write out."""

    source: str
    """The relation to select from."""
    x: str
    y: str
    where: dict[str, Scalar]
    buckets: int

    @property
    def _condition(self) -> str:
        tests = [f"{column} IS NULL" if value is None else f"{column} = ?" for column, value in self.where.items()]
        return " AND ".join([f"{self.x} IS NOT NULL", *tests])

    @property
    def _values(self) -> list[object]:
        return [value for value in self.where.values() if value is not None]

    def extent(self) -> tuple[str, list[object]]:
        """Least and greatest x, how many points, how many of them finite: mostly answered from column statistics."""
        finite = (
            f"CASE WHEN isfinite(min({self.y})::DOUBLE) AND isfinite(max({self.y})::DOUBLE) THEN count({self.y}) END"
        )
        columns = f"min({self.x})::DOUBLE, max({self.x})::DOUBLE, count(*), {finite}"
        return f"SELECT {columns} FROM {self.source} WHERE {self._condition}", self._values

    def buckets_of(self, low: float, high: float, *, all_finite: bool) -> tuple[str, list[object]]:
        """The buckets; looking at each value for whether it is finite costs as much again, so only where needed."""
        x, y = self.x, self.y
        only = "" if all_finite else f" FILTER (isfinite({y}::DOUBLE))"
        bad = "0" if all_finite else f"count(*) - count(*){only}"
        scale = (self.buckets - 1) / (high - low) if high > low else 0.0
        sql = f"""
            SELECT min({x})::DOUBLE, max({x})::DOUBLE, min({y}){only}::DOUBLE, max({y}){only}::DOUBLE, count(*), {bad}
            FROM {self.source} WHERE {self._condition}
            GROUP BY (({x} - ?::DOUBLE) * ?::DOUBLE)::USMALLINT ORDER BY 1"""
        return sql, [*self._values, low, scale]
