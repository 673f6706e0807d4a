"""Making the typed tables of a log what their definitions say: those that are new or whose version changed are filled
anew from the events. All of it is one transaction, followed by a checkpoint, as after every change of schema.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from store.database import Database, first_line
from store.errors import BadEvent
from store.insert import insert_rows
from store.reading import Pages
from store.tables import TypedTable, rows_by_table


def build_tables(database: Database, tables: Sequence[TypedTable], last: int) -> list[str]:
    """Create or rebuild what is not up to date with the `last` events. Returns the names of the tables filled anew."""
    there = {row[0]: row[1:] for row in database.query("SELECT name, version, columns_ddl FROM log_tables")}
    stale = [table for table in tables if there.get(table.name) != (table.version, table.columns_ddl)]
    if stale:
        with database.writing() as connection:
            connection.begin()
            for table in stale:
                try:
                    _define(connection, table)
                except duckdb.Error as error:
                    raise BadEvent(f"typed table {table.name!r} cannot be made: {first_line(error)}") from error
            for page in Pages(database).walk(1, last, frozenset[str]().union(*(table.types for table in stale))):
                for name, rows in rows_by_table(stale, page).items():
                    insert_rows(connection, name, rows)
            connection.commit()
            connection.execute("CHECKPOINT")
    return [table.name for table in stale]


def _define(connection: duckdb.DuckDBPyConnection, table: TypedTable) -> None:
    connection.execute(f"DROP TABLE IF EXISTS {table.name}")
    connection.execute(f"CREATE TABLE {table.name} ({table.columns_ddl})")
    connection.execute("DELETE FROM log_tables WHERE name = ?", [table.name])
    connection.execute("INSERT INTO log_tables VALUES (?, ?, ?)", [table.name, table.version, table.columns_ddl])
