"""A log that is closed leaves the blocks behind that packing emptied, and stays the log it was."""

from __future__ import annotations

from pathlib import Path

from store.compact import compact
from store.event import Event
from store.log import EventLog
from store.reader import LogFile
from store.schema import DATABASE
from store.verify import verify
from store.writer import Limits
from tests.store.logs import POINTS, closed_log, killed_log, metric, note

ALWAYS = {"floor_bytes": -(1 << 40), "worth_bytes": 0}
"""Whatever there is to gain, and however full the disk says it is."""


def _events(folder: Path) -> list[Event]:
    with LogFile.open(folder) as log:
        return list(log.events())


def _long_log(folder: Path, compact_bytes: int) -> int:
    """Bytes of a log of many metrics, packed in several checkpoints."""
    limits = Limits(compact_bytes=compact_bytes)
    with EventLog.create(folder, [POINTS], limits=limits) as log:
        for start in range(0, 16_000, 1000):
            log.append([metric(k, loss=1 / (k + 3), reward=k * 0.37) for k in range(start, start + 990)])
            log.append([note(f"note {start}")] * 10)
            if start % 3000 == 0:
                log.checkpoint()  # here, and not where the size of the write-ahead log and the machine's load would have it
    return (folder / DATABASE).stat().st_size


def test_a_closed_log_has_no_free_blocks_to_speak_of_and_is_the_same_log(tmp_path: Path) -> None:
    large = _long_log(tmp_path / "kept", compact_bytes=1 << 40)
    small = _long_log(tmp_path / "copied", compact_bytes=1)
    assert small < large * 0.8
    assert verify(tmp_path / "copied").findings == []
    kept, copied = _events(tmp_path / "kept"), _events(tmp_path / "copied")
    assert [event.payload for event in copied] == [event.payload for event in kept]
    with EventLog.open(tmp_path / "copied", [POINTS]) as log:
        assert log.append([metric(1, loss=2.0)])[0].seq == len(copied) + 1
    with LogFile.open(tmp_path / "copied") as log:
        assert len(log.series("points", "step", "value", {"name": "loss"})) > 100
    assert verify(tmp_path / "copied").findings == []


def test_rows_of_one_kind_lie_together_and_come_back_in_order(tmp_path: Path) -> None:
    with EventLog.create(tmp_path, [POINTS], limits=Limits(compact_bytes=0)) as log:
        log.append([metric(k, loss=k / 3) if k % 2 else metric(k, reward=k * 0.5) for k in range(600)])
    with LogFile.open(tmp_path) as log:
        lie = [row[0] for row in log.sql("SELECT shape FROM points_rows").rows]
        assert lie == sorted(lie)
        assert len(set(lie)) == 2
        assert [event.seq for event in log.events()] == list(range(1, 601))
        assert [event.seq for event in log.tail(7)] == list(range(594, 601))
    assert verify(tmp_path).findings == []


def test_near_the_disks_floor_no_copy_is_begun(tmp_path: Path) -> None:
    closed_log(tmp_path)
    assert not compact(tmp_path, floor_bytes=1 << 60, worth_bytes=0)
    assert verify(tmp_path).findings == []


def test_a_file_whose_write_ahead_log_is_still_there_is_not_replaced(tmp_path: Path) -> None:
    events = killed_log(tmp_path)
    assert not compact(tmp_path, **ALWAYS)
    assert _events(tmp_path) == events
