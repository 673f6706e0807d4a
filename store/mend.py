"""Letting DuckDB read blocks whose checksum is wrong, in a copy of a damaged log.

DuckDB refuses a whole block (256 KiB, often all events of a short run) for one flipped bit. The chain can tell good
events from bad ones one by one, so for salvage the copy's blocks are given the checksum of what they now hold: DuckDB
names it in its refusal, with the block's place. Changed bytes may crash a reader that trusts them, so this is a program
of its own, and its caller looks at how it ended: `python -m store.mend FOLDER`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from store.database import Database
from store.errors import LogDamaged
from store.reading import Pages
from store.schema import DATABASE

_REFUSAL = re.compile(r"computed checksum (\d+) does not match stored checksum \d+ in block at location (\d+)")
_TIME_S = 300


def mend(folder: Path) -> bool:
    """Mend the copy in `folder`, in a process of its own. False if that process did not live to the end."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    command = [sys.executable, "-P", "-m", "store.mend", str(folder)]
    try:
        ended = subprocess.run(command, env=environment, capture_output=True, timeout=_TIME_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    return ended.returncode == 0


def _mend_here(folder: Path) -> None:
    mended: set[int] = set()
    while (refused := _first_refusal(folder / DATABASE)) is not None:
        checksum, location = refused
        if location in mended:
            return  # it did not help
        mended.add(location)
        with (folder / DATABASE).open("r+b") as file:
            file.seek(location)
            file.write(checksum.to_bytes(8, "little"))


def _first_refusal(path: Path) -> tuple[int, int] | None:
    """The checksum DuckDB computed and the place of the first block it refuses, reading every event."""
    try:
        database = Database(path, read_only=True)
    except LogDamaged as error:
        return _parsed(error)
    try:
        pages = Pages(database)
        last = int(database.query("SELECT coalesce(max(seq), 0) FROM event_log")[0][0])
        database.query("FROM log_about")
        for _ in pages.walk(1, last):
            pass
    except LogDamaged as error:
        return _parsed(error)
    finally:
        database.close()
    return None


def _parsed(error: LogDamaged) -> tuple[int, int] | None:
    found = _REFUSAL.search(error.what)
    return (int(found.group(1)), int(found.group(2))) if found else None


if __name__ == "__main__":
    _mend_here(Path(sys.argv[1]))
