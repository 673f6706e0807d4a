"""kill -9 at every point of the write path and at random: nothing acknowledged is lost, nothing is doubled, nothing is torn."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from store.faults import POINTS as FAULT_POINTS
from store.log import EventLog
from store.reader import LogFile
from store.verify import verify
from tests.store.logs import POINTS, WRITER, mixed, python

_RETRYING = """
    import sys
    from pathlib import Path
    from store.event import NewEvent, canonical
    from store.log import EventLog
    from store.writer import Limits
    from tests.store.logs import POINTS
    folder, count, batch = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    log = EventLog.open(folder, [POINTS], limits=Limits(wal_bytes=3_000, compact_bytes=0))
    for start in range(0, count, batch):
        events = []
        for k in range(start, start + batch):
            payload = canonical({"step": k, "values": {"loss": k * 0.5}})
            events.append(NewEvent("metric_logged", payload, "job:1", id=f"00000000-0000-7000-8000-{k:012d}"))
        for event in log.append(events):
            print(event.seq, flush=True)
    log.close()
"""
"""Appends `count` events with fixed ids, `batch` at a time, as a caller that repeats after a death what it has no answer for."""


def _acknowledged(out: str) -> int:
    numbers = [int(line) for line in out.split("\n")[:-1]]  # what follows the last newline was cut by the kill
    return max(numbers, default=0)


def _assert_whole(folder: Path, acknowledged: int) -> int:
    report = verify(folder)
    assert report.findings == []
    assert report.events >= acknowledged
    with LogFile.open(folder) as log:
        assert [event.seq for event in log.events()] == list(range(1, report.events + 1))
    return report.events


@pytest.mark.parametrize("point", FAULT_POINTS)
def test_a_death_at_each_point_of_the_write_path_loses_and_doubles_nothing(tmp_path: Path, point: str) -> None:
    EventLog.create(tmp_path, [POINTS]).close()
    hits = 1 if point in ("copying", "copied", "replaced", "sealing") else 3
    batch = 10 if point == "inserted" else 1  # a few events are one statement, with nothing between it and its commit
    dying = python(_RETRYING, tmp_path, 60, batch, env={"INTERN_FAULT": f"{point}:{hits}"})
    out, err = dying.communicate(timeout=60)
    assert dying.returncode == -signal.SIGKILL, err
    survived = _assert_whole(tmp_path, _acknowledged(out))
    second = python(_RETRYING, tmp_path, 60, batch)
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    assert [int(line) for line in out.split()] == list(range(1, 61))
    assert survived <= 60
    assert _assert_whole(tmp_path, 60) == 60
    assert sorted(path.name for path in tmp_path.glob("log.*")) == ["log.duckdb", "log.lock", "log.mark"]


def _kill_at_random(folder: Path, dice: random.Random) -> None:
    """One life of a writer, ended at a random moment."""
    writer = python(WRITER, folder, dice.choice([1, 3, 40]), 100_000, dice.choice([30_000, 16 << 20]))
    assert writer.stdout is not None
    first = writer.stdout.readline()
    assert first, writer.communicate()
    time.sleep(dice.random() * 0.3)
    os.kill(writer.pid, signal.SIGKILL)
    rest, _ = writer.communicate(timeout=60)
    _assert_whole(folder, _acknowledged(first + rest))


def test_deaths_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    EventLog.create(tmp_path, [POINTS]).close()
    dice = random.Random(7)
    for _ in range(5):
        _kill_at_random(tmp_path, dice)
    with EventLog.open(tmp_path, [POINTS]) as log:
        before = log.last[0]
        assert log.append(mixed(1))[0].seq == before + 1


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_two_hundred_deaths_at_random_moments_lose_nothing(tmp_path: Path, seed: int) -> None:
    EventLog.create(tmp_path, [POINTS]).close()
    dice = random.Random(seed)
    for _ in range(10):
        _kill_at_random(tmp_path, dice)


def test_a_death_while_a_log_is_made_leaves_none_and_it_can_be_made_again(tmp_path: Path) -> None:
    EventLog.create(tmp_path / "whole").close()
    folder = tmp_path / "half"
    folder.mkdir()
    (folder / "log.mark").write_bytes((tmp_path / "whole" / "log.mark").read_bytes())
    (folder / "log.duckdb.new").write_bytes(b"half of a database")
    with EventLog.create(folder) as log:
        log.append(mixed(2))
    assert verify(folder).sound
