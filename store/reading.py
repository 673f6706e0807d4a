"""Reading a log by SQL: what a file nobody writes and a host's own open log have in common.

Everything is read in short pages, each a query of its own, so no reader holds a transaction open while its caller
thinks: the writer can checkpoint, and a database that has to be reopened is not kept from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from store.chain import WIDTH
from store.database import Database
from store.errors import BadQuery
from store.event import Event
from store.schema import COLUMNS
from store.source import Bucket, Rows, Scalar
from store.tables import identifier

PAGE = 4096
"""Sequence numbers a page spans when every event is wanted."""
_FILTERED_PAGE = 65536
"""And when only some types are."""
_FIRST_PAGE = 256
_PAGE_BYTES = 4_000_000
"""Pages grow from small to full size as long as their payloads stay below this."""

_Row = tuple[int, str, int, str, int, str, int | None, str, int]


def event_of(row: _Row) -> Event:
    """The event in a row of `schema.COLUMNS`."""
    seq, id, ts, type, v, actor, cause, payload, hash = row
    return Event(seq, id, ts, type, v, actor, cause, payload.encode(), f"{hash:0{WIDTH}x}")


class Pages:
    """Windows of an open log, for those who know their sequence numbers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, first: int, last: int, types: Collection[str] | None = None, limit: int = PAGE) -> list[Event]:
        """The events from `first` to `last`, in order, at most `limit` of them."""
        sql = f"SELECT {COLUMNS} FROM event_log WHERE seq BETWEEN ? AND ?"
        parameters: list[object] = [first, last]
        if types is not None:
            sql += " AND type IN (SELECT unnest(?::VARCHAR[]))"
            parameters.append(sorted(types))
        sql += f" ORDER BY seq LIMIT {int(limit)}"
        return [event_of(row) for row in self._database.query(sql, parameters)]

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

        The parts are of equal width in `x`; empty ones are left out. Raises BadQuery for an unknown table or column.
        """
        sql, parameters = _series_sql(table, x, y, dict(where or {}), buckets)
        known = self._database.query(
            "SELECT column_name FROM information_schema.columns WHERE table_name = ?", [identifier(table)]
        )
        missing = {x, y, *(where or {})} - {str(row[0]) for row in known}
        if missing:
            raise BadQuery(
                f"table {table!r} has no column {', '.join(sorted(missing))}" if known else f"no table {table!r}"
            )
        return [Bucket(*row) for row in self._database.query(sql, parameters)]

    def sql(self, query: str, limit: int = 10_000, timeout_s: float = 60.0) -> Rows:
        """Run one read-only query. Raises BadQuery if it is wrong, wants to write or takes longer than `timeout_s`."""
        return self._database.ask(query, limit, timeout_s)


def _series_sql(table: str, x: str, y: str, where: dict[str, Scalar], buckets: int) -> tuple[str, list[object]]:
    tests = [f"{identifier(column)} IS NOT DISTINCT FROM ?" for column in where]
    condition = " AND ".join([f"{identifier(x)} IS NOT NULL", *tests])
    values = list(where.values())
    sql = f"""
        WITH span AS (SELECT min({x})::DOUBLE AS lo, max({x})::DOUBLE AS hi FROM {table} WHERE {condition})
        SELECT min({x})::DOUBLE, max({x})::DOUBLE,
               min({y}) FILTER (isfinite({y}::DOUBLE))::DOUBLE, max({y}) FILTER (isfinite({y}::DOUBLE))::DOUBLE,
               arg_min({identifier(y)}, {x})::DOUBLE, arg_max({y}, {x})::DOUBLE,
               count(*), count(*) - count(*) FILTER (isfinite({y}::DOUBLE))
        FROM {table}, span WHERE {condition}
        GROUP BY least(floor(({x} - lo) * {int(buckets)} / nullif(hi - lo, 0)), {int(buckets) - 1})
        ORDER BY 1"""
    return sql, [*values, *values]
