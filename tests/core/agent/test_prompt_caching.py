# pyright: reportMissingTypeStubs=false
"""What a provider keeps of one request is used by the next, also where it keeps only what it is told to; and it is counted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from smolagents.models import ChatMessage, MessageRole

from core.agent.endpoint import Answer, Endpoint, Price
from core.agent.patience import Beat
from core.agent.transcript import Transcript
from tests.core.agent.test_transcript import action, memory
from tests.servers.llm import LLMServer, text_of
from tests.servers.researchers import call

TOKENS = 10_000


def talk(endpoint: Endpoint, turns: int) -> list[Answer]:
    """The answers of a conversation that grows by a step a turn."""
    transcript, steps = Transcript(), memory(20)
    answers: list[Answer] = []
    for n in range(turns):
        answers.append(endpoint.answer(transcript.messages(steps).copy(), Beat()))
        steps.append(action(20 + n))
    return answers


def server(**options: Any) -> LLMServer:
    return LLMServer(lambda m: call("read_task"), tokens=(TOKENS, 10), **options)


def marks(request: dict[str, Any]) -> list[int]:
    """The messages of a request that are marked."""
    messages = request["messages"]
    return [i for i, m in enumerate(messages) if any("cache_control" in part for part in m["content"])]


@pytest.mark.parametrize("streams", [True, False])
def test_a_request_begins_as_the_one_before_it_and_pays_for_what_is_new(streams: bool) -> None:
    with server(caches="beginnings", streams=streams) as made:
        first, *rest = talk(Endpoint("some-model", made.url, "none"), 4)
        assert not any(marks(r) for r in made.requests), "who caches by himself is sent no marks"
    assert first.cached_tokens == 0
    assert all(answer.cached_tokens > 0.9 * TOKENS for answer in rest)
    price = Price(input=1.0, output=0.0, cached_input=0.1)
    assert price.of(TOKENS, 10, rest[0].cached_tokens) < 0.2 * price.of(TOKENS, 10, 0)


def test_a_provider_that_keeps_what_is_marked_is_told_to_keep_the_rules_and_the_end() -> None:
    with server(caches="marked", streams=True) as made:
        first, *rest = talk(Endpoint("anthropic/Claude-Sonnet-4.5", made.url, "none"), 4)
        for request in made.requests:
            assert marks(request) == [0, len(request["messages"]) - 1]
    assert first.cached_tokens == 0
    assert all(answer.cached_tokens > 0.9 * TOKENS for answer in rest)


def test_a_server_that_knows_no_marks_is_asked_without_them() -> None:
    with server(refuses=("cache_control",)) as made:
        talk(Endpoint("claude", made.url, "none"), 2)
        assert [bool(marks(r)) for r in made.requests] == [True, False, False]
        said = [[(m["role"], text_of(m)) for m in r["messages"]] for r in made.requests]
    assert said[0] == said[1]


def test_a_usage_that_names_the_cache_otherwise_is_understood() -> None:
    class Other(LLMServer):
        def answer(self, body: dict[str, Any]) -> dict[str, Any]:
            told = super().answer(body)
            told["usage"]["prompt_cache_hit_tokens"] = 64
            return json.loads(json.dumps(told))

    with Other(lambda m: call("read_task"), streams=True) as made:
        asked = [ChatMessage(role=MessageRole.USER, content="hello")]
        assert Endpoint("deepseek-chat", made.url, "none").answer(asked, Beat()).cached_tokens == 64
