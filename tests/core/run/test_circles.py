"""A brain that goes round in circles is not left alone with it: a person is asked, or the run ends as runs end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import events as e
from core.agent.loops import LIMIT
from core.agent.verify import verify_loop
from core.errors import InternError
from core.session import command, open_source, state_at
from store.errors import StoreError
from tests.core.run.quick import Quick, wait_for
from tests.servers.llm import LLMServer, text_of
from tests.servers.researchers import Answer, Capable, call, final

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quick]:
    with Quick(tmp_path_factory.mktemp("circles"), INTERN_APPROVAL_PATIENCE_S="0.2") as made:
        yield made


class Stubborn(Capable):
    """Measures and keeps the base, and then sends a training that is refused, again and again."""

    def steps(self, good: list[Any]) -> list[Any]:
        settings = {"max_steps": 4, "learning_rate": 1e-4}

        def train() -> Answer:
            return call("train", method="sft", data="clean", model="base", title="SFT", settings=settings)

        return [*super().steps(good)[:5], train]


def payloads(run: Path, kind: type[Any]) -> list[Any]:
    source = open_source(run)
    with contextlib.closing(source):
        return [e.payload_of(x) for x in source.events(1) if x.type == kind.type]


def ladder(run: Path) -> list[str]:
    """The levels of what was said about loops, one after the other."""
    levels = [p.level for p in payloads(run, e.LoopDetected)]
    return [level for i, level in enumerate(levels) if i == 0 or levels[i - 1] != level]


def refused(run: Path) -> list[Any]:
    return [p for p in payloads(run, e.ToolFailed) if p.tool == "train"]


@pytest.mark.parametrize(("fault", "count"), [("", 0), ("after loop_detected", 5), ("before run_finished", 1)])
def test_an_unattended_run_that_repeats_a_refused_call_ends_as_a_run_ends(quick: Quick, fault: str, count: int) -> None:
    with LLMServer(Stubborn()) as server:
        # What the person fixed: with nobody to ask, a training of full weights is refused each time.
        run = quick.create(f"openai:t@{server.url}", unattended=True, fixed={"lora": True})
        if fault:
            assert quick.host(run, fault, count) == -9
        assert quick.host(run) == 0
    state = state_at(run)
    assert state.status == "finished"
    assert "goes round in circles" in state.reason
    assert "train" in state.reason
    assert len(refused(run)) == LIMIT + 5, "the same whether or not a host died meanwhile"
    assert ladder(run) == ["advice", "firm", "limit"]
    last = payloads(run, e.LoopDetected)[-1]
    assert last.signs == LIMIT
    assert last.call in last.calls
    assert "nobody is here to ask" in last.result
    assert (run / "final_model").exists()
    assert state.scores.heldout_best is not None, "the last evaluation was made"
    assert "goes round in circles" in (run / "report.md").read_text()
    found = verify_loop(run)
    assert found.divergence is None, found.divergence


class Mute:
    """Answers without a call, or with one that is none, until the person has said a word."""

    def __init__(self, *replies: Answer) -> None:
        self.replies = replies
        self.turn = 0

    def __call__(self, messages: list[dict[str, Any]]) -> Answer:
        self.turn += 1
        if "call a tool, please" in "\n".join(text_of(m) for m in messages):
            return final("heard")
        return self.replies[self.turn % len(self.replies)]


REPLIES = {
    "empty": [{"content": ""}],
    "prose": [{"content": "Let me think about it."}, {"content": "I would look at the data."}],
    "unknown tools": [{"name": f"look_{n}", "arguments": {}} for n in range(7)],
    "cut off": [{"name": "note", "arguments": f'{{"content": "{n}'} for n in range(7)],
    "all of it": [
        {"content": ""}, {"name": "read_the_task", "arguments": {}}, {"name": "evaluate", "arguments": {"model": 5}},
        {"name": "note", "arguments": "[1]"}, {"name": "", "arguments": {}},
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", REPLIES)
def test_replies_without_a_call_pause_the_run_and_ask_a_person_whose_answer_the_brain_gets(
    quick: Quick, kind: str
) -> None:
    with LLMServer(Mute(*REPLIES[kind])) as server:
        run = quick.create(f"openai:t@{server.url}")
        quick.start(run)
        state = wait_for(run, lambda s: s.status == "paused", 60)
        asked = next(q for q in state.questions.values() if not q.answer)
        assert "goes round in circles" in asked.text
        assert "stop" in asked.text
        assert state.step <= 24
        command(run, "answer", "call a tool, please", {"question": asked.id})
        quick.ended()
        said = "\n".join(text_of(m) for m in server.requests[-1]["messages"])
    assert state_at(run).reason.startswith("heard")
    assert said.count("call a tool, please") == 1
    assert said.count("[loop] STOP") >= 1
    found = verify_loop(run)
    assert found.divergence is None, found.divergence


@pytest.mark.parametrize("fault", ["after question_asked", "after run_paused", "after question_answered"])
def test_a_host_killed_while_the_run_waits_at_a_loop_asks_once_and_hears_the_answer_once(
    quick: Quick, fault: str
) -> None:
    with LLMServer(Mute({"content": ""})) as server:
        run = quick.create(f"openai:t@{server.url}")
        quick.start(run, fault)
        if fault == "after question_answered":
            asked = answered(run)
            assert quick.ended() == -9
            quick.host(run)
        else:
            assert quick.ended() == -9
            quick.start(run)
            asked = answered(run)
            quick.ended()
        said = "\n".join(text_of(m) for m in server.requests[-1]["messages"])
    state = state_at(run)
    assert state.reason.startswith("heard"), state.reason
    assert list(state.questions) == [asked]
    assert said.count("call a tool, please") == 1
    assert len(payloads(run, e.ToolFailed)) == LIMIT + 5
    assert verify_loop(run).divergence is None


def answered(run: Path) -> str:
    """Answer what is asked at the loop, as often as it takes: the host may be coming up, or die of it, which is the test."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(StoreError, InternError):
            state = state_at(run)
            for question in state.questions.values():
                if question.answer:
                    return question.id
                command(run, "answer", "call a tool, please", {"question": question.id})
        time.sleep(0.05)
    raise AssertionError("no question was ever answered")


