"""Taking payloads apart into rows of typed tables, and putting them together again, byte for byte.

Names of numbers come in few combinations (a trainer logs the same ones step after step). Each combination is a *shape*,
written to `log_shapes` in the transaction of the first event that has it. `Shapes` is what is in the file; a `Packer`
collects what one transaction adds to it, and is dropped with the transaction if that fails.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

import duckdb
import msgspec

from store.database import Database
from store.errors import BadQuery
from store.event import Event, canonical
from store.insert import Row, insert_rows
from store.tables import Field, TypedTable, number_at

if TYPE_CHECKING:
    from store.columns import Columns

MOST_SHAPES = 1000
"""Of one table. Keys that differ from event to event are no shapes; such events stay text."""

Names = tuple[str, ...]
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_decode_table = msgspec.json.Decoder(TypedTable).decode
_PYTHON: dict[str, type] = {"VARCHAR": str, "BIGINT": int, "DOUBLE": float}


class Shape(msgspec.Struct, frozen=True):
    """A combination of names, and the slot (from 0) of each."""

    number: int
    names: Names
    slots: tuple[int, ...]

    def row(self, table: TypedTable) -> Row:
        """As a row of `log_shapes`; SQL counts from 1."""
        return (table.name, self.number, list(self.names), [slot + 1 for slot in self.slots])


class Shapes:
    """The shapes of one table that are in the file."""

    def __init__(self, shapes: Iterable[Shape] = ()) -> None:
        self.by_names = {shape.names: shape for shape in shapes}
        self.slots = {n: s for shape in self.by_names.values() for n, s in zip(shape.names, shape.slots, strict=True)}

    def add(self, shapes: Iterable[Shape]) -> None:
        for shape in shapes:
            self.by_names[shape.names] = shape
            self.slots.update(zip(shape.names, shape.slots, strict=True))


def read_tables(database: Database) -> list[TypedTable]:
    """The typed tables of a log, as it declares them itself."""
    return [_decode_table(row[0]) for row in database.query("SELECT declaration FROM log_tables ORDER BY name")]


def read_shapes(database: Database, table: str) -> list[Shape]:
    """The shapes of a table, as they lie in the file."""
    found = database.query("SELECT shape, names, slots FROM log_shapes WHERE table_name = ? ORDER BY shape", [table])
    return [Shape(number, tuple(names), tuple(slot - 1 for slot in slots)) for number, names, slots in found]


class Packer:
    """Packs the events of one transaction into one table."""

    def __init__(self, table: TypedTable, known: Shapes) -> None:
        self.table = table
        self.rows: list[Row] = []
        self.new_shapes: list[Shape] = []
        self._known = known
        self._by_names: dict[Names, Shape] = {}
        self._slots: dict[str, int] = {}

    def pack(self, event: Event) -> bool:
        """Take the event's payload in as a row. False if it has to stay text."""
        try:
            payload = _decode(event.payload)
        except msgspec.MsgspecError:
            return False
        values = _dict(payload.pop(self.table.values, None)) if self.table.values else {}
        fields = _fields(self.table.fields, payload)
        if fields is None or values is None:
            return False
        if not self.table.values:
            return self._keep((event.seq, *fields), payload, event.payload)
        numbers = _numbers(values)
        shape = self._shape(tuple(values)) if numbers is not None else None
        if numbers is None or shape is None:
            return False
        return self._keep(
            (event.seq, *fields, shape.number, *_slotted(shape, numbers, self.table.slots)),
            {**payload, self.table.values: values},
            event.payload,
        )

    def _keep(self, row: Row, payload: dict[str, Any], text: bytes) -> bool:
        if canonical(payload) != text:
            return False
        self.rows.append(row)
        return True

    def _shape(self, names: Names) -> Shape | None:
        shape = self._known.by_names.get(names) or self._by_names.get(names)
        return shape or self._new_shape(names)

    def _new_shape(self, names: Names) -> Shape | None:
        taken = len(self._known.slots) + len(self._slots)
        fresh = [name for name in names if name not in self._known.slots and name not in self._slots]
        number = len(self._known.by_names) + len(self._by_names)
        if taken + len(fresh) > self.table.slots or number >= MOST_SHAPES or list(names) != sorted(names):
            return None
        self._slots.update((name, taken + k) for k, name in enumerate(fresh))
        slots = tuple(self._known.slots[n] if n in self._known.slots else self._slots[n] for n in names)
        shape = self._by_names[names] = Shape(number, names, slots)
        self.new_shapes.append(shape)
        return shape


