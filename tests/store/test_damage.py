"""Every damage is seen, a killed log is not called damaged, and what is good can still be read.

A damage counts as seen when `verify` reports it. The one excuse is a damage without any effect: bytes after the end
of a write-ahead log look like the torn write of a host that was killed, and every event, row and blob is still what
it was.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from store.blobs import BlobStore
from store.errors import LogDamaged, StoreError
from store.event import Event
from store.log import EventLog
from store.reader import LogFile
from store.verify import verify
from tests.store.logs import POINTS, closed_log, killed_log, mixed, note

Harm = Callable[[bytearray, random.Random], bytearray | None]


def _flip(data: bytearray, dice: random.Random) -> bytearray:
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return data


def _overwrite(data: bytearray, dice: random.Random) -> bytearray:
    start = dice.randrange(len(data))
    length = min(dice.randrange(1, 600), len(data) - start)
    data[start : start + length] = dice.randbytes(length)
    return data


def _blank(data: bytearray, dice: random.Random) -> bytearray:
    start = dice.randrange(len(data))
    end = min(start + 512, len(data))
    data[start:end] = bytes(end - start)
    return data


def _cut(data: bytearray, dice: random.Random) -> bytearray:
    return data[: dice.randrange(len(data))]


def _lengthen(data: bytearray, dice: random.Random) -> bytearray:
    return data + dice.randbytes(dice.randrange(1, 64))


def _delete(data: bytearray, dice: random.Random) -> None:
    return None


HARMS: tuple[Harm, ...] = (_flip, _flip, _overwrite, _blank, _cut, _lengthen, _delete)


class Victims:
    """A log that was closed and one whose host was killed, to be damaged over and over in copies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events = {"closed": closed_log(folder / "closed"), "killed": killed_log(folder / "killed")}
        digest = BlobStore(folder / "closed").put(b"a long text" * 50)
        with EventLog.open(folder / "closed", [POINTS]) as log:
            self.events["closed"] += log.append([note("see", text_of=digest)])

    def damaged(self, dice: random.Random) -> tuple[str, Path, str]:
        """A copy with one damage: whose, where, and what was done."""
        while True:
            name = dice.choice(sorted(self.events))
            copy = self.folder / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.folder / name, copy)
            file = dice.choice(sorted(path for path in copy.rglob("*") if path.is_file() and path.name != "log.lock"))
            harm = dice.choice(HARMS)
            before = file.read_bytes()
            after = harm(bytearray(before), dice)
            if after is None:
                file.unlink()
            elif after == before:
                continue
            else:
                file.write_bytes(after)
            return name, copy, f"{harm.__name__} {name}/{file.name}"


@pytest.fixture(scope="module")
def victims(tmp_path_factory: pytest.TempPathFactory) -> Victims:
    return Victims(tmp_path_factory.mktemp("victims"))


def _check_one(victims: Victims, dice: random.Random) -> None:
    name, folder, what = victims.damaged(dice)
    good = victims.events[name]
    report = verify(folder)
    if report.sound:
        assert what == "_lengthen killed/log.duckdb.wal"
        with LogFile.open(folder) as log:
            assert list(log.events()) == good, what
    try:
        with LogFile.open(folder, salvage=True) as log:
            kept = list(log.events())
            assert log.last[0] == len(kept)
    except LogDamaged:
        return  # DuckDB cannot open the file at all
    assert report.events == len(kept), what
    assert kept == good[: len(kept)], what


def test_every_damage_is_seen_and_the_good_part_can_be_read(victims: Victims) -> None:
    dice = random.Random(20261123)
    for _ in range(40):
        _check_one(victims, dice)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(6))
