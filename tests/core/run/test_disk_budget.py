"""A run may take so much of the disk: it warns on the way, and ends with its report while a job is still writing."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from core import events as e
from core.agent import budget
from core.session import open_source, state_at
from core.state import Budget, RunState
from tests.core.run.quick import Quick
from tests.servers.llm import LLMServer
from tests.servers.researchers import Capable

LIMIT_GB = 0.04
CHECKPOINT = 1_000_000
"""Bytes a train step writes: a tenth of the budget lasts four steps, so each mark is passed by itself."""


def test_what_a_run_takes_is_every_file_of_its_folder_once(tmp_path: Path) -> None:
    (tmp_path / "jobs" / "job-1" / "model").mkdir(parents=True)
    before = budget.folder_bytes(tmp_path)
    weights = tmp_path / "jobs" / "job-1" / "model" / "weights.bin"
    weights.write_bytes(b"x" * 300_000)
    (tmp_path / "final_model.bin").hardlink_to(weights)
    (tmp_path / "elsewhere").symlink_to("/usr")
    assert 300_000 <= budget.folder_bytes(tmp_path) - before < 400_000


def test_a_disk_with_a_budget_is_looked_at_often_and_one_that_is_slow_to_look_at_less() -> None:
    limited = RunState(budget=Budget(disk_gb=1.0))
    assert budget.next_look_s(RunState(), 0.001) == budget.DISK_LOOK_S
    assert budget.next_look_s(limited, 0.001) == budget.QUICK_LOOK_S
    assert budget.next_look_s(limited, 0.1) == pytest.approx(0.1 / budget.LOOK_SHARE)
    assert budget.next_look_s(limited, 60.0) == budget.DISK_LOOK_S
    assert budget.worth_saying(0.001) < 0.05 * 1e6, "marks of a small budget are told apart"


@pytest.mark.slow
def test_a_training_that_fills_the_budget_is_stopped_and_the_run_ends_with_its_report(tmp_path: Path) -> None:
    with (
        Quick(tmp_path, QUICK_CHECKPOINT=str(CHECKPOINT), QUICK_STEP_S="0.3") as quick,
        LLMServer(Capable({"max_steps": 90})) as server,
    ):
        run = quick.create(f"openai:t@{server.url}", disk_gb=LIMIT_GB)
        assert quick.host(run) == 0
    state, used = state_at(run), _told(run, e.BudgetCharged)
    warned = [w for w in _told(run, e.BudgetWarned) if w.kind == "disk"]
    assert [w.fraction for w in warned] == [0.5, 0.8, 0.95]
    assert all(w.limit == LIMIT_GB and w.used >= w.fraction * LIMIT_GB for w in warned)
    assert state.status == "finished"
    assert state.reason.startswith("the budget is used")
    assert state.reason.endswith("GB")
    job = next(j for j in state.jobs.values() if j.kind == "training")
    assert job.status != "running"
    saved = [c.step for c in _told(run, e.CheckpointSaved)]
    assert 0 < max(saved) < 60, "it was stopped while it trained, in the middle of the brain's wait for it"
    assert max(c.amount for c in used if c.kind == "disk") < 1.5 * LIMIT_GB * 1e9
    assert state.scores.heldout_best is not None, "the last evaluation was made"
    assert "budget is used" in (run / "report.md").read_text()


def _told(run: Path, kind: type[Any]) -> list[Any]:
    source = open_source(run)
    with contextlib.closing(source):
        return [e.payload_of(x) for x in source.events(1) if x.type == kind.type]
