"""Do the things computed from a run's events say what the events say? Snapshots and the summary, against a full fold."""

from __future__ import annotations

from pathlib import Path

import msgspec

from core.fold import Folder
from core.home import Summary
from core.snapshots import NAME
from core.state import STATE_VERSION, RunState, to_bytes
from core.summary import summarise
from store.reader import LogFile
from store.snapshots import Snapshots
from store.verify import Finding


def check_projections(folder: Path) -> list[Finding]:
    """Fold the whole log of a run that no host holds and compare on the way. Snapshots of other versions do not count."""
    summary = _summary(folder)
    found: list[Finding] = []
    with LogFile.open(folder) as log:
        stored = Snapshots(folder)
        wanted = set(stored.all(NAME, STATE_VERSION))
        if summary is not None:
            wanted.add(summary.seq)
        at = Folder()
        for seq in sorted(seq for seq in wanted if seq <= log.last[0]):
            at.follow(log, seq)
            found += _compare_snapshot(stored, log, at.state)
            if summary is not None and summary.seq == seq and summarise(at.state) != summary:
                found.append(Finding("projections", f"summary.json is not what the events up to {seq} give; delete it"))
    return found


def _compare_snapshot(stored: Snapshots, log: LogFile, state: RunState) -> list[Finding]:
    snapshot = stored.nearest(NAME, STATE_VERSION, log, state.seq)
    if snapshot is None or snapshot.seq != state.seq or snapshot.data == to_bytes(state):
        return []
    return [
        Finding("projections", f"the snapshot at event {state.seq} is not what the fold gives; delete it", state.seq)
    ]


def _summary(folder: Path) -> Summary | None:
    try:
        summary = msgspec.json.decode((folder / "summary.json").read_bytes(), type=Summary)
    except (OSError, msgspec.MsgspecError):
        return None  # it can be thrown away
    return summary if summary.state_version == STATE_VERSION else None