def test_a_message_ends_the_pause_at_a_loop_and_the_count_begins_anew(quick: Quick) -> None:
    with LLMServer(Mute({"content": ""})) as server:
        run = quick.create(f"openai:t@{server.url}")
        quick.start(run)
        wait_for(run, lambda s: s.status == "paused", 60)
        command(run, "resume")
        wait_for(run, lambda s: s.status == "paused" and len(s.questions) == 2, 60)
        command(run, "steer", "call a tool, please")
        quick.ended()
    state = state_at(run)
    assert state.reason.startswith("heard")
    assert all(q.answer for q in state.questions.values())
    assert len(payloads(run, e.ToolFailed)) == 2 * (LIMIT + 5)
    assert verify_loop(run).divergence is None


class Restless(Capable):
    """Starts a training that takes its time, and asks after it without waiting until it is told how to wait."""

    def __init__(self, deaf: bool) -> None:
        super().__init__({"max_steps": 1})
        self.deaf = deaf
        self.asked = 0

    def __call__(self, messages: list[dict[str, Any]]) -> Answer:
        said = "\n".join(text_of(m) for m in messages)
        trains = '"planned_steps"' in said
        if trains and (self.deaf or "call wait_for_jobs" not in said):
            self.asked += 1
            return call("budget")
        return final("as advised") if trains else super().__call__(messages)


@pytest.mark.parametrize("deaf", [False, True])
def test_polls_while_a_job_runs_are_answered_with_how_to_wait_and_do_not_go_on_for_ever(
    quick: Quick, deaf: bool
) -> None:
    brain = Restless(deaf)
    with LLMServer(brain) as server:
        run = quick.create(f"openai:t@{server.url}", unattended=True, autonomy="workspace")
        assert quick.host(run, QUICK_STEP_S="600") == 0
    state = state_at(run)
    assert ladder(run) == (["advice", "firm", "limit"] if deaf else ["advice"])
    assert brain.asked == (23 if deaf else 6)
    assert ("goes round in circles (budget, poll" in state.reason) == deaf
    assert verify_loop(run).divergence is None