def test_every_one_of_six_hundred_damages_is_seen(victims: Victims, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(100):
        _check_one(victims, dice)


def test_a_sound_log_and_a_killed_one_pass(victims: Victims) -> None:
    for name, events in victims.events.items():
        report = verify(victims.folder / name)
        assert report.findings == []
        assert report.events == len(events)


def _copy(victims: Victims, name: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(victims.folder / name, tmp_path / "copy"))


def _flip_near_end(path: Path, back: int) -> None:
    data = bytearray(path.read_bytes())
    data[-back] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("back", [1, 5, 12, 19, 20, 40])
def test_a_flip_at_the_very_end_of_the_write_ahead_log_is_seen(victims: Victims, tmp_path: Path, back: int) -> None:
    folder = _copy(victims, "killed", tmp_path)
    _flip_near_end(folder / "log.duckdb.wal", back)
    report = verify(folder)
    assert not report.sound
    with pytest.raises(LogDamaged):
        EventLog.open(folder, [POINTS])
    with LogFile.open(folder, salvage=True) as log:
        assert list(log.events()) == victims.events["killed"][: log.last[0]]
        assert log.last[0] >= 30  # all but the last commit, at least
        assert log.damage is not None


def test_a_flipped_bit_in_the_database_costs_no_event_it_did_not_hit(tmp_path: Path) -> None:
    """DuckDB refuses a whole block for one bit; salvage reads the block and lets the chain judge each event."""
    plain = tmp_path / "plain"
    events = closed_log(plain)
    data = bytearray((plain / "log.duckdb").read_bytes())
    for block in range(3 * 4096, len(data), 262_144):
        damaged = bytearray(data)
        damaged[block + 262_144 - 3] ^= 1  # the padding at the end of a block
        (plain / "log.duckdb").write_bytes(damaged)
        report = verify(plain)
        assert not report.sound
        assert (report.events, report.first_bad) == (len(events), None)
        with LogFile.open(plain, salvage=True) as log:
            assert list(log.events()) == events


def test_a_deleted_write_ahead_log_is_seen_and_names_the_first_lost_event(victims: Victims, tmp_path: Path) -> None:
    folder = _copy(victims, "killed", tmp_path)
    (folder / "log.duckdb.wal").unlink()
    assert verify(folder).first_bad == 1
    with pytest.raises(LogDamaged, match="events 1 to 40 were acknowledged and are gone"):
        LogFile.open(folder)


CHANGES = {
    "UPDATE event_log SET payload = '{}' WHERE seq = 17": 17,
    "UPDATE event_log SET actor = 'someone' WHERE seq = 3": 3,
    "UPDATE event_log SET late = late + 1 WHERE seq = 40": 40,
    "UPDATE event_log SET hash = hash + 1 WHERE seq = 5": 5,
    "UPDATE event_log SET cause = 1 WHERE seq = 9": 9,
    "DELETE FROM event_log WHERE seq = 12": 12,
    "DELETE FROM event_log WHERE seq > 30": 31,
    "INSERT INTO event_log SELECT * FROM event_log WHERE seq = 8": 8,
    "UPDATE event_log SET seq = 100 WHERE seq = 41": 41,
    "UPDATE event_log SET hi = hi + 1 WHERE seq = 6": 6,
    "UPDATE points_rows SET d0 = d0 + 7 WHERE seq = 21": 21,
    "UPDATE points_rows SET step = step + 1 WHERE seq = 11": 11,
    "DELETE FROM points_rows WHERE seq = 9": 9,
    "DELETE FROM points_rows": 1,
    "UPDATE log_shapes SET names = ['loss', 'rewards']": 1,
    "INSERT INTO points_rows (seq, step, shape) VALUES (2, 0, 0)": None,
    "INSERT INTO points_rows FROM points_rows WHERE seq = 3": None,
    "UPDATE log_about SET log_id = 'other'": None,
    "DROP TABLE event_log CASCADE": None,
}


@pytest.mark.parametrize("sql", CHANGES)
def test_a_change_made_with_sql_is_seen_and_the_first_bad_event_named(
    victims: Victims, tmp_path: Path, sql: str
) -> None:
    folder = _copy(victims, "closed", tmp_path)
    with duckdb.connect(str(folder / "log.duckdb")) as connection:
        connection.execute(sql)
    findings = [finding for finding in verify(folder).findings if finding.check != "file"]
    assert findings, "seen by the seal only"
    bad = CHANGES[sql]
    if bad is not None:
        assert findings[0].seq is not None
        assert findings[0].seq in (bad, bad + 1)
        with LogFile.open(folder, salvage=True) as log:
            assert list(log.events()) == victims.events["closed"][: findings[0].seq - 1]


def test_of_a_database_that_is_gone_nothing_is_left_and_of_a_mark_that_is_gone_all_events_are(tmp_path: Path) -> None:
    events = closed_log(tmp_path / "run")
    for name, told in (("log.duckdb", (0, 1)), ("log.mark", (len(events), None))):
        folder = Path(shutil.copytree(tmp_path / "run", tmp_path / name))
        (folder / name).unlink()
        report = verify(folder)
        assert not report.sound
        assert (report.events, report.first_bad) == told


def test_two_swapped_files_are_seen_in_both_logs(tmp_path: Path) -> None:
    for name in ("a", "b"):
        closed_log(tmp_path / name)
    first, second = tmp_path / "a" / "log.duckdb", tmp_path / "b" / "log.duckdb"
    first.rename(tmp_path / "held")
    second.rename(first)
    (tmp_path / "held").rename(second)
    for name in ("a", "b"):
        assert not verify(tmp_path / name).sound
        with pytest.raises(LogDamaged, match="another log"):
            LogFile.open(tmp_path / name)


def test_an_older_copy_of_the_file_is_seen(tmp_path: Path) -> None:
    closed_log(tmp_path / "run")
    old = (tmp_path / "run" / "log.duckdb").read_bytes()
    with EventLog.open(tmp_path / "run", [POINTS]) as log:
        log.append(mixed(3))
    (tmp_path / "run" / "log.duckdb").write_bytes(old)
    assert verify(tmp_path / "run").first_bad == 41


def test_an_opening_that_is_refused_leaves_the_evidence(victims: Victims, tmp_path: Path) -> None:
    folder = _copy(victims, "closed", tmp_path)
    with duckdb.connect(str(folder / "log.duckdb")) as connection:
        connection.execute("DELETE FROM event_log WHERE seq > 20")
    with pytest.raises(LogDamaged):
        EventLog.open(folder, [POINTS])
    assert {finding.check for finding in verify(folder).findings} >= {"file", "tail"}


def test_a_missing_and_a_changed_blob_are_seen_with_the_event_that_names_them(victims: Victims, tmp_path: Path) -> None:
    folder = _copy(victims, "closed", tmp_path)
    blobs = BlobStore(folder)
    (digest,) = blobs
    blobs.path(digest).write_bytes(b"something else")
    assert verify(folder).first_bad == 41
    with pytest.raises(StoreError, match="not what its name says"):
        blobs.get(digest)
    blobs.path(digest).unlink()
    assert verify(folder).first_bad == 41


def test_data_written_after_the_mark_is_kept_and_a_mark_after_the_data_is_damage(tmp_path: Path) -> None:
    """A power loss may take the mark's last write: the data leads. The reverse order never happens, so it is damage."""
    events = closed_log(tmp_path / "run")
    early = (tmp_path / "run" / "log.mark").read_bytes()
    with EventLog.open(tmp_path / "run", [POINTS]) as log:
        more: list[Event] = log.append(mixed(3))
    late = (tmp_path / "run" / "log.mark").read_bytes()
    (tmp_path / "run" / "log.mark").write_bytes(early)
    with LogFile.open(tmp_path / "run") as log:
        assert list(log.events()) == [*events, *more]
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").mkdir()
    closed_log(tmp_path / "other")
    for name in ("log.duckdb", "log.lock"):
        shutil.copy(tmp_path / "other" / name, tmp_path / "run" / name)
    (tmp_path / "run" / "log.mark").write_bytes(late)
    with pytest.raises(LogDamaged):
        LogFile.open(tmp_path / "run")
