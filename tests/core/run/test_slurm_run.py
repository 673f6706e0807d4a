"""A whole run of the playbook whose jobs go to a real Slurm: its trials are one job array, and a host that dies in it finds it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.agent.verify import verify_loop
from core.session import state_at
from tests.core.run.quick import Quick
from tests.servers import slurm as slurm_server

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quick]:
    if reason := slurm_server.why_not():
        pytest.skip(reason)
    slurm = slurm_server.Slurm(tmp_path_factory.mktemp("slurm"))
    with slurm, Quick(tmp_path_factory.mktemp("quick"), **slurm.env) as made:
        yield made


@pytest.mark.parametrize("fault", ["", "after job_launched"])
def test_the_trials_are_an_array_and_every_training_began_once(quick: Quick, fault: str) -> None:
    run = quick.create("playbook", compute="slurm")
    if fault:
        assert quick.host(run, fault, 3) == -9
    assert quick.host(run) == 0
    state = state_at(run)
    assert state.status == "finished"
    assert state.scores.best is not None
    assert state.scores.baseline is not None
    assert state.scores.best > state.scores.baseline
    trials = [j for j in state.jobs.values() if j.method == "sft" and "trial" in j.title]
    handles = {j.id: _handle(run, j.id) for j in trials}
    assert len(trials) > 2
    assert ["_" in h for h in handles.values()] == [False] + [True] * (len(trials) - 1), "one first, then the others"
    starts = [line.split()[0] for line in quick.starts_file.read_text().splitlines() if str(run) in line]
    began = [Path(s).name for s in starts]
    assert [began.count(j) for j in handles] == [1] * len(handles)
    assert verify_loop(run).divergence is None


def _handle(run: Path, job: str) -> str:
    return json.loads((run / "jobs" / job / "handle.json").read_bytes())["name"]