def _fields(fields: Sequence[Field], payload: dict[str, Any]) -> list[object] | None:
    """The columns of a payload's fields; None if it has others, or of other types."""
    left = len(payload)
    row: list[object] = []
    for field in fields:
        value = payload.get(field.key)
        if value is not None:
            left -= 1
            if type(value) is not _PYTHON[field.type] or (field.type == "BIGINT" and not -(2**63) <= value < 2**63):
                return None
        row.append(value)
    return row if left == 0 else None


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _dict(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _numbers(values: dict[str, Any]) -> list[float] | None:
    """The values, if all of them are floats. Others (null for what was not a number) stay text."""
    numbers = list(values.values())
    return numbers if all(type(x) is float for x in numbers) else None


def _slotted(shape: Shape, numbers: list[float], slots: int) -> list[float]:
    """The numbers at their places.

    A decimal of at most seven places takes least room among doubles, where DuckDB stores it as a whole number. Zero
    goes to the single column, which is read when the double one says 0: so a negative zero keeps its sign.
    """
    row = [0.0] * (2 * slots)
    for slot, number, short in zip(shape.slots, numbers, array("f", numbers), strict=True):
        row[slot if number == short and (number == 0 or not (number * 1e7).is_integer()) else slots + slot] = number
    return row


def insert_packed(connection: duckdb.DuckDBPyConnection, packer: Packer) -> None:
    """Store what a packer took in."""
    insert_rows(connection, "log_shapes", [shape.row(packer.table) for shape in packer.new_shapes])
    insert_rows(connection, packer.table.rows, packer.rows, packer.table.columns, packer.table.first_slot)


class _Learned(msgspec.Struct, frozen=True):
    """What is known of a table's slots: their columns, and what a row of each shape gives."""

    sql: str
    shapes: dict[int, tuple[Names, Callable[[Row], Any]]]
    slots: dict[str, int]


class Unpacker:
    """Puts the payloads of one table's events together again."""

    def __init__(self, database: Database, table: TypedTable) -> None:
        self.table = table
        self._database = database
        self._learned = _Learned("", {}, {})
        self._text_free = 0

    def payloads(self, first: int, last: int) -> dict[int, bytes]:
        """Payloads of the packed events from `first` to `last`, by sequence number."""
        return {seq: canonical(fields) for seq, fields in self.decoded(first, last)}

    def decoded(self, first: int, last: int) -> list[tuple[int, dict[str, Any]]]:
        """The same, as objects not yet encoded."""
        keys, table = [field.key for field in self.table.fields], self.table
        if not table.values:
            found = self._rows(", ".join(table.keys), first, last)
            return [(row[0], {k: v for k, v in zip(keys, row[1:], strict=True) if v is not None}) for row in found]
        learned = self._learn(first, last)
        found = self._rows(", ".join(["shape", *table.keys]) + learned.sql, first, last)
        start = 2 + len(keys)
        out: list[tuple[int, dict[str, Any]]] = []
        for row in found:
            fields = {k: v for k, v in zip(keys, row[2:start], strict=True) if v is not None}
            names, pick = learned.shapes[row[1]]
            fields[table.values] = dict(zip(names, pick(row), strict=True))
            out.append((row[0], fields))
        return out

    def columns(self, first: int, last: int) -> Columns:
        """The packed events from `first` to `last`, as arrays."""
        from store.columns import Columns

        table = self.table
        learned = self._learn(first, last) if table.values else self._learned
        shape = "shape, " if table.values else ""
        found = self._arrays(f"{shape}{', '.join(table.keys)}", first, last)

        def load(names: Sequence[str], first: int, last: int) -> dict[str, Any]:
            numbers = [f"{number_at(learned.slots[name])} AS n{k}" for k, name in enumerate(names)]
            read = self._arrays(", ".join(numbers), first, last)
            return {"seq": read["seq"]} | {name: read[f"n{k}"] for k, name in enumerate(names)}

        return Columns(
            table,
            found["seq"],
            {field.key: found[field.at] for field in table.fields},
            found.get("shape"),
            {number: names for number, (names, _) in learned.shapes.items()},
            load,
        )

    def _arrays(self, columns: str, first: int, last: int) -> dict[str, Any]:
        sql = f"SELECT seq, {columns} FROM {self.table.rows} WHERE seq BETWEEN ? AND ? ORDER BY seq"
        return self._database.arrays(sql, [first, last])

    def source(self, columns: set[str], name: str | None) -> str:
        """A relation with these columns of the view, to select from; with a `name`, only what was logged under it.

        The view joins every row with its event and spreads out every number; where neither is needed, this does not.
        Raises BadQuery for a column that is not there.
        """
        table = self.table
        known = {"seq", "ts", *table.keys, *(("name", "value") if table.values else ())}
        if missing := sorted(columns - known):
            raise BadQuery(f"table {table.name!r} has no column {', '.join(missing)}")
        if "ts" in columns or (table.values and name is None):
            return table.name
        fields = ", ".join(["seq", *table.keys])
        shown = ", ".join([fields, "name", "value"]) if table.values else fields
        only = "WHERE name = " + _literal(name or "") if table.values else ""
        text = f" UNION ALL SELECT {shown} FROM ({table.text()}) {only}" if self._any_text() else ""
        if not table.values:
            return f"(SELECT {fields} FROM {table.rows}{text})"
        shapes = [shape for shape in read_shapes(self._database, table.name) if name in shape.names]
        if name is None or not shapes:
            return f"(SELECT {shown} FROM {table.name} WHERE false{text})"
        slot = shapes[0].slots[shapes[0].names.index(name)]
        numbers = ", ".join(str(shape.number) for shape in shapes)
        value = f"{number_at(slot)} AS value"
        packed = f"SELECT {fields}, {_literal(name)} AS name, {value} FROM {table.rows} WHERE shape IN ({numbers})"
        return f"({packed}{text})"

    def _any_text(self) -> bool:
        """Whether an event of this type is text. The part of the log that was found free of them stays so."""
        sql = "SELECT count(*), coalesce(max(seq), 0) FROM event_log WHERE seq > ? AND type = ? AND payload IS NOT NULL"
        last = int(self._database.query("SELECT coalesce(max(seq), 0) FROM event_log")[0][0])
        if self._database.query(sql, [self._text_free, self.table.type])[0][0]:
            return True
        self._text_free = last
        return False

    def _rows(self, columns: str, first: int, last: int) -> list[tuple[Any, ...]]:
        sql = f"SELECT seq, {columns} FROM {self.table.rows} WHERE seq BETWEEN ? AND ?"
        return self._database.query(sql, [first, last])

    def _learn(self, first: int, last: int) -> _Learned:
        """How to read these events. Columns of slots that no shape uses are left out."""
        sql = f"SELECT coalesce(max(shape), -1) FROM {self.table.rows} WHERE seq BETWEEN ? AND ?"
        if self._database.query(sql, [first, last])[0][0] in (-1, *self._learned.shapes):
            return self._learned  # shapes are numbered as they come, so the lower ones are known as well
        shapes = read_shapes(self._database, self.table.name)
        start = 2 + len(self.table.fields)
        used = sorted({slot for shape in shapes for slot in shape.slots})
        place = {slot: start + k for k, slot in enumerate(used)}
        self._learned = _Learned(
            "".join(f", {number_at(slot)}" for slot in used),
            {shape.number: (shape.names, _picker([place[slot] for slot in shape.slots])) for shape in shapes},
            {name: slot for shape in shapes for name, slot in zip(shape.names, shape.slots, strict=True)},
        )
        return self._learned


def _picker(places: list[int]) -> Callable[[Row], Any]:
    """What takes the values at `places` out of a row, as a tuple."""
    if len(places) > 1:
        return itemgetter(*places)
    return (lambda row: (row[places[0]],)) if places else lambda row: ()
