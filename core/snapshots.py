"""Snapshots of a run's state: a state far into a log is the nearest snapshot and a short fold.

They are disposable. The host writes one every so many events; whoever had to fold far writes one for the next.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from core.background import Background
from core.fold import Folder
from core.state import STATE_VERSION, RunState, from_bytes, to_bytes
from store.errors import StoreError
from store.event import Event
from store.snapshots import Snapshots
from store.source import EventSource

if TYPE_CHECKING:  # a UI that follows a living host must not load the database
    from core.journal import Journal

NAME = "state"
EVERY = 5000
"""Events between two snapshots of a host: folding them takes some 20 ms, a snapshot has some 100 kB."""
KEPT = 200
FAR = 20_000
"""Events that are worth a snapshot when somebody had to fold them."""


def state_from(source: EventSource, folder: Path, to: int | None = None) -> RunState:
    """The state after event `to` (default the last), from the nearest snapshot on."""
    end = source.last[0] if to is None else min(to, source.last[0])
    folder_ = Folder(_nearest(source, folder, end))
    start = folder_.state.seq
    folder_.follow(source, end)
    if end - start >= FAR and (last := source.get(end)) is not None:
        _save(folder, last, to_bytes(folder_.state))
    return folder_.state


def _nearest(source: EventSource, folder: Path, end: int) -> RunState | None:
    found = Snapshots(folder).nearest(NAME, STATE_VERSION, source, end)
    try:
        return from_bytes(found.data) if found else None
    except msgspec.MsgspecError:
        return None  # written by a program whose state had other fields


def _save(folder: Path, event: Event, data: bytes) -> None:
    try:
        Snapshots(folder).save(NAME, STATE_VERSION, event.seq, event.hash, data)
    except OSError:
        return  # a folder that cannot be written: the next reader folds again


class SnapshotWriter:
    """Writes the snapshots of a living run, on a thread of its own."""

    def __init__(self, folder: Path, journal: Journal, source: EventSource) -> None:
        self._folder = folder
        self._journal = journal
        self._source = source
        self._snapshots = Snapshots(folder)
        self._next = (journal.state.seq // EVERY + 1) * EVERY
        self._snapshots.prune(NAME, STATE_VERSION, KEPT)
        self._background = Background(self._write, "snapshots")
        journal.listen(self._on_event)

    def close(self) -> None:
        """Write what is due."""
        self._background.close()

    def _on_event(self, event: Event) -> None:
        if event.seq >= self._next:
            self._next = (event.seq // EVERY + 1) * EVERY
            self._background.ask()

    def _write(self) -> None:
        seq, data = self._journal.snapshot_bytes()
        try:
            at = self._source.get(seq)
        except StoreError:
            return  # the log has stopped: the run ends, and who opens it next folds
        if at is not None:
            _save(self._folder, at, data)
