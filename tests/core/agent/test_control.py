"""Commands: requested, then applied or rejected with a reason; each an event."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from core import events as e
from core.agent.control import Control
from core.agent.desk import Desk, Settings
from core.agent.patience import Deferred
from core.agent.spend import Cost, admit_cost
from core.clock import Clock
from core.errors import ToolError
from core.journal import Journal
from core.redact import Redactor
from core.state import RunState
from core.tables import TABLES
from store.log import EventLog


class Stand:
    """A desk with a real log and nothing that trains."""

    def __init__(self, folder: Path) -> None:
        self.log = EventLog.create(folder, TABLES)
        self.journal = Journal(self.log, RunState(), Redactor({}))
        self.interrupt, self.stopping = threading.Event(), threading.Event()
        self.clock = Clock(1.0)
        self.settings = Settings(run="r", goal="g", model="m")
        self.compute = SimpleNamespace(cancel=lambda job: None)

    @property
    def state(self) -> RunState:
        return self.journal.state

    call = "1.0"
    gate = None

    def asked(self, approval: str) -> bool:
        return Desk.asked(cast(Desk, self), approval)

    def decided(self, approval: str, call: str) -> bool:
        """As the desk does it, for somebody who is away."""
        return bool(self.state.approvals[approval].decision)

    def emit(self, payload: e.Payload, *, cause: int | None = None, id: str | None = None) -> int:
        return self.journal.emit(payload, actor="agent", cause=cause, id=id).seq


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    made = Stand(tmp_path)
    yield made
    made.log.close()


@pytest.fixture
def control(stand: Stand) -> Control:
    return Control(cast(Desk, stand))


def say(control: Control, command: str, text: str = "", **arguments: Any) -> dict[str, Any]:
    return control.command({"command": command, "text": text, "arguments": arguments})


def test_words_wait_for_the_boundary_and_are_applied_there(control: Control, stand: Stand) -> None:
    first, second = say(control, "steer", "one"), say(control, "queue", "two")
    assert stand.state.commands[0].status == "requested"
    given: list[str] = []
    assert control.boundary(given.append) == [first["seq"], second["seq"]]
    assert given == ["one", "two"]
    assert {c.status for c in stand.state.commands} == {"applied"}
    assert control.boundary(given.append) == []


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("steer", " "),
        ("resume", ""),
        ("approve", ""),
        ("answer", "x"),
        ("dance", ""),
        ("autonomy", "god"),
        ("stop-job", "job-9"),
    ],
)
def test_what_cannot_be_done_is_rejected_with_a_reason_in_the_log(
    control: Control, stand: Stand, command: str, text: str
) -> None:
    answer = say(control, command, text)
    assert not answer["ok"]
    assert answer["error"]
    assert stand.state.commands[-1].status == "rejected"


def test_a_pause_taken_back_before_it_took_effect_never_holds(control: Control, stand: Stand) -> None:
    say(control, "pause")
    assert say(control, "resume")["ok"]
    control.boundary(lambda text: None)
    assert stand.state.status != "paused"


def test_a_pause_holds_at_the_boundary_until_resumed(control: Control, stand: Stand) -> None:
    say(control, "pause")
    thread = threading.Thread(target=control.boundary, args=(lambda text: None,))
    thread.start()
    assert stand.journal.wait(lambda s: s.status == "paused", 5)
    assert say(control, "resume")["ok"]
    thread.join(5)
    assert not thread.is_alive()
    assert stand.state.status == "running"


def resting(control: Control, stand: Stand) -> threading.Thread:
    """The agent's thread, at rest in a pause that somebody asked for."""
    say(control, "pause")
    thread = threading.Thread(target=control.boundary, args=(lambda text: None,))
    thread.start()
    assert control.idle.wait(5)
    return thread


def test_a_pause_asked_for_just_after_the_last_one_was_ended_is_not_lost(control: Control, stand: Stand) -> None:
    thread = resting(control, stand)
    assert say(control, "resume")["ok"]
    assert say(control, "pause")["ok"], "the run goes on, or is about to: it is not paused any more"
    thread.join(5)
    assert not thread.is_alive()
    again = threading.Thread(target=control.boundary, args=(lambda text: None,))
    again.start()
    assert stand.journal.wait(lambda s: s.status == "paused", 5)
    assert say(control, "resume")["ok"]
    again.join(5)


