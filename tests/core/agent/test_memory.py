"""Memory rebuilt from events equals the memory before."""

from __future__ import annotations

from core import events as e
from core.agent.memory import rebuild
from tests.core.test_fold import stored

A = e.ModelCompleted(step=1, text="look", tool_calls=[e.ToolCall(id="1.0", name="read_task", arguments={})])
B = e.ModelCompleted(step=2, text="", tool_calls=[e.ToolCall(id="2.0", name="train", arguments={"lr": 1})])


def blob(digest: str) -> bytes:
    return f"the whole of {digest}".encode()


def test_answers_and_results_become_steps_in_order() -> None:
    memory = rebuild(
        stored([A, e.ToolCompleted(call="1.0", tool="read_task", output="task"), B, e.ToolFailed(call="2.0", tool="train", error="no")]), blob
    )  # fmt: skip
    assert [s.observations for s in memory.steps] == ["task", "ERROR: no"]
    assert [s.model_output for s in memory.steps] == ["look", ""]
    assert memory.unfinished is None


def test_a_call_without_a_result_is_carried_out_again_and_not_asked_again() -> None:
    memory = rebuild(stored([A, e.ToolCompleted(call="1.0", tool="read_task", output="task"), B]), blob)
    assert len(memory.steps) == 1
    assert memory.unfinished == B


def test_a_long_output_comes_from_its_blob() -> None:
    memory = rebuild(stored([A, e.ToolCompleted(call="1.0", tool="read_task", output="the wh", digest="d1")]), blob)
    assert memory.steps[0].observations == "the whole of d1"


def test_words_given_to_the_brain_are_remembered_and_words_not_given_are_given() -> None:
    asked, late = (
        e.CommandRequested(command="steer", text="stop"),
        e.CommandRequested(command="queue", text="then this"),
    )
    events = stored(
        [A, e.ToolCompleted(call="1.0", tool="read_task", output="t"), asked, e.CommandApplied(command="steer"), late]
    )
    import msgspec

    events[3] = msgspec.structs.replace(events[3], cause=3)
    memory = rebuild(events, blob)
    assert "stop" in memory.steps[1].task
    assert memory.pending == [(5, "queue", "then this")]
