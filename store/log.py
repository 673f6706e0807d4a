"""The event log as its one writer holds it.

`append` returns when the events are on disk and the mark says so. Readers in the same process use the same object (it
is an `EventSource`) and `subscribe`; readers elsewhere come through `store.serve`. One folder, one log, one writer.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import duckdb
import msgspec

from store.build import build_tables
from store.chain import genesis
from store.compact import compact, remove_copy
from store.database import Database, Settings
from store.errors import BadEvent, LogBusy, LogDamaged, LogExists, LogMissing
from store.event import Event, NewEvent, now_us
from store.faults import point
from store.lock import WriterLock
from store.mark import Mark, MarkFile, read_mark, sync_folder
from store.pack import Repacker
from store.plan import Request
from store.reading import LogReader
from store.schema import CREATE, DATABASE, FORMAT, events_view
from store.sealer import Sealer, digest_file
from store.subscription import Ring, Subscription
from store.tables import TypedTable
from store.tip import check_tip, find_mark, label_format
from store.writer import Limits, Parts, Writer

MAX_PAYLOAD = 128 << 10
"""Bytes of one payload; what is larger belongs into a blob. DuckDB unpacks payloads 2,048 at a time, so reading one
event costs the memory of its neighbours."""


class EventLog(LogReader):
    """An append-only log, open for writing."""

    def __init__(self, parts: Parts, writer: Writer, lock: WriterLock) -> None:
        super().__init__(parts.database)
        self.folder = parts.folder
        self._parts = parts
        self._writer = writer
        self._lock = lock
        self._closed = False

    @classmethod
    def create(
        cls,
        folder: Path,
        tables: Sequence[TypedTable] = (),
        *,
        settings: Settings | None = None,
        limits: Limits | None = None,
    ) -> EventLog:
        """Make an empty log in `folder` and open it. Raises LogExists if one is there."""
        folder.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(folder)
        try:
            _lay_down(folder)
        finally:
            lock.release()
        return cls.open(folder, tables, settings=settings, limits=limits)

    @classmethod
    def open(
        cls,
        folder: Path,
        tables: Sequence[TypedTable] = (),
        *,
        settings: Settings | None = None,
        limits: Limits | None = None,
        wait_s: float = 2.0,
    ) -> EventLog:
        """Open the log in `folder` for writing.

        Raises LogBusy if another process has it (a reader of the file is waited for up to `wait_s` seconds),
        LogMissing if there is none, LogDamaged if it does not end where its mark says.
        """
        found = find_mark(folder).mark
        lock = WriterLock(folder)
        with contextlib.ExitStack() as undo:
            undo.callback(lock.release)
            remove_copy(folder)
            found = find_mark(folder).mark
            mark = MarkFile(folder, found)
            undo.callback(mark.close)
            mark.seal(None)
            undo.callback(mark.seal, found.seal)  # an opening that fails leaves the evidence as it was
            database = _connect_patiently(folder, settings, wait_s)
            sealer = Sealer(folder / DATABASE)
            undo.callback(sealer.close)
            undo.callback(database.close)
            tip = check_tip(database, mark.mark)
            label_format(database)
            mark.advance(*tip.pair)
            built = build_tables(database, tables, tip.seq)
            repacker = Repacker(database, built, tip.seq)
            parts = Parts(folder, database, mark, sealer, Ring(tip.seq), repacker, limits or Limits())
            log = cls(parts, Writer(parts, tip), lock)
            undo.pop_all()
            return log

    @property
    def last(self) -> tuple[int, str]:
        """Sequence number and full hash of the last acknowledged event."""
        return self._writer.tip.pair

    def append(
        self, events: Sequence[NewEvent], expected_seq: int | None = None, *, urgent: bool = False
    ) -> list[Event]:
        """Store `events` durably and return them as stored, in the order given. Thread-safe.

        Up to a thousand events (of 8 MB together) are stored all or none; more are split, in order. An id already
        there is not stored again: the stored event is returned. `expected_seq` is the last sequence number the
        caller knows of. `urgent` events may use the last quarter of the disk's floor.

        Raises WrongSequence, BadEvent, DiskFull or WriteFailed (nothing was stored), LogClosed.
        """
        return self.append_async(events, expected_seq, urgent=urgent).result()

    def append_async(
        self, events: Sequence[NewEvent], expected_seq: int | None = None, *, urgent: bool = False
    ) -> Future[list[Event]]:
        """As `append`, without waiting. Events queued by one thread are stored in the order it queued them."""
        request = Request(_checked(events), expected_seq, urgent)
        self._writer.submit(request)
        return request.future

    def subscribe(self, from_seq: int = 1) -> Subscription:
        """All events from `from_seq` on: the stored ones, then the live ones, without a gap."""
        return Subscription(self._parts.ring, lambda first, last: self.page(first, last), from_seq)

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database file now, unless reads under way forbid it."""
        self._writer.run_between_commits(self._writer.checkpoint)

    def close(self) -> None:
        """Commit what is queued, checkpoint, leave out free blocks, seal and let go of the file."""
        if self._closed:
            return
        self._closed = True
        self._writer.stop()
        self._parts.ring.close()
        healthy = self._writer.failure is None
        if healthy:
            self._writer.checkpoint()
            self._writer.unseal()
        self._parts.database.close()
        if healthy:
            digest = self._compacted()
            point("sealing")
            self._parts.mark.seal(digest)
            self._parts.mark.settle()
        self._parts.sealer.close()
        self._parts.mark.close()
        self._lock.release()

    def _compacted(self) -> str:
        """Copy the file at rest if that makes it much smaller; the digest of what then lies there."""
        limits = self._parts.limits
        copied = compact(self.folder, floor_bytes=limits.min_free_bytes, worth_bytes=limits.compact_bytes)
        return digest_file(self.folder / DATABASE) if copied else self._parts.sealer.finish()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Object(msgspec.Struct):
    """Any JSON object: decoding into it checks the syntax and keeps nothing."""


