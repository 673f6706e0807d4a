"""Calls that wait for a person while the work goes on: bound to their arguments, carried out once decided, never lost."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.agent.verify import verify_loop
from core.session import command, open_source, state_at
from tests.core.run.quick import Quick, wait_for
from tests.servers.llm import LLMServer, text_of
from tests.servers.researchers import Answer, call, final

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quick]:
    with Quick(tmp_path_factory.mktemp("waiting"), INTERN_APPROVAL_PATIENCE_S="0.2") as made:
        yield made


def researcher(messages: list[dict[str, Any]]) -> Answer:
    """Wants to write two files, looks at its budget meanwhile, and would end before anybody has decided."""
    said = "\n".join(text_of(m) for m in messages)
    if "Calling tools:" not in said:
        wanted = [call("write_file", path=f"{name}.txt", content=name) for name in "ab"]
        return {"calls": [*wanted, call("budget")]}
    if said.count("had waited for a person:") == 2:
        return final("both are decided")
    return call("budget") if said.count("Calling tools:") < 3 else final("too early")


def decide(run: Path) -> None:
    """Somebody comes back: says yes to one and no to the other."""
    with contextlib.suppress(Exception):  # the host may die meanwhile: one of the tests is about that
        for waiting in state_at(run).waiting_approvals():
            hash_ = {"approval": waiting.id, "arguments_hash": waiting.arguments_hash}
            command(run, "approve" if waiting.arguments["path"] == "b.txt" else "deny", "not that one", hash_)


def conversation(server: LLMServer) -> str:
    return "\n".join(text_of(m) for m in server.requests[-1]["messages"])


def test_work_goes_on_while_two_calls_wait_and_their_results_come_once_decided(quick: Quick) -> None:
    with LLMServer(researcher) as server:
        run = quick.create(f"openai:t@{server.url}", autonomy="read")
        quick.start(run)
        waiting = wait_for(run, lambda s: "final_answer_before_decisions" in str(s.open_calls) or s.step >= 4)
        assert len(waiting.waiting_approvals()) == 2, "several wait at once"
        assert not (run / "workspace" / "b.txt").exists()
        decide(run)
        quick.ended()
        said = conversation(server)
    assert (run / "workspace" / "b.txt").read_text() == "b"
    assert not (run / "workspace" / "a.txt").exists()
    assert "not that one" in said.partition("Result of the call 1.0 of write_file")[2]
    assert "1 characters written" in said.partition("Result of the call 1.1 of write_file")[2]
    assert state_at(run).reason.startswith("both are decided")
    assert not state_at(run).open_calls
    source = open_source(run)
    with contextlib.closing(source):
        told = [x.type for x in source.events(1) if x.type.startswith("tool_")]
    assert told[:3] == ["tool_requested", "tool_started", "tool_completed"], "what needs nobody goes first"
    found = verify_loop(run)
    assert found.divergence is None
    assert found.compared > 20


@pytest.mark.parametrize(
    ("fault", "count"), [("after tool_deferred", 1), ("after approval_decided", 2), ("before tool_completed", 4)]
)
def test_a_host_killed_while_calls_wait_loses_none_and_tells_each_result_once(
    quick: Quick, fault: str, count: int
) -> None:
    with LLMServer(researcher) as server:
        run = quick.create(f"openai:t@{server.url}", autonomy="read")
        over = threading.Event()

        def person() -> None:
            while not over.wait(0.1):
                with contextlib.suppress(Exception):
                    if state_at(run).step >= 4:
                        decide(run)

        threading.Thread(target=person, daemon=True).start()
        assert quick.host(run, fault, count) == -9
        quick.host(run)
        over.set()
        said = conversation(server)
    assert said.count("Result of the call 1.0 of write_file") == said.count("Result of the call 1.1 of write_file") == 1
    assert (run / "workspace" / "b.txt").read_text() == "b"
    assert not (run / "workspace" / "a.txt").exists()
    assert verify_loop(run).divergence is None


def test_a_run_that_is_stopped_closes_what_still_waits(quick: Quick) -> None:
    with LLMServer(researcher) as server:
        run = quick.create(f"openai:t@{server.url}", autonomy="read")
        quick.start(run)
        wait_for(run, lambda s: s.step >= 4)
        command(run, "stop")
        quick.ended()
    assert not state_at(run).open_calls
    assert not list((run / "workspace").glob("*.txt"))
