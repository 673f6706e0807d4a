"""One SQL query over the logs of one or many runs, living ones included.

A run nobody writes is attached as it lies, read-only. A run with a living host cannot be opened by anyone else; its
events are fetched through the host's socket into memory and its typed rows computed from them, so the query sees what
it would have seen in the file, and never a lock error.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from store.ask import ask
from store.build import define
from store.client import RemoteLog
from store.database import first_line
from store.errors import BadQuery, LogBusy, LogDamaged
from store.event import Event
from store.insert import insert_events
from store.lock import refuse_if_written
from store.packing import Packer, Shapes, insert_packed
from store.schema import CREATE, DATABASE, events_view
from store.source import EventSource, Rows
from store.tables import TypedTable
from store.tip import find_mark

EVENTS_VIEW = "SELECT * FROM {log}.events"
_BATCH = 1000


def query(
    folders: Mapping[str, Path],
    sql: str,
    views: Mapping[str, str],
    *,
    tables: Sequence[TypedTable] = (),
    sockets: Mapping[str, Path] | None = None,
    limit: int = 10_000,
    timeout_s: float = 300.0,
    memory_mb: int = 512,
) -> Rows:
    """Run `sql` over the logs in `folders` (run id -> folder).

    `views` maps a view's name to its SELECT, in which `{log}` stands for one log (`SELECT * FROM {log}.metrics`);
    each view has the rows of all runs, with the run's id in a first column `run`. `events` is always there. A run
    that lacks what a view is made of (an older log) has no rows in it. For a run with a living host, `sockets` names
    the host's socket and `tables` the typed tables. Raises BadQuery, LogMissing, LogDamaged; LogBusy only for a host
    without a socket.
    """
    files, live = _living(folders, sockets or {})
    with attach_files(files, memory_mb=memory_mb) as (connection, names):
        for run, path in live.items():
            with RemoteLog(path) as remote:
                names[run] = _load(connection, f"live{len(names)}", remote, tables)
        for name, select in {"events": EVENTS_VIEW, **views}.items():
            _make_view(connection, name, select, names)
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        return ask(connection, sql, limit, timeout_s)


@contextmanager
def attach_files(
    folders: Mapping[str, Path], *, memory_mb: int = 512
) -> Generator[tuple[duckdb.DuckDBPyConnection, dict[str, str]], None, None]:
    """A connection with each folder's log attached read-only, and the name each run has in it."""
    names: dict[str, str] = {}
    with duckdb.connect(config={"memory_limit": f"{memory_mb}MB", "threads": 2}) as connection:
        connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        for run, folder in folders.items():
            find_mark(folder)
            refuse_if_written(folder)
            name = f"log{len(names)}"
            path = str(folder / DATABASE).replace("'", "''")
            try:
                connection.execute(f"ATTACH '{path}' AS {name} (READ_ONLY)")
            except duckdb.Error as error:
                raise _refusal(folder, error) from error
            names[run] = name
        yield connection, names


def _refusal(folder: Path, error: duckdb.Error) -> LogBusy | LogDamaged:
    text = first_line(error)
    if "Could not set lock" in text:
        return LogBusy("the log is in use by another process", where=str(folder))
    return LogDamaged(f"the log cannot be opened: {text}", where=str(folder))


def _living(folders: Mapping[str, Path], sockets: Mapping[str, Path]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Which runs are files, and at which socket each of the others lives."""
    files: dict[str, Path] = {}
    live: dict[str, Path] = {}
    for run, folder in folders.items():
        try:
            refuse_if_written(folder)
            files[run] = folder
        except LogBusy:
            if run not in sockets:
                raise
            live[run] = sockets[run]
    return files, live


def _load(connection: duckdb.DuckDBPyConnection, name: str, source: EventSource, tables: Sequence[TypedTable]) -> str:
    """Copy a log into memory, as the database `name`."""
    connection.execute(f"ATTACH ':memory:' AS {name}")
    connection.execute(f"USE {name}")
    for statement in CREATE:
        connection.execute(statement)
    for table in tables:
        define(connection, table)
    connection.execute(events_view([table.events_part() for table in tables]))
    shapes = {table: Shapes() for table in tables}
    batch: list[Event] = []
    for event in source.events():
        batch.append(event)
        if len(batch) == _BATCH:
            _store(connection, batch, shapes)
            batch = []
    _store(connection, batch, shapes)
    connection.execute("USE memory")
    return name


def _store(connection: duckdb.DuckDBPyConnection, batch: list[Event], shapes: dict[TypedTable, Shapes]) -> None:
    packers = {table.type: Packer(table, known) for table, known in shapes.items()}
    packed = {event.seq for event in batch if (p := packers.get(event.type)) is not None and p.pack(event)}
    insert_events(connection, batch, packed)
    for packer in packers.values():
        insert_packed(connection, packer)
        shapes[packer.table].add(packer.new_shapes)


def _make_view(connection: duckdb.DuckDBPyConnection, name: str, select: str, names: Mapping[str, str]) -> None:
    parts: list[str] = []
    for run, log in names.items():
        literal = run.replace("'", "''")
        part = f"SELECT '{literal}' AS run, * FROM ({select.replace('{log}', log)})"
        try:
            connection.execute(f"DESCRIBE {part}")
        except duckdb.CatalogException:
            continue  # this log is older than the view
        except duckdb.Error as error:
            raise BadQuery(f"view {name!r} is wrong: {first_line(error)}") from error
        parts.append(part)
    if parts:
        connection.execute(f"CREATE TEMP VIEW {name} AS {' UNION ALL BY NAME '.join(parts)}")