def test_a_question_at_a_loop_holds_the_run_until_it_is_answered(control: Control, stand: Stand) -> None:
    said: list[str] = []
    question = e.QuestionAsked(question="loop-9", text="what now?")
    thread = threading.Thread(target=lambda: said.append(control.hold(question, "it goes round")))
    thread.start()
    assert control.idle.wait(5)
    assert stand.state.status == "paused"
    assert stand.state.reason == "it goes round"
    assert not say(control, "pause")["ok"], "it is paused"
    assert say(control, "answer", "look at the data")["ok"]
    thread.join(5)
    assert said == ["look at the data"]
    assert stand.state.status == "running"


@pytest.mark.parametrize(("command", "text"), [("resume", ""), ("steer", "look at the data")])
def test_so_does_ending_the_pause_or_a_message_and_the_question_is_closed(
    control: Control, stand: Stand, command: str, text: str
) -> None:
    said: list[str] = []
    thread = threading.Thread(
        target=lambda: said.append(control.hold(e.QuestionAsked(question="loop-9", text="?"), "why"))
    )
    thread.start()
    assert control.idle.wait(5)
    assert say(control, command, text)["ok"]
    thread.join(5)
    assert said == [""]
    assert stand.state.questions["loop-9"].answer, "nobody is asked for what is decided"
    given: list[str] = []
    control.boundary(given.append)
    assert given == ([text] if text else [])


def test_what_comes_after_the_agent_has_ended_is_rejected_and_not_left_open(control: Control, stand: Stand) -> None:
    """The last evaluation can take minutes: words said during it reach nobody."""
    say(control, "steer", "one")
    control.end()
    late = say(control, "steer", "two")
    assert not late["ok"]
    assert "ending" in late["error"]
    assert say(control, "note", "kept")["ok"]
    assert [c.status for c in stand.state.commands] == ["rejected", "rejected", "applied"]


def test_a_new_host_closes_what_a_dead_one_was_asked_for_and_did_not_do(control: Control, stand: Stand) -> None:
    for name, text in (("undo", ""), ("steer", "words"), ("interrupt", ""), ("pause", "")):
        stand.emit(e.CommandRequested(command=name, text=text))
    Control(cast(Desk, stand)).close_lost()
    found = {c.command: c.status for c in stand.state.commands}
    assert found == {"undo": "rejected", "steer": "requested", "interrupt": "rejected", "pause": "rejected"}


def test_a_command_that_breaks_is_rejected_with_what_broke(control: Control, stand: Stand) -> None:
    def breaks() -> str:
        raise KeyError("job-3")

    control._handlers["stop-job"] = lambda seq, text, arguments: breaks()
    answer = say(control, "stop-job")
    assert "stop-job broke: KeyError" in answer["error"]
    assert stand.state.commands[-1].status == "rejected"


def test_a_yes_that_comes_as_the_call_ends_does_not_bring_it_back(control: Control, stand: Stand) -> None:
    asked(stand)
    stand.emit(e.ApprovalDecided(approval="a1", decision="expired"))
    stand.emit(e.ApprovalDecided(approval="a1", decision="approved"))
    assert stand.state.approvals["a1"].decision == "expired"


def asked(stand: Stand) -> e.ApprovalRequested:
    request = e.ApprovalRequested(
        approval="a1", call="1.0", tool="push", arguments={"x": 1}, arguments_hash="h1", tier="publish", reason="r"
    )
    stand.emit(request)
    return request


def test_an_approval_is_bound_to_the_arguments_that_were_shown(control: Control, stand: Stand) -> None:
    asked(stand)
    assert not say(control, "approve", approval="a1", arguments_hash="other")["ok"]
    assert not stand.state.approvals["a1"].decision
    assert say(control, "approve", approval="a1", arguments_hash="h1")["ok"]
    assert stand.state.approvals["a1"].decision == "approved"
    assert not say(control, "deny", approval="a1")["ok"], "decided is decided"


