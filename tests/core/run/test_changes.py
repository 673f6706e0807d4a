"""What a person changes in the middle of a run: the brain, how hard it thinks, the last step; and a guest that hangs."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import events as e
from core.agent.verify import verify_loop
from core.session import command, open_source, state_at
from tests.core.run.quick import Quick, wait_for
from tests.servers.llm import LLMServer, text_of
from tests.servers.researchers import Answer, call, final

pytestmark = pytest.mark.slow
SERVERS = Path(__file__).parents[2] / "servers"


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quick]:
    with Quick(tmp_path_factory.mktemp("changes")) as made:
        yield made


def events_of(run: Path) -> list[Any]:
    source = open_source(run)
    with contextlib.closing(source):
        return list(source.events(1))


def said(messages: list[dict[str, Any]]) -> str:
    return "\n".join(text_of(m) for m in messages)


class Patient:
    """Looks at the budget, slowly, until somebody tells it to write; two files, then it looks on until it may end."""

    def __init__(self) -> None:
        self.run: Path | None = None

    def __call__(self, messages: list[dict[str, Any]]) -> Answer:
        words = said(messages)
        if "and end" in words:
            return final("as told")
        written = words.count("characters written to")
        if "write" in words.rpartition("Message from the person")[2] and written < 2:
            return call("write_file", path="work.txt", content=f"version {written + 1}")
        time.sleep(0.1)
        return call("budget")


def test_another_brain_goes_on_with_the_whole_memory_and_thinks_as_hard_as_asked(quick: Quick) -> None:
    with LLMServer(Patient()) as first, LLMServer(lambda messages: final("taken over"), streams=True) as second:
        run = quick.create(f"openai:small@{first.url}")
        quick.start(run)
        wait_for(run, lambda s: s.step >= 2)
        command(run, "effort", "high")
        command(run, "steer", "remember the word heron")
        wait_for(run, lambda s: any(c.command == "steer" and c.status == "delivered" for c in s.commands))
        command(run, "brain", f"openai:large@{second.url}")
        quick.ended()
        efforts = [r.get("reasoning_effort") for r in first.requests]
        assert efforts[0] is None
        assert efforts[-1] == "high"
        assert len(second.requests) == 1
        asked = second.requests[0]
    assert (asked["model"], asked["reasoning_effort"]) == ("large", "high")
    assert "heron" in said(asked["messages"])
    assert said(asked["messages"]).startswith(said(first.requests[-1]["messages"])), "it was told all the first one was"
    state = state_at(run)
    assert state.reason.startswith("taken over")
    assert state.brain.startswith("openai:large@")
    assert verify_loop(run).divergence is None


def test_undo_brings_the_files_of_the_step_before_back_and_says_so(quick: Quick) -> None:
    with LLMServer(Patient()) as server:
        run = quick.create(f"openai:t@{server.url}")
        quick.start(run)
        file = run / "workspace" / "work.txt"
        command_when_up(run, "steer", "write")
        wait_for(run, lambda s: len(s.workspaces) == 2)
        assert file.read_text() == "version 2"
        asked = command(run, "undo")
        state = wait_for(run, lambda s: any(c.seq == asked and c.status == "applied" for c in s.commands))
        assert file.read_text() == "version 1"
        assert "undo of step" in next(c.result for c in state.commands if c.seq == asked)
        command(run, "undo")
        wait_for(run, lambda s: len(s.workspaces) == 0)
        assert not file.exists()
        command(run, "steer", "and end")
        quick.ended()
    assert [x.type for x in events_of(run)].count("workspace_restored") == 2
    assert verify_loop(run).divergence is None


def command_when_up(run: Path, name: str, text: str) -> int:
    wait_for(run, lambda s: s.step >= 1)
    return command(run, name, text)


def test_a_server_of_tools_that_hangs_is_shown_within_ten_seconds_and_interrupted_within_one(quick: Quick) -> None:
    def researcher(messages: list[dict[str, Any]]) -> Answer:
        return call("notes_hang", seconds=60) if "Observation:" not in said(messages) else final("without it")

    home = Path(quick.env["INTERN_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    served = json.dumps(str(SERVERS / "mcp_notes.py"))
    (home / "mcp.toml").write_text(
        f'[servers.notes]\ncommand = "{sys.executable}"\nargs = [{served}]\ntimeout_s = 120\n'
    )
    try:
        with LLMServer(researcher) as server:
            run = quick.create(f"openai:t@{server.url}")
            quick.start(run)
            state = wait_for(run, lambda s: "stalled" in s.doing, 180)
            assert state.doing.startswith("notes_hang: stalled")
            asked = command(run, "interrupt")
            quick.ended()
            told = said(server.requests[-1]["messages"])
    finally:
        (home / "mcp.toml").unlink()
    events = events_of(run)
    started = next(x for x in events if x.type == "tool_started")
    stalled = next(x for x in events if x.type == "call_stalled")
    failed = next(x for x in events if x.type == "tool_failed")
    assert (stalled.ts - started.ts) / 1e6 < 10
    assert (failed.ts - events[asked - 1].ts) / 1e6 < 1
    assert "interrupted" in e.payload_of(failed).error
    assert "interrupted" in told
    assert state_at(run).reason.startswith("without it")


def first_json(text: str) -> Any:
    """The JSON that a result begins with; the words of one that is none."""
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except json.JSONDecodeError:
        return text


class Trainer:
    """Prepares data, trains for minutes, waits for it; stops it when told so. What each wait said stands in `waits`."""

    def __init__(self, data: list[str]) -> None:
        self.data = data
        self.waits: list[dict[str, Any]] = []

    def __call__(self, messages: list[dict[str, Any]]) -> Answer:
        told = [text_of(m) for m in messages if "Observation:" in text_of(m)]
        good = [first_json(t.partition("Observation:\n")[2]) for t in told if "ERROR:" not in t]
        if not good:
            return call("inspect_data", path=self.data[0])
        if len(good) == 1:
            return call("prepare_data", name="clean", sources=self.data, options={})
        if len(good) == 2:
            settings = {"lr": 1e-4, "max_steps": 600, "time_limit_s": 200}
            return call("train", method="sft", data="clean", model="base", title="long", settings=settings)
        job = good[2]["job"]
        self.waits = [g for g in good if "jobs" in g]
        if self.waits and self.waits[-1]["jobs"][0]["status"] not in ("running", "paused"):
            return final("as told")
        if "stop it" in said(messages) and len(good) == 3 + len(self.waits):
            return call("stop_job", job=job, reason="a person says so")
        return call("wait_for_jobs", jobs=[job])


def test_words_and_a_pause_come_through_in_the_middle_of_a_wait_for_a_job(quick: Quick) -> None:
    trainer = Trainer([str(quick.task / "data" / "train.jsonl")])
    with LLMServer(trainer) as server:
        run = quick.create(f"openai:t@{server.url}")
        quick.start(run, QUICK_STEP_S="0.2")
        waiting = wait_for(run, lambda s: any(c.tool == "wait_for_jobs" for c in s.open_calls.values()), 60)
        command(run, "pause")
        wait_for(run, lambda s: s.status == "paused", 20)
        command(run, "resume")
        wait_for(
            run, lambda s: s.step > waiting.step and any(c.tool == "wait_for_jobs" for c in s.open_calls.values()), 20
        )
        command(run, "steer", "stop it")
        wait_for(run, lambda s: any(c.command == "steer" and c.status == "delivered" for c in s.commands), 20)
        quick.ended()
    assert ["pauses" in w.get("person", "") for w in trainer.waits[:2]] == [True, False]
    assert "steers" in trainer.waits[1]["person"]
    assert all(w["jobs"][0]["status"] == "running" for w in trainer.waits[:2]), "the job goes on meanwhile"
    state = state_at(run)
    assert state.reason.startswith("as told")
    assert state.jobs["job-1"].status == "cancelled"
    assert verify_loop(run).divergence is None
