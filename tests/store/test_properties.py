"""Any sequence of appends, retries, refusals, checkpoints, reopenings and snapshots gives one and the same history."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from store.chain import Walker, genesis, link
from store.errors import WrongSequence
from store.event import Event, NewEvent, canonical, uuid7
from store.log import EventLog
from store.mark import Mark, MarkFile, read_mark
from store.reader import LogFile
from store.snapshots import Snapshots
from store.verify import verify
from store.wire import decode_streamed, from_wire, stream_lines
from tests.store.logs import POINTS, metric

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PAYLOADS = st.dictionaries(st.text(max_size=8), JSON, max_size=4).map(canonical)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
EVENTS = st.builds(
    NewEvent,
    type=TEXT,
    payload=PAYLOADS,
    actor=TEXT,
    cause=st.none() | st.integers(1, 2**40),
    v=st.integers(1, 30_000),
    id=st.uuids().map(str),
    ts=st.integers(-(2**50), 2**50),
)


class History(RuleBasedStateMachine):
    """The log against a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="history-"))
        self.log = EventLog.create(self.folder, [POINTS])
        self.expected: list[NewEvent] = []
        self.steps = 0

    @rule(events=st.lists(EVENTS, max_size=8, unique_by=lambda event: event.id))
    def append(self, events: list[NewEvent]) -> None:
        known = {event.id for event in self.expected}
        self.log.append(events)
        self.expected += [event for event in events if event.id not in known]

    @rule(count=st.integers(1, 12))
    def append_metrics(self, count: int) -> None:
        events = [metric(self.steps + k, loss=k / 2) for k in range(count)]
        self.steps += count
        self.log.append(events)
        self.expected += events

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        if self.expected:
            again = data.draw(st.lists(st.sampled_from(self.expected), max_size=4))
            stored = self.log.append(again)
            assert [event.id for event in stored] == [event.id for event in again]

    @rule(off=st.integers(1, 5))
    def append_with_a_wrong_expectation(self, off: int) -> None:
        with pytest.raises(WrongSequence):
            self.log.append([metric(0, loss=0)], expected_seq=len(self.expected) + off)

    @rule()
    def checkpoint(self) -> None:
        self.log.checkpoint()

    @rule()
    def reopen(self) -> None:
        self.log.close()
        assert verify(self.folder).findings == []
        self.log = EventLog.open(self.folder, [POINTS])

    @rule(data=st.data())
    def snapshot_and_fold_on(self, data: st.DataObject) -> None:
        """A state from a snapshot plus the events after it is the state from all events."""
        events = list(self.log.events())
        if not events:
            return
        at = data.draw(st.integers(1, len(events)))
        snapshots = Snapshots(self.folder)
        snapshots.save("state", 1, at, events[at - 1].hash, _fold(b"", events[:at]))
        nearest = snapshots.nearest("state", 1, self.log)
        assert nearest is not None
        assert _fold(nearest.data, self.log.events(nearest.seq + 1)) == _fold(b"", events)

    @invariant()
    def holds_what_was_appended(self) -> None:
        events = list(self.log.events())
        assert [event.seq for event in events] == list(range(1, len(self.expected) + 1))
        for event, new in zip(events, self.expected, strict=True):
            assert (event.id, event.ts, event.type, event.v) == (new.id, new.ts, new.type, new.v)
            assert (event.actor, event.cause, event.payload) == (new.actor, new.cause, new.payload)
        rows = self.log.sql("SELECT count(*) FROM points").rows
        assert rows == [[sum(event.type == "metric_logged" for event in events)]]

    def teardown(self) -> None:
        self.log.close()
        shutil.rmtree(self.folder)


def _fold(state: bytes, events: object) -> bytes:
    for event in events:  # type: ignore[attr-defined]
        state = msgspec.json.encode([len(state), event.id, state[-20:].hex()])
    return state


History.TestCase.settings = settings(
    max_examples=8, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHistory = History.TestCase


@given(st.lists(EVENTS, min_size=1, max_size=6), st.data())
@settings(max_examples=100, deadline=None)
def test_no_change_to_any_event_passes_the_chain(events: list[NewEvent], data: st.DataObject) -> None:
    start = genesis("a log")
    full, stored = start, []
    for seq, new in enumerate(events, 1):
        full = link(full, seq, new)
        stored.append(Event(seq, new.ts, new.type, new.v, new.actor, new.cause, new.payload, new.id, full[:8].hex()))
    assert Walker(0, start).walk(stored) is None
    place = data.draw(st.integers(0, len(stored) - 1))
    field = data.draw(st.sampled_from(["id", "ts", "type", "v", "actor", "cause", "payload"]))
    other = getattr(data.draw(EVENTS), field)
    broken = Walker(0, start).walk(
        [msgspec.structs.replace(e, **{field: other}) if k == place else e for k, e in enumerate(stored)]
    )
    if other == getattr(stored[place], field):
        assert broken is None
    else:
        assert broken is not None
        assert broken.seq == place + 1


@given(st.lists(EVENTS, max_size=6))
@settings(max_examples=100, deadline=None)
def test_events_pass_the_wire_unchanged(events: list[NewEvent]) -> None:
    stored = [Event(k, e.ts, e.type, e.v, e.actor, e.cause, e.payload, e.id, "ab") for k, e in enumerate(events)]
    lines = list(stream_lines(stored))
    assert all(line.count(b"\n") == 1 for line in lines)
    assert [from_wire(event) for line in lines for event in decode_streamed(line).events] == stored


def test_every_flipped_bit_of_a_mark_is_noticed_and_one_slot_survives(tmp_path: Path) -> None:
    file = MarkFile(tmp_path, Mark("log", 7, "ab" * 32, "cd" * 32))
    file.close()
    path = tmp_path / "log.mark"
    whole = path.read_bytes()
    for position in [*range(0, 260, 2), *range(260, len(whole), 271), len(whole) - 1]:
        for bit in (0, 3, 6):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            found = read_mark(tmp_path)
            assert found.bad_slots == 1
            assert (found.mark.seq, found.mark.hash, found.mark.seal) == (7, "ab" * 32, "cd" * 32)


def test_ids_rise_are_unique_and_are_version_7() -> None:
    ids = [uuid7() for _ in range(5000)]
    assert ids == sorted(set(ids))
    assert {(id[14], id[19] in "89ab", len(id)) for id in ids} == {("7", True, 36)}


def test_a_log_file_reads_what_any_event_was(tmp_path: Path) -> None:
    odd = NewEvent("", canonical({"": "\u2028\u0000\U0001f600"}), "ä'\"\\", cause=2**40, v=30_000, ts=-(2**50))
    with EventLog.create(tmp_path) as log:
        stored = log.append([odd])
    with LogFile.open(tmp_path) as file:
        assert list(file.events()) == stored
