"""Fork and verify on whole runs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import events as e
from core.agent import loop
from core.agent.verify import verify_loop
from core.errors import UsageError
from core.fork import ForkRequest, fork
from core.session import open_source, state_at
from intern_tui.cli import main
from tests.core.run.quick import Quick, wait_for
from tests.servers.llm import LLMServer
from tests.servers.researchers import Capable, call, final, steered

pytestmark = pytest.mark.slow

EXTRA = [
    lambda good: call("write_file", path="plan.txt", content="first"),
    lambda good: call("edit_file", path="plan.txt", old="first", new="second"),
]


def events(run: Path) -> list[Any]:
    source = open_source(run)
    with contextlib.closing(source):
        return list(source.events(1))


def researcher(messages: list[dict[str, Any]]) -> dict[str, Any]:
    return final("as you say") if "stop here" in steered(messages) else Capable({"max_steps": 4}, EXTRA)(messages)


class Made:
    def __init__(self, quick: Quick, server: LLMServer, run: Path) -> None:
        self.quick, self.server, self.run = quick, server, run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with LLMServer(researcher, streams=True) as server, Quick(tmp_path_factory.mktemp("fork")) as quick:
        run = quick.create(f"openai:tiny@{server.url}")
        assert quick.host(run) == 0
        yield Made(quick, server, run)


def at(made: Made, monkeypatch: pytest.MonkeyPatch, request: ForkRequest) -> Path:
    monkeypatch.setenv("INTERN_HOME", made.quick.env["INTERN_HOME"])
    return fork(made.run, request)


def test_the_loop_run_again_on_the_log_is_the_same(made: Made) -> None:
    found = verify_loop(made.run)
    assert found.divergence is None
    assert found.compared > 60


def test_a_loop_that_changed_is_found_with_both_sides(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "task_message", lambda state: "another first message")
    found = verify_loop(made.run)
    assert found.divergence is not None
    assert found.divergence.type == "model_requested"
    assert found.divergence.recorded != found.divergence.again
    first = next(x for x in events(made.run) if x.type == "model_requested")
    assert found.divergence.seq == first.seq


def test_verify_tells_a_loop_that_goes_another_way_from_damage_and_from_health(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INTERN_HOME", made.quick.env["INTERN_HOME"])
    assert main(["verify", made.run.name]) == 0
    monkeypatch.setattr(loop, "task_message", lambda state: "another first message")
    capsys.readouterr()
    assert main(["verify", made.run.name]) == 1
    said = capsys.readouterr()
    assert "is sound, but its loop" in said.err
    assert "--log-only" in said.err
    assert main(["verify", made.run.name, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["findings"] == []
    assert told["loop"]["divergence"]["type"] == "model_requested"
    assert main(["verify", made.run.name, "--log-only"]) == 0


def test_a_fork_has_the_parents_past_its_own_future_and_a_budget_of_its_own(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = next(x for x in events(made.run) if x.type == "workspace_saved")
    child = at(made, monkeypatch, ForkRequest(at=written.seq, hours=0.1, steering="stop here"))
    assert (child / "workspace" / "plan.txt").read_text() == "first", (
        "the workspace is that of the step, not of the end"
    )
    assert made.quick.host(child) == 0
    state = state_at(child)
    assert state.parent == made.run.name
    assert state.status == "finished"
    assert state.budget.hours == 0.1
    assert state.scores.best == pytest.approx(0.3), "the parent's later model did not come along"
    assert (child / "final_model" / "skill.txt").read_text() == "0.3"
    assert "stop here" in steered(made.server.requests[-1]["messages"])
    mine, theirs = events(child), events(made.run)
    assert [x.type for x in mine[1 : written.seq]] == [x.type for x in theirs[1 : written.seq]]
    forked = e.payload_of(mine[written.seq])
    assert isinstance(forked, e.RunForked)
    assert (forked.parent, forked.parent_seq) == (made.run.name, written.seq)
    assert state_at(child).budget.tokens_used < state_at(made.run).budget.tokens_used
    assert verify_loop(child).divergence is None


def test_another_brain_goes_on_from_a_fork(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    promoted = next(x for x in events(made.run) if x.type == "checkpoint_promoted")
    with LLMServer(lambda messages: final("enough")) as other:
        child = at(made, monkeypatch, ForkRequest(at=promoted.seq + 1, brain=f"openai:other@{other.url}"))
        assert made.quick.host(child) == 0
        assert len(other.requests) == 1
    asked = [e.payload_of(x).brain for x in events(child) if x.type == "model_requested"]
    assert asked[-1].startswith("openai:other")


def test_a_fork_while_a_training_ran_takes_no_running_job_along(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    launched = [x for x in events(made.run) if x.type == "job_launched"][1]
    child = at(made, monkeypatch, ForkRequest(at=launched.seq))
    assert made.quick.host(child) == 0
    state = state_at(child)
    assert state.jobs["job-2"].status == "cancelled"
    assert state.status == "finished"
    assert {j.effect_id for j in state.jobs.values() if j.id != "job-2"}.isdisjoint({""})


def test_a_fork_at_the_end_of_a_finished_run_goes_on(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    last = events(made.run)[-1].seq
    child = at(made, monkeypatch, ForkRequest(at=last, steering="stop here"))
    assert made.quick.host(child) == 0
    state = state_at(child)
    assert state.status == "finished"
    assert state.scores.heldout_best is not None
    assert "stop here" in steered(made.server.requests[-1]["messages"])


def test_an_event_that_is_not_there_is_refused(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no event"):
        at(made, monkeypatch, ForkRequest(at=10_000))


def test_a_run_can_be_forked_while_it_goes(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made.quick.create(f"openai:tiny@{made.server.url}")
    made.quick.start(run)
    wait_for(run, lambda s: s.step >= 3)
    monkeypatch.setenv("INTERN_HOME", made.quick.env["INTERN_HOME"])
    child = fork(run, ForkRequest(at=20))
    assert made.quick.ended() == 0
    assert state_at(child).seq > 20
