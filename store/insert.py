"""Putting rows into DuckDB the quick way: one INSERT for a few, the appender for more, arrays for many events, never
`executemany` (it commits 1-2 thousand rows a second, a hundredth of what any of these does).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import duckdb

from store.database import Database
from store.event import Event, tick_of_high, time_in
from store.faults import point
from store.schema import ID_TIME_US

FEW = 6
"""Up to here an INSERT with parameters is quicker than opening an appender."""
MANY = 200
"""From here on arrays are quicker than an appender, which looks at each value by itself."""

Row = tuple[object, ...]


def append_events(database: Database, events: Sequence[Event]) -> None:
    """Store events in one transaction of their own, the quickest way there is. For the writer thread only."""
    with database.writing() as connection:
        if len(events) >= MANY:
            many = _columns(events)
            connection.begin()
            _insert_arrays(connection, many)
            point("inserted")
            connection.commit()
            return
        try:
            database.appender("event_log").append_rows([_row(event) for event in events])
            point("inserted")
            database.appender("event_log").flush()
        except duckdb.Error:
            database.forget_appenders()
            raise


def insert_events(connection: duckdb.DuckDBPyConnection, events: Sequence[Event], packed: Collection[int]) -> None:
    """Store events as part of a transaction. Payloads of those whose numbers are in `packed` lie in typed tables."""
    insert_rows(connection, "event_log", [_row(event, event.seq not in packed) for event in events])


def _row(e: Event, text: bool = True) -> Row:
    number = int(e.id.replace("-", ""), 16)
    high, low = number >> 64, number & (1 << 64) - 1
    late = e.ts - time_in(tick_of_high(high))
    return (
        e.seq,
        high,
        low,
        late,
        e.type,
        e.v,
        e.actor,
        e.cause,
        e.payload.decode() if text else None,
        int(e.hash, 16),
    )


def _columns(events: Sequence[Event]) -> dict[str, Any]:
    """Events as arrays by name. Raises ConversionException, as an appender does, for a number that no column holds."""
    import numpy as np  # a log that is only read, or grows slowly, does without

    ids = np.frombuffer(bytes.fromhex("".join([e.id for e in events]).replace("-", "")), ">u8").astype(np.uint64)
    high, low = np.ascontiguousarray(ids[::2]), np.ascontiguousarray(ids[1::2])
    seqs, times, causes = ([getattr(e, key) for e in events] for key in ("seq", "ts", "cause"))
    try:
        numbers = {"seq": seqs, "ts": times, "v": [e.v for e in events], "cause": [cause or 0 for cause in causes]}
        columns: dict[str, Any] = {name: np.array(values, np.int64) for name, values in numbers.items()}
    except OverflowError as error:
        raise duckdb.ConversionException(str(error)) from error
    return columns | {
        "hi": high,
        "lo": low,
        "type": np.array([e.type for e in events], object),
        "actor": np.array([e.actor for e in events], object),
        "answers": np.array([cause is not None for cause in causes], bool),
        "payload": np.array([e.payload.decode() for e in events], object),
        "hash": np.frombuffer(bytes.fromhex("".join([e.hash for e in events])), ">u8").astype(np.uint64),
    }


def _insert_arrays(connection: duckdb.DuckDBPyConnection, many: dict[str, Any]) -> None:
    connection.register("many", many)
    try:
        connection.execute(
            f"""INSERT INTO event_log SELECT seq, hi, lo, ts - {ID_TIME_US}, type, v, actor,
            CASE WHEN answers THEN cause END, payload, hash FROM many"""
        )
    finally:
        connection.unregister("many")


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
