"""A replay stands exactly where a fold would: at every event, after every kind of move, through silences and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.fold import fold
from core.player import SNAPSHOTS, SPEEDS, Indexer, Player, parse_place
from core.state import RunState, to_bytes
from store.event import Event
from store.log import EventLog
from store.reader import LogFile
from tests.screens import recorded

EVENTS = recorded.events()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogFile]:
    folder: Path = tmp_path_factory.mktemp("run")
    writer = EventLog.create(folder)
    writer.append(recorded.appendable(EVENTS))
    writer.close()
    with LogFile.open(folder) as reader:
        yield reader


def player(log: LogFile, spacing: int = 50, keep: bool = True) -> Player:
    indexer = Indexer(spacing)
    indexer.extend(log.events())
    index = indexer.index()
    if not keep:
        index.kept = None
    return Player(log, index)


def folded(seq: int) -> bytes:
    return to_bytes(fold(RunState(), EVENTS[:seq]))


@pytest.mark.parametrize("keep", [True, False])
def test_the_state_at_an_event_equals_the_fold_to_it(log: LogFile, keep: bool) -> None:
    p = player(log, keep=keep)
    for seq in (1, 2, 49, 50, 51, 400, 399, 120, 638, 1, 637, 300):
        p.seek(seq)
        assert to_bytes(p.state()) == folded(seq)


def test_playing_forward_passes_through_the_same_states(log: LogFile) -> None:
    p = player(log)
    p.home()
    p.speed = 20
    p.toggle()
    while p.playing:
        seq = p.advance(0.9)
        assert to_bytes(p.state()) == folded(seq)
    assert p.at_end
    assert p.seq == len(EVENTS)


def test_time_moves_at_the_speed_and_over_silences(log: LogFile) -> None:
    p = player(log)
    p.seek_time(p.start_us + 20_500_000)  # between the events of 20 s and 35 s nothing happens
    before = p.seq
    p.toggle()
    p.speed = 10
    assert p.advance(1.0) == before
    assert p.clock_us == p.start_us + 30_500_000
    assert p.advance(0.5) > before


def test_at_the_end_play_starts_over_and_paused_time_does_not_move(log: LogFile) -> None:
    p = player(log)
    p.end()
    assert p.advance(100) == p.last_seq
    assert p.toggle()
    assert p.seq == 1


def test_steps_skips_and_bounds(log: LogFile) -> None:
    p = player(log)
    p.seek(100)
    assert p.step(1) == 101
    assert p.step(-2) == 99
    assert p.step(-1000) == 1
    assert p.skip(-10) == 1
    clock = p.clock_us
    p.skip(60)
    assert p.clock_us == clock + 60_000_000
    assert p.skip(10**6) == p.last_seq
    assert p.seek(10**9) == p.last_seq
    assert p.seek(-5) == 1


def test_marks_are_those_of_the_run_in_both_directions(log: LogFile) -> None:
    p = player(log)
    marks = [m.seq for m in fold(RunState(), EVENTS).marks]
    p.home()
    seen = [p.mark(1) for _ in marks]
    assert seen == marks
    assert p.mark(1) == marks[-1]
    assert [p.mark(-1) for _ in marks[1:]] == marks[-2::-1]
    assert p.mark(-1) == marks[0]


def test_plan_steps_lead_to_where_another_step_began(log: LogFile) -> None:
    p = player(log)
    p.home()
    titles = []
    for _ in range(6):
        p.plan_step(1)
        titles += [s.id for s in p.state().plan if s.status == "doing"]
    assert titles == ["s0", "s1", "s2", "s3", "s4", "s5"]


def test_speeds_stop_at_their_ends(log: LogFile) -> None:
    p = player(log)
    assert [p.faster(1) for _ in range(8)] == [*SPEEDS[1:], 100, 100]
    assert [p.faster(-1) for _ in range(8)][-1] == 1


@pytest.mark.parametrize(
    ("text", "seq"),
    [
        ("412", 412),
        ("#412", 412),
        ("99999", 638),
        ("0", 1),
        ("0:00", 1),
        ("1:02:03", 638),
        ("100%", 638),
        ("x", None),
        ("", None),
    ],
)
def test_places_in_words(log: LogFile, text: str, seq: int | None) -> None:
    assert parse_place(text, player(log)) == seq


def test_a_place_in_time_is_the_last_event_before_it(log: LogFile) -> None:
    p = player(log)
    for text in ("1:30", "90s", "1.5m"):
        seq = parse_place(text, p)
        assert seq is not None
        assert p.time_of(seq) <= p.start_us + 90_000_000 < p.time_of(seq + 1)


def test_an_empty_run_has_nowhere_to_go() -> None:
    class Nothing:
        def events(self, *_: object) -> list[Event]:
            return []

    p = Player(Nothing(), Indexer().index())  # type: ignore[arg-type]
    assert p.toggle() is False
    assert (p.step(1), p.skip(5), p.mark(1), p.end(), p.seek(3)) == (0, 0, 0, 0, 0)
    assert p.state().seq == 0


def test_snapshots_stay_few_however_long_the_run(log: LogFile) -> None:
    p = player(log, spacing=2)
    assert len(p.index.snapshots) <= SNAPSHOTS
    p.seek(333)
    assert to_bytes(p.state()) == folded(333)


def test_a_clock_that_went_back_does_not_turn_time_round() -> None:
    odd = [EVENTS[0], EVENTS[30], EVENTS[10]]
    odd = [Event(i + 1, x.ts, x.type, x.v, x.actor, None, x.payload, x.id, x.hash) for i, x in enumerate(odd)]
    indexer = Indexer()
    indexer.extend(odd)
    assert list(indexer.index().times) == [odd[0].ts, odd[1].ts, odd[1].ts]
