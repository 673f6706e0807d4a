"""Moving events from text into typed tables, behind the writer's back.

An append must be quick: it stores a payload as the text it is. Packing costs some ten microseconds an event, so it is
done when the writer is idle and before a checkpoint, in transactions of its own. Every reader takes an event from
wherever it lies, so whether it is packed yet, or a death came between, makes no difference to anyone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

import duckdb

from store.database import Database
from store.faults import point
from store.packing import Packer, Shapes, insert_packed
from store.reading import Pages
from store.tables import TypedTable

_SLICE = 4096
"""Sequence numbers a transaction looks at."""


class Repacker:
    """Packs the events of an open log. For the writer thread only."""

    def __init__(self, database: Database, tables: Mapping[TypedTable, Shapes], last: int) -> None:
        self._database = database
        self._tables = tables
        self._types = sorted({table.type for table in tables})
        self._done = self._first_text(last) - 1

    def behind(self, last: int) -> int:
        """Events not yet looked at."""
        return last - self._done if self._types else 0

    def pack_until(self, last: int) -> None:
        """Pack everything. Raises duckdb.Error; what was packed before stays packed."""
        while self.behind(last) > 0:
            self.pack_some(last)

    def pack_some(self, last: int) -> None:
        """Pack one slice."""
        first, last = self._done + 1, min(self._done + _SLICE, last)
        packers = {table.type: Packer(table, shapes) for table, shapes in self._tables.items()}
        for event in Pages(self._database).page(first, last, self._types):
            packers[event.type].pack(event)
        with self._database.writing() as connection:
            connection.begin()
            try:
                self._store(connection, packers.values(), first, last)
                connection.commit()
            except duckdb.Error:
                with contextlib.suppress(duckdb.Error):  # an instance that died has nothing left to undo
                    connection.rollback()
                raise
        point("packed")
        for packer in packers.values():
            self._tables[packer.table].add(packer.new_shapes)
        self._done = last

    @staticmethod
    def _store(connection: duckdb.DuckDBPyConnection, packers: Iterable[Packer], first: int, last: int) -> None:
        for packer in packers:
            if packer.rows:
                insert_packed(connection, packer)
                connection.execute(
                    f"""UPDATE event_log SET payload = NULL WHERE seq BETWEEN ? AND ?
                    AND seq IN (SELECT seq FROM {packer.table.rows} WHERE seq BETWEEN ? AND ?)""",
                    [first, last, first, last],
                )
        point("packing")

    def _first_text(self, last: int) -> int:
        """The first event that may be packed and is not: what a host that died left, mostly."""
        sql = "SELECT min(seq) FROM event_log WHERE payload IS NOT NULL AND type IN (SELECT unnest(?::VARCHAR[]))"
        found = self._database.query(sql, [self._types])[0][0] if self._types else None
        return last + 1 if found is None else int(found)
