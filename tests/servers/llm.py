"""A loopback server that speaks the OpenAI chat API and plays a researcher.

The researcher is a function of the conversation: it reads the messages it is sent (tool results included) and answers
with the next tool call, as a model would. Faults can be put in front: rate limits, server errors, a stalled answer,
dropped connections, broken tool calls.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Researcher = Callable[[list[dict[str, Any]]], dict[str, Any]]
"""Messages in; {"content": str} or {"name": tool, "arguments": dict or str} out."""


class LLMServer:
    """Serves until closed. `faults` are consumed one a request: 429, 500, "drop", ("stall", seconds) or None."""

    def __init__(self, researcher: Researcher, faults: list[Any] | None = None) -> None:
        self.researcher = researcher
        self.faults = list(faults or [])
        self.requests: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append(body)
                fault = outer.faults.pop(0) if outer.faults else None
                if fault == "drop":
                    self.connection.close()
                    return
                if isinstance(fault, tuple):
                    time.sleep(fault[1])
                if isinstance(fault, int):
                    self._send(fault, {"error": {"message": f"fault {fault}", "type": "server"}})
                    return
                self._send(200, outer.answer(body))

            def _send(self, status: int, payload: dict[str, Any]) -> None:
                data = json.dumps(payload).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        said = self.researcher(body["messages"])
        message: dict[str, Any] = {"role": "assistant", "content": said.get("content", "")}
        if "name" in said:
            arguments = said["arguments"] if isinstance(said["arguments"], str) else json.dumps(said["arguments"])
            call = {
                "id": f"c{len(self.requests)}",
                "type": "function",
                "function": {"name": said["name"], "arguments": arguments},
            }
            message["tool_calls"] = [call]
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> LLMServer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def observations(messages: list[dict[str, Any]]) -> list[str]:
    """What the tools have said so far, as the model sees it."""
    out: list[str] = []
    for message in messages:
        content = message.get("content")
        text = content if isinstance(content, str) else "".join(p.get("text", "") for p in content or [])
        out += [part for part in text.split("Observation:\n")[1:]]
    return out