_check_object = msgspec.json.Decoder(_Object).decode
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_is_uuid = re.compile(_UUID).fullmatch
_are_uuids = re.compile(f"(?:{_UUID} )*").fullmatch


def _checked(events: Sequence[NewEvent]) -> list[NewEvent]:
    """`events`; raises BadEvent if one cannot be stored as it is."""
    payloads = [event.payload for event in events]
    try:
        for payload in payloads:
            _check_object(payload)
        # The decoder skips over strings without looking at their bytes. All payloads at once: each ends with a brace,
        # so no character can come of the end of one and the beginning of the next.
        b"".join(payloads).decode()
        sound = _are_uuids("".join([f"{event.id} " for event in events])) and max(map(len, payloads), default=0)
    except ValueError:
        sound = None
    if sound is None or sound > MAX_PAYLOAD:
        for event in events:
            _check(event)
    return list(events)


def _check(event: NewEvent) -> None:
    """Raises BadEvent if `event` cannot be stored as it is."""
    try:
        event.payload.decode()
        _check_object(event.payload)
        if not _is_uuid(event.id):
            raise ValueError(f"{event.id!r} is not a lower-case UUID")
    except ValueError as error:
        text = f"an event of type {event.type!r} cannot be stored: {error}"
        raise BadEvent(text, next="A payload is one JSON object in UTF-8, an id a lower-case UUID") from error
    if len(event.payload) > MAX_PAYLOAD:
        raise _too_large(event)


def _too_large(event: NewEvent) -> BadEvent:
    size = len(event.payload)
    text = f"the payload of an event of type {event.type!r} has {size} bytes, {MAX_PAYLOAD} are allowed"
    return BadEvent(text, next="Store it as a blob and put its digest into the event")


def _connect_patiently(folder: Path, settings: Settings | None, wait_s: float) -> Database:
    """Open the file for writing; one that is being read is waited for, since readers hold it for moments."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return Database(folder / DATABASE, read_only=False, settings=settings)
        except LogBusy:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _lay_down(folder: Path) -> None:
    """Write an empty log. It appears under its name in one step, after its mark: a death on the way leaves no log."""
    path = folder / DATABASE
    if path.exists():
        raise LogExists("there is a log here already", where=str(path))
    with contextlib.suppress(LogMissing):
        if read_mark(folder).mark.seq > 0:
            raise LogDamaged("the log's database file is gone", where=str(path))
    log_id = str(uuid.uuid4())
    new = folder / f"{DATABASE}.new"
    new.unlink(missing_ok=True)
    with duckdb.connect(str(new)) as connection:
        for statement in (*CREATE, events_view([])):
            connection.execute(statement)
        connection.execute("INSERT INTO log_about VALUES (?, ?, ?)", [FORMAT, log_id, now_us()])
        connection.execute("CHECKPOINT")
    with new.open("rb") as file:
        os.fsync(file.fileno())
    MarkFile(folder, Mark(log_id, 0, genesis(log_id).hex())).close()
    new.rename(path)
    sync_folder(folder)
