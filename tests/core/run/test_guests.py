"""Whole runs with others in them: a slow model, a research helper, an MCP server, a webhook; several who steer at once."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import events as e
from core.home import living_host
from core.session import open_source, state_at
from intern_tui.feed import LiveFeed
from intern_tui.session import Session
from tests.core.run.quick import HERE, Quick, wait_for
from tests.servers.llm import LLMServer, observations, text_of
from tests.servers.loopback import Answer as Reply
from tests.servers.loopback import Loopback, Request, as_json
from tests.servers.researchers import Answer, Capable, call

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quick]:
    with Quick(tmp_path_factory.mktemp("guests"), NOTES_KEY="a-key-for-notes", HF_TOKEN="hf_" + "z" * 30) as made:
        yield made


def events_of(run: Path) -> list[Any]:
    source = open_source(run)
    with contextlib.closing(source):
        return list(source.events(1))


def payloads(run: Path, kind: type[Any]) -> list[Any]:
    return [e.payload_of(x) for x in events_of(run) if x.type == kind.type]


class WithHelper:
    """A capable researcher; asked in the helper's context it searches once and delivers what it saw and what it did not."""

    def __init__(self) -> None:
        self.capable = Capable(
            {"max_steps": 4},
            [
                lambda good: call("research_literature", question="how to fine-tune half a million parameters?"),
                lambda good: call("notes_remember", text="greedy is better"),
                lambda good: call("notes_environment", name="KEY"),
                lambda good: call("notes_environment", name="HF_TOKEN"),
            ],
        )

    def __call__(self, messages: list[dict[str, Any]]) -> Answer:
        if not text_of(messages[0]).startswith("You are a literature assistant"):
            return self.capable(messages)
        seen = observations(messages)
        if not seen:
            return call("search_recipes", query="sft", limit=2)
        found = json.loads(seen[0])["recipes"][0]
        invented = {"title": "The best of all", "source": "2999.12345", "method": "magic"}
        return call("deliver", recipes=[invented, {"title": found["title"], "source": found["id"], "method": "sft"}])


class Hook(Loopback):
    """Where notifications go."""

    def respond(self, request: Request) -> Reply:
        return as_json({})


def test_a_run_with_a_helper_a_foreign_server_and_notifications(quick: Quick) -> None:
    home = Path(quick.env["INTERN_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    served = json.dumps(str(HERE.parents[1] / "servers" / "mcp_notes.py"))
    (home / "mcp.toml").write_text(
        f'[servers.notes]\ncommand = "{sys.executable}"\nargs = [{served}]\nenv = {{ KEY = "$NOTES_KEY" }}\n'
    )
    with Hook() as hook, LLMServer(WithHelper()) as server:
        (home / "notify.txt").write_text(f"json://{hook.host}/run\n")
        run = quick.create(f"openai:t@{server.url}")
        code = quick.host(run)
        told = [json.loads(r.body) for r in hook.requests]
        main = "\n".join(text_of(m) for m in server.requests[-1]["messages"])
    (home / "mcp.toml").unlink()
    (home / "notify.txt").unlink()
    state = state_at(run)
    assert code == 0, state.reason
    assert state.scores.heldout_best is not None
    assert state.scores.heldout_best > (state.scores.heldout_baseline or 0)

    done = {c.call: c for c in payloads(run, e.ToolCompleted)}
    asked = {c.tool: c for c in payloads(run, e.ToolRequested)}
    table = json.loads(done[asked["research_literature"].call].output)
    assert [r["seen"] for r in table["recipes"]] == [True, False], "what was read comes first, whatever the helper said"
    assert f"{asked['research_literature'].call}.h1" in done, (
        "the helper's call stands in the log below the one that asked"
    )
    assert main.count("You are a literature assistant") == 0
    assert any(c.what.startswith("helper") and c.amount > 0 for c in payloads(run, e.BudgetCharged))

    notes = [c.output for c in payloads(run, e.ToolCompleted) if c.tool.startswith("notes_")]
    assert "1 notes" in notes[0]
    assert "untrusted_source" in notes[0]
    assert "a-key-for-notes" not in "".join(notes), "its own key came to it and not back into the log"
    assert "[redacted]" in notes[1]
    assert "zzz" not in notes[2], "the Hub's token stays here"
    assert any("finished" in t["message"] for t in told)


def test_a_slow_model_is_shown_as_stalled_and_its_run_ends_well(quick: Quick) -> None:
    with LLMServer(Capable({"max_steps": 4}), streams=True, delay_s=0.03, faults=[None, ("stall", 9.0)]) as server:
        run = quick.create(f"openai:t@{server.url}")
        assert quick.host(run) == 0
    events = events_of(run)
    stalled = next(x for x in events if x.type == "call_stalled")
    asked = next(x for x in reversed(events[: stalled.seq]) if x.type == "model_requested")
    assert stalled.ts - asked.ts < 10_000_000
    assert state_at(run).status == "finished"


def test_two_screens_and_a_command_line_steer_one_run_in_one_order_that_all_see(quick: Quick) -> None:
    with LLMServer(Capable({"max_steps": 4}), streams=True, delay_s=0.1) as server:
        run = quick.create(f"openai:t@{server.url}")
        quick.start(run)
        wait_for(run, lambda s: s.step >= 1)
        host = living_host(run)
        assert host is not None
        screens = [Session(run, LiveFeed(run, Path(host.socket)), "live") for _ in range(2)]
        for screen in screens:
            screen.feed.start()
        people = [
            threading.Thread(target=screen.feed.command, args=("steer", f"screen {i} says look at the data", {}))
            for i, screen in enumerate(screens)
        ]
        words = [sys.executable, "-P", "-m", "intern_tui", "steer", run.name, "the line says be quick"]
        line = subprocess.Popen(words, env=os.environ | quick.env, stdout=subprocess.PIPE, text=True)
        for person in people:
            person.start()
        for person in people:
            person.join()
        said = line.communicate(timeout=60)[0]
        assert quick.ended() == 0
        until = time.monotonic() + 10
        for screen in screens:
            while screen.tick() or (screen.state.status != "finished" and time.monotonic() < until):
                time.sleep(0.05)
        main = "\n".join(text_of(m) for m in server.requests[-1]["messages"])
    log = [(c.seq, c.text, c.status) for c in state_at(run).commands]
    assert len(log) == 3
    assert f"event {next(seq for seq, text, _ in log if 'line' in text)}" in said
    for screen in screens:
        assert [(c.seq, c.text, c.status) for c in screen.state.commands] == log
        screen.feed.close()
    assert {status for _, _, status in log} == {"delivered"}
    places = [main.index(text) for _, text, _ in log]
    assert places == sorted(places), "the brain read them in the order of the log"
