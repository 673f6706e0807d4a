"""Copying a log that is at rest into a fresh file, without the blocks that packing left free.

Packing moves payloads out of blocks that DuckDB then keeps for later use: a quarter of the file and more. A copy has
none of them. It replaces the file in one step, after it was compared with it row by row and synced; a death at any
moment leaves one whole log, the old one or the new, and at most a copy that the next opening removes.

For the one who holds the writer's lock, after the database was closed. The mark must be without a seal: the digest of
the old file is wrong from the moment the new one takes its place.
"""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

from store.disk import check_floor
from store.errors import DiskFull
from store.faults import point
from store.mark import sync_folder
from store.schema import DATABASE, WAL

COPY = f"{DATABASE}.copy"
_WORTH_SHARE = 0.1
"""A file is copied only if this share of it is free."""
_BLOCK_BYTES = 64 << 10
"""Of the copy. Each column ends in a block that is partly empty, and one damaged bit costs salvage a whole block: DuckDB's
usual 256 KiB make the file of a million events 2.5 % larger."""
_MEMORY_MB = 192
_WINDOW = 131_072
"""Sequence numbers whose rows change places: some 60 MB, and about what DuckDB keeps statistics of together."""


def remove_copy(folder: Path) -> None:
    """Remove what a death during a copy left."""
    for name in (COPY, f"{COPY}.wal"):
        (folder / name).unlink(missing_ok=True)


def compact(folder: Path, *, floor_bytes: int, worth_bytes: int) -> bool:
    """Replace the log's file by a copy without free blocks, if at least `worth_bytes` of it (0: whatever) are free.

    False, and nothing changed, if that is not worth it, cannot be done (the disk's floor, a write-ahead log that still
    belongs to the file) or fails.
    """
    if (folder / WAL).exists():
        return False  # it would be replayed into a file it was not written for
    remove_copy(folder)
    try:
        if not _copied(folder, floor_bytes, worth_bytes):
            return False
        _sync(folder / COPY)
    except (duckdb.Error, DiskFull, OSError):
        remove_copy(folder)  # the log is as it was, and whole
        return False
    point("copied")
    (folder / COPY).rename(folder / DATABASE)
    point("replaced")
    sync_folder(folder)
    return True


def _copied(folder: Path, floor_bytes: int, worth_bytes: int) -> bool:
    """Make the copy, unsynced. False if there is little to gain."""
    config: dict[str, str | bool | int | float | list[str]] = {"memory_limit": f"{_MEMORY_MB}MB", "threads": 1}
    with duckdb.connect(":memory:", config=config) as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"ATTACH '{_quoted(folder / DATABASE)}' AS old (READ_ONLY)")
        free, used = _bytes(connection)
        if worth_bytes and free < max(worth_bytes, (free + used) * _WORTH_SHARE):
            return False
        check_floor(folder, floor_bytes, used, urgent=False)
        connection.execute(f"ATTACH '{_quoted(folder / COPY)}' AS new (BLOCK_SIZE {_BLOCK_BYTES})")
        point("copying")
        connection.execute("COPY FROM DATABASE old TO new (SCHEMA)")
        for table in _tables(connection):
            connection.begin()  # all at once: each commit would leave a row group cut short, and its blocks free
            for statement in _filling(connection, table):
                connection.execute(statement)
            connection.commit()
        connection.execute("CHECKPOINT new")
        _compare(connection)
        connection.execute("DETACH new")
    return not (folder / f"{COPY}.wal").exists()


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _bytes(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """Free and used bytes of the old file."""
    sql = "SELECT block_size * free_blocks, block_size * used_blocks FROM pragma_database_size() WHERE database_name = 'old'"
    free, used = connection.execute(sql).fetchall()[0]
    return int(free), int(used)


def _filling(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    """What fills one of the new file's tables.

    Rows of named numbers are put together by their shape, window by window: one kind of row after another leaves most
    columns with a stretch of zeros and a stretch of numbers alike, which take a fifth less room than the two mixed.
    """
    into = f"INSERT INTO new.{table} SELECT * FROM old.{table}"
    sql = (
        "SELECT column_name FROM duckdb_columns() WHERE database_name = 'old' AND table_name = ? ORDER BY column_index"
    )
    columns = [name for (name,) in connection.execute(sql, [table]).fetchall()]
    if not {"seq", "shape"} <= set(columns):
        return [into]
    last = int(connection.execute(f"SELECT coalesce(max(seq), 0) FROM old.{table}").fetchall()[0][0])
    order = ", ".join(["shape", *columns[1 : columns.index("shape")], "seq"])
    return [
        f"{into} WHERE seq BETWEEN {first} AND {first + _WINDOW - 1} ORDER BY {order}"
        for first in range(1, last + 1, _WINDOW)
    ]


def _tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    sql = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'old' ORDER BY table_name"
    return [table for (table,) in connection.execute(sql).fetchall()]


def _compare(connection: duckdb.DuckDBPyConnection) -> None:
    """Raise duckdb.Error unless every table of the copy has the rows of the old one."""
    for table in _tables(connection):
        digests = [
            connection.execute(f"SELECT count(*), sum(hash(t)::HUGEINT) FROM {side}.{table} t").fetchall()
            for side in ("old", "new")
        ]
        if digests[0] != digests[1]:
            raise duckdb.Error(f"the copy of table {table} differs")


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
