"""Putting rows into DuckDB the quick way: events through arrays and a statement that is planned once, other rows by one
INSERT for a few and the appender for more; never `executemany` (it commits 1-2 thousand rows a second).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import duckdb

from store.database import Database
from store.event import Event, tick_of_high, time_in
from store.faults import point

FEW = 6
"""Up to here an INSERT with parameters is quicker than opening an appender."""
MOST = 1000
"""Events of one transaction."""

Row = tuple[object, ...]


def append_events(database: Database, events: Sequence[Event]) -> None:
    """Store events in one transaction of their own, the quickest way there is. For the writer thread only."""
    with database.writing() as connection:
        columns = database.staged("stage", _blank, _STAGE)
        _fill(columns, events)
        point("inserted")
        connection.execute("EXECUTE stage_in")
        for name in _TEXTS:
            columns[name].fill("")  # or they would be kept until the next such transaction


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


def _blank() -> dict[str, Any]:
    """Room for the columns of as many events as one transaction holds."""
    import numpy as np  # whoever only reads does without

    types: dict[str, Any] = {"hi": np.uint64, "lo": np.uint64, "hash": np.uint64, "answers": bool, "used": bool}
    types |= dict.fromkeys(("seq", "late", "v", "cause"), np.int64) | dict.fromkeys(_TEXTS, object)
    return {name: np.full(MOST, "" if kind is object else 0, kind) for name, kind in types.items()}


_TEXTS = ("type", "actor", "payload")


def _fill(columns: dict[str, Any], events: Sequence[Event]) -> None:
    """Put events into columns, as `_row` would. Raises ConversionException, as an appender does, for a number that no column holds."""
    import numpy as np

    count = len(events)
    ids = np.frombuffer(bytes.fromhex("".join([e.id for e in events]).replace("-", "")), ">u8")
    causes = [e.cause for e in events]
    try:
        columns["seq"][:count] = [e.seq for e in events]
        times = np.array([e.ts for e in events], np.int64)
        columns["v"][:count] = [e.v for e in events]
        columns["cause"][:count] = [cause or 0 for cause in causes]
    except OverflowError as error:
        raise duckdb.ConversionException(str(error)) from error
    # A time so far from now that what it differs from the id's may not be a number any more.
    if np.abs(times).max(initial=0) >> 62:
        raise duckdb.ConversionException("the time of an event is out of range")
    high: Any = ids[::2].astype(np.uint64)  # a type without a sign: no id is too large for it
    columns["hi"][:count], columns["lo"][:count] = high, ids[1::2]
    columns["late"][:count] = times - np.asarray(time_in(tick_of_high(high)), np.int64)
    columns["used"][:] = np.arange(MOST) < count
    columns["type"][:count] = [e.type for e in events]
    columns["actor"][:count] = [e.actor for e in events]
    columns["answers"][:count] = [cause is not None for cause in causes]
    columns["payload"][:count] = [e.payload.decode() for e in events]
    columns["hash"][:count] = np.frombuffer(bytes.fromhex("".join([e.hash for e in events])), ">u8")


_STAGE = """INSERT INTO event_log SELECT seq, hi, lo, late, type, v, actor, CASE WHEN answers THEN cause END, payload, hash
    FROM stage WHERE used"""


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
