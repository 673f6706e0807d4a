"""Putting rows into DuckDB the quick way: one INSERT for a few, the appender for many, never `executemany` (it commits
1-2 thousand rows a second, a hundredth of what either of these does).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import duckdb

from store.event import Event, tick_of_high, time_in

FEW = 6
"""Up to here an INSERT with parameters is quicker than opening an appender."""

Row = tuple[object, ...]


def insert_events(connection: duckdb.DuckDBPyConnection, events: Sequence[Event], packed: Collection[int] = ()) -> None:
    """Store events. The payloads of those whose numbers are in `packed` lie in typed tables."""
    rows: list[Row] = []
    for e in events:
        number = int(e.id.replace("-", ""), 16)
        high, low = number >> 64, number & (1 << 64) - 1
        payload = None if e.seq in packed else e.payload.decode()
        late = e.ts - time_in(tick_of_high(high))
        rows.append((e.seq, high, low, late, e.type, e.v, e.actor, e.cause, payload, int(e.hash, 16)))
    insert_rows(connection, "event_log", rows)


def insert_rows(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    rows: Sequence[Row],
    columns: Sequence[str] = (),
    zeros_from: int = 0,
) -> None:
    """Store whole rows of a table. Where there are few, of many columns that are mostly NULL or, from the one at
    `zeros_from` on, 0 by default, their names make it quicker.
    """
    if len(rows) > FEW:
        with connection.appender(table) as appender:
            appender.append_rows(rows)
    elif columns:
        for names, group in _without_defaults(rows, columns, zeros_from).items():
            _insert(connection, f"{table} ({', '.join(names)})", group)
    elif rows:
        _insert(connection, table, rows)


def _insert(connection: duckdb.DuckDBPyConnection, into: str, rows: Sequence[Row]) -> None:
    one = f"({', '.join('?' * len(rows[0]))})"
    connection.execute(f"INSERT INTO {into} VALUES {', '.join([one] * len(rows))}", [x for row in rows for x in row])


def _without_defaults(rows: Sequence[Row], columns: Sequence[str], zeros_from: int) -> dict[tuple[str, ...], list[Row]]:
    """Rows by the columns they fill: a parameter costs DuckDB more than the default of a column it does not name."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        filled = [k for k, x in enumerate(row) if x is not None and (k < zeros_from or repr(x) != "0.0")]
        groups.setdefault(tuple(columns[k] for k in filled), []).append(tuple(row[k] for k in filled))
    return groups
