# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""An OpenAI-compatible endpoint as a brain: streamed, so that silence can be told from work, with its usage and price.

Works with servers that do not stream (they answer with one JSON body), that refuse `stream_options` or `stop`, and that
send no usage. Every request repeats the one before it and adds at its end, so providers with prompt caching use it; to
those that cache only what they are told to, the request says what. What came from their cache is counted.
"""

from __future__ import annotations

import os
import threading
import tomllib
from typing import Any

import msgspec
from smolagents import OpenAIModel
from smolagents.models import (
    ChatMessage,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
    get_tool_json_schema,
)
from smolagents.monitoring import TokenUsage

from core.agent.patience import Beat
from core.agent.wire import Wire
from core.errors import InternError
from core.home import home

HF_ROUTER = "https://router.huggingface.co/v1"
"""Hugging Face Inference Providers speak the same API; INTERN_HF_ROUTER names another address."""

CONNECT_S = 20.0
READ_S = 170.0
"""Longest silence inside one answer; below `SILENCE_S` of the caller, so that the connection is closed as well."""


CACHES_WHAT_IS_MARKED = ("claude",)
"""In the names of models whose provider caches only up to a mark in the request, through whatever router they are asked."""


class BadAnswer(InternError):
    """A body that is no chat completion; the next try may be better."""


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Dollars for a million tokens."""

    input: float
    output: float
    cached_input: float | None = None

    def of(self, given: int, written: int, cached: int) -> float:
        """Dollars of one call."""
        from_cache = self.input if self.cached_input is None else self.cached_input
        return ((given - cached) * self.input + cached * from_cache + written * self.output) / 1e6


def price_of(model: str) -> Price | None:
    """The price a person wrote into `prices.toml` under INTERN_HOME: a table a model. None where there is none.

    ["some/model"]
    input = 0.15
    output = 0.60
    cached_input = 0.075
    """
    path = home() / "prices.toml"
    try:
        table = tomllib.loads(path.read_text()).get(model)
        return msgspec.convert(table, Price) if table is not None else None
    except FileNotFoundError:
        return None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InternError(f"The prices cannot be read: {error}", where=str(path), next="Correct that file") from error


class Answer(ChatMessage):
    """A message with what it cost."""

    cached_tokens: int = 0
    cost_usd: float | None = None


class Endpoint(OpenAIModel):
    """Asks `<url>/chat/completions`."""

    def __init__(self, model: str, url: str | None, key: str) -> None:
        import httpx

        options: dict[str, Any] = {"timeout": httpx.Timeout(READ_S, connect=CONNECT_S), "max_retries": 0}
        super().__init__(model_id=model, api_base=url or None, api_key=key, client_kwargs=options, retry=False)
        self.price = price_of(model)
        self._refused: set[str] = set()
        """Options this server does not know."""
        self._offered: tuple[list[str], list[dict[str, Any]]] = ([], [])
        """Names of the tools last offered, and their schemas."""
        self._marked = any(name in model.lower() for name in CACHES_WHAT_IS_MARKED)
        self._wire = Wire(marked=self._marked)
        self._encoding = threading.Lock()
        """A call that was given up may still be at work on a thread of its own."""

    def answer(self, messages: list[ChatMessage], beat: Beat, *, effort: str = "", **options: Any) -> Answer:
        """One completion. `beat` is called for every piece that arrives."""
        tools: list[Any] = options.pop("tools_to_call_from", None) or []
        request: dict[str, Any] = self._prepare_completion_kwargs(
            messages=[], model=self.model_id, custom_role_conversions=self.custom_role_conversions, **options
        )
        del request["messages"]
        request |= {"stream": True, "stream_options": {"include_usage": True}}
        if tools:
            request |= {"tools": self._schemas(tools), "tool_choice": "required"}
        if effort:
            request["reasoning_effort"] = effort
        return self._send(messages, request, beat)

    def _schemas(self, tools: list[Any]) -> list[dict[str, Any]]:
        names = [str(t.name) for t in tools]
        if names != self._offered[0]:
            self._offered = names, [get_tool_json_schema(t) for t in tools]
        return self._offered[1]

    def _send(self, messages: list[ChatMessage], request: dict[str, Any], beat: Beat) -> Answer:
        import openai
        from openai.types.chat import ChatCompletion, ChatCompletionChunk

        for name in self._refused:
            request.pop(name, None)
        with self._encoding:
            body = self._wire.body(messages, request)
        try:
            stream = self.client.post(
                "/chat/completions", cast_to=ChatCompletion, content=body, stream=True,
                stream_cls=openai.Stream[ChatCompletionChunk],
            )  # fmt: skip
        except openai.BadRequestError as error:
            named = [
                n
                for n in ("stream_options", "stop", "reasoning_effort", "tool_choice")
                if n in request and n in str(error)
            ]
            unmarked = self._marked and "cache_control" in str(error)
            if not named and not unmarked:
                raise
            self._refused |= set(named)
            if unmarked:
                self._marked, self._wire = False, Wire()
            return self._send(messages, request, beat)
        try:
            if "event-stream" not in stream.response.headers.get("content-type", ""):
                return _whole(stream.response.read())
            return _pieces(stream, beat)
        finally:
            stream.close()


