"""The one thread that writes a log.

It drains its queue into a plan of at most a thousand events, commits that as one transaction, shows the events to
subscribers, moves the mark, and only then answers. Between commits it checkpoints when the write-ahead log has grown
(events are stored as text first and packed into typed tables then: see `store.pack`), and when idle it packs, and
digests the database file for the seal. A checkpoint that is due lets appends that wait go first, for a while.

When DuckDB reports an error, nothing about the open instance is trusted any more: it is closed and opened again, and
the file says whether the transaction is in it. If it is, work goes on; if not, it is tried once more and then
refused. If the file itself is not as it should be, the writer stops, and every further append fails.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import duckdb

from store.database import Database, first_line
from store.disk import check_floor
from store.errors import DiskFull, LogClosed, LogDamaged, StoreError, WriteFailed
from store.event import Event, NewEvent
from store.faults import point
from store.ids import KnownIds
from store.inbox import Inbox
from store.insert import MOST, append_events
from store.mark import MarkFile
from store.pack import Repacker
from store.plan import Plan, Request
from store.reading import Pages
from store.schema import WAL
from store.sealer import Sealer
from store.subscription import Ring
from store.tip import Tip, check_tip

GROUP = MOST
"""Events a transaction holds at most."""
GROUP_BYTES = 8 << 20
"""And bytes of payload: DuckDB keeps a transaction in memory until it commits."""
_IDLE_S = 0.25
"""Seconds without work before the digest for the seal begins."""
_WORTH_PACKING = 2000
"""Events that came since the last packing; fewer wait for the next checkpoint."""
_RETRY_BYTES = 4 << 20
"""After a checkpoint that could not be made, the write-ahead log grows this much before the next try."""


_WAITS_UNTIL = 2
"""So many times that size, and the checkpoint goes before appends that wait."""


@dataclass(frozen=True)
class Limits:
    """What a writer may use."""

    min_free_bytes: int = 64 << 20
    wal_bytes: int = 16 << 20
    """Checkpoint when the write-ahead log has this size: a pause of some 40 ms."""
    compact_bytes: int = 4 << 20
    """At the close, copy a file that has so many free bytes into a fresh one; 0 copies every file."""


@dataclass(frozen=True)
class _Task:
    """Something the writer thread is to do between two commits."""

    work: Callable[[], object]
    future: Future[None]


@dataclass(frozen=True)
class Parts:
    """What the writer works on."""

    folder: Path
    database: Database
    mark: MarkFile
    sealer: Sealer
    ring: Ring
    repacker: Repacker
    limits: Limits


class Writer:
    """The writing end of an open log."""

    def __init__(self, parts: Parts, tip: Tip) -> None:
        self._parts = parts
        self._pages = Pages(parts.database)
        self._ids = KnownIds(parts.database)
        self._inbox: Inbox[Request | _Task] = Inbox()
        self._wal_limit = parts.limits.wal_bytes
        self.tip = tip
        self.failure: BaseException | None = None
        self.seal_if_small()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    # --- from any thread

    def submit(self, request: Request) -> None:
        """Queue an append; its future will be answered. Raises LogClosed if the writer has stopped."""
        self._inbox.put(request)

    def run_between_commits(self, work: Callable[[], object]) -> None:
        """Do `work` on the writer thread, between two transactions, and wait for it."""
        task = _Task(work, Future[None]())
        self._inbox.put(task)
        task.future.result()

    def stop(self) -> None:
        """Commit what is queued, then end the thread."""
        self._inbox.shut(f"the log in {self._parts.folder} is closed")
        self._thread.join()

    # --- the thread

    def _run(self) -> None:
        try:
            while not self._inbox.finished:
                self._turn()
        except BaseException as error:  # the boundary: whatever ended the writer reaches every caller
            self._fail(error)
            if not isinstance(error, StoreError):
                raise

    def _turn(self) -> None:
        self._wait_for_work()
        item = self._inbox.take()
        if isinstance(item, Request):
            self._serve(item)
            self._checkpoint_if_due()
        elif item is not None:
            _answer(item)

    def _wait_for_work(self) -> None:
        """Wait; and while there is nothing else to do, pack a little, then digest for the seal."""
        while self._parts.repacker.behind(self.tip.seq) >= _WORTH_PACKING:
            if self._inbox.wait(_IDLE_S) or self._inbox.finished:
                return
            self._pack_a_little()
        while self._parts.mark.mark.seal is None:
            if self._inbox.wait(_IDLE_S if self._parts.sealer.fresh else 0) or self._inbox.finished:
                return
            self._seal_a_little()
        self._inbox.wait(None)

    def _pack_a_little(self) -> None:
        seen = self._parts.database.generation
        try:
            self._parts.repacker.pack_some(self.tip.seq)
        except duckdb.Error:
            self._reopened_at(seen)

    def _seal_a_little(self) -> None:
        digest = self._parts.sealer.step()
        if digest is not None:
            point("sealing")
            self._parts.mark.seal(digest)

    def _serve(self, first: Request) -> None:
        if len(first.events) > GROUP or first.bytes > GROUP_BYTES:
            self._commit_long(first, list(_parts(first.events)))
            return
        group, count, size = [first], len(first.events), first.bytes
        while True:
            room, space = GROUP - count, GROUP_BYTES - size
            item = self._inbox.take(lambda item, room=room, space=space: _fits(item, room, space))
            if not isinstance(item, Request):
                break
            group.append(item)
            count += len(item.events)
            size += item.bytes
        self._commit(group)

    def _commit_long(self, request: Request, parts: list[Sequence[NewEvent]]) -> None:
        """More than a transaction holds: several, one after the other, and one answer at the end."""
        stored: list[Event] = []
        expected = request.expected_seq
        for events in parts:
            part = Request(events, expected, request.urgent)
            self._commit([part])
            error = part.future.exception()
            if error is not None:
                request.future.set_exception(error)
                return
            stored += part.future.result()
            expected = None
            self._checkpoint_if_due()
        request.future.set_result(stored)

    def _commit(self, group: list[Request]) -> None:
        plan = Plan(self.tip, self._stored)
        for request in group:
            try:
                plan.add(request)
            except StoreError as error:
                request.future.set_exception(error)
        if plan.events:
            try:
                self._store(plan, urgent=all(request.urgent for request, _ in plan.answers))
            except StoreError as error:
                for request, _ in plan.answers:
                    request.future.set_exception(error)
                if isinstance(error, LogDamaged | LogClosed):
                    raise
                return
        for request, events in plan.answers:
            request.future.set_result(events)

    def _stored(self, ids: Sequence[str]) -> dict[str, Event]:
        found = self._ids.find(ids)
        events = {seq: self._pages.get(seq) for seq in found.values()}
        return {id: event for id, seq in found.items() if (event := events[seq]) is not None}

    def _store(self, plan: Plan, *, urgent: bool) -> None:
        """Commit, show to readers, mark. After this the events may be acknowledged."""
        point("grouped")
        size = sum([len(event.payload) + 200 for event in plan.events])
        check_floor(self._parts.folder, self._parts.limits.min_free_bytes, size, urgent=urgent)
        seen = self._parts.database.generation
        try:
            append_events(self._parts.database, plan.events)
        except duckdb.Error as error:
            self._recover(plan, error, seen)
        point("committed")
        self.tip = plan.tip
        self._ids.add(plan.events)
        self._parts.ring.publish(plan.events)  # on disk, so readers may see them; the mark costs another sync
        point("published")
        self._parts.mark.advance(*plan.tip.pair)
        point("marked")

    def _recover(self, plan: Plan, error: duckdb.Error, seen: int) -> None:
        """Start over with a fresh instance, and find out whether the transaction is in the file."""
        if self._reopened_at(seen).seq == plan.tip.seq:
            return
        seen = self._parts.database.generation
        try:
            append_events(self._parts.database, plan.events)
        except duckdb.Error as again:
            if self._reopened_at(seen).seq != plan.tip.seq:
                raise _refused(again, self._parts.folder) from error

    def _reopened_at(self, seen: int) -> Tip:
        self._parts.database.reopen(seen)
        return check_tip(self._parts.database, self._parts.mark.mark)

    # --- checkpoints

    def _checkpoint_if_due(self) -> None:
        try:
            size = os.stat(self._parts.folder / WAL).st_size
        except FileNotFoundError:
            return
        if size < self._wal_limit or (size < _WAITS_UNTIL * self._wal_limit and not self._packed()):
            return
        done = self.checkpoint()
        self._wal_limit = self._parts.limits.wal_bytes if done else size + _RETRY_BYTES

    def _packed(self) -> bool:
        """Pack all that is not packed yet, a slice at a time. False as soon as an append waits: it goes first."""
        while not self._inbox.waiting:
            if self._parts.repacker.behind(self.tip.seq) <= 0:
                return True
            self._pack_a_little()
        return False

    def checkpoint(self) -> bool:
        """Move the write-ahead log into the database file. False if readers or a full disk were in the way.

        On the writer thread only. Nothing is lost when it fails: everything acknowledged is in the write-ahead log.
        """
        self.unseal()
        seen = self._parts.database.generation
        try:
            self._parts.repacker.pack_until(self.tip.seq)
            point("checkpointing")
            with self._parts.database.writing() as connection:
                connection.execute("CHECKPOINT")
        except duckdb.TransactionException:
            return False  # a read is under way; the next checkpoint takes this one's work with it
        except duckdb.Error:
            self._reopened_at(seen)
            return False
        finally:
            self._parts.sealer.restart()
        point("checkpointed")
        self.seal_if_small()
        return True

    def seal_if_small(self) -> None:
        """A small database file is sealed at once, so that even a log whose host is killed soon has its seal."""
        if self._parts.sealer.small:
            self._parts.mark.seal(self._parts.sealer.finish())

    def unseal(self) -> None:
        self._parts.mark.seal(None)
        self._parts.sealer.restart()

    def _fail(self, error: BaseException) -> None:
        """Answer everyone who waits, and everyone who comes later."""
        self.failure = error
        why = f"the log stopped: {error}"
        self._inbox.shut(why)
        self._parts.ring.close()
        while (item := self._inbox.take()) is not None:
            item.future.set_exception(LogClosed(why, where=str(self._parts.folder)))


def _parts(events: Sequence[NewEvent]) -> Iterator[Sequence[NewEvent]]:
    """`events` in pieces that one transaction holds each; an empty append is one empty piece."""
    start, size = 0, 0
    for k, event in enumerate(events):
        if k - start == GROUP or (k > start and size + len(event.payload) > GROUP_BYTES):
            yield events[start:k]
            start, size = k, 0
        size += len(event.payload)
    yield events[start:]


def _fits(item: Request | _Task, room: int, space: int) -> bool:
    return isinstance(item, Request) and len(item.events) <= room and item.bytes <= space


def _answer(task: _Task) -> None:
    try:
        task.work()
    except StoreError as error:
        task.future.set_exception(error)
    else:
        task.future.set_result(None)


def _refused(error: duckdb.Error, folder: Path) -> StoreError:
    text = first_line(error)
    if "No space left" in text or "ENOSPC" in text:
        return DiskFull(f"the disk is full: {text}", where=str(folder))
    return WriteFailed(f"the events could not be written: {text}", where=str(folder))
