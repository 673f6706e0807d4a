"""The metric stream is read as it grows: each line once, whole lines only, whatever happens to the file."""

from __future__ import annotations

import math
from pathlib import Path

from core.compute.watch import MetricTail
from core.training.stream import Stream


def test_each_line_comes_once_and_a_half_written_line_waits(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = MetricTail(path)
    assert list(tail.read()) == []
    with path.open("a") as file:
        file.write('{"kind":"plan","max_steps":3}\n{"kind":"metric","st')
        file.flush()
        assert [r["kind"] for r in tail.read()] == ["plan"]
        assert list(tail.read()) == []
        file.write('ep":1,"values":{"loss":2}}\n')
        file.flush()
        assert [r["step"] for r in tail.read()] == [1]


def test_non_finite_numbers_survive_the_stream(tmp_path: Path) -> None:
    stream = Stream(tmp_path)
    stream.metric(1, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1, "text": "no number", "flag": True})
    (row,) = MetricTail(tmp_path / "metrics.jsonl").read()
    assert math.isnan(row["values"].pop("a"))
    assert row["values"] == {"b": math.inf, "c": -math.inf, "d": 1.0}


def test_a_truncated_file_is_read_again_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind":"note","text":"one"}\n{"kind":"note","text":"two"}\n')
    tail = MetricTail(path)
    assert len(list(tail.read())) == 2
    path.write_text('{"kind":"note","text":"new"}\n')
    assert [r["text"] for r in tail.read()] == ["new"]


def test_a_damaged_line_is_counted_and_the_next_one_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'\xff\xfe broken\n[1]\n{"kind":"note","text":"ok"}\n')
    tail = MetricTail(path)
    assert [r["text"] for r in tail.read()] == ["ok"]
    assert tail.damaged == 2


def test_a_checkpoint_request_is_seen_once_and_a_stop_stays(tmp_path: Path) -> None:
    stream = Stream(tmp_path)
    assert stream.control() is None
    (tmp_path / "control").write_text("checkpoint\n")
    assert (stream.control(), stream.control()) == ("checkpoint", None)
    (tmp_path / "control").write_text("stop")
    assert (stream.control(), stream.control()) == ("stop", "stop")
