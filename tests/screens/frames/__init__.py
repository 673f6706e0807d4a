"""Screens of recorded real runs as plain text, and the runs they were drawn from.

Two runs on `pocket/addition` by the playbook: the golden one of 0.1.0, which finished, and `run.tar.xz`, which ran on a busy
machine and failed at its last evaluation; that one has its single answers. A frame that differs fails its test with the
difference; `pytest tests/screens/test_frames.py --update-frames` takes the new ones, to be looked at in the diff of the commit.
"""

from __future__ import annotations

import difflib
import tarfile
from pathlib import Path

from store.reader import LogFile
from tests.store import golden

HERE = Path(__file__).parent


def home_with_runs(home: Path) -> tuple[Path, Path]:
    """An INTERN_HOME with the finished and the failed run; their folders, named by their ids."""
    finished = _placed(golden.unpacked(home, "0.1.0"), home)
    bare = home / "unpacked"
    with tarfile.open(HERE / "run.tar.xz") as archive:
        archive.extractall(bare, filter="data")
    return finished, _placed(bare, home)


def _placed(folder: Path, home: Path) -> Path:
    with LogFile.open(folder) as log:
        run = next(iter(log.sql("SELECT payload->>'run' FROM events WHERE type = 'run_created'").rows))[0]
    target = home / "runs" / str(run)
    target.parent.mkdir(exist_ok=True)
    return folder.rename(target)


def compare(name: str, shown: str, update: bool) -> str:
    """Empty where the frame is as it was (or is taken anew), else the difference."""
    path = HERE / f"{name}.txt"
    frame = "\n".join(line.rstrip() for line in shown.splitlines()) + "\n"
    if update:
        path.write_text(frame, encoding="utf-8")
        return ""
    if not path.exists():
        return f"{path.name} is missing: --update-frames writes it"
    known = path.read_text(encoding="utf-8")
    return "\n".join(difflib.unified_diff(known.splitlines(), frame.splitlines(), path.name, "now", lineterm="", n=0))
