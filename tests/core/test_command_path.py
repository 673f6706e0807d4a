"""What a command may have to wait for on its way into the log, counted and not timed: one commit, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import pytest

import core.host
import store.writer
from core import events as e
from core.host import SummaryWriter
from core.journal import PIECE, Journal
from core.redact import Redactor
from core.snapshots import EVERY, SnapshotWriter
from core.state import RunState
from core.tables import TABLES
from store.event import Event, NewEvent
from store.log import EventLog
from store.writer import Limits

SOON_S = 20.0
"""Longest wait for another thread; nothing here takes long."""


class SlowLog:
    """A log whose commits are made when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[NewEvent], Future[list[Event]]]] = []
        self.seq = 0
        self._changed = threading.Condition()

    @property
    def last(self) -> tuple[int, str]:
        return self.seq, ""

    def append_async(self, events: Sequence[NewEvent]) -> Future[list[Event]]:
        future: Future[list[Event]] = Future()
        with self._changed:
            self.asked.append((list(events), future))
            self._changed.notify_all()
        return future

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.asked) >= count, SOON_S)

    def sizes(self) -> list[int]:
        return [len(events) for events, _ in self.asked]

    def commit(self, index: int) -> None:
        events, future = self.asked[index]
        stored = [
            Event(self.seq + k, n.ts, n.type, n.v, n.actor, n.cause, n.payload, n.id, "")
            for k, n in enumerate(events, 1)
        ]
        self.seq += len(stored)
        future.set_result(stored)


def journal_on(log: Any) -> Journal:
    return Journal(cast(EventLog, log), RunState(), Redactor({}))


def metrics(count: int) -> list[e.Payload]:
    return [e.MetricLogged(job="job-1", step=n, values={"loss": 1.0}) for n in range(count)]


