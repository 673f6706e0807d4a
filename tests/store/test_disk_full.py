"""A disk that fills up, on a small file system of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.compact import COPY, compact
from store.errors import DiskFull, StoreError, WriteFailed
from store.event import Event, NewEvent, canonical
from store.log import EventLog
from store.reader import LogFile
from store.schema import DATABASE
from store.verify import verify
from store.writer import Limits
from tests.store.logs import POINTS, closed_log, mixed, note


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _bulky(count: int) -> list[NewEvent]:
    return [NewEvent("note_added", canonical({"text": os.urandom(3000).hex()}), "agent") for _ in range(count)]


def _write_until_refused(log: EventLog) -> tuple[list[Event], StoreError]:
    stored: list[Event] = []
    for _ in range(2000):
        try:
            stored += log.append(_bulky(5))
        except (DiskFull, WriteFailed) as error:
            return stored, error
    raise AssertionError("the disk never filled")


def test_the_floor_stops_appends_while_there_is_room_for_the_reason(small_disk: Path) -> None:
    limits = Limits(min_free_bytes=2 << 20, wal_bytes=1 << 20)
    with EventLog.create(small_disk / "run", [POINTS], limits=limits) as log:
        stored, error = _write_until_refused(log)
        assert isinstance(error, DiskFull)
        assert "floor" in error.what
        last = log.append([note("stopped: the disk is full")], urgent=True)
        assert list(log.events()) == [*stored, *last]
    assert verify(small_disk / "run").findings == []


@pytest.mark.parametrize("wal_bytes", [400_000, 64 << 20], ids=["at a checkpoint", "at the write-ahead log"])
def test_a_disk_that_is_really_full_loses_nothing_acknowledged(small_disk: Path, wal_bytes: int) -> None:
    folder = small_disk / "run"
    log = EventLog.create(folder, [POINTS], limits=Limits(min_free_bytes=0, wal_bytes=wal_bytes))
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (3 << 20))
    stored, _ = _write_until_refused(log)
    assert list(log.events()) == stored
    with pytest.raises(StoreError):
        log.append(_bulky(400))
    ballast.unlink()
    stored += log.append(mixed(10))  # the same log goes on as soon as there is room
    log.close()
    assert verify(folder).findings == []
    with EventLog.open(folder, [POINTS]) as log:
        assert list(log.events()) == stored


def test_a_disk_that_fills_up_during_the_copy_leaves_the_log_as_it_was(small_disk: Path, tmp_path: Path) -> None:
    events = closed_log(tmp_path / "made")
    folder = Path(shutil.copytree(tmp_path / "made", small_disk / "run"))
    before = (folder / DATABASE).read_bytes()
    (small_disk / "ballast").write_bytes(b"x" * ((8 << 20) - len(before) - 150_000))
    assert not compact(folder, floor_bytes=-(1 << 40), worth_bytes=0)
    assert (folder / DATABASE).read_bytes() == before
    assert not list(folder.glob(f"{COPY}*"))
    with LogFile.open(folder) as log:
        assert list(log.events()) == events
    assert verify(folder).findings == []
