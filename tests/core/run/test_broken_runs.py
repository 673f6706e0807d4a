"""Runs that are killed, steered, stopped, or led by a model over HTTP."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest

from tests.core.cli import Intern
from tests.servers.llm import LLMServer, observations
from tests.speed import SLOWNESS, hours

pytestmark = pytest.mark.slow


def host_pid(intern: Intern, run: str) -> int:
    return next(r["pid"] for r in intern.json("runs", "--json") if r["run"] == run)


def test_a_run_killed_in_the_middle_still_opens_and_is_taken_up_again(intern: Intern) -> None:
    run = intern.start("--task", "pocket/addition", "--hours", hours(0.025))
    intern.wait_for(run, "job_launched", count=2)
    time.sleep(1.0)
    os.kill(host_pid(intern, run), signal.SIGKILL)
    time.sleep(0.3)
    state = intern.json("state", run, "--json")
    assert state["status"] == "interrupted"
    assert intern("replay", run, "--plain").returncode == 0
    assert intern("steer", run, "hello").returncode == 4, "no host, no steering, and it says so"
    before = intern.events(run)
    done = intern("resume", run, "--plain", "--json", timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    after = intern.events(run)
    assert after[: len(before)] == before, "nothing acknowledged was lost or changed"
    effects = [e["payload"]["effect_id"] for e in after if e["type"] == "job_launched"]
    assert len(set(effects)) == len(effects), "nothing was started twice"
    assert any(e["type"] == "host_recovered" for e in after)
    metrics = [
        (e["payload"]["job"], e["payload"]["step"], sorted(e["payload"]["values"]))
        for e in after
        if e["type"] == "metric_logged"
    ]
    assert len({json.dumps(m) for m in metrics}) == len(metrics), "no metric was recorded twice"
    assert json.loads(done.stdout)["best"] is not None


def test_words_reach_the_brain_and_pause_holds_it(intern: Intern) -> None:
    run = intern.start("--task", "pocket/addition", "--hours", hours(0.05))
    intern.wait_for(run, "job_launched")
    assert intern("pause", run).returncode == 0
    assert intern("steer", run, "no grpo, and wrap up after this").returncode == 0
    paused = intern.wait_for(run, "run_paused", timeout=90)
    time.sleep(1.0)
    later = [e for e in intern.events(run) if e["seq"] > paused["seq"] and e["type"] == "model_requested"]
    assert not later, "a paused agent asks its brain nothing"
    assert intern("pause", run).returncode == 4, "pausing twice is refused with a reason"
    assert intern("unpause", run).returncode == 0
    intern.wait(run)
    events = intern.events(run)
    steer = next(e for e in events if e["type"] == "command_requested" and e["payload"]["command"] == "steer")
    delivered = next(
        e for e in events if e["type"] == "model_requested" and steer["seq"] in e["payload"].get("steering", [])
    )
    assert delivered["seq"] > steer["seq"]
    notes = [e["payload"]["text"] for e in events if e["type"] == "note_added" and e["seq"] > delivered["seq"]]
    assert any("wrap up" in n for n in notes)
    methods = {e["payload"]["method"] for e in events if e["type"] == "job_launched" and e["seq"] > delivered["seq"]}
    assert "grpo" not in methods


def test_stop_ends_with_a_valid_model_and_a_report(intern: Intern) -> None:
    run = intern.start("--task", "pocket/addition", "--hours", hours(0.2))
    intern.wait_for(run, "checkpoint_promoted", timeout=120)
    intern.wait_for(run, "job_launched", count=2)
    assert intern("stop", run).returncode == 0
    info = intern.wait(run, timeout=90)
    assert info["status"] == "stopped"
    state = intern.json("state", run, "--json")
    assert state["scores"]["heldout_best"] is not None
    assert not [j for j in state["jobs"].values() if j["status"] == "running"]
    assert "## Result" in intern("report", run).stdout
    assert intern("pause", run).returncode == 4


def test_a_second_host_for_one_run_is_refused(intern: Intern) -> None:
    run = intern.start("--task", "pocket/addition", "--hours", hours(0.1))
    again = intern("resume", run, "--detach")
    assert again.returncode == 4
    assert "host already" in again.stderr
    intern("stop", run)
    intern.wait(run, timeout=90)


def researcher(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """A capable model: decides from what the tools said. Its first answers are broken in several ways."""
    said = observations(messages)
    good = [s for s in said if not s.startswith("ERROR")]
    state = researcher_state(good)
    if len(said) == 0 and len(messages) <= 2:
        return {"name": "read_the_task", "arguments": {}}
    if len(said) == 1:
        return {"name": "search_recipes", "arguments": '{"query": "sft'}
    if len(said) == 2:
        return {"name": "evaluate", "arguments": {"model": 5, "label": "x"}}
    return state


def researcher_state(good: list[str]) -> dict[str, Any]:
    if not good:
        return {"name": "read_task", "arguments": {}}
    task = json.loads(good[0])
    script = [
        lambda: {"name": "inspect_data", "arguments": {"path": task["data_files"][0]}},
        lambda: {
            "name": "prepare_data",
            "arguments": {"name": "clean", "sources": task["data_files"], "options": {"drop_shape_mismatch": True}},
        },
        lambda: {
            "name": "evaluate",
            "arguments": {"model": "base", "label": "base", "variants": [{"name": "greedy", "temperature": 0.0}]},
        },
        lambda: {
            "name": "promote",
            "arguments": {"model": "base", "evaluation": json.loads(good[3])["evaluations"][0]["evaluation"]},
        },
        lambda: {
            "name": "train",
            "arguments": {
                "method": "sft",
                "data": "clean",
                "model": "base",
                "title": "SFT",
                "settings": {"lr": 2e-4, "max_steps": 120, "batch_size": 64, "time_limit_s": 230},
            },
        },
        lambda: {"name": "wait_for_jobs", "arguments": {"jobs": [json.loads(good[5])["job"]]}},
        lambda: {
            "name": "evaluate",
            "arguments": {
                "model": json.loads(good[5])["job"],
                "label": "SFT",
                "variants": [{"name": "greedy", "temperature": 0.0}],
            },
        },
        lambda: {
            "name": "promote",
            "arguments": {
                "model": json.loads(good[5])["job"],
                "evaluation": json.loads(good[7])["evaluations"][0]["evaluation"],
            },
        },
    ]
    if len(good) <= len(script):
        return script[len(good) - 1]()
    return {"name": "final_answer", "arguments": {"answer": "done"}}


def test_a_model_over_http_does_the_research_through_faults_and_its_own_mistakes(intern: Intern) -> None:
    with LLMServer(researcher, faults=[429, None, 500, "drop"]) as server:
        done = intern(
            "run", "--task", "pocket/addition", "--hours", hours(0.06), "--brain", f"openai:tiny@{server.url}", "--plain", "--json",
            timeout=400,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
    final = json.loads(done.stdout.strip().splitlines()[-1])
    assert final["delta"] > 0.2
    assert final["interval"][0] > 0
    events = intern.events()
    assert sum(e["type"] == "model_failed" for e in events) >= 3
    refused = [e["payload"]["error"] for e in events if e["type"] == "tool_failed"]
    assert len(refused) == 3, "an unknown tool, arguments that are no JSON, a wrong type"
    assert any("There is no tool" in r for r in refused)
    assert "hf_" not in json.dumps(events)


def test_an_endpoint_that_hangs_can_be_interrupted_and_stopped(intern: Intern) -> None:
    with LLMServer(lambda m: {"name": "read_task", "arguments": {}}, faults=[("stall", 600)]) as server:
        run = intern.start("--task", "pocket/addition", "--hours", hours(0.2), "--brain", f"openai:tiny@{server.url}")
        intern.wait_for(run, "model_requested")
        began = time.monotonic()
        assert intern("interrupt", run).returncode == 0
        intern.wait_for(run, "model_requested", count=2, timeout=20)
        assert time.monotonic() - began < 20 * SLOWNESS
        assert intern("stop", run).returncode == 0
        assert intern.wait(run, timeout=60)["status"] in ("stopped", "failed")
