"""Calls that wait for a person while the work goes on: bound to their arguments, carried out once decided, never lost."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.agent.verify import verify_loop
from core.errors import Refused
from core.session import command, open_source, state_at
from core.state import RunState
from store.errors import StoreError
from tests.core.run.quick import Quick, wait_for
from tests.servers.llm import LLMServer, observations, text_of
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


class Reader:
    """Has a helper read, goes on with what needs nobody meanwhile, and ends once it has the table.

    The helper looks into the library, then into the network, for which it needs a yes of its own.
    """

    def __init__(self) -> None:
        self.asked_by_helper = 0
        self.allowed = threading.Event()
        """A person has let the helper begin; before that the reader thinks, or it would be at its end first."""

    def __call__(self, messages: list[dict[str, Any]]) -> Answer:
        if text_of(messages[0]).startswith("You are a literature assistant"):
            self.asked_by_helper += 1
            return self.help(messages)
        said = "\n".join(text_of(m) for m in messages)
        if "Calling tools:" not in said:
            return call("research_literature", question="which learning rate?")
        self.allowed.wait(30)
        if '"by":"helper"' in said:
            return final("the table is there")
        return call("budget") if said.count("Calling tools:") < 5 else final("too early")

    def help(self, messages: list[dict[str, Any]]) -> Answer:
        calls = sum("Calling tools:" in text_of(m) for m in messages)
        if calls < 2:
            return [call("search_recipes", query="sft", limit=2), call("search_papers", query="sft")][calls]
        found = json.loads(observations(messages)[0])["recipes"][0]
        return call("deliver", recipes=[{"title": found["title"], "source": found["id"]}])


class Librarian(threading.Thread):
    """Lets the helper begin once that was put off, and decides on its look at the network when work has gone on without it."""

    def __init__(self, run: Path, reader: Reader, decision: str = "approve") -> None:
        super().__init__(daemon=True)
        self.run_folder, self.reader, self.decision = run, reader, decision
        self.over = threading.Event()
        self.waited_at = 0

    def run(self) -> None:
        while not self.over.wait(0.05):
            with contextlib.suppress(Exception):  # the host may die meanwhile: one of the tests is about that
                self.look(state_at(self.run_folder))

    def look(self, state: RunState) -> None:
        for waiting in state.waiting_approvals():
            hash_ = {"approval": waiting.id, "arguments_hash": waiting.arguments_hash}
            if waiting.call == "1.0" and state.open_calls["1.0"].approval:  # put off once itself
                command(self.run_folder, "approve", "", hash_)
                self.reader.allowed.set()
            elif waiting.call != "1.0" and state.step >= 5:
                self.waited_at = state.step
                command(self.run_folder, self.decision, "not now", hash_)


@contextlib.contextmanager
def reading(quick: Quick, decision: str = "approve") -> Iterator[tuple[Path, Reader, Librarian, LLMServer]]:
    reader = Reader()
    with LLMServer(reader) as server:
        run = quick.create(f"openai:t@{server.url}", autonomy="workspace")
        person = Librarian(run, reader, decision)
        person.start()
        try:
            yield run, reader, person, server
        finally:
            person.over.set()
            person.join()


@pytest.mark.parametrize("decision", ["approve", "deny"])
def test_work_goes_on_while_a_helpers_call_waits_and_the_helper_goes_on_from_there(quick: Quick, decision: str) -> None:
    with reading(quick, decision) as (run, reader, person, server):
        quick.host(run)
        said = conversation(server)
    state = state_at(run)
    assert state.reason.startswith("the table is there"), state.reason
    assert person.waited_at >= 5, "the brain had taken steps while the helper's call waited"
    assert "The helper is at work and its call of search_papers waits" in said
    assert said.count('"by":"helper"') == 1
    assert reader.asked_by_helper == 3, "what it had said before the wait was not asked again"
    assert state.approvals["approval-1.0.h2"].decision == {"approve": "approved", "deny": "denied"}[decision]
    assert not state.open_calls
    assert verify_loop(run).divergence is None


@pytest.mark.parametrize(("fault", "count"), [("after tool_deferred", 2), ("after approval_decided", 2)])
def test_a_host_killed_while_a_helpers_call_waits_takes_the_helper_up_where_it_was(
    quick: Quick, fault: str, count: int
) -> None:
    with reading(quick) as (run, reader, _, _):
        assert quick.host(run, fault, count) == -9
        quick.host(run)
    assert state_at(run).reason.startswith("the table is there"), state_at(run).reason
    assert reader.asked_by_helper == 3
    assert not state_at(run).open_calls
    assert verify_loop(run).divergence is None


def test_a_run_stopped_while_a_helpers_call_waits_leaves_nothing_to_decide(quick: Quick) -> None:
    reader = Reader()
    with LLMServer(reader) as server:
        run = quick.create(f"openai:t@{server.url}", autonomy="workspace")
        person = Librarian(run, reader)
        person.start()
        quick.start(run)
        wait_for(run, lambda s: s.step >= 4 and "approval-1.0.h2" in s.approvals)
        person.over.set()
        person.join()
        command(run, "stop")
        quick.ended()
    assert not state_at(run).open_calls
    assert not state_at(run).waiting_approvals()
    assert verify_loop(run).divergence is None


def test_an_interrupted_call_no_longer_waits_for_a_yes_that_would_do_nothing(quick: Quick) -> None:
    def one_file(messages: list[dict[str, Any]]) -> Answer:
        told = "".join(text_of(m) for m in messages).count("Observation:")
        return call("write_file", path="a.txt", content="a") if not told else final("no file then")

    with LLMServer(one_file) as server:
        run = quick.create(f"openai:t@{server.url}", autonomy="read")
        quick.start(run, INTERN_APPROVAL_PATIENCE_S="60")
        waiting = wait_for(run, lambda s: bool(s.waiting_approvals())).waiting_approvals()[0]
        command(run, "interrupt")
        wait_for(run, lambda s: not s.waiting_approvals())
        with contextlib.suppress(StoreError), pytest.raises(Refused):
            command(run, "approve", "", {"approval": waiting.id})
        quick.ended()
    assert state_at(run).approvals[waiting.id].decision == "expired"
    assert not (run / "workspace" / "a.txt").exists()
    assert verify_loop(run).divergence is None
