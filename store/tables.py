"""Typed tables: rows computed from events and written in the same transaction, so that a heavy series (metrics, GPU
samples) can be queried without parsing JSON. They hold nothing the events do not: each can be dropped and rebuilt,
and is, when its version or its columns change. The layer above says which tables there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from store.errors import BadEvent
from store.event import Event

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True)
class TypedTable:
    """One table and how its rows follow from an event."""

    name: str
    columns_ddl: str
    """As between the parentheses of CREATE TABLE: `seq BIGINT, job VARCHAR, value DOUBLE`."""
    types: frozenset[str]
    """Event types that may have rows here."""
    rows: Callable[[Event], Iterable[tuple[object, ...]]]
    """The rows of one event, a value a column. Pure: the same event always gives the same rows."""
    version: int = 1
    """Raise it when `rows` changes, and every log rebuilds the table when it is next opened for writing."""

    def __post_init__(self) -> None:
        if not _IDENTIFIER.fullmatch(self.name) or self.name in {"events", "event_log", "log_about", "log_tables"}:
            raise BadEvent(f"{self.name!r} cannot be the name of a typed table", next="Use a plain lower-case name")


def identifier(name: str) -> str:
    """`name`, if it is a plain SQL identifier; raises BadEvent otherwise. Names cannot be bound as parameters."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise BadEvent(f"{name!r} is not a plain column or table name")
    return name


def rows_by_table(tables: Iterable[TypedTable], events: Iterable[Event]) -> dict[str, list[tuple[object, ...]]]:
    """The rows of `events`, by table name, in the events' order; tables without a row are left out."""
    wanted = list(tables)
    found: dict[str, list[tuple[object, ...]]] = {}
    for event in events:
        for table in wanted:
            if event.type in table.types:
                found.setdefault(table.name, []).extend(table.rows(event))
    return {name: rows for name, rows in found.items() if rows}
