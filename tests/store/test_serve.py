"""Readers in other processes, and in this one: joined without a gap, bounded, harmless to the writer."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from store.client import RemoteLog
from store.errors import BadQuery, ConnectionLost, LogBusy, NotAdmitted, RemoteError, StoreError
from store.event import Event
from store.log import EventLog
from store.serve import LogServer
from store.subscription import RING_EVENTS
from tests.store.logs import POINTS, metric, mixed, note, python


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with EventLog.create(tmp_path / "run", [POINTS]) as log:
        yield log


@pytest.fixture
def server(log: EventLog) -> Iterator[LogServer]:
    def refuse(_: dict[str, object]) -> dict[str, object]:
        raise StoreError("not now", where="here", next="Ask later")

    handlers = {"echo": lambda arguments: {"got": arguments}, "refuse": refuse, "break": lambda _: {"x": 1 // 0}}
    with LogServer(log, log.folder / "s", handlers) as server:
        yield server


@pytest.fixture
def remote(server: LogServer) -> Iterator[RemoteLog]:
    with RemoteLog(server.socket_path) as remote:
        yield remote


def _collect(feed: object, count: int) -> list[Event]:
    events: list[Event] = []
    while len(events) < count:
        events += feed.batch(100, 10)  # type: ignore[attr-defined]
    return events


def test_who_is_not_admitted_is_told_so_and_served_nothing(log: EventLog) -> None:
    seen: list[int] = []
    welcome = threading.Event()

    def admits(pid: int) -> bool:
        seen.append(pid)
        return welcome.is_set()

    with LogServer(log, log.folder / "s", {}, admits) as server:
        for ask in (lambda remote: remote.last, lambda remote: remote.subscribe(1).batch(1, 1)):
            with RemoteLog(server.socket_path) as remote, pytest.raises(NotAdmitted, match=f"process {os.getpid()}"):
                ask(remote)
        welcome.set()
        with RemoteLog(server.socket_path) as remote:
            assert remote.last == log.last
    assert set(seen) == {os.getpid()}


def test_a_remote_log_answers_as_the_log_itself(log: EventLog, remote: RemoteLog) -> None:
    log.append(mixed(2500))
    assert remote.last == log.last
    assert list(remote.events()) == list(log.events())
    assert list(remote.events(10, 20, {"note_added"}, 3)) == list(log.events(10, 20, {"note_added"}, 3))
    assert list(remote.events(2400)) == list(log.events(2400))
    assert list(remote.events(limit=1200)) == list(log.events(limit=1200))
    assert remote.tail(7) == log.tail(7)
    assert remote.get(3) == log.get(3)
    assert remote.get(2501) is log.get(2501) is None
    assert remote.series("points", "step", "value", {"name": "loss"}, 9) == log.series(
        "points", "step", "value", {"name": "loss"}, 9
    )
    query = "SELECT type, count(*) AS n, min(ts) AS first FROM events GROUP BY type ORDER BY type"
    assert [row[:2] for row in remote.sql(query).rows] == [["metric_logged", 1250], ["note_added", 1250]]


def test_operations_of_the_host_and_its_errors_come_through(remote: RemoteLog) -> None:
    assert remote.call("echo", x=1, text="ä") == {"got": {"x": 1, "text": "ä"}}
    with pytest.raises(RemoteError) as refusal:
        remote.call("refuse")
    assert (refusal.value.kind, refusal.value.what, refusal.value.where, refusal.value.next) == (
        "StoreError",
        "not now",
        "here",
        "Ask later",
    )
    with pytest.raises(RemoteError, match="division"):
        remote.call("break")
    with pytest.raises(RemoteError, match="no operation 'nothing'"):
        remote.call("nothing")
    assert remote.call("echo") == {"got": {}}


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM event_log",
        "SELECT 1; DROP TABLE event_log",
        "CHECKPOINT",
        "FROM force_checkpoint()",
        "SET threads = 4",
        "ATTACH '/tmp/other.duckdb'",
        "COPY event_log TO '/tmp/stolen.parquet'",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT nothing",
        "",
    ],
)
def test_a_query_that_writes_or_reaches_out_or_is_wrong_is_refused(
    log: EventLog, remote: RemoteLog, query: str
) -> None:
    log.append(mixed(3))
    with pytest.raises(BadQuery):
        remote.sql(query)
    assert remote.sql("SELECT count(*) FROM events").rows == [[3]]


def test_a_query_without_end_is_stopped_and_the_writer_goes_on(log: EventLog) -> None:
    with pytest.raises(BadQuery, match="took more than"):
        log.sql("SELECT count(*) FROM range(100000000) a, range(100000) b", timeout_s=0.3)
    assert log.append([note("on")])[0].seq == 1


def test_catch_up_and_live_join_without_gap_or_repetition(log: EventLog, server: LogServer) -> None:
    """Subscribers that come at any moment of a busy log see each event from theirs on exactly once."""
    total = 3000
    feeds = [(1, log.subscribe(1)), (1, RemoteLog(server.socket_path).subscribe(1))]
    writer = threading.Thread(target=lambda: [log.append(mixed(25)) for _ in range(total // 25)])
    writer.start()
    dice = random.Random(3)
    while writer.is_alive():
        start = dice.randrange(1, log.last[0] + 2)
        source = dice.choice([log, RemoteLog(server.socket_path)])
        feeds.append((start, source.subscribe(start)))
        time.sleep(0.02)
        if len(feeds) > 20:
            break
    writer.join()
    assert len(feeds) > 3
    for start, feed in feeds:
        events = _collect(feed, total - start + 1)
        assert [event.seq for event in events] == list(range(start, total + 1))
        feed.close()


def test_a_slow_reader_is_sent_back_to_catch_up_and_misses_nothing(log: EventLog) -> None:
    feed = log.subscribe(1)
    log.append(mixed(10))
    first = [feed.get(5) for _ in range(3)]
    log.append(mixed(RING_EVENTS * 2))  # the ring has long dropped what this reader wants next
    rest = _collect(feed, 7 + RING_EVENTS * 2)
    assert [event.seq for event in first + rest if event] == list(range(1, 11 + RING_EVENTS * 2))


def test_a_feed_may_start_in_the_future_and_waits(log: EventLog, remote: RemoteLog) -> None:
    for source in (log, remote):
        start = log.last[0] + 3
        feed = source.subscribe(start)
        assert feed.get(0.05) is None
        assert not feed.ended
        log.append([note("a"), note("b"), note("c")])
        event = feed.get(5)
        assert event is not None
        assert event.seq == start
        feed.close()


def test_closing_the_log_ends_feeds_after_their_last_event(tmp_path: Path) -> None:
    log = EventLog.create(tmp_path / "run")
    with LogServer(log, tmp_path / "s") as server:
        remote = RemoteLog(server.socket_path).subscribe(1)
        local = log.subscribe(1)
        log.append(mixed(30))
        assert len(_collect(local, 30)) == 30
        log.close()
        assert [event.seq for event in remote] == list(range(1, 31))
        assert remote.ended
        assert local.get() is None
        assert local.ended


def test_closing_a_feed_wakes_its_reader(log: EventLog, remote: RemoteLog) -> None:
    for feed in (log.subscribe(1), remote.subscribe(1)):
        seen: list[Event] = []
        reader = threading.Thread(target=seen.extend, args=(feed,))
        reader.start()
        time.sleep(0.1)
        feed.close()
        reader.join(10)
        assert not reader.is_alive()


def test_a_host_that_dies_is_one_clear_error(tmp_path: Path) -> None:
    host = python(
        """
        import sys, time
        from pathlib import Path
        from store.log import EventLog
        from store.serve import LogServer
        from tests.store.logs import mixed
        log = EventLog.create(Path(sys.argv[1]))
        log.append(mixed(5))
        server = LogServer(log, Path(sys.argv[1]) / "s")
        print("up", flush=True)
        time.sleep(60)
        """,
        tmp_path,
    )
    assert host.stdout is not None
    assert host.stdout.readline() == "up\n"
    remote = RemoteLog(tmp_path / "s")
    feed = remote.subscribe(1)
    assert len(_collect(feed, 5)) == 5
    host.kill()
    host.wait()
    with pytest.raises(ConnectionLost):
        feed.get(10)
    with pytest.raises(ConnectionLost):
        remote.tail(1)
    with pytest.raises(ConnectionLost, match="no host answers"):
        RemoteLog(tmp_path / "s")
    with EventLog.open(tmp_path) as log, LogServer(log, tmp_path / "s"):  # the dead host's socket is replaced
        assert RemoteLog(tmp_path / "s").last[0] == 5


def test_a_second_server_at_a_living_socket_is_refused(log: EventLog, server: LogServer) -> None:
    with pytest.raises(LogBusy):
        LogServer(log, server.socket_path)
    assert RemoteLog(server.socket_path).last[0] == 0


@pytest.mark.parametrize(
    "rubbish", [b"\n", b"not json\n", b"[]\n", b'{"op": 5}\n', b'{"op":"tail"}\n', b'{"op":"get","seq":"x"}\n']
)
def test_a_client_that_talks_rubbish_is_answered_and_nobody_else_notices(
    server: LogServer, remote: RemoteLog, rubbish: bytes
) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(server.socket_path))
        client.sendall(rubbish)
        reply = msgspec.json.decode(client.makefile("rb").readline())
        assert reply["ok"] is False
        assert reply["error"]["what"]
    assert remote.last[0] == 0


def test_twenty_readers_that_stall_and_leave_do_not_hurt_the_writer(log: EventLog, server: LogServer) -> None:
    stop = threading.Event()
    trouble: list[str] = []

    def read(seed: int) -> None:
        dice = random.Random(seed)
        while not stop.is_set():
            start = dice.randrange(1, log.last[0] + 2)
            feed = RemoteLog(server.socket_path).subscribe(start)
            expected = start
            for _ in range(dice.randrange(1, 6)):
                for event in feed.batch(500, 0.2):
                    if event.seq != expected:
                        trouble.append(f"{event.seq} instead of {expected}")
                    expected += 1
                if dice.random() < 0.3:
                    time.sleep(dice.random() * 0.2)  # stall, while events pile up
            feed.close()

    stalled = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    for client in stalled:  # these ask for everything and never read a byte
        client.connect(str(server.socket_path))
        client.sendall(b'{"op":"subscribe","from":1}\n')
    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(16)]
    for reader in readers:
        reader.start()
    for k in range(100):
        log.append([metric(step, loss=0.1, reward=1.0) for step in range(k * 50, k * 50 + 50)])
    stop.set()
    for reader in readers:
        reader.join(30)
    assert not any(reader.is_alive() for reader in readers)
    assert trouble == []
    assert log.last[0] == 5000
    for client in stalled:
        client.close()


def test_the_client_needs_no_database() -> None:
    lean = python("import store.client, store.source, store.event, sys; print('duckdb' in sys.modules)")
    out, err = lean.communicate(timeout=30)
    assert out == "False\n", err
