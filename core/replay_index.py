"""A replay's index on disk, and what can be shown of a long run before there is one.

Reading a run of a million events whole takes seconds. It is done once: the index (times, marks, snapshots) is kept in
the cache, never in the run's folder, and believed only if the log still holds the event it was made at. Until then
`preview` folds what is rare (plan, scores, jobs, diagnoses) and the last events: right in all that is rare, without the
curves of jobs that have ended.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from core.events import EVENTS
from core.fold import Folder
from core.home import cache_dir
from core.player import KEEP, Index, Indexer
from core.state import STATE_VERSION, Mark, RunState
from core.tables import TABLES
from store.snapshots import Snapshots
from store.source import EventSource

LONG = 20_000
"""Events from which on a run is previewed and its index kept: shorter ones are read in a blink."""
TAIL = 400
RARE_LIMIT = 20_000
FREQUENT = frozenset(
    {
        "metric_logged", "gpu_sampled", "model_requested", "model_completed", "tool_requested", "tool_started",
        "tool_completed", "step_started", "step_finished", "note_added", "checkpoint_saved", "budget_charged",
        "paper_found", "citation_followed",
    }
)  # fmt: skip
RARE = frozenset(EVENTS) - FREQUENT
_NAME = "replay"


class _Kept(msgspec.Struct):
    times: bytes
    marks: list[Mark]
    plan_steps: list[int]
    snapshots: dict[int, bytes]
    spacing: int
    final: bytes


def read_index(folder: Path, source: EventSource, progress: Callable[[float], None] | None = None) -> Index:
    """The index of the whole run, from the cache where it fits, else by reading everything. Raises StoreError."""
    kept = load_index(folder, source)
    if kept is not None:
        return kept
    last = source.last[0]
    indexer = Indexer()
    for read in _spans(source, indexer, last):
        if progress is not None:
            progress(read / last)
    index = indexer.index()
    if last >= LONG:
        save_index(folder, source, index)
    return index


def _spans(source: EventSource, indexer: Indexer, last: int) -> Iterator[int]:
    """Read the run from its first event on; how far that is, again and again."""
    if last <= KEEP:
        indexer.extend(source.events(1, last))
        yield last
        return
    for span in source.spans(1, last, TABLES):
        if span.first != indexer.seq + 1:
            return  # a log with a hole: what is before it is shown
        indexer.extend_by(span)
        yield indexer.seq


def load_index(folder: Path, source: EventSource) -> Index | None:
    """The kept index, if it was made at the last event of `source`."""
    last = source.last[0]
    found = _snapshots(folder).nearest(_NAME, STATE_VERSION, source) if last >= LONG else None
    if found is None or found.seq != last:
        return None
    try:
        kept = msgspec.msgpack.decode(found.data, type=_Kept)
    except msgspec.MsgspecError:
        return None
    times = array("q")
    times.frombytes(kept.times)
    return Index(times, kept.marks, kept.plan_steps, kept.snapshots, kept.spacing, kept.final)


def save_index(folder: Path, source: EventSource, index: Index) -> None:
    """Keep `index` for the next time. A cache that cannot be written costs only that time again."""
    at = source.get(len(index.times))
    if at is None:
        return
    kept = _Kept(index.times.tobytes(), index.marks, index.plan_steps, index.snapshots, index.spacing, index.final)
    store = _snapshots(folder)
    try:
        store.save(_NAME, STATE_VERSION, at.seq, at.hash, msgspec.msgpack.encode(kept))
        store.prune(_NAME, STATE_VERSION, 1)
    except OSError:
        return


def preview(source: EventSource) -> RunState:
    """What is known of a long run from its rare and its last events."""
    last = source.last[0]
    cut = max(last - TAIL, 0)
    folder = Folder()
    for event in source.events(1, cut, RARE, RARE_LIMIT):
        folder.apply(event)
    folder.state.seq = cut
    folder.follow(source, last)
    return folder.state


def _snapshots(folder: Path) -> Snapshots:
    return Snapshots(cache_dir() / "replay" / folder.name)