def test_autonomy_at_least_can_only_raise_it(control: Control, stand: Stand) -> None:
    assert stand.settings.autonomy == "network"
    assert "up to network without asking already" in say(control, "autonomy", "read", at_least=True)["result"]
    assert "stays" in say(control, "autonomy", "network", at_least=True)["result"]
    assert stand.settings.autonomy == "network"
    assert "before: up to network" in say(control, "autonomy", "spend", at_least=True)["result"]
    assert stand.settings.autonomy == stand.state.autonomy == "spend"
    assert say(control, "autonomy", "read")["ok"], "without that word it is set as said, also lower"
    assert stand.state.autonomy == "read"


def test_an_edit_records_the_arguments_of_both_sides(control: Control, stand: Stand) -> None:
    asked(stand)
    assert say(control, "edit", approval="a1", arguments={"x": 2})["ok"]
    assert stand.state.approvals["a1"].arguments == {"x": 2}
    types = [
        msgspec.json.decode(x.payload).get("arguments") for x in stand.log.events() if x.type.startswith("approval")
    ]
    assert types == [{"x": 1}, {"x": 2}]


def test_a_budget_set_in_mid_run_holds_for_what_a_job_may_cost(control: Control, stand: Stand) -> None:
    stand.settings = Settings(run="r", goal="g", model="m", autonomy="spend", usd=50.0)
    cost = Cost("approval-x", "rent", "a machine", 20.0, {}, "")
    desk = cast(Desk, stand)
    admit_cost(desk, cost)
    assert say(control, "budget", "usd=5")["ok"]
    with pytest.raises(ToolError, match=r"of \$5.00 are left"):
        admit_cost(desk, cost)


@pytest.mark.parametrize("decision", ["denied", "edited"])
def test_money_is_spent_on_a_plain_yes_only(control: Control, stand: Stand, decision: str) -> None:
    cost = Cost("approval-x", "rent", "a machine", 20.0, {"usd": 20.0}, "")
    desk = cast(Desk, stand)
    with pytest.raises(Deferred):
        admit_cost(desk, cost)
    stand.emit(e.ApprovalDecided(approval="approval-x", decision=decision))
    with pytest.raises(ToolError, match="A person denied a machine"):
        admit_cost(desk, cost)


@pytest.mark.parametrize(("usd", "flavor", "covered"), [(1.0, "a10g", True), (0.4, "a10g", True), (1.2, "a10g", False), (1.0, "h200", False)])  # fmt: skip
def test_a_yes_to_a_price_covers_that_price_and_less_of_the_same(
    control: Control, stand: Stand, usd: float, flavor: str, covered: bool
) -> None:
    """The job starts when the decision comes, perhaps hours later: what it costs may be another sum by then."""

    def cost(usd: float, flavor: str) -> Cost:
        return Cost("approval-spend-x", "rent", "job-1", usd, {"flavor": flavor, "usd_at_most": usd}, "why")

    with pytest.raises(Deferred):
        admit_cost(cast(Desk, stand), cost(1.0, "a10g"))
    say(control, "approve", approval="approval-spend-x")
    if covered:
        admit_cost(cast(Desk, stand), cost(usd, flavor))
    else:
        with pytest.raises(ToolError, match="the person said yes to"):
            admit_cost(cast(Desk, stand), cost(usd, flavor))


def test_a_question_whose_call_is_over_is_asked_again_and_only_a_new_yes_counts(control: Control, stand: Stand) -> None:
    cost = Cost("approval-x", "rent", "a machine", 20.0, {"usd": 20.0}, "")
    desk = cast(Desk, stand)
    with pytest.raises(Deferred):
        admit_cost(desk, cost)
    stand.emit(e.ApprovalDecided(approval="approval-x", decision="expired"))
    assert not say(control, "approve", approval="approval-x")["ok"], "nothing waits any more"
    with pytest.raises(Deferred):
        admit_cost(desk, cost)
    assert say(control, "approve", approval="approval-x")["ok"]
    admit_cost(desk, cost)


def test_after_the_end_nothing_is_taken(control: Control, stand: Stand) -> None:
    stand.emit(e.RunFinished(status="finished", reason="done"))
    assert "finished" in say(control, "steer", "more")["error"]
