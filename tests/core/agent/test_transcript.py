"""The memory as messages and as a request's body: the same to the byte as made anew, and made once."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from typing import Any

import msgspec
from smolagents.memory import ActionStep, SystemPromptStep, TaskStep, ToolCall
from smolagents.models import ChatMessage, MessageRole
from smolagents.monitoring import Timing

from core.agent.compaction import Summary, SummaryStep
from core.agent.transcript import Transcript, said_by, text_of
from core.agent.wire import Wire


def action(n: int, said: str = "") -> ActionStep:
    return ActionStep(
        step_number=n,
        timing=Timing(start_time=0.0, end_time=0.0),
        model_output=said or f"step {n} ünï",
        tool_calls=[ToolCall(name="note", arguments={"content": f"{n}"}, id=f"{n}.0")],
        observations=f"noted {n}\u2028\x1b[31m",
    )


def memory(length: int) -> list[Any]:
    return [SystemPromptStep(system_prompt="rules"), TaskStep(task="goal"), *(action(n) for n in range(length))]


def fresh(steps: list[Any]) -> tuple[list[str], str, int]:
    """Texts, digest and size by the plain way: everything from the beginning."""
    said = [said_by(step) for step in steps]
    digest = hashlib.sha256(b"".join(s.digest for s in said)).hexdigest()
    return [text_of(m) for s in said for m in s.messages], digest, sum(s.characters for s in said)


def plain_body(messages: list[ChatMessage], options: dict[str, Any]) -> dict[str, Any]:
    """A request's body by the plain way: texts of one role in a row as one message."""
    roles = {"tool-call": "assistant", "tool-response": "user"}
    joined: list[tuple[str, list[str]]] = []
    for message in messages:
        role = roles.get(str(message.role.value), str(message.role.value))
        if not joined or joined[-1][0] != role:
            joined.append((role, []))
        joined[-1][1].append(text_of(message))
    return options | {
        "messages": [{"role": r, "content": [{"type": "text", "text": "\n".join(texts)}]} for r, texts in joined]
    }


OPTIONS = {"model": "m", "stream": True}


def check(transcript: Transcript, wire: Wire, steps: list[Any]) -> None:
    messages = transcript.messages(steps)
    texts, digest, characters = fresh(steps)
    assert [text_of(m) for m in messages] == texts
    assert (transcript.digest, transcript.characters) == (digest, characters)
    assert msgspec.json.decode(wire.body(messages, OPTIONS)) == plain_body(messages, OPTIONS)


def test_a_memory_that_grows_is_summarised_and_grows_again_reads_as_if_made_anew() -> None:
    transcript, wire, steps = Transcript(), Wire(), memory(0)
    for n in range(30):
        steps.append(action(n) if n % 4 else TaskStep(task=f"a person says {n}"))
        check(transcript, wire, steps)
    steps = [*steps[:2], SummaryStep(Summary("all that was", [], [])), *steps[-6:]]
    check(transcript, wire, steps)
    for n in range(30, 40):
        steps = [*steps, action(n)]
        check(transcript, wire, steps)


def test_a_step_in_the_middle_that_became_another_one_is_seen() -> None:
    transcript, wire, steps = Transcript(), Wire(), memory(8)
    check(transcript, wire, steps)
    steps[5] = action(3, "said otherwise")
    check(transcript, wire, steps)
    check(transcript, wire, steps[:-2])


def test_a_helpers_questions_in_between_neither_mix_with_the_runs_own_nor_make_them_anew() -> None:
    transcript, wire, steps = Transcript(), Wire(), memory(500)
    helper = [ChatMessage(role=MessageRole.SYSTEM, content="you help"), ChatMessage(role=MessageRole.USER, content="q")]
    check(transcript, wire, steps)
    own = transcript.messages(steps)
    for _ in range(3):
        helper.append(ChatMessage(role=MessageRole.ASSISTANT, content="calls"))
        assert msgspec.json.decode(wire.body(helper, OPTIONS)) == plain_body(helper, OPTIONS)
        assert calls_in(lambda: wire.body(own, OPTIONS)) < 100


def test_half_of_a_surrogate_pair_goes_out_as_a_question_mark() -> None:
    body = Wire().body([ChatMessage(role=MessageRole.USER, content="a \ud83d b")], OPTIONS)
    assert msgspec.json.decode(body)["messages"][0]["content"][0]["text"] == "a ? b"


def test_what_a_request_costs_does_not_grow_with_the_steps_before_it() -> None:
    def of_next_step(length: int) -> int:
        transcript, wire, steps = Transcript(), Wire(), memory(length)
        wire.body(transcript.messages(steps), OPTIONS)
        steps.append(action(length))
        return calls_in(lambda: (wire.body(transcript.messages(steps), OPTIONS), transcript.digest))

    assert of_next_step(20) == of_next_step(2_000)


def calls_in(work: Callable[[], object]) -> int:
    """Calls of functions, built-in ones too: a measure of work that no busy machine changes."""
    calls = 0

    def count(frame: object, what: str, argument: object) -> None:
        nonlocal calls
        calls += what in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls
