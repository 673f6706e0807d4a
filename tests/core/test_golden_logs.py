"""One recorded log of every released version: it verifies, folds, replays, moves to another place and answers the documented questions."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import msgspec
import pytest

from core import events as e
from core.analysis import VIEWS, export_parquet, query
from core.describe import describe
from core.fold import Folder, fold
from core.player import Indexer, Player
from core.session import open_source, state_at
from core.snapshots import FAR
from core.state import RunState, to_bytes
from store.reader import LogFile
from store.verify import verify
from tests.store.golden import unpacked, versions

DOCS = Path(__file__).resolve().parents[2] / "docs" / "sql.md"
QUERIES = re.findall(r"```sql\n(.*?)```", DOCS.read_text(), re.DOTALL)


@pytest.fixture(scope="module", params=versions())
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of one released version."""
    return unpacked(tmp_path_factory.mktemp("golden"), request.param)


def test_it_is_sound_and_every_event_is_known(golden: Path) -> None:
    assert verify(golden).findings == []
    with LogFile.open(golden) as log:
        unknown = {event.type for event in log.events() if isinstance(e.payload_of(event), e.Unknown)}
    assert unknown == set()


def test_it_folds_to_a_finished_run_the_same_way_in_one_go_step_by_step_and_in_replay(golden: Path) -> None:
    with LogFile.open(golden) as log:
        events = list(log.events())
        whole = fold(RunState(), events)
        stepwise = Folder()
        for event in events:
            stepwise.apply(event)
            assert describe(event, e.payload_of(event))[0]
        indexer = Indexer()
        indexer.extend(events)
        player = Player(log, indexer.index())
        player.seek(len(events))
        assert to_bytes(player.state()) == to_bytes(stepwise.state) == to_bytes(whole)
    assert (whole.status, whole.seq) == ("finished", len(events))
    assert whole.scores.heldout_best is not None
    assert whole.jobs
    assert whole.papers


def test_a_folder_that_was_moved_opens_where_it_is(golden: Path, tmp_path: Path) -> None:
    before = to_bytes(state_at(golden))
    moved = tmp_path / "mailed to a colleague" / "run's copy"
    shutil.copytree(golden, moved)
    assert verify(moved).findings == []
    assert to_bytes(state_at(moved)) == before
    source = open_source(moved)
    assert source.tail(1)[0].type == "run_finished"
    source.close()
    assert query([moved], "SELECT DISTINCT run FROM events").rows == [["run's copy"]]


@pytest.mark.parametrize("sql", QUERIES)
def test_every_documented_question_has_an_answer(golden: Path, sql: str) -> None:
    rows = query([golden], sql)
    assert rows.rows, sql
    assert rows.columns[0] == "run"
    assert {row[0] for row in rows.rows} == {golden.name}


def test_every_view_has_the_columns_the_documentation_names(golden: Path) -> None:
    documented = dict(re.findall(r"^\| `(\w+)` \| [^:]+: (.+) \|$", DOCS.read_text(), re.MULTILINE))
    assert documented.keys() == {"events", *VIEWS}
    for view, text in documented.items():
        named = [word.strip() for part in re.findall(r"`([^`]+)`", text) for word in part.split(",")]
        assert query([golden], f"FROM {view} LIMIT 1").columns == ["run", *named]


def test_what_is_exported_is_what_the_views_show(golden: Path, tmp_path: Path) -> None:
    import duckdb

    files = {path.stem: path for path in export_parquet(golden, tmp_path / "out")}
    assert sorted(files) == ["events", "gpu", "metrics"]
    for view, path in files.items():
        exported = duckdb.sql(f"SELECT count(*), sum(seq), max(ts)::VARCHAR FROM '{path}'").fetchall()
        shown = query([golden], f"SELECT count(*), sum(seq), max(ts)::VARCHAR FROM {view}").rows
        assert [list(map(str, row)) for row in exported] == [list(map(str, row)) for row in shown]


def test_a_state_in_the_middle_is_the_fold_to_there_with_and_without_snapshots(golden: Path, tmp_path: Path) -> None:
    from core.snapshots import NAME
    from core.state import STATE_VERSION
    from store.snapshots import Snapshots

    copy = Path(shutil.copytree(golden, tmp_path / "copy"))
    with LogFile.open(copy) as log:
        events = list(log.events())
    middle = fold(RunState(), events[:700])
    assert to_bytes(state_at(copy, 700)) == to_bytes(middle)
    Snapshots(copy).save(NAME, STATE_VERSION, 600, events[599].hash, to_bytes(fold(RunState(), events[:600])))
    assert to_bytes(state_at(copy, 700)) == to_bytes(middle)
    Snapshots(copy).save(NAME, STATE_VERSION, 650, events[649].hash, b"written by a program with other fields")
    assert to_bytes(state_at(copy, 700)) == to_bytes(middle)
    assert len(events) < FAR  # so nobody wrote a snapshot here but this test


def test_a_projection_that_is_not_what_the_events_give_is_named(golden: Path, tmp_path: Path) -> None:
    from core.projections import check_projections
    from core.snapshots import NAME
    from core.state import STATE_VERSION
    from core.summary import summarise
    from store.snapshots import Snapshots

    copy = Path(shutil.copytree(golden, tmp_path / "copy"))
    with LogFile.open(copy) as log:
        events = list(log.events())
    state = fold(RunState(), events[:500])
    Snapshots(copy).save(NAME, STATE_VERSION, 500, events[499].hash, to_bytes(state))
    summary = summarise(fold(RunState(), events))
    (copy / "summary.json").write_bytes(msgspec.json.encode(summary))
    assert check_projections(copy) == []
    state.goal = "another"
    Snapshots(copy).save(NAME, STATE_VERSION, 500, events[499].hash, to_bytes(state))
    (copy / "summary.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(summary, best=0.99)))
    assert [(finding.check, finding.seq) for finding in check_projections(copy)] == [
        ("projections", 500),
        ("projections", None),
    ]
