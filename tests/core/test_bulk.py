"""Many events folded as columns leave the state that folding them one by one leaves, to the last bit."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import events as e
from core.fold import Folder
from core.fold.bulk import extend
from core.player import Indexer
from core.series import Series
from core.state import FEED_CUT, FEED_LENGTH, kept_of, to_bytes
from core.tables import METRICS, TABLES
from store import reading
from store.event import NewEvent, canonical
from store.log import EventLog
from store.reader import LogFile

FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.sampled_from([0.0, -0.0, 0.1, 1e300])


@pytest.fixture(autouse=True)
def short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_SHORT", 0)
    monkeypatch.setattr(reading, "SPAN", 37)


@given(st.lists(st.tuples(st.integers(-5, 5000), FLOATS), max_size=900), st.integers(1, 300))
@settings(deadline=None, max_examples=60)
def test_points_in_bulk_are_points_one_by_one(points: list[tuple[int, float]], cut: int) -> None:
    one, many = Series(), Series()
    for step, value in points:
        one.add(step, value)
    for part in (points[:cut], points[cut:]):
        extend(many, np.array([s for s, _ in part], np.int64), np.array([v for _, v in part], np.float64))
    assert repr(one) == repr(many)


def test_a_long_curve_in_bulk_is_the_curve_point_by_point() -> None:
    draw = random.Random(3)
    steps = [step for step in range(0, 40_000, 7) for _ in range(draw.randrange(3))]
    values = [draw.gauss(0, 1) * 10 ** draw.randrange(-9, 9) for _ in steps]
    one, many = Series(), Series()
    for step, value in zip(steps, values, strict=True):
        one.add(step, value)
    extend(many, np.array(steps, np.int64), np.array(values, np.float64))
    assert repr(one) == repr(many)


@given(st.integers(0, FEED_LENGTH), st.integers(0, 1000))
def test_how_much_a_trimmed_list_keeps(had: int, more: int) -> None:
    kept = list(range(had))
    for k in range(more):
        kept.append(k)
        if len(kept) > FEED_LENGTH:
            del kept[:FEED_CUT]
    assert kept_of(had, more, FEED_LENGTH, FEED_CUT) == len(kept)


def _said(payload: e.Payload, ts: int) -> NewEvent:
    return NewEvent(payload.type, e.encode(payload), "host", v=payload.version, ts=ts)


def _metric(draw: st.DrawFn) -> e.Payload:
    names = draw(st.sampled_from([("loss", "reward"), ("loss",), ("dev_score", "other"), (), ("kl", "loss", "x")]))
    values: dict[str, float | None] = {name: draw(FLOATS | st.none()) for name in names}
    return e.MetricLogged(job=draw(st.sampled_from("abc")), step=draw(st.integers(0, 900)), values=values)


def _reading(draw: st.DrawFn) -> e.Payload:
    return e.GpuSampled(
        index=draw(st.integers(0, 2)),
        name=draw(st.sampled_from(["A", "A", "A", "B"])),
        source=draw(st.sampled_from(["nvml", "nvml", "fake", "psutil"])),
        util=draw(st.none() | st.floats(0, 1, width=32)),
        memory_used=draw(st.none() | st.integers(0, 2**40)),
        memory_total=draw(st.none() | st.integers(0, 2**40)),
        power_w=draw(st.none() | st.floats(0, 900, width=32)),
        temperature_c=draw(st.none() | st.floats(0, 99, width=32)),
        own_memory=draw(st.none() | st.integers(0, 2**40)),
        others=draw(st.none() | st.integers(0, 9)),
        note=draw(st.sampled_from(["", "", "throttled: heat", "12 memory errors", "no GPU"])),
    )


def _other(draw: st.DrawFn) -> e.Payload:
    job = draw(st.sampled_from("abc"))
    return draw(
        st.sampled_from(
            [
                e.JobLaunched(job=job, kind="train", method="sft", title="", effect_id=job, folder=""),
                e.JobFailed(job=job, reason="out of memory"),
                e.NoteAdded(text="seen"),
                e.StepStarted(step=3),
                e.ToolCompleted(call="1", tool="read_paper", seconds=9.0, output="x"),
            ]
        )
    )


@st.composite
def _runs(draw: st.DrawFn) -> list[NewEvent]:
    kinds = draw(st.lists(st.sampled_from("mmmmgggo"), max_size=150))
    make: dict[str, Any] = {"m": _metric, "g": _reading, "o": _other}
    clock = draw(st.integers(1_700_000_000_000_000, 1_700_000_000_900_000))
    return [_said(make[kind](draw), clock + draw(st.integers(-50, 50))) for kind in kinds]


@given(_runs())
@settings(deadline=None, max_examples=10, suppress_health_check=list(HealthCheck))
def test_a_run_in_spans_is_the_run_event_by_event(
    tmp_path_factory: pytest.TempPathFactory, run: list[NewEvent]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    with EventLog.create(folder, TABLES) as log:
        for start in range(0, len(run), 25):
            log.append(run[start : start + 25])
            log.checkpoint()  # which packs what came so far
    assert _one_by_one(folder) == _in_spans(folder)


def test_what_was_wrong_with_a_device_for_a_moment_is_still_known(tmp_path: Path) -> None:
    """A note that is gone from the last reading is not gone from the state."""
    notes = ["", "throttled: heat", "", *(f"trouble {k % 12}" for k in range(40)), ""]
    with EventLog.create(tmp_path, TABLES) as log:
        log.append([_said(e.GpuSampled(index=0, name="A", source="nvml", util=0.5, note=note), 5) for note in notes])
    at = Folder()
    with LogFile.open(tmp_path) as log:
        assert sum(len(part) for span in log.spans(1, None, TABLES) for part in span.columns) == len(notes)
        at.follow(log)
    assert at.state.devices[0].troubles == ["throttled: heat", *(f"trouble {k}" for k in range(7))]
    assert _one_by_one(tmp_path) == _in_spans(tmp_path)


def test_texts_between_packed_rows_are_folded_in_their_place(tmp_path: Path) -> None:
    """A metric that is not a number stays text; what comes before and after it does not."""
    with EventLog.create(tmp_path, TABLES) as log:
        log.append([_said(e.JobLaunched(job="a", kind="train", method="sft", title="", effect_id="a", folder=""), 5)])
        log.append(
            [_said(e.MetricLogged(job="a", step=k, values={"loss": None if k == 30 else k / 7}), 5) for k in range(60)]
        )
    with LogFile.open(tmp_path) as log:
        spans = list(log.spans(1, None, TABLES))
        assert sum(len(part) for span in spans for part in span.columns) == 59
        assert [len(span.records) for span in spans] == [2, 0]
    assert _one_by_one(tmp_path) == _in_spans(tmp_path)


def test_a_log_with_a_table_the_reader_does_not_take_as_columns_comes_event_by_event(tmp_path: Path) -> None:
    with EventLog.create(tmp_path, TABLES) as log:
        log.append([_said(e.MetricLogged(job="a", step=1, values={"loss": 0.5}), 5)] * 1)
    with LogFile.open(tmp_path) as log:
        assert [len(span.records) for span in log.spans(1, None, [METRICS])] == [1]


def test_a_lost_payload_is_said(tmp_path: Path) -> None:
    import duckdb

    from store.errors import LogDamaged

    with EventLog.create(tmp_path, TABLES) as log:
        log.append([NewEvent("note_added", canonical({"text": str(k)}), "host") for k in range(50)])
    with duckdb.connect(str(tmp_path / "log.duckdb")) as connection:
        connection.execute("UPDATE event_log SET payload = NULL WHERE seq = 20")
    with LogFile.open(tmp_path) as log, pytest.raises(LogDamaged, match="event 20"):
        list(log.spans(1, None, TABLES))


def _one_by_one(folder: Path) -> dict[str, Any]:
    at = Folder()
    with LogFile.open(folder) as log:
        for event in log.events():
            at.apply(event)
    return _plain(at)


def _in_spans(folder: Path) -> dict[str, Any]:
    at = Folder()
    with LogFile.open(folder) as log:
        at.follow(log)
    return _plain(at)


def _plain(at: Folder) -> dict[str, Any]:
    import msgspec

    assert all(math.isfinite(x) for x in _numbers(at))
    return {"bytes": to_bytes(at.state), **msgspec.to_builtins(at.state)}


def _numbers(at: Folder) -> Sequence[float]:
    return [total for job in at.state.jobs.values() for series in job.series.values() for total in series.total]


def test_an_index_read_in_spans_is_the_index_read_event_by_event(tmp_path: Path) -> None:
    draw = random.Random(4)
    with EventLog.create(tmp_path, TABLES) as log:
        log.append([_said(e.JobLaunched(job="a", kind="train", method="sft", title="", effect_id="a", folder=""), 9)])
        for k in range(30):
            steps = [e.PlanStep(id=f"{i}", title="", status="doing" if i == k // 7 else "todo") for i in range(6)]
            more: list[e.Payload] = [e.MetricLogged(job="a", step=i, values={"loss": draw.random()}) for i in range(20)]
            log.append([_said(p, draw.randrange(100)) for p in [e.PlanUpdated(steps=steps), *more]])
    one, many = Indexer(16), Indexer(16)
    with LogFile.open(tmp_path) as log:
        one.extend(log.events())
        for span in log.spans(1, None, TABLES):
            many.extend_by(span)
    left, right = one.index(), many.index()
    assert left.kept is not None
    assert right.kept is None
    left.kept = None
    assert left == right
