"""A person's bookmarks in runs: kept beside the runs, not in them (a replay writes nothing into a run)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from core import home
from core.state import Mark

SIGN = "▾"


def _path(run: str) -> Path:
    return home.home() / "bookmarks" / f"{run}.json"


def load(run: str) -> tuple[Mark, ...]:
    """The bookmarks of a run; none where there is no file or it is not ours."""
    try:
        return tuple(msgspec.json.decode(_path(run).read_bytes(), type=list[Mark]))
    except (OSError, msgspec.MsgspecError):
        return ()


def toggled(marks: tuple[Mark, ...], seq: int, ts: int) -> tuple[Mark, ...]:
    """With a bookmark at `seq`, or without the one that is there."""
    if any(m.seq == seq for m in marks):
        return tuple(m for m in marks if m.seq != seq)
    return tuple(sorted((*marks, Mark(seq, ts, SIGN, f"bookmark at event {seq}")), key=lambda m: m.seq))


def save(run: str, marks: tuple[Mark, ...]) -> None:
    """Raises OSError where it cannot be written."""
    path = _path(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    home.write_json(path, marks)
