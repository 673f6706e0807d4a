"""Reading: windows, series, snapshots, blobs, queries over many runs, export."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import duckdb
import msgspec
import pytest

from store.blobs import BlobStore, blobs_named
from store.errors import BadEvent, BadQuery, LogBusy, LogDamaged, LogMissing, OtherFormat
from store.event import NewEvent, canonical, envelope, iso
from store.export import export_parquet
from store.log import EventLog
from store.mark import MarkFile, read_mark
from store.query import query
from store.reader import LogFile
from store.sealer import digest_file
from store.serve import LogServer
from store.snapshots import Snapshots
from store.verify import verify
from tests.store.logs import POINTS, closed_log, metric, mixed, note, python

VIEWS = {"points": "SELECT * FROM {log}.points"}


def test_windows_by_sequence_type_and_number(tmp_path: Path) -> None:
    events = closed_log(tmp_path, 100)
    with LogFile.open(tmp_path) as log:
        assert list(log.events(30, 40)) == events[29:40]
        assert list(log.events(95)) == events[94:]
        assert list(log.events(types={"note_added"}, limit=5)) == [e for e in events if e.type == "note_added"][:5]
        assert list(log.events(types=set())) == []
        assert list(log.events(50, 40)) == list(log.events(limit=0)) == list(log.events(101)) == []
        assert log.tail(3) == events[-3:]
        assert log.tail(1000) == events
        assert log.tail(0) == []
        assert log.get(1) == events[0]
        assert log.get(0) is log.get(101) is log.get(-1) is None


def test_pages_of_all_sizes_join_without_a_seam(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        log.append(mixed(9000))
        assert [event.seq for event in log.events()] == list(range(1, 9001))
        log.append([NewEvent("big", canonical({"t": "x" * 60_000}), "a") for _ in range(300)])
        assert [event.seq for event in log.events(8000)] == list(range(8000, 9301))


def test_an_envelope_is_plain_json(tmp_path: Path) -> None:
    with EventLog.create(tmp_path) as log:
        (event,) = log.append([NewEvent("x", canonical({"b": [1, None], "a": "ä"}), "user", ts=1_700_000_000_000_123)])
    assert envelope(event) == {
        "seq": 1,
        "id": event.id,
        "ts": "2023-11-14T22:13:20.000123Z",
        "type": "x",
        "v": 1,
        "actor": "user",
        "cause": None,
        "payload": {"a": "ä", "b": [1, None]},
        "hash": event.hash,
    }
    assert iso(-1) == "1969-12-31T23:59:59.999999Z"


def test_a_series_keeps_extremes_ends_and_counts(tmp_path: Path) -> None:
    values = [math.sin(k / 10) for k in range(1000)]
    values[333], values[700] = 50.0, -50.0
    with EventLog.create(tmp_path, [POINTS]) as log:
        log.append([metric(k, loss=value, other=1.0) for k, value in enumerate(values)])
        log.append([metric(1000, loss="NaN"), metric(1001, loss="Infinity")])
        buckets = log.series("points", "step", "value", {"name": "loss"}, 20)
        assert 1 < len(buckets) <= 20
        assert sum(bucket.n for bucket in buckets) == 1002
        assert sum(bucket.bad for bucket in buckets) == 2
        assert max(bucket.high for bucket in buckets if bucket.high is not None) == 50.0
        assert min(bucket.low for bucket in buckets if bucket.low is not None) == -50.0
        assert (buckets[0].x, buckets[-1].x_end) == (0.0, 1001.0)
        for bucket in buckets:
            inside = values[int(bucket.x) : min(int(bucket.x_end) + 1, 1000)]
            assert bucket.low == min(inside)
            assert bucket.high == max(inside)
        one = log.series("points", "step", "value", {"name": "loss", "step": 5}, 20)
        assert [(bucket.n, bucket.low) for bucket in one] == [(1, values[5])]
        assert log.series("points", "step", "value", {"name": "nothing"}) == []


@pytest.mark.parametrize(
    ("table", "x", "y", "where"),
    [
        ("nothing", "step", "value", {}),
        ("points", "nothing", "value", {}),
        ("points", "step", "value", {"nothing": 1}),
        ("points", "step", "name", {}),
        ("points; DROP TABLE points", "step", "value", {}),
        ("points", "step) FROM points; --", "value", {}),
    ],
)
def test_a_series_of_what_is_not_there_is_refused(
    tmp_path: Path, table: str, x: str, y: str, where: dict[str, int]
) -> None:
    closed_log(tmp_path)
    with LogFile.open(tmp_path) as log, pytest.raises((BadQuery, BadEvent)):
        log.series(table, x, y, where)


def test_the_nearest_snapshot_of_this_history_is_found(tmp_path: Path) -> None:
    events = closed_log(tmp_path)
    snapshots = Snapshots(tmp_path)
    with LogFile.open(tmp_path) as log:
        assert snapshots.nearest("state", 1, log) is None
        for seq in (10, 20, 30):
            snapshots.save("state", 1, seq, events[seq - 1].hash, f"after {seq}".encode())
        for wanted, found in ((None, 30), (30, 30), (29, 20), (10, 10)):
            snapshot = snapshots.nearest("state", 1, log, wanted)
            assert snapshot is not None
            assert (snapshot.seq, snapshot.data) == (found, f"after {found}".encode())
        assert snapshots.nearest("state", 1, log, 9) is None
        assert snapshots.nearest("state", 2, log) is None
        snapshots.save("state", 1, 25, "of another history", b"wrong")
        snapshots.save("state", 1, 99, events[0].hash, b"past the end")
        (tmp_path / "snapshots" / "state.v1" / f"{30:012d}").write_bytes(b"torn")
        snapshot = snapshots.nearest("state", 1, log)
        assert snapshot is not None
        assert snapshot.seq == 20
        snapshots.prune("state", 1, keep=3)
        assert len(list((tmp_path / "snapshots" / "state.v1").iterdir())) == 3
        snapshots.prune("state", 2, keep=3)
        assert snapshots.nearest("state", 1, log) is None


def test_blobs_are_stored_once_and_read_whole(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    digest = blobs.put(b"text")
    assert blobs.put(b"text") == digest
    assert blobs.put(b"") != digest
    assert blobs.get(digest) == b"text"
    assert digest in blobs
    assert len(list(blobs)) == 2
    assert blobs.path(digest) == tmp_path / "blobs" / digest[7:9] / digest[7:]
    assert blobs.remove(digest) == 4
    assert digest not in blobs
    with pytest.raises(LogMissing):
        blobs.get(digest)
    with pytest.raises(LogMissing):
        blobs.get("sha256:../../etc/passwd")
    assert not list(tmp_path.rglob(".new-*"))


def test_blobs_an_event_names_are_found_in_its_payload(tmp_path: Path) -> None:
    digest = BlobStore(tmp_path).put(b"x")
    with EventLog.create(tmp_path) as log:
        (event,) = log.append([note("a", deep=[{"text": digest}], other="sha256:short")])
    assert blobs_named(event) == [digest]


def test_one_query_sees_many_runs_with_their_names(tmp_path: Path) -> None:
    for name in ("a'b", "c"):
        closed_log(tmp_path / name, 20)
    with EventLog.create(tmp_path / "old") as log:  # without the typed table
        log.append(mixed(3))
    folders = {name: tmp_path / name for name in ("a'b", "c", "old")}
    rows = query(folders, "SELECT run, count(*) FROM events GROUP BY run ORDER BY run", VIEWS)
    assert rows.rows == [["a'b", 20], ["c", 20], ["old", 3]]
    rows = query(folders, "SELECT run, max(value) FROM points WHERE name = 'reward' GROUP BY run ORDER BY run", VIEWS)
    assert rows.rows == [["a'b", 4.5], ["c", 4.5]]
    assert query(folders, "SELECT payload->>'text' FROM events WHERE run = 'c' AND seq = 2", VIEWS).rows == [["note 1"]]
    assert query(folders, "FROM events", VIEWS, limit=5).truncated
    for bad in ("DROP VIEW events", "COPY (FROM events) TO '/tmp/x.csv'", "FROM nothing", "FROM '/etc/passwd'"):
        with pytest.raises(BadQuery):
            query(folders, bad, VIEWS)
    with pytest.raises(LogMissing):
        query({"x": tmp_path / "none"}, "SELECT 1", VIEWS)


def test_a_living_run_is_queried_like_the_others(tmp_path: Path) -> None:
    closed_log(tmp_path / "done", 20)
    folders = {"done": tmp_path / "done", "live": tmp_path / "live"}
    sockets = {"live": tmp_path / "s"}
    sql = "SELECT run, count(*), max(value) FROM points GROUP BY run ORDER BY run"
    with EventLog.create(tmp_path / "live", [POINTS]) as log, LogServer(log, tmp_path / "s"):
        log.append(mixed(3000))
        with pytest.raises(LogBusy):
            query(folders, sql, VIEWS, tables=[POINTS])
        live = query(folders, sql, VIEWS, tables=[POINTS], sockets=sockets)
        log.append([note("still writing")])
    assert query(folders, sql, VIEWS).rows == live.rows


def test_an_export_holds_what_the_log_holds(tmp_path: Path) -> None:
    events = closed_log(tmp_path / "run")
    files = export_parquet(tmp_path / "run", tmp_path / "it's out")
    assert [file.name for file in files] == ["events.parquet", "points.parquet"]
    with duckdb.connect() as connection:
        seen = connection.read_parquet(str(files[0])).order("seq").fetchall()
        assert [(row[0], row[3], row[8]) for row in seen] == [(e.seq, e.type, e.hash) for e in events]
        assert connection.read_parquet(str(files[1])).count("*").fetchall() == [(40,)]


def test_two_processes_may_read_one_file(tmp_path: Path) -> None:
    closed_log(tmp_path)
    with LogFile.open(tmp_path) as log:
        other = python(
            "import sys; from pathlib import Path; from store.reader import LogFile\n"
            "print(len(LogFile.open(Path(sys.argv[1])).tail(100)))",
            tmp_path,
        )
        out, err = other.communicate(timeout=30)
        assert out == "40\n", err
        assert len(log.tail(100)) == 40


def test_one_process_may_read_verify_and_query_one_file_at_once(tmp_path: Path) -> None:
    closed_log(tmp_path)
    with LogFile.open(tmp_path) as one, LogFile.open(tmp_path) as two:
        assert one.tail(5) == two.tail(5)
        assert verify(tmp_path).sound
        assert query({"r": tmp_path}, "SELECT count(*) FROM points", VIEWS).rows == [[40]]
        assert one.get(1) == two.get(1)


def test_a_process_that_just_ends_leaves_a_sound_log_and_says_nothing(tmp_path: Path) -> None:
    careless = python(
        """
        import sys
        from pathlib import Path
        from store.log import EventLog
        from store.reader import LogFile
        from tests.store.logs import closed_log, mixed
        log = EventLog.create(Path(sys.argv[1]) / "a")
        log.append(mixed(20))
        closed_log(Path(sys.argv[1]) / "b")
        reader = LogFile.open(Path(sys.argv[1]) / "b")
        reader.tail(1)
        """,
        tmp_path,
    )
    assert careless.communicate(timeout=30) == ("", "")
    assert verify(tmp_path / "a").findings == []
    assert verify(tmp_path / "a").events == 20


def test_a_run_folder_that_was_moved_opens_elsewhere(tmp_path: Path) -> None:
    events = closed_log(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    with EventLog.open(tmp_path / "there", [POINTS]) as log:
        assert list(log.events()) == events


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root to drop a user's rights")
def test_a_log_on_a_medium_that_cannot_be_written_is_readable(tmp_path: Path) -> None:
    events = closed_log(tmp_path / "run")
    reader = python(
        "import os, sys; from pathlib import Path; from store.reader import LogFile; from store.verify import verify\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "print(len(list(LogFile.open(Path(sys.argv[1])).events())), verify(Path(sys.argv[1])).sound)",
        tmp_path / "run",
    )
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    out, err = reader.communicate(timeout=30)
    assert out == f"{len(events)} True\n", err


def test_a_file_that_is_no_database_is_called_damaged(tmp_path: Path) -> None:
    closed_log(tmp_path)
    (tmp_path / "log.duckdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(LogDamaged):
        LogFile.open(tmp_path)
    with pytest.raises(LogDamaged):
        EventLog.open(tmp_path)


AS_FORMAT_1 = """CREATE TABLE old AS SELECT seq, epoch_us(ts) AS ts, id, type, v, actor, cause, payload::VARCHAR AS payload,
    ('0x' || hash)::UBIGINT AS hash FROM events ORDER BY seq;
    DROP VIEW events; DROP TABLE event_log; ALTER TABLE old RENAME TO event_log; UPDATE log_about SET format = 1"""


@pytest.mark.parametrize(("sql", "number"), [(AS_FORMAT_1, 1), ("UPDATE log_about SET format = 9", 9)])
def test_a_log_of_another_format_is_refused_in_words_and_not_salvaged(tmp_path: Path, sql: str, number: int) -> None:
    closed_log(tmp_path)
    with duckdb.connect(str(tmp_path / "log.duckdb")) as connection:
        connection.execute(sql)
    for opened in (LogFile.open, lambda folder: LogFile.open(folder, salvage=True), EventLog.open):
        with pytest.raises(OtherFormat, match=f"has format {number}, this version .* reads format 2") as refused:
            opened(tmp_path)
        assert "the version of the program that wrote it" in str(refused.value)
    changed = verify(tmp_path).findings  # the seal says that somebody else than a program of that version did this
    assert [finding.check for finding in changed] == ["file", "open"]
    assert "the version of the program that wrote it" in changed[1].what
    mark = read_mark(tmp_path).mark
    MarkFile(tmp_path, msgspec.structs.replace(mark, seal=digest_file(tmp_path / "log.duckdb"))).close()
    with pytest.raises(OtherFormat, match=f"has format {number}"):
        verify(tmp_path)


def test_a_log_that_says_format_1_and_has_the_layout_of_2_is_read_and_says_2_once_it_was_written(
    tmp_path: Path,
) -> None:
    events = closed_log(tmp_path)
    with duckdb.connect(str(tmp_path / "log.duckdb")) as connection:
        connection.execute("UPDATE log_about SET format = 1")
    with LogFile.open(tmp_path) as log:
        assert list(log.events()) == events
    EventLog.open(tmp_path, [POINTS]).close()
    with LogFile.open(tmp_path) as log:
        assert log.sql("SELECT format FROM log_about").rows == [[2]]
        assert list(log.events()) == events
    assert verify(tmp_path).findings == []


def test_a_query_of_many_seconds_draws_no_bar_into_what_is_printed(tmp_path: Path) -> None:
    closed_log(tmp_path / "run")
    asked = "SELECT current_setting('enable_progress_bar')"
    assert query({"run": tmp_path / "run"}, asked, VIEWS).rows == [[False]]
    with LogFile.open(tmp_path / "run") as log:
        assert log.sql(asked).rows == [[False]]
