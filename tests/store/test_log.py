"""What appending promises."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest

from store.chain import genesis, link, short
from store.errors import BadEvent, LogBusy, LogClosed, LogExists, LogMissing, WriteFailed, WrongSequence
from store.event import Event, NewEvent, canonical, uuid7
from store.log import MAX_PAYLOAD, EventLog
from store.mark import read_mark
from store.reader import LogFile
from store.writer import GROUP
from tests.store.logs import POINTS, metric, mixed, note, python


@pytest.fixture
def log(tmp_path: Path):
    with EventLog.create(tmp_path / "run", [POINTS]) as log:
        yield log


def test_events_are_stored_as_given_and_numbered_from_one(log: EventLog) -> None:
    given = [note("one"), NewEvent("x", canonical({"b": 1, "a": "ä\u0000"}), "user", cause=1, v=3)]
    stored = log.append(given)
    assert [event.seq for event in stored] == [1, 2]
    for new, event in zip(given, stored, strict=True):
        for field in ("id", "ts", "type", "v", "actor", "cause", "payload"):
            assert getattr(event, field) == getattr(new, field)
    assert list(log.events()) == stored


def test_what_was_closed_reads_the_same_from_the_file(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        stored = log.append(mixed(50))
        last = log.last
    with LogFile.open(tmp_path) as file:
        assert list(file.events()) == stored
        assert file.last == last


def test_each_hash_covers_the_event_and_all_before_it(log: EventLog) -> None:
    stored = log.append(mixed(20))
    full = genesis(read_mark(log.folder).mark.log_id)
    for event in stored:
        full = link(full, event.seq, event)
        assert event.hash == short(full)
    assert log.last == (20, full.hex())
    assert (read_mark(log.folder).mark.seq, read_mark(log.folder).mark.hash) == log.last


def test_an_id_that_is_there_returns_the_stored_event_and_stores_nothing(log: EventLog) -> None:
    event = note("once")
    first = log.append([event])
    again = log.append([event, note("new"), event])
    assert again[0] == again[2] == first[0]
    assert log.last[0] == 2


def test_a_retry_after_reopening_is_stored_once(tmp_path: Path) -> None:
    events = mixed(30)
    with EventLog.create(tmp_path) as log:
        stored = log.append(events)
    with EventLog.open(tmp_path) as log:
        assert log.append(list(reversed(events))) == list(reversed(stored))
        assert log.last[0] == 30


def test_a_retry_of_an_old_id_long_after_is_stored_once(tmp_path: Path) -> None:
    odd = NewEvent("x", b"{}", "a", id="00000000-0000-4000-8000-000000000001")
    with EventLog.create(tmp_path) as log:
        log.append([note("a"), odd, note("b")])
    with EventLog.open(tmp_path) as log:
        log.append(mixed(5))
        assert log.append([odd])[0].seq == 2
        assert log.last[0] == 8


def test_a_wrong_expected_sequence_is_refused_and_leaves_no_trace(log: EventLog) -> None:
    log.append(mixed(3))
    with pytest.raises(WrongSequence) as refusal:
        log.append([note("late")], expected_seq=2)
    assert (refusal.value.expected, refusal.value.actual) == (2, 3)
    assert log.append([note("right")], expected_seq=3)[0].seq == 4


def test_only_one_of_many_rivals_wins_an_expected_sequence(log: EventLog) -> None:
    futures = [log.append_async([note(f"rival {k}")], expected_seq=0) for k in range(20)]
    won = [future for future in futures if future.exception() is None]
    assert len(won) == 1
    assert log.last[0] == 1


def test_a_retry_of_an_append_with_an_expected_sequence_succeeds(log: EventLog) -> None:
    event = note("decided")
    first = log.append([event], expected_seq=0)
    assert log.append([event], expected_seq=0) == first


def test_more_events_than_a_transaction_holds_stay_in_order(log: EventLog) -> None:
    given = mixed(GROUP * 2 + 5)
    stored = log.append(given, expected_seq=0)
    assert [event.id for event in stored] == [event.id for event in given]
    assert [event.seq for event in stored] == list(range(1, len(given) + 1))


def test_large_payloads_in_large_numbers_fit_into_the_memory_of_a_host(log: EventLog) -> None:
    text = "x" * (MAX_PAYLOAD - 50)
    stored = log.append([NewEvent("big", canonical({"k": k, "t": text}), "agent") for k in range(400)])
    assert [event.seq for event in stored] == list(range(1, 401))
    feed = log.subscribe(1)
    seen = 0
    while seen < 400:
        for event in feed.batch():
            seen += 1
            assert msgspec.json.decode(event.payload)["k"] == seen - 1
    assert sum(len(event.payload) for event in log.events()) == sum(len(event.payload) for event in stored)


def test_many_threads_append_without_gap_or_repetition(log: EventLog) -> None:
    def write(name: int) -> None:
        for k in range(25):
            log.append([note(f"{name}/{k}"), note("second")])

    threads = [threading.Thread(target=write, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = list(log.events())
    assert [event.seq for event in events] == list(range(1, 301))
    texts = [msgspec.json.decode(event.payload)["text"] for event in events]
    for first, second in zip(texts[::2], texts[1::2], strict=True):  # an append is not interleaved with another
        assert "/" in first
        assert second == "second"
    for name in range(6):  # each thread's events keep its order
        mine = [text for text in texts if text.startswith(f"{name}/")]
        assert mine == [f"{name}/{k}" for k in range(25)]


@pytest.mark.parametrize("payload", [b"", b"[1]", b"{", b'{"a":1}x', b"\xff", b'{"a":NaN}', b'{"a":"\xff"}', b"null"])
def test_a_payload_that_is_not_one_json_object_is_refused(log: EventLog, payload: bytes) -> None:
    with pytest.raises(BadEvent):
        log.append([note("good"), NewEvent("x", payload, "agent")])
    assert log.last[0] == 0


SOME_ID = "01a221d9-ae91-7630-8639-1a3d2900cbb3"


@pytest.mark.parametrize("id", ["x", SOME_ID.upper(), SOME_ID.replace("-", ""), "{" + SOME_ID[:-2] + "}"])
def test_an_id_that_is_not_a_plain_uuid_is_refused(log: EventLog, id: str) -> None:
    with pytest.raises(BadEvent):
        log.append([NewEvent("x", b"{}", "agent", id=id)])


def test_a_payload_that_belongs_into_a_blob_is_refused(log: EventLog) -> None:
    with pytest.raises(BadEvent, match="131073 bytes"):
        log.append([NewEvent("x", canonical({"t": "x" * (MAX_PAYLOAD - 7)}), "agent")])
    assert log.append([NewEvent("x", canonical({"t": "x" * (MAX_PAYLOAD - 8)}), "agent")])[0].seq == 1


def test_typed_rows_are_there_as_soon_as_the_event_is(log: EventLog) -> None:
    log.append([metric(7, loss=0.5, reward=1.0)])
    assert log.sql("SELECT seq, step, name, value FROM points ORDER BY name").rows == [
        [1, 7, "loss", 0.5],
        [1, 7, "reward", 1.0],
    ]


def test_a_second_writer_is_told_who_has_the_log(log: EventLog) -> None:
    other = python(
        """
        import sys
        from pathlib import Path
        from store.errors import LogBusy
        from store.log import EventLog
        from store.reader import LogFile
        for opening in (EventLog.open, LogFile.open):
            try:
                opening(Path(sys.argv[1]))
            except LogBusy as busy:
                print(busy.pid)
        """,
        log.folder,
    )
    out, err = other.communicate(timeout=30)
    import os

    assert out.split() == [str(os.getpid())] * 2, err
    with pytest.raises(LogBusy):  # and within the same process
        EventLog.open(log.folder)
    with pytest.raises(LogBusy):
        LogFile.open(log.folder)
    assert log.append([note("undisturbed")])[0].seq == 1


def test_a_reader_that_is_not_asked_lets_a_writer_in(tmp_path: Path) -> None:
    EventLog.create(tmp_path).close()
    with LogFile.open(tmp_path) as reader, EventLog.open(tmp_path, wait_s=10) as log:
        log.append([note("resumed")])
        with pytest.raises(LogBusy):
            reader.sql("SELECT 1")


def test_creating_over_a_log_and_opening_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LogMissing):
        EventLog.open(tmp_path)
    with pytest.raises(LogMissing):
        LogFile.open(tmp_path)
    EventLog.create(tmp_path).close()
    with pytest.raises(LogExists):
        EventLog.create(tmp_path)


def test_a_closed_log_refuses_and_close_is_harmless_twice(tmp_path: Path) -> None:
    log = EventLog.create(tmp_path)
    pending = [log.append_async([note(str(k))]) for k in range(50)]
    log.close()
    log.close()
    assert all(future.result() for future in pending)
    with pytest.raises(LogClosed):
        log.append([note("late")])
    with pytest.raises(LogClosed):
        log.tail(1)


def test_a_clock_that_goes_back_disturbs_neither_order_nor_idempotency(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    import store.event as event_module

    clock = iter([5_000_000_000, 4_000_000_000, 3_000_000_000, 9_000_000_000, 1_000_000_000] * 40)
    ticker = event_module._Ticker()
    monkeypatch.setattr(event_module, "_ticker", ticker)
    monkeypatch.setattr(event_module.time, "time_ns", lambda: next(clock))
    events = [note(str(k)) for k in range(50)]
    monkeypatch.undo()
    ids = [event.id for event in events]
    assert ids == sorted(set(ids))
    stored = [log.append([event])[0] for event in events]
    assert [event.seq for event in stored] == list(range(1, 51))
    assert [event.ts for event in stored] != sorted(event.ts for event in stored)
    assert log.append(events) == stored


def test_ids_older_than_those_stored_are_taken_once(log: EventLog) -> None:
    ids = sorted(uuid7() for _ in range(20))
    for id in reversed(ids):  # each is below the greatest known
        log.append([NewEvent("x", b"{}", "a", id=id)])
    again: list[Event] = log.append([NewEvent("x", b"{}", "a", id=id) for id in ids])
    assert [event.seq for event in again] == list(range(20, 0, -1))
    assert log.last[0] == 20


def test_a_number_no_column_holds_refuses_its_batch_and_the_log_goes_on(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        many = [NewEvent("a", b"{}", "host") for _ in range(250)]
        with pytest.raises(WriteFailed):
            log.append([*many, NewEvent("a", b"{}", "host", cause=2**64)])
        assert log.last[0] == 0
        assert len(log.append(many)) == 250
