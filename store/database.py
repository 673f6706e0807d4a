"""One open DuckDB file: short reads from any thread, one connection for writing, and a way to start over.

A DuckDB instance that met a fatal error (a full disk at a checkpoint, a failed write) is dead or wrong until *every*
connection to it is closed. So all access goes through a gate that counts who is inside; `reopen` interrupts them, waits
until the room is empty, and opens the file anew.

Trap: DuckDB holds a POSIX record lock, which a process loses as soon as it closes *any* descriptor of that file.
Nothing in a process that has a log open may open and close `log.duckdb` by itself.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

import duckdb
import msgspec

from store.ask import ask
from store.errors import BadQuery, LogBusy, LogClosed, LogDamaged, LogMissing, StoreError, TooLarge
from store.lock import refuse_if_written
from store.source import Rows

T = TypeVar("T")
_HOLDER = re.compile(r"\(PID (\d+)\)")


class Settings(msgspec.Struct, frozen=True):
    """How DuckDB may use the machine."""

    memory_mb: int
    threads: int


WRITING = Settings(memory_mb=96, threads=1)
"""The run's host must stay small."""
READING = Settings(memory_mb=256, threads=2)
"""The same for every reader: DuckDB refuses one file opened twice in a process with unequal settings."""

_open: WeakSet[Database] = WeakSet()


class Database:
    """A DuckDB file, open."""

    def __init__(
        self, path: Path, *, read_only: bool, settings: Settings | None = None, park_s: float | None = None
    ) -> None:
        """Open `path`. With `park_s`, let go of the file after so many idle seconds, until the next question."""
        self.path = path
        self.read_only = read_only
        self.settings = settings or (READING if read_only else WRITING)
        self.generation = 0
        """Rises with every `reopen`."""
        self._gate = threading.Condition()
        self._inside: set[duckdb.DuckDBPyConnection] = set()
        self._staged: dict[str, dict[str, Any]] = {}
        self._shut = False
        self._used = time.monotonic()
        self._connection: duckdb.DuckDBPyConnection | None = self._connect()
        _open.add(self)
        if park_s is not None:
            threading.Thread(target=self._park, args=(park_s,), name="log-parker", daemon=True).start()

    @contextmanager
    def cursor(self) -> Generator[duckdb.DuckDBPyConnection, None, None]:
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
    def writing(self) -> Generator[duckdb.DuckDBPyConnection, None, None]:
        """The one connection that writes. Only the writer thread asks for it."""
        with self._gate:
            writer = self._open_connection()
            self._inside.add(writer)
        try:
            yield writer
        finally:
            self._leave(writer)

    def staged(self, name: str, make: Callable[[], dict[str, Any]], sql: str) -> dict[str, Any]:
        """Arrays by column that the writing connection sees as the table `name`, and `EXECUTE name_in` runs `sql`.

        Both are made once a connection, and the arrays filled for each use: to register, plan and drop each time would
        cost three times what the insertion itself does.
        """
        arrays = self._staged.get(name)
        if arrays is None:
            arrays = make()
            connection = self._open_connection()
            connection.register(name, arrays)
            connection.execute(f"PREPARE {name}_in AS {sql}")
            self._staged[name] = arrays
        return arrays

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
                    self._staged.clear()
                self._gate.wait(max(park_s - idle, 0.01) if self._connection is not None else None)

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query of ours. An instance that died is reopened once."""
        return self._patiently(lambda cursor: cursor.execute(sql, parameters).fetchall())

    def arrays(self, sql: str, parameters: Sequence[object] = ()) -> dict[str, Any]:
        """The columns of a query of ours as numpy arrays, by name; masked where a column holds NULL."""
        return self._patiently(lambda cursor: cursor.execute(sql, parameters).fetchnumpy())

    def _patiently(self, read: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        seen = self.generation
        try:
            return self._read(read)
        except duckdb.FatalException:
            self.reopen(seen)
        try:
            return self._read(read)
        except duckdb.FatalException as error:
            raise _reading_failed(self.path, error) from error

    def _read(self, read: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        with self.cursor() as cursor:
            try:
                return read(cursor)
            except duckdb.FatalException:
                raise
            except duckdb.Error as error:
                raise _reading_failed(self.path, error) from error

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
        self._staged.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _close_all() -> None:
    """At the end of the process: DuckDB's binding complains on stderr of connections that outlive the interpreter."""
    for database in list(_open):
        database.close()


atexit.register(_close_all)


def connect(path: Path, *, read_only: bool, settings: Settings) -> duckdb.DuckDBPyConnection:
    """Open the file with our settings; what DuckDB says on failure becomes LogBusy, LogDamaged or LogMissing."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{settings.memory_mb}MB",
        "threads": settings.threads,
        "wal_autocheckpoint": "1TB",  # the writer checkpoints, at moments it chooses
        "enable_external_access": False,  # a query cannot touch other files
        "pandas_analyze_sample": 0,  # arrays of objects hold text here: no need to look at a thousand of them first
    }
    try:
        connection = duckdb.connect(str(path), read_only=read_only, config=config)
    except duckdb.Error as error:
        raise _refusal(path, error) from error
    if not read_only:
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")  # or a process that just ends changes the file
    with contextlib.suppress(duckdb.InvalidInputException):  # a second opening in one process finds it locked
        connection.execute("SET enable_progress_bar = false")  # or a query of seconds draws over the screen
        connection.execute("SET lock_configuration = true")
    return connection


def _reading_failed(path: Path, error: duckdb.Error) -> StoreError:
    """What it means that a query of ours failed. Our queries are right, so what remains is the file."""
    text = first_line(error)
    if isinstance(error, duckdb.InterruptException):
        return LogClosed("the log was closed during a read", where=str(path))
    if isinstance(error, duckdb.OutOfMemoryException):
        return TooLarge("this takes more memory than is set aside for the log", where=str(path))
    if isinstance(error, duckdb.BinderException | duckdb.ConversionException):
        return BadQuery(text)  # `series` over a column that holds no numbers
    return LogDamaged(f"the log cannot be read: {text}", where=str(path))


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
