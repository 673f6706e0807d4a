"""What an earlier start of `intern solve` in the same folder left: its best model, and what that scored.

A runner may start the agent again after a crash or a full machine. The model that was best then is still in `final_model/`,
and the base must not replace it. It counts only as it was left: the record holds its digest, and the base it came from.
A `final_model` that nobody has recorded is somebody's work: it is set aside, not deleted.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from core.errors import InternError
from core.home import home, write_json
from core.training.promote import tree_digest


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """The best model of all starts so far in a folder."""

    score: float
    """On the development samples, in [0, 1]."""
    baseline: float | None
    digest: str
    """Of final_model/."""
    base: str


def remember(target: Path, base: Path, score: float, baseline: float | None) -> None:
    """Record what is at `target` now. Raises OSError, and InternError for a folder with links."""
    left = Left(score=score, baseline=baseline, digest=tree_digest(target), base=str(base))
    path = _record(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, msgspec.to_builtins(left))


def recall(target: Path, base: Path) -> Left | None:
    """The record of what is at `target`; None where there is none, or it is another model or of another base."""
    try:
        left = msgspec.json.decode(_record(target).read_bytes(), type=Left)
        same = left.base == str(base) and tree_digest(target) == left.digest
    except (OSError, msgspec.DecodeError, InternError):
        return None
    return left if same else None


def set_aside(target: Path, base: Path) -> Path | None:
    """Move what is at `target` out of the way; returns where to. None where nothing is, or only the base itself."""
    if not os.path.lexists(target) or _has_weights_of(target, base):
        return None
    names = (target.with_name(f"{target.name}.before" + (f"-{n}" if n else "")) for n in range(1000))
    place = next(name for name in names if not os.path.lexists(name))
    os.rename(target, place)
    return place


def _has_weights_of(target: Path, base: Path) -> bool:
    """By the ends of the weights' files: a training changes all of them, and whole files are too large to compare."""
    ours, theirs = sorted(target.glob("*.safetensors")), sorted(base.glob("*.safetensors"))
    same_names = [p.name for p in ours] == [p.name for p in theirs] and bool(ours)
    return same_names and all(_ends(a) == _ends(b) for a, b in zip(ours, theirs, strict=True))


def _ends(file: Path, size: int = 1 << 20) -> tuple[int, bytes, bytes]:
    length = file.stat().st_size
    with file.open("rb") as opened:
        first = opened.read(size)
        opened.seek(max(length - size, 0))
        return length, first, opened.read(size)


def _record(target: Path) -> Path:
    return home() / "solve" / f"{hashlib.sha256(str(target.absolute()).encode()).hexdigest()[:24]}.json"
