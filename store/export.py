"""A log as Parquet files, for tools that do not know DuckDB."""

from __future__ import annotations

from pathlib import Path

import duckdb

from store.database import first_line
from store.errors import StoreError
from store.query import attach_files


def export_parquet(folder: Path, target: Path) -> list[Path]:
    """Write the events and every typed table of the log in `folder` to `target/<table>.parquet` (zstd). Returns the
    files.

    Raises LogBusy, LogMissing or LogDamaged as reading does, StoreError if `target` cannot be written.
    """
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    with attach_files({"run": folder}) as (connection, names):
        log = names["run"]
        tables = connection.execute(f"SELECT name FROM {log}.log_tables ORDER BY name").fetchall()
        for table in ["events", *(row[0] for row in tables)]:
            path = target / f"{table}.parquet"
            where = str(path).replace("'", "''")
            try:
                connection.execute(f"COPY (FROM {log}.{table}) TO '{where}' (FORMAT parquet, COMPRESSION zstd)")
            except duckdb.IOException as error:
                raise StoreError(f"the export failed: {first_line(error)}", where=str(path)) from error
            written.append(path)
    return written
