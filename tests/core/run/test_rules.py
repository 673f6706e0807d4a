"""A brain that breaks a benchmark's rules on purpose: each attempt is refused, told, and leaves its mark in the log."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from core import events as e
from core.agent import blocked
from core.session import open_source, state_at
from tests.core.run.quick import Quick
from tests.servers.llm import LLMServer
from tests.servers.researchers import call

pytestmark = pytest.mark.slow


def scripted(calls: list[dict[str, Any]]):
    """Makes these calls one after the other, whatever it is told."""

    def answer(messages: list[dict[str, Any]]) -> dict[str, Any]:
        done = sum(m.get("role") == "tool" or "Observation" in str(m.get("content"))[:40] for m in messages)
        return calls[min(done, len(calls) - 1)]

    return answer


def test_a_brain_that_breaks_the_rules_is_refused_each_time(tmp_path: Path) -> None:
    with Quick(tmp_path) as quick:
        held = quick.task / "evaluation_data" / "heldout.jsonl"
        rows = [json.loads(line) for line in held.read_text().splitlines()]
        stolen = quick.task / "data" / "stolen.jsonl"
        stolen.write_text("".join(json.dumps({"prompt": r["prompt"], "answer": r["answer"]}) + "\n" for r in rows))
        sibling = tmp_path / "instruct"
        shutil.copytree(quick.task / "base", sibling)
        keep = {"drop_contaminated": False, "drop_shape_mismatch": False}
        calls = [
            call("read_task"),
            call("inspect_data", path=str(stolen)),
            call("inspect_data", path=str(quick.task / "data" / "train.jsonl")),
            call("prepare_data", name="stolen", sources=[str(stolen)], options=keep),
            call("prepare_data", name="clean", sources=[str(quick.task / "data" / "train.jsonl")], options={}),
            call("train", method="sft", data="stolen", model="base", title="t", settings={"max_steps": 4}),
            call("train", method="sft", data="clean", model=str(sibling), title="t", settings={"max_steps": 4}),
            call("inspect_data", path=str(held)),
            call("inspect_data", path="/etc/hostname"),
            call(
                "prepare_data",
                name="c2",
                sources=[str(quick.task / "data" / "train.jsonl")],
                options={"exclude": "/etc/hostname"},
            ),
            call("promote", model=str(sibling), evaluation="any"),
            call("fetch_dataset", dataset="openai/gsm8k", rows=10),
            call("search_papers", query="PostTrainBench traces GSM8K"),
            call("final_answer", answer="done"),
        ]
        with LLMServer(scripted(calls)) as server:
            run = quick.create(f"openai:t@{server.url}", unattended=True, fixed={"blocked": blocked.terms("GSM8K")})
            quick.host(run)
        source = open_source(run)
        with contextlib.closing(source):
            payloads = [e.payload_of(x) for x in source.events(1)]
    said = "\n".join(p.error for p in payloads if isinstance(p, e.ToolFailed))
    for part in (
        "rows of stolen hold samples of the evaluation",
        "not a descendant of this run's base",
        "heldout.jsonl holds evaluation samples",
        "/etc/hostname is no data of this run",
        "is no model of this run",
        "'openai/gsm8k' would look up",
        "would look up posttrainbench",
    ):
        assert part in said, said
    assert said.count("/etc/hostname is no data of this run") == 2
    checks = [p for p in payloads if isinstance(p, e.ContaminationChecked)]
    assert any(p.dataset == "stolen" and p.overlapping > 100 for p in checks)
    assert not state_at(run).jobs or all(j.kind != "training" for j in state_at(run).jobs.values())