def _pieces(stream: Any, beat: Beat) -> Answer:
    """The message of a stream of deltas."""
    text: list[str] = []
    calls: dict[int, dict[str, str]] = {}
    usage: Any = None
    seen = False
    for event in stream:
        beat()
        seen = True
        usage = getattr(event, "usage", None) or usage
        for choice in event.choices[:1]:
            delta = choice.delta
            text.append(delta.content or "")
            for piece in delta.tool_calls or []:
                call = calls.setdefault(piece.index or 0, {"id": "", "name": "", "arguments": ""})
                call["id"] = piece.id or call["id"]
                if piece.function is not None:
                    call["name"] += piece.function.name or ""
                    call["arguments"] += piece.function.arguments or ""
    if not seen:
        raise BadAnswer("the endpoint sent an empty stream")
    made = [_call(c["id"], c["name"], c["arguments"]) for _, c in sorted(calls.items())]
    return _answer("".join(text), made, usage.model_dump() if usage is not None else {})


def _whole(body: bytes) -> Answer:
    """The message of a server that does not stream."""
    try:
        value = msgspec.json.decode(body)
        message = value["choices"][0]["message"] if value.get("choices") else {}
    except (msgspec.DecodeError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise BadAnswer(f"the endpoint's answer is no chat completion: {body[:200]!r}") from error
    made: list[ChatMessageToolCall] = []
    for c in message.get("tool_calls") or []:
        function = c.get("function") or {}
        made.append(_call(str(c.get("id", "")), str(function.get("name", "")), function.get("arguments", "")))
    return _answer(message.get("content") or "", made, value.get("usage") or {})


def _call(id: str, name: str, arguments: Any) -> ChatMessageToolCall:
    return ChatMessageToolCall(
        id=id, type="function", function=ChatMessageToolCallFunction(name=name, arguments=arguments)
    )


def _answer(text: Any, calls: list[ChatMessageToolCall], usage: dict[str, Any]) -> Answer:
    content = text if isinstance(text, str) else "".join(str(p.get("text", "")) for p in text)
    made = Answer(role=MessageRole.ASSISTANT, content=content, tool_calls=calls or None)
    given, written = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    made.token_usage = TokenUsage(input_tokens=given, output_tokens=written)
    made.cached_tokens = _from_cache(usage)
    cost = usage.get("cost")  # some routers say what a call cost
    made.cost_usd = float(cost) if isinstance(cost, int | float) else None
    return made


def _from_cache(usage: dict[str, Any]) -> int:
    """Tokens of the request that came from the provider's cache. OpenAI's name for them first, then DeepSeek's."""
    details = usage.get("prompt_tokens_details") or {}
    return int(details.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or 0)


def hf_router() -> str:
    """Where `hf:` brains are asked."""
    return os.environ.get("INTERN_HF_ROUTER") or HF_ROUTER
