"""One open DuckDB file: short reads from any thread, one connection for writing, and a way to start over.

A DuckDB instance that met a fatal error (a full disk at a checkpoint, a failed write) is dead or wrong until *every*
connection to it is closed. So all access goes through a gate that counts who is inside; `reopen` interrupts them, waits
until the room is empty, and opens the file anew.

Trap: DuckDB holds a POSIX record lock, which a process loses as soon as it closes *any* descriptor of that file. Nothing in
a process that has a log open may open and close `log.duckdb` by itself.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from store.ask import ask
from store.errors import LogBusy, LogClosed, LogDamaged, LogMissing, StoreError
from store.lock import refuse_if_written
from store.source import Rows

_HOLDER = re.compile(r"\(PID (\d+)\)")


class Settings(msgspec.Struct, frozen=True):
    """How DuckDB may use the machine. The run's host must stay small; a query tool may take more."""

    memory_mb: int = 128
    threads: int = 1


class Database:
    """A DuckDB file, open."""

    def __init__(
        self, path: Path, *, read_only: bool, settings: Settings | None = None, park_s: float | None = None
    ) -> None:
        """Open `path`. With `park_s`, let go of the file after so many seconds without a question, until the next one."""
        self.path = path
        self.read_only = read_only
        self.settings = settings or Settings()
        self.generation = 0
        """Rises with every `reopen`."""
        self._gate = threading.Condition()
        self._inside: set[duckdb.DuckDBPyConnection] = set()
        self._shut = False
        self._used = time.monotonic()
        self._connection: duckdb.DuckDBPyConnection | None = self._connect()
        if park_s is not None:
            threading.Thread(target=self._park, args=(park_s,), name="log-parker", daemon=True).start()

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of one's own to the open file, for one short piece of work."""
        with self._gate:
            cursor = self._open_connection().cursor()
            self._inside.add(cursor)
        try:
            yield cursor
        finally:
            cursor.close()
            self._leave(cursor)

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The one connection that writes. Only the writer thread asks for it."""
        with self._gate:
            writer = self._open_connection()
            self._inside.add(writer)
        try:
            yield writer
        finally:
            self._leave(writer)

    def _open_connection(self) -> duckdb.DuckDBPyConnection:
        if self._shut:
            raise LogClosed("the log is closed", where=str(self.path))
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _leave(self, connection: duckdb.DuckDBPyConnection) -> None:
        with self._gate:
            self._inside.discard(connection)
            self._used = time.monotonic()
            self._gate.notify_all()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        if self.read_only:
            refuse_if_written(self.path.parent)
        return connect(self.path, read_only=self.read_only, settings=self.settings)

    def _park(self, park_s: float) -> None:
        with self._gate:
            while not self._shut:
                idle = time.monotonic() - self._used
                if self._connection is not None and not self._inside and idle >= park_s:
                    self._connection.close()
                    self._connection = None
                self._gate.wait(max(park_s - idle, 0.01) if self._connection is not None else None)

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query of ours. An instance that died is reopened once."""
        seen = self.generation
        try:
            return self._query(sql, parameters)
        except duckdb.FatalException:
            self.reopen(seen)
            return self._query(sql, parameters)

    def _query(self, sql: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        with self.cursor() as cursor:
            try:
                return cursor.execute(sql, parameters).fetchall()
            except duckdb.FatalException:
                raise
            except (duckdb.IOException, duckdb.InternalException, duckdb.SerializationException) as error:
                raise LogDamaged(f"the log cannot be read: {first_line(error)}", where=str(self.path)) from error

    def ask(self, sql: str, limit: int, timeout_s: float) -> Rows:
        """Run one query of a user's: a single SELECT, in a read-only transaction, for at most `timeout_s` seconds."""
        with self.cursor() as cursor:
            return ask(cursor, sql, limit, timeout_s)

    def reopen(self, seen: int) -> None:
        """Close every connection and open the file again, unless someone did since generation `seen`."""
        with self._gate:
            if self.generation != seen or self._shut:
                return
            self._empty_room()
            self._connection = self._connect()
            self.generation += 1

    def close(self) -> None:
        """Close the file. Reads under way are interrupted."""
        with self._gate:
            self._shut = True
            self._empty_room()
            self._gate.notify_all()

    def _empty_room(self) -> None:
        """Send everyone out and close the file."""
        for cursor in self._inside:
            cursor.interrupt()
        while self._inside:
            self._gate.wait()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def connect(path: Path, *, read_only: bool, settings: Settings) -> duckdb.DuckDBPyConnection:
    """Open the file with our settings; what DuckDB says on failure becomes LogBusy, LogDamaged or LogMissing."""
    config = {"memory_limit": f"{settings.memory_mb}MB", "threads": settings.threads}
    try:
        connection = duckdb.connect(str(path), read_only=read_only, config=config)
    except duckdb.Error as error:
        raise _refusal(path, error) from error
    for setting in (
        "SET wal_autocheckpoint = '1TB'",  # the writer checkpoints, at moments it chooses
        "SET TimeZone = 'UTC'",
        "SET enable_external_access = false",  # a query cannot touch other files
        "SET lock_configuration = true",
    ):
        connection.execute(setting)
    return connection


def _refusal(path: Path, error: duckdb.Error) -> StoreError:
    text = first_line(error)
    if "Could not set lock" in text:
        holder = _HOLDER.search(text)
        pid = int(holder.group(1)) if holder else None
        by = f"process {pid}" if pid else "another process"
        return LogBusy(f"the log is in use by {by}", pid=pid, where=str(path))
    if isinstance(error, duckdb.ConnectionException) and "different configuration" in text:
        return LogBusy("the log is already open in this process", pid=os.getpid(), where=str(path))
    if not path.exists():
        return LogMissing("there is no log here", where=str(path))
    return LogDamaged(f"the log cannot be opened: {text}", where=str(path))


def first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
