"""A host killed between "this training shall be started" and "it is started": after resume exactly one was started."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import events as e
from core.agent.verify import verify_loop
from core.session import open_source, state_at
from tests.core.run.quick import Quick
from tests.servers.llm import LLMServer
from tests.servers.researchers import Capable

pytestmark = pytest.mark.slow

TRAINING = 2
"""Of the jobs that the researcher asks for: the first measures the base."""


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quick]:
    with Quick(tmp_path_factory.mktemp("submit")) as made:
        yield made


def payloads(run: Path, kind: type[Any]) -> list[Any]:
    source = open_source(run)
    with contextlib.closing(source):
        return [e.payload_of(x) for x in source.events(1) if x.type == kind.type]


@pytest.mark.parametrize(
    "fault",
    [
        "job_queued",  # it stands in the queue, and whoever would have started it is gone
        "job_written",  # its turn has come, its command is written, and nobody has started it
        "before job_launched",  # it runs, and no log says so
    ],
)
def test_a_training_whose_submission_was_cut_off_is_started_once_after_resume(quick: Quick, fault: str) -> None:
    quick.starts_file.unlink(missing_ok=True)
    with LLMServer(Capable({"max_steps": 4})) as server:
        run = quick.create(f"openai:t@{server.url}", autonomy="workspace")
        assert quick.host(run, fault, TRAINING) == -9, "it died there"
        asked = [p for p in payloads(run, e.ToolRequested) if p.tool == "train"]
        assert len(asked) == 1
        assert not [p for p in payloads(run, e.JobLaunched) if p.kind == "training"], "asked for, not launched"
        assert quick.host(run) == 0
    state = state_at(run)
    assert state.status == "finished", state.reason
    launched = [p for p in payloads(run, e.JobLaunched) if p.kind == "training"]
    assert [p.effect_id for p in launched] == [asked[0].effect_id], "the same effect, once"
    assert [s for s in quick.starts if s.endswith(" sft")] == [f"{launched[0].folder} sft"], (
        "one process, in one folder"
    )
    assert state.jobs[launched[0].job].status == "finished"
    assert not [p for p in payloads(run, e.JobFailed)]
    assert state.scores.best is not None
    assert state.scores.baseline is not None
    assert state.scores.best > state.scores.baseline
    assert verify_loop(run).divergence is None
