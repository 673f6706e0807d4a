"""A long run's index: kept once, believed only for the log it was made from; the preview before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import events as e
from core import replay_index
from core.player import Player
from core.replay_index import load_index, preview, read_index
from core.tables import TABLES
from store.event import NewEvent
from store.log import EventLog
from store.reader import LogFile
from tests.screens import recorded


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    monkeypatch.setattr(replay_index, "LONG", 100)
    folder = tmp_path / "runs" / recorded.RUN
    folder.mkdir(parents=True)
    with EventLog.create(folder, TABLES) as log:
        log.append(recorded.appendable(recorded.events()))
    return folder


def test_a_kept_index_leads_to_the_same_states(run: Path) -> None:
    source = LogFile.open(run)
    assert load_index(run, source) is None
    shares: list[float] = []
    first = read_index(run, source, shares.append)
    again = load_index(run, source)
    assert again is not None
    assert shares[-1] == 1.0
    assert list(again.times) == list(first.times)
    player = Player(source, again)
    for seq in (1, 300, 77, 638, 638, 400):
        player.seek(seq)
        assert player.state() == recorded.state_at(seq)
    assert not (run / "snapshots").exists()  # a replay writes nothing into a run
    source.close()


def test_an_index_of_another_length_is_not_believed(run: Path) -> None:
    source = LogFile.open(run)
    read_index(run, source)
    source.close()
    with EventLog.open(run, TABLES) as log:
        new = e.new(e.NoteAdded(text="more"), actor="host")
        log.append([NewEvent(new.type, new.payload, new.actor, None, new.v, new.id, new.ts)])
    source = LogFile.open(run)
    assert load_index(run, source) is None
    source.close()


def test_a_preview_is_right_in_plan_scores_and_diagnoses(run: Path) -> None:
    source = LogFile.open(run)
    seen, true = preview(source), recorded.state_at(638)
    assert (seen.seq, seen.plan, seen.scores, seen.failures) == (638, true.plan, true.scores, true.failures)
    assert seen.evaluations == true.evaluations
    source.close()
