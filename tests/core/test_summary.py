"""The line of a run in the list, made from a log that came without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.home import list_runs
from core.session import last_state
from core.summary import lacks_summary, summarise, summarised_runs, with_summary
from tests.store.golden import unpacked


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder that holds its log alone, as one that was sent by mail does."""
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    (tmp_path / "runs").mkdir()
    return unpacked(tmp_path, "0.1.0").rename(tmp_path / "runs" / "20261125-153654-xvpt")


def test_a_copied_log_is_listed_with_its_status_and_scores_and_keeps_the_line(run: Path) -> None:
    assert lacks_summary(list_runs()[0])
    info = summarised_runs()[0]
    assert info.status == "finished"
    assert info.summary == summarise(last_state(run))
    assert not lacks_summary(list_runs()[0])


def test_a_log_that_cannot_be_read_says_so_in_its_line_and_is_not_tried_again(run: Path) -> None:
    (run / "log.duckdb").write_bytes(b"no database")
    title = with_summary(list_runs()[0]).summary.title
    assert "cannot be read" in title
    assert "intern verify" in title
    assert not (run / "summary.json").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_listed_all_the_same(run: Path) -> None:
    run.chmod(0o500)
    assert with_summary(list_runs()[0]).status == "finished"
