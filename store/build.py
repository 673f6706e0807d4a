"""Making the typed tables of a log those the program declares: a new one is laid down, one whose declaration changed is
taken apart and packed anew from the events. All of it is one transaction, followed by a checkpoint, as after every
change of schema.

An event that was stored as text before its type had a table stays text; the views show both.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import msgspec

from store.database import Database, first_line
from store.errors import BadEvent
from store.packing import Packer, Shapes, insert_packed, read_shapes, read_tables
from store.reading import Pages
from store.schema import events_view
from store.tables import TypedTable


def build_tables(database: Database, tables: Sequence[TypedTable], last: int) -> dict[TypedTable, Shapes]:
    """Create or repack what is not as declared. Returns the tables with their shapes; a table that the log has and
    `tables` has not is kept for reading.
    """
    there = {table.name: table for table in read_tables(database)}
    stale = [table for table in tables if there.get(table.name) != table]
    if stale:
        with database.writing() as connection:
            connection.begin()
            for table in stale:
                packer = Packer(table, Shapes())
                old = there.get(table.name)
                if old is not None:
                    _pack_anew(database, connection, old, packer, last)
                try:
                    define(connection, table)
                except duckdb.Error as error:
                    raise BadEvent(f"typed table {table.name!r} cannot be made: {first_line(error)}") from error
                insert_packed(connection, packer)
            now = {**there, **{table.name: table for table in tables}}
            connection.execute(events_view([table.events_part() for table in now.values()]))
            connection.commit()
            connection.execute("CHECKPOINT")
    return {table: Shapes(read_shapes(database, table.name)) for table in tables}


def _pack_anew(
    database: Database, connection: duckdb.DuckDBPyConnection, old: TypedTable, packer: Packer, last: int
) -> None:
    """Pack the events that `old` holds; those the new declaration does not fit become text."""
    for page in Pages(database).walk(1, last, frozenset({old.type})):
        for event in page:
            fits = event.type == packer.table.type and packer.pack(event)
            text = None if fits else event.payload.decode()
            connection.execute("UPDATE event_log SET payload = ? WHERE seq = ?", [text, event.seq])


def define(connection: duckdb.DuckDBPyConnection, table: TypedTable) -> None:
    """Lay down an empty table and its view."""
    for statement in (f"DROP TABLE IF EXISTS {table.rows}", f"CREATE TABLE {table.rows} ({table.columns_ddl})"):
        connection.execute(statement)
    connection.execute("DELETE FROM log_tables WHERE name = ?", [table.name])
    connection.execute("DELETE FROM log_shapes WHERE table_name = ?", [table.name])
    connection.execute("INSERT INTO log_tables VALUES (?, ?)", [table.name, msgspec.json.encode(table).decode()])
    connection.execute(table.view())
