"""Putting rows into DuckDB the quick way: one INSERT for a few, the appender for many, never `executemany` (it commits
1-2 thousand rows a second, a hundredth of what either of these does).
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from store.event import Event
from store.schema import INSERT_ORDER

FEW = 6
"""Up to here an INSERT with parameters is quicker than opening an appender."""


def event_rows(events: Sequence[Event]) -> list[tuple[object, ...]]:
    """Events as rows of `schema.INSERT_ORDER`."""
    return [(e.seq, e.ts, e.id, e.type, e.v, e.actor, e.cause, e.payload.decode(), int(e.hash, 16)) for e in events]


def insert_events(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    _insert(connection, "event_log", INSERT_ORDER, event_rows(events))


def insert_rows(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    _insert(connection, table, "", rows)


def _insert(
    connection: duckdb.DuckDBPyConnection, table: str, columns: str, rows: Sequence[tuple[object, ...]]
) -> None:
    if len(rows) > FEW:
        with connection.appender(table) as appender:
            appender.append_rows(rows)
    elif rows:
        one = f"({', '.join('?' * len(rows[0]))})"
        values = [value for row in rows for value in row]
        connection.execute(f"INSERT INTO {table} {columns} VALUES {', '.join([one] * len(rows))}", values)