def begin(work: Any, *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def test_a_command_stands_behind_one_piece_of_a_backlog_and_not_behind_all_of_it() -> None:
    log = SlowLog()
    journal = journal_on(log)
    bulk = begin(journal.emit_many, metrics(4 * PIECE))
    log.wait_for(1)
    command = begin(journal.emit, e.CommandRequested(command="pause", text="", arguments={}))
    log.wait_for(2)
    assert log.sizes() == [PIECE, 1], "it was handed in while the first piece was being committed"
    log.commit(0)
    log.wait_for(3)  # the next piece of the backlog comes after it
    log.commit(1)
    command.join(SOON_S)
    assert not command.is_alive(), "it is answered before the backlog is in"
    assert journal.state.commands[-1].command == "pause"
    for index in (2, 3, 4):
        log.wait_for(index + 1)
        log.commit(index)
    bulk.join(SOON_S)
    assert log.sizes() == [PIECE, 1, PIECE, PIECE, PIECE]
    assert journal.state.seq == 4 * PIECE + 1


def test_the_state_is_read_while_a_commit_is_under_way() -> None:
    log = SlowLog()
    journal = journal_on(log)
    begin(journal.emit, e.NoteAdded(text="a"))
    log.wait_for(1)
    seen: list[int] = []
    reader = begin(lambda: seen.append(journal.read(lambda s: s.seq)))
    reader.join(SOON_S)
    assert seen == [0]
    log.commit(0)


def test_events_are_folded_in_the_logs_order_whoever_wakes_first() -> None:
    log = SlowLog()
    journal = journal_on(log)
    threads: list[threading.Thread] = []
    for n in range(20):
        threads.append(begin(journal.emit, e.NoteAdded(text=f"note {n}")))
        log.wait_for(n + 1)
    for n in range(20):
        log.commit(n)
    for thread in threads:
        thread.join(SOON_S)
    assert journal.state.notes == [f"note {n}" for n in range(20)]


def test_what_was_said_for_soon_goes_before_the_next_event_and_flush_waits_for_it() -> None:
    log = SlowLog()
    journal = journal_on(log)
    journal.emit_soon(e.NoteAdded(text="first"))
    other = begin(journal.emit, e.NoteAdded(text="second"))
    log.wait_for(1)
    flush = begin(journal.flush)
    log.wait_for(2)
    assert log.sizes() == [2, 0]
    log.commit(0)
    other.join(SOON_S)
    assert flush.is_alive(), "it returns when all before it is durable, in the log's order"
    log.commit(1)
    flush.join(SOON_S)
    assert journal.state.notes == ["first", "second"]


def test_an_append_that_is_refused_tells_its_own_caller_only() -> None:
    log = SlowLog()
    journal = journal_on(log)
    failed: list[str] = []

    def refused() -> None:
        try:
            journal.emit(e.NoteAdded(text="lost"))
        except OSError as error:
            failed.append(str(error))

    first = begin(refused)
    log.wait_for(1)
    second = begin(journal.emit, e.NoteAdded(text="kept"))
    log.wait_for(2)
    log.asked[0][1].set_exception(OSError("no room"))
    log.commit(1)
    first.join(SOON_S)
    second.join(SOON_S)
    assert failed == ["no room"]
    assert journal.state.notes == ["kept"]


def test_summary_and_snapshot_are_written_by_nobody_who_emits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both may hang (a slow disk): what was emitted is answered all the same, and several requests become one file."""
    go_on, begun = threading.Event(), threading.Semaphore(0)
    written: list[str] = []

    def slow(path: Path, value: Any) -> None:
        begun.release()
        assert go_on.wait(SOON_S)
        written.append(value.title)

    monkeypatch.setattr(core.host, "write_json", slow)
    with EventLog.create(tmp_path / "run", TABLES) as log:
        journal = Journal(log, RunState(seq=0), Redactor({}))
        summary = SummaryWriter(tmp_path / "run", journal)
        journal.emit(e.NoteAdded(text="one", kind="title"))
        assert begun.acquire(timeout=SOON_S)
        for title in ("two", "three", "four"):  # each returns while the first is still being written
            journal.emit(e.NoteAdded(text=title, kind="title"))
        assert written == []
        go_on.set()
        summary.close()
    assert written[0] == "one"
    assert written[-1] == "four"
    assert len(written) <= 3


def test_a_snapshot_is_written_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EventLog.create(tmp_path / "run", TABLES) as log:
        journal = Journal(log, RunState(), Redactor({}))
        snapshots = SnapshotWriter(tmp_path / "run", journal, log)
        threads: list[str] = []
        kept = journal.snapshot_bytes

        def noted() -> tuple[int, bytes]:
            threads.append(threading.current_thread().name)
            return kept()

        monkeypatch.setattr(journal, "snapshot_bytes", noted)
        journal.emit_many(metrics(EVERY))
        snapshots.close()
    assert threads == ["snapshots"]


def test_a_checkpoint_that_is_due_lets_appends_that_wait_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace: list[str] = []
    checkpointing = threading.Event()

    def point(name: str) -> None:
        trace.append(name)
        if name == "checkpointing":
            checkpointing.set()

    monkeypatch.setattr(store.writer, "point", point)
    limits = Limits(min_free_bytes=0, wal_bytes=1_000_000, compact_bytes=0)
    with EventLog.create(tmp_path / "run", TABLES, limits=limits) as log:
        held, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            held.set()
            assert go_on.wait(SOON_S)

        holder = begin(log._writer.run_between_commits, hold)
        assert held.wait(SOON_S)
        large = log.append_async(notes(600, 1900))
        small = [log.append_async(notes(600, 10)) for _ in range(2)]  # too many for one transaction together
        trace.clear()
        checkpointing.clear()
        go_on.set()
        for future in (large, *small):
            future.result(SOON_S)
        holder.join(SOON_S)
        assert checkpointing.wait(SOON_S), "it is made once nobody waits"
        done = [name for name in trace if name in ("committed", "checkpointing")]
    assert done[:4] == ["committed", "committed", "committed", "checkpointing"]


def notes(count: int, size: int) -> list[NewEvent]:
    return [e.new(e.NoteAdded(text="x" * size), actor="host") for _ in range(count)]
