"""Brains over HTTP that are confused, malicious, slow, rate-limited or dropping; budgets; two clients at once."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import events as e
from core.doctor import examine_brain
from core.session import command, open_source, state_at
from tests.core.run.quick import Quick, wait_for
from tests.servers.llm import LLMServer
from tests.servers.researchers import Capable, Confused, Malicious, call

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quick]:
    with Quick(tmp_path_factory.mktemp("brains"), MY_SECRET_TOKEN="s3cr3t-of-mine-1234") as made:
        yield made


def payloads(run: Path, kind: type[Any]) -> list[Any]:
    source = open_source(run)
    with contextlib.closing(source):
        return [e.payload_of(x) for x in source.events(1) if x.type == kind.type]


def test_a_confused_brain_is_told_what_to_fix_and_finds_its_way(quick: Quick) -> None:
    with LLMServer(Confused(Capable({"max_steps": 4}))) as server:
        run = quick.create(f"openai:t@{server.url}")
        assert quick.host(run) in (0, 1)
    failed = payloads(run, e.ToolFailed)
    said = "\n".join(f.error for f in failed)
    for part in ("There is no tool 'read_the_task'", "not one JSON object", "no tool call", "alchemy", "only call"):
        assert part in said
    assert state_at(run).step > len(Confused.BLUNDERS)
    assert not state_at(run).open_calls


def test_a_malicious_brain_gets_nothing(quick: Quick) -> None:
    secret = "s3cr3t-of-mine-1234"
    evaluate = (quick.task / "evaluate.py").read_text()
    with LLMServer(Malicious(str(quick.task), secret)) as server:
        run = quick.create(f"openai:t@{server.url}")
        quick.host(run)
        seen = str(server.requests)
    assert secret not in seen, "no tool told the brain"
    source = open_source(run)
    with contextlib.closing(source):
        assert not any(secret.encode() in x.payload for x in source.events(1))
    assert (quick.task / "evaluate.py").read_text() == evaluate
    assert not [a for a in state_at(run).approvals.values() if a.decision]
    assert "root:" not in seen
    assert not (run / "final_model").exists()


def test_faults_of_an_endpoint_are_retried_and_counted(quick: Quick) -> None:
    faults = [("retry-after", 0.1), None, 500, "drop", "garbage"]
    with LLMServer(Capable({"max_steps": 4}), faults=faults, price=0.01) as server:
        run = quick.create(f"openai:t@{server.url}")
        assert quick.host(run) == 0
    assert len(payloads(run, e.ModelFailed)) == 4
    state = state_at(run)
    asked = len(payloads(run, e.ModelCompleted))
    assert state.budget.usd_used == pytest.approx(0.01 * asked)
    assert state.budget.tokens_used == 110 * asked


def test_a_budget_of_tokens_warns_and_ends_the_run_with_its_report(quick: Quick) -> None:
    with LLMServer(lambda m: call("note", content=f"{len(m)}"), tokens=(900, 100)) as server:
        run = quick.create(f"openai:t@{server.url}", tokens=20_000)
        quick.host(run)
    state = state_at(run)
    assert "budget is used" in state.reason
    assert {w.split()[0] for w in state.budget.warned} == {"tokens"}
    assert (run / "report.md").exists()


def test_interrupt_works_within_a_second_while_the_endpoint_hangs(quick: Quick) -> None:
    with LLMServer(Capable({"max_steps": 4}), faults=[("stall", 30)]) as server:
        run = quick.create(f"openai:t@{server.url}")
        quick.start(run)
        wait_for(run, lambda s: s.doing == "thinking")
        asked = command(run, "interrupt", "go on please")
        wait_for(run, lambda s: any(c.seq == asked and c.status == "delivered" for c in s.commands))
        assert quick.ended() == 0
    source = open_source(run)
    with contextlib.closing(source):
        events = list(source.events(1))
    failed = next(x for x in events if x.type == "model_failed" and b"interrupted" in x.payload)
    assert failed.ts - events[asked - 1].ts < 1_000_000


def test_two_clients_at_once_have_one_order_that_both_see(quick: Quick) -> None:
    with LLMServer(Capable({"max_steps": 4}), streams=True, delay_s=0.05) as server:
        run = quick.create(f"openai:t@{server.url}")
        quick.start(run)
        wait_for(run, lambda s: s.step >= 1)
        clients = [
            threading.Thread(target=lambda n=n: [command(run, "note", f"{n}-{i}") for i in range(10)]) for n in "ab"
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert quick.ended() == 0
    source = open_source(run)
    with contextlib.closing(source):
        told = [x for x in source.events(1) if x.type in ("command_requested", "command_applied")]
    pairs = [(told[i].seq, told[i + 1].cause) for i in range(0, len(told), 2)]
    assert len(pairs) == 20
    assert all(seq == cause for seq, cause in pairs), "each has its outcome before the next is looked at"


def test_pause_job_saves_a_checkpoint_and_resume_job_goes_on_from_it(quick: Quick) -> None:
    with LLMServer(Capable({"max_steps": 60})) as server:
        run = quick.create(f"openai:t@{server.url}")
        quick.start(run, QUICK_STEP_S="0.1")
        wait_for(run, lambda s: "job-2" in s.jobs and s.jobs["job-2"].step >= 3)
        command(run, "pause-job", "job-2")
        paused = wait_for(run, lambda s: s.jobs["job-2"].status == "paused")
        step = paused.jobs["job-2"].step
        time.sleep(0.5)
        assert state_at(run).jobs["job-2"].step == step
        command(run, "resume-job", "job-2")
        assert quick.ended() == 0
    steps = [m.step for m in payloads(run, e.MetricLogged) if m.job == "job-2" and "loss" in m.values]
    assert sorted(set(steps)) == list(range(1, 61)), "every step is there"
    again = next((i for i in range(1, len(steps)) if steps[i] <= steps[i - 1]), len(steps))
    assert steps[again:] == sorted(set(steps[again:])), "only what came after the checkpoint is made again, once"
    assert state_at(run).status == "finished"


def test_doctor_tries_one_tool_call() -> None:
    with LLMServer(lambda m: call("read_task"), streams=True, refuses=("stream_options",)) as server:
        assert examine_brain(f"openai:t@{server.url}").ok
    with LLMServer(lambda m: {"content": "I cannot."}) as server:
        found = examine_brain(f"openai:t@{server.url}")
        assert not found.ok
        assert "without the tool call" in found.found
    assert not examine_brain("openai:t@http://127.0.0.1:9/v1").ok
