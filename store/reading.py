"""Reading a log by SQL: what a file nobody writes and a host's own open log have in common.

Everything is read in short pages, each a query of its own, so no reader holds a transaction open while its caller
thinks: the writer can checkpoint, and a database that has to be reopened is not kept from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import starmap

import msgspec

from store.database import Database
from store.errors import BadQuery, TooLarge
from store.event import Event
from store.schema import COLUMNS
from store.source import Bucket, Rows, Scalar
from store.tables import identifier

PAGE = 4096
"""Sequence numbers a page spans when every event is wanted."""
_FILTERED_PAGE = 65536
"""And when only some types are."""
_FIRST_PAGE = 256
_MOST_BUCKETS = 10_000
_PAGE_BYTES = 4_000_000
"""Pages grow from small to full size as long as their payloads stay below this."""


class Pages:
    """Windows of an open log, for those who know their sequence numbers."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
        return list(starmap(Event, self._database.query(sql, parameters)))

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
        self, start: int, end: int, types: Collection[str] | None = None, limit: int | None = None
    ) -> Iterator[list[Event]]:
        """The events from `start` to `end`, at most `limit` of them, as lists of moderate length."""
        left = limit if limit is not None else end
        span, most = _FIRST_PAGE, PAGE if types is None else _FILTERED_PAGE
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
        self._check_columns(table, {x, y, *(where or {})})
        asked = _Series(table, x, y, dict(where or {}), max(2, min(buckets, _MOST_BUCKETS)))
        low, high, rows, finite = self._database.query(*asked.extent())[0]
        if not rows:
            return []
        return [Bucket(*row) for row in self._database.query(*asked.buckets_of(low, high, all_finite=rows == finite))]

    def _check_columns(self, table: str, columns: set[str]) -> None:
        sql = "SELECT column_name FROM information_schema.columns WHERE table_name = ?"
        known = {str(row[0]) for row in self._database.query(sql, [identifier(table)])}
        missing = sorted(columns - known)
        if not known:
            raise BadQuery(f"there is no table {table!r}")
        if missing:
            raise BadQuery(f"table {table!r} has no column {', '.join(missing)}")

    def sql(self, query: str, limit: int = 10_000, timeout_s: float = 60.0) -> Rows:
        """Run one read-only query. Raises BadQuery if it is wrong, wants to write or takes longer than `timeout_s`."""
        return self._database.ask(query, limit, timeout_s)


class _Series(msgspec.Struct, frozen=True):
    """A question for a series, and its SQL. The columns are known to exist, so their names are safe to write out."""

    table: str
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
        return f"SELECT {columns} FROM {self.table} WHERE {self._condition}", self._values

    def buckets_of(self, low: float, high: float, *, all_finite: bool) -> tuple[str, list[object]]:
        """The buckets; looking at each value for whether it is finite costs as much again, so only where needed."""
        x, y = self.x, self.y
        only = "" if all_finite else f" FILTER (isfinite({y}::DOUBLE))"
        bad = "0" if all_finite else f"count(*) - count(*){only}"
        scale = (self.buckets - 1) / (high - low) if high > low else 0.0
        sql = f"""
            SELECT min({x})::DOUBLE, max({x})::DOUBLE, min({y}){only}::DOUBLE, max({y}){only}::DOUBLE, count(*), {bad}
            FROM {self.table} WHERE {self._condition}
            GROUP BY (({x} - ?::DOUBLE) * ?::DOUBLE)::USMALLINT ORDER BY 1"""
        return sql, [*self._values, low, scale]
