"""Typed tables: events whose payload is mostly numbers, stored as columns instead of text.

Metrics and device readings are most of a long run. As JSON text they are large (a number has up to 17 digits) and slow
to chart. So an event type can be declared as a typed table: its payload is taken apart into one row, `event_log` keeps
no text for it, and reading the event puts the same bytes together again (`store.packing`; the hash chain, which covers
the payload as it was appended, vouches for that). A payload that would not come out byte for byte the same (a field the
table has no column for, a number written unlike JSON writes it) stays text. The view of the table's name shows both.

The fields of `values`, numbers under names nobody knows beforehand, share a fixed set of slots. A slot is two columns:
FLOAT for numbers that single precision holds exactly (what comes from a GPU mostly is such), DOUBLE for the others and
for short decimals; the column that is not used holds 0. `log_shapes` says which names an event has, and in which slot
each lies; the other slots hold 0 as well, for a column that may be NULL costs a bit a row however empty it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from store.errors import BadEvent
from store.schema import TS_US

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")
_RESERVED = {"events", "event_log", "log_about", "log_tables", "log_shapes", "seq", "ts"}
_OF_NUMBERS = {"shape", "name", "value"}

SqlType = Literal["VARCHAR", "BIGINT", "DOUBLE"]


@dataclass(frozen=True)
class Field:
    """One field of a payload that has a column."""

    key: str
    """Its key in the payload."""
    type: SqlType
    """VARCHAR for a text, BIGINT for a whole number, DOUBLE for one that may have a fraction."""
    column: str = ""
    """The column's name, where it differs from the key."""

    @property
    def at(self) -> str:
        return self.column or self.key


@dataclass(frozen=True)
class TypedTable:
    """Which event type is stored as columns, and which columns."""

    name: str
    """Of the view that shows it: `seq, ts`, the fields, and for each of the `values` a row with `name, value`."""
    type: str
    """The event type."""
    fields: tuple[Field, ...]
    values: str = ""
    """Key of the payload's object of named numbers, if it has one."""
    slots: int = 64
    """Names of numbers there are columns for; an event with a further one stays text."""

    def __post_init__(self) -> None:
        for name in (self.name, *(field.at for field in self.fields)):
            taken = _RESERVED | _OF_NUMBERS if self.values else _RESERVED
            if not _IDENTIFIER.fullmatch(name) or name in taken:
                raise BadEvent(f"{name!r} cannot be the name of a typed table or its column", next="Use another name")

    @property
    def rows(self) -> str:
        """The table behind the view."""
        return f"{self.name}_rows"

    @property
    def columns(self) -> list[str]:
        """Names of a row's columns."""
        numbers = [f"{kind}{k}" for kind in "fd" for k in range(self.slots)]
        return ["seq", *self.keys, *(["shape", *numbers] if self.values else [])]

    @property
    def first_slot(self) -> int:
        """Where in a row the slots begin."""
        return len(self.fields) + 2

    @property
    def keys(self) -> list[str]:
        """Columns that are fields of the payload."""
        return [field.at for field in self.fields]

    @property
    def columns_ddl(self) -> str:
        """As between the parentheses of CREATE TABLE."""
        columns = ["seq BIGINT NOT NULL", *(f"{field.at} {field.type}" for field in self.fields)]
        if self.values:
            columns += ["shape INTEGER NOT NULL", *(f"f{k} FLOAT NOT NULL DEFAULT 0" for k in range(self.slots))]
            columns += [f"d{k} DOUBLE NOT NULL DEFAULT 0" for k in range(self.slots)]
        return ", ".join(columns)

    @property
    def _numbers(self) -> str:
        """The list of a row's numbers, slot by slot."""
        return "[" + ", ".join(map(number_at, range(self.slots))) + "]"

    def view(self) -> str:
        """CREATE VIEW: the rows, and the events of this type that stayed text."""
        fields = "".join(f", r.{column}" for column in self.keys)
        named = f", unnest(s.names) AS name, unnest(list_select({self._numbers}, s.slots)) AS value"
        shapes = f" JOIN log_shapes s ON s.table_name = '{self.name}' AND s.shape = r.shape"
        packed = f"SELECT seq, make_timestamp({TS_US}) AS ts{fields}{named if self.values else ''} FROM event_log"
        packed += f" JOIN {self.rows} r USING (seq){shapes if self.values else ''}"
        return f"CREATE OR REPLACE VIEW {self.name} AS {packed} UNION ALL {self.text()}"

    def text(self) -> str:
        """SELECT: the events of this type that are text."""
        fields = "".join(
            f", TRY_CAST(payload::JSON->>'$.\"{field.key}\"' AS {field.type}) AS {field.at}" for field in self.fields
        )
        named = ", p.key AS name, TRY_CAST(p.value AS DOUBLE) AS value" if self.values else ""
        each = f", json_each(payload::JSON, '$.\"{self.values}\"') p" if self.values else ""
        text = f"SELECT seq, make_timestamp({TS_US}) AS ts{fields}{named} FROM event_log{each}"
        return f"{text} WHERE event_log.type = '{self.type}' AND payload IS NOT NULL"

    def events_part(self) -> str:
        """The packed events of this type, as a part of the view `events`."""
        parts = [
            f"""CASE WHEN r.{f.at} IS NOT NULL THEN '"{f.key}":' || to_json(r.{f.at})::VARCHAR END"""
            for f in self.fields
        ]
        shapes = ""
        if self.values:
            shapes = f" JOIN log_shapes s ON s.table_name = '{self.name}' AND s.shape = r.shape"
            number = f"coalesce(to_json(list_select({self._numbers}, s.slots)[i])::VARCHAR, 'null')"
            pairs = f"list_transform(s.names, lambda n, i: to_json(n)::VARCHAR || ':' || {number})"
            parts.append(f"""'"{self.values}":{{' || array_to_string({pairs}, ',') || '}}'""")
        return f"""SELECT seq, make_timestamp({TS_US}) AS ts, ((hi::UHUGEINT << 64) | lo)::UUID AS id, type, v, actor, cause,
            ('{{' || concat_ws(',', {", ".join(parts)}) || '}}')::JSON AS payload, format('{{:016x}}', hash) AS hash
            FROM event_log JOIN {self.rows} r USING (seq){shapes} WHERE type = '{self.type}'"""


def number_at(slot: int) -> str:
    """The number in a slot."""
    return f"CASE WHEN d{slot} <> 0 THEN d{slot} ELSE f{slot}::DOUBLE END"
