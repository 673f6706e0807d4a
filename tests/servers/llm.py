"""A loopback server that speaks the OpenAI chat API and plays a researcher.

The researcher is a function of the conversation: it reads the messages it is sent (tool results included) and answers
with the next tool call, as a model would; `researchers.py` has several kinds. Faults can be put in front: rate limits,
server errors, a stalled answer, dropped connections, broken bodies. Streams where the client asks for it.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Researcher = Callable[[list[dict[str, Any]]], dict[str, Any]]
"""Messages in; {"content": str} or {"name": tool, "arguments": dict or str} or {"calls": [...]} out."""


class LLMServer:
    """Serves until closed.

    `faults` are consumed one a request: a status such as 429 or 500, "drop" (the connection ends before an answer),
    "cut" (it ends in the middle of one), "garbage" (no JSON), "empty" (no choice), ("stall", seconds), ("retry-after",
    seconds) or None. `streams`: answers `stream: true` with server-sent events, `delay_s` between two of them; a server
    that does not answers with one JSON body. `price`: dollars a call, as some routers tell. `refuses`: options this
    server rejects with 400. `caches`: "beginnings" (of a request it has the beginning of already, that comes from its
    cache), or "marked" (only what a request before was told to keep); the usage says how much did.
    """

    def __init__(
        self,
        researcher: Researcher,
        faults: list[Any] | None = None,
        *,
        streams: bool = False,
        delay_s: float = 0.0,
        price: float | None = None,
        refuses: tuple[str, ...] = (),
        tokens: tuple[int, int] = (100, 10),
        caches: str = "",
    ) -> None:
        self.researcher = researcher
        self.faults = list(faults or [])
        self.streams, self.delay_s, self.price, self.refuses, self.tokens = streams, delay_s, price, refuses, tokens
        self.caches = caches
        self._kept: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[tuple[float, float]] = []
        """Of each request: when it began to arrive and when its answer was sent (monotonic)."""
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                began = time.monotonic()
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    outer.requests.append(body)
                    outer.headers.append(dict(self.headers.items()))
                    fault = outer.faults.pop(0) if outer.faults else None
                with contextlib.suppress(
                    BrokenPipeError, ConnectionResetError
                ):  # the client gave up: what some tests want
                    self._answer(body, fault)
                outer.times.append((began, time.monotonic()))

            def _answer(self, body: dict[str, Any], fault: Any) -> None:
                if fault == "drop":
                    self.connection.close()
                    return
                if fault == "garbage":
                    self._send(200, b"<html>a proxy says hello</html>")
                    return
                if isinstance(fault, tuple) and fault[0] == "stall":
                    time.sleep(fault[1])
                if isinstance(fault, tuple) and fault[0] == "retry-after":
                    self._send(429, _error("slow down"), {"Retry-After": str(fault[1])})
                    return
                if isinstance(fault, int):
                    self._send(fault, _error(f"fault {fault}"))
                    return
                wrong = [name for name in outer.refuses if f'"{name}"' in json.dumps(body)]
                if wrong:
                    self._send(400, _error(f"Unsupported parameter: {wrong[0]}"))
                    return
                answer = outer.answer(body)
                if fault == "empty":
                    answer["choices"] = []
                if body.get("stream") and outer.streams:
                    self._stream(answer, cut=fault == "cut")
                    return
                data = json.dumps(answer).encode()
                if fault == "cut":
                    self._head(200, len(data), "application/json", {})
                    self.wfile.write(data[: len(data) // 2])
                    self.wfile.flush()
                    self.connection.close()
                    return
                self._send(200, data)

            def _stream(self, answer: dict[str, Any], cut: bool) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                pieces = _pieces(answer)
                for piece in pieces[: len(pieces) // 2] if cut else pieces:
                    self.wfile.write(b"data: " + json.dumps(piece).encode() + b"\n\n")
                    self.wfile.flush()
                    time.sleep(outer.delay_s)
                if not cut:
                    self.wfile.write(b"data: [DONE]\n\n")
                self.connection.close()

            def _send(self, status: int, data: bytes, more: dict[str, str] | None = None) -> None:
                self._head(status, len(data), "application/json", more or {})
                self.wfile.write(data)

            def _head(self, status: int, length: int, kind: str, more: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {"Content-Type": kind, "Content-Length": str(length), **more}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        said = self.researcher(body["messages"])
        message: dict[str, Any] = {"role": "assistant", "content": said.get("content", "")}
        calls = said.get("calls") or ([said] if "name" in said else [])
        made: list[dict[str, Any]] = []
        for i, call in enumerate(calls):
            given = call["arguments"]
            arguments = given if isinstance(given, str) else json.dumps(given)
            function = {"name": call["name"], "arguments": arguments}
            made.append({"id": f"c{len(self.requests)}-{i}", "type": "function", "function": function})
        if made:
            message["tool_calls"] = made
        given, written = self.tokens
        usage: dict[str, Any] = {"prompt_tokens": given, "completion_tokens": written, "total_tokens": given + written}
        if self.caches:
            usage["prompt_tokens_details"] = {"cached_tokens": self._from_cache(body["messages"])}
        if self.price is not None:
            usage["cost"] = self.price
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }

    def _from_cache(self, messages: list[dict[str, Any]]) -> int:
        """Tokens of a request that are in the cache; what it leaves there is kept."""
        whole = "".join(f"\0{m['role']}\0{text_of(m)}" for m in messages)
        found = max((len(kept) for kept in self._kept if whole.startswith(kept)), default=0)
        if self.caches == "beginnings":
            found = max((_same_beginning(whole, kept) for kept in self._kept), default=0)
            self._kept.append(whole)
        for i, message in enumerate(messages):
            if self.caches == "marked" and any("cache_control" in part for part in message["content"]):
                self._kept.append("".join(f"\0{m['role']}\0{text_of(m)}" for m in messages[: i + 1]))
        return int(self.tokens[0] * found / len(whole))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> LLMServer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _same_beginning(one: str, other: str) -> int:
    """Characters that both begin with."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _error(text: str) -> bytes:
    return json.dumps({"error": {"message": text, "type": "server"}}).encode()


def _pieces(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The answer as chunks: text in words, arguments in pieces of a few characters, usage at the end."""
    base = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": answer["model"]}
    deltas: list[dict[str, Any]] = []
    if answer["choices"]:
        message = answer["choices"][0]["message"]
        deltas += [{"content": word + " "} for word in str(message.get("content") or "").split()]
        for i, call in enumerate(message.get("tool_calls") or []):
            function = call["function"]
            deltas.append(
                {"tool_calls": [{"index": i, "id": call["id"], "type": "function", "function": {"name": function["name"], "arguments": ""}}]}
            )  # fmt: skip
            text = function["arguments"]
            deltas += [{"tool_calls": [{"index": i, "function": {"arguments": text[at : at + 17]}}]} for at in range(0, len(text), 17)]  # fmt: skip
    chunks = [{**base, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    return [*chunks, {**base, "choices": [], "usage": answer["usage"]}]


def observations(messages: list[dict[str, Any]]) -> list[str]:
    """What the tools have said so far, as the model sees it."""
    out: list[str] = []
    for message in messages:
        # Messages of one role in a row come as one: what a person said stands behind the last answer.
        out += [part.partition("New task:\n")[0].strip() for part in text_of(message).split("Observation:\n")[1:]]
    return out


def text_of(message: dict[str, Any]) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else "".join(p.get("text", "") for p in content or [])
