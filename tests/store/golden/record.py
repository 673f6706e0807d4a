"""Make a golden log of the present version from a finished run: `python -m tests.store.golden.record RUN_FOLDER VERSION`.

The events keep their ids, times and payloads; only the places of the machine the run was made on become neutral. Files of
the run (patterns such as `jobs/*/out/samples-*.jsonl`) come along where a test looks at them: `--to ARCHIVE --files PATTERN`.
"""

from __future__ import annotations

import argparse
import tarfile
import tempfile
from pathlib import Path

from core.tables import TABLES
from store.event import Event, NewEvent
from store.log import EventLog
from store.reader import LogFile
from tests.store.golden import HERE


def record(run: Path, archive: Path, places: dict[str, str], files: tuple[str, ...] = ()) -> Path:
    """Write `archive`. `places` maps folders as the events name them to what shall stand instead."""
    with LogFile.open(run) as log:
        events = [_neutral(event, places) for event in log.events()]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        with EventLog.create(folder, TABLES) as log:
            log.append(events)
        with tarfile.open(archive, "w:xz") as out:
            for name in ("log.duckdb", "log.mark"):
                out.add(folder / name, name, filter=_nobody)
            for path in sorted(path for pattern in files for path in run.glob(pattern)):
                out.add(path, str(path.relative_to(run)), filter=_nobody)
    return archive


def _neutral(event: Event, places: dict[str, str]) -> NewEvent:
    payload = event.payload.decode()
    for place, instead in places.items():
        payload = payload.replace(place, instead)
    return NewEvent(event.type, payload.encode(), event.actor, event.cause, event.v, event.id, event.ts)


def _nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=lambda text: Path(text).absolute())
    parser.add_argument("version", nargs="?", default="")
    parser.add_argument("--to", type=Path, default=None)
    parser.add_argument("--files", action="append", default=[])
    a = parser.parse_args()
    program = Path(__file__).resolve().parents[3]
    places = {str(a.run.parent): "/runs", str(program): "/intern", str(Path.home()): "/home"}
    print(record(a.run, a.to or HERE / f"{a.version}.tar.xz", places, tuple(a.files)))
