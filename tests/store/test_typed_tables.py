"""Events stored as columns come back byte for byte, and every view shows them beside those that stayed text."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.event import NewEvent, canonical
from store.log import EventLog
from store.reader import LogFile
from store.tables import Field, TypedTable
from store.verify import verify
from tests.store.logs import POINTS, metric, note

DEVICE = TypedTable(
    "device", "sampled", (Field("index", "BIGINT", "number"), Field("util", "DOUBLE"), Field("name", "VARCHAR"))
)

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=8),
    st.floats(allow_nan=True),
    st.integers(-(2**70), 2**70),
    st.just(-0.0),
)
_names = st.sampled_from(["loss", "reward", "a b", 'qu"ote', "ünï", "", "step", "x" * 40])
_metrics = st.fixed_dictionaries(
    {"values": st.dictionaries(_names, _scalars, max_size=6)}, optional={"step": _scalars, "other": _scalars}
)
_devices = st.dictionaries(st.sampled_from(["index", "util", "name", "more"]), _scalars, max_size=4)
_events = st.one_of(
    st.builds(lambda p: NewEvent("metric_logged", canonical(p), "job"), _metrics),
    st.builds(lambda p: NewEvent("sampled", canonical(p), "host"), _devices),
    st.builds(lambda v: NewEvent("metric_logged", canonical({"values": v}), "job"), st.lists(_scalars, max_size=2)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(_events, min_size=1, max_size=12), min_size=1, max_size=4))
def test_whatever_a_payload_holds_it_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[NewEvent]]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    with EventLog.create(folder, [POINTS, DEVICE]) as log:
        stored = [event for batch in batches[:2] for event in log.append(batch)]
        log.checkpoint()
        stored += [event for batch in batches[2:] for event in log.append(batch)]
        assert list(log.events()) == stored
    assert [event.payload for event in stored] == [event.payload for batch in batches for event in batch]
    with LogFile.open(folder) as file:
        assert list(file.events()) == stored
        shown = [
            msgspec.json.decode(row[0]) for row in file.sql("SELECT payload::VARCHAR FROM events ORDER BY seq").rows
        ]
        assert shown == [msgspec.json.decode(event.payload) for event in stored]
    assert verify(folder).sound


def test_what_does_not_fit_the_columns_stays_text_and_every_view_shows_it(tmp_path: Path) -> None:
    whole = NewEvent("metric_logged", b'{"step":2,"values":{"loss":1}}', "job")  # 1 is not how 1.0 is written
    loose = NewEvent("metric_logged", b'{"step": 3, "values": {"loss": 0.25}}', "job")  # not canonical
    with EventLog.create(tmp_path, [POINTS]) as log:
        stored = log.append([metric(1, loss=0.5), whole, loose, note("between"), metric(5, reward=0.1)])
        points = "SELECT step, name, value FROM points ORDER BY step"
        assert log.sql(points).rows == [[1, "loss", 0.5], [2, "loss", 1.0], [3, "loss", 0.25], [5, "reward", 0.1]]
        assert sum(b.n for b in log.series("points", "step", "value", {"name": "loss"}, 2)) == 3
        before = log.sql("FROM points ORDER BY ALL"), log.sql("FROM events ORDER BY seq")
        log.checkpoint()
        assert log.sql("SELECT count(*) FROM event_log WHERE payload IS NULL").rows == [[2]]
        assert list(log.events()) == stored
        assert (log.sql("FROM points ORDER BY ALL"), log.sql("FROM events ORDER BY seq")) == before
        assert sum(b.n for b in log.series("points", "step", "value", {"name": "loss"}, 2)) == 3


def test_numbers_keep_every_bit_whether_they_need_single_or_double_precision(tmp_path: Path) -> None:
    numbers = [0.1, 0.5, -0.0, 1e300, 5e-324, 16777217.0, 0.10000000149011612, math.pi, 1e-45]
    with EventLog.create(tmp_path, [POINTS]) as log:
        log.append([metric(k, x=number) for k, number in enumerate(numbers)])
        assert log.sql("SELECT value FROM points ORDER BY step").rows == [[number] for number in numbers]
        assert [msgspec.json.decode(e.payload)["values"]["x"].hex() for e in log.events()] == [x.hex() for x in numbers]


def test_a_metric_that_was_not_a_number_is_a_gap_in_its_series(tmp_path: Path) -> None:
    with EventLog.create(tmp_path, [POINTS]) as log:
        log.append([metric(k, loss=float("nan") if k == 3 else 1.0 + k) for k in range(6)])
        (whole,) = log.series("points", "step", "value", {"name": "loss", "step": 3}, 2)
        assert (whole.n, whole.bad, whole.low) == (1, 1, None)
        assert sum(bucket.bad for bucket in log.series("points", "step", "value", {"name": "loss"}, 2)) == 1


def test_more_names_than_there_are_columns_for_are_stored_all_the_same(tmp_path: Path) -> None:
    with EventLog.create(tmp_path, [POINTS]) as log:
        events = [metric(k, **{f"name_{k}_{n}": float(n) for n in range(30)}) for k in range(5)]
        stored = log.append(events)
        assert list(log.events()) == stored
        assert log.sql("SELECT count(*), count(DISTINCT name) FROM points").rows == [[150, 150]]
        assert [b.low for b in log.series("points", "step", "value", {"name": "name_4_7"})] == [7.0]
    assert verify(tmp_path).sound


@pytest.mark.parametrize(
    "newer",
    [
        TypedTable("points", "metric_logged", (Field("step", "BIGINT", "place"),), values="values"),
        TypedTable("points", "metric_logged", (Field("step", "BIGINT"),), values="values", slots=1),
        TypedTable("points", "something_else", (Field("step", "BIGINT"),)),
    ],
)
def test_a_table_whose_declaration_changed_is_packed_anew(tmp_path: Path, newer: TypedTable) -> None:
    with EventLog.create(tmp_path, [POINTS]) as log:
        stored = log.append([event for k in range(10) for event in (metric(k, loss=k / 3, reward=0.5), note("x"))])
    with EventLog.open(tmp_path, [newer]) as log:
        assert list(log.events()) == stored
        more: list[Any] = log.append([metric(1, loss=1.0)])
        assert list(log.events()) == [*stored, *more]
        if "place" in newer.keys:
            assert log.sql("SELECT sum(place), count(*) FROM points").rows == [[91, 21]]
    assert verify(tmp_path).sound


def test_shapes_of_a_refused_append_are_forgotten_and_those_of_the_next_are_right(tmp_path: Path) -> None:
    from store.errors import DiskFull
    from store.writer import Limits

    with EventLog.create(tmp_path, [POINTS], limits=Limits(min_free_bytes=1 << 60)) as log, pytest.raises(DiskFull):
        log.append([metric(1, loss=1.0)])
    with EventLog.open(tmp_path, [POINTS]) as log:
        log.append([metric(1, reward=2.0)])
        log.append([metric(2, loss=1.0, reward=3.0)])
        found = log.sql("SELECT step, name, value FROM points ORDER BY ALL").rows
    assert found == [[1, "reward", 2.0], [2, "loss", 1.0], [2, "reward", 3.0]]
