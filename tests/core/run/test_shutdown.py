"""A machine that shuts down tells the host to end: that is no end of the run."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from core import events as e
from core.agent.verify import verify_loop
from core.session import open_source, state_at
from tests.core.run.quick import Quick, wait_for

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("moment", ["a model call", "a training"])
def test_sigterm_leaves_the_run_to_be_taken_up_again(tmp_path: Path, moment: str) -> None:
    with Quick(tmp_path / "lab") as lab:
        run = lab.create("playbook")
        pid = lab.start(run)
        if moment == "a training":
            wait_for(run, lambda s: any(j.kind == "training" for j in s.running_jobs()), 120)
        else:
            wait_for(run, lambda s: s.step >= 3, 120)
        os.kill(pid, signal.SIGTERM)
        assert lab.ended() == 128 + signal.SIGTERM
        left = state_at(run)
        assert (left.status, left.finished_ts, left.stop_reason) == ("running", None, "")
        assert "taken up again with intern resume" in (run / "host.log").read_text()

        assert lab.host(run) == 0
        state = state_at(run)
        assert state.status == "finished", state.reason
        assert state.scores.heldout_best is not None
        source = open_source(run)
        with contextlib.closing(source):
            events = list(source.events(1))
        assert sum(x.type == e.HostRecovered.type for x in events) == 1
        assert len(lab.starts) == len(set(lab.starts)) == sum(x.type == e.JobLaunched.type for x in events)
        assert verify_loop(run).divergence is None
