"""A real HTTP server on 127.0.0.1 that misbehaves on order: 429, 5xx, silence, half bodies, redirects, garbage.

A service subclasses `Loopback` and answers `respond(request)`. Faults are queued by path prefix and spent one a
request, so a test can say "the first two calls fail, then it works".
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    method: str = "GET"
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What the server says."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """One misbehaviour. `status` answers with it; `silent` says nothing until the server closes; `truncate` promises
    the whole body and sends so many bytes; `drip` sends a byte now and then; `cut` sends a shorter body as if whole."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str | None = None
    silent: bool = False
    truncate: int | None = None
    cut: int | None = None
    drip: bool = False


def as_json(value: object, status: int = 200) -> Answer:
    """A JSON answer."""
    return Answer(json.dumps(value).encode(), status)


class Loopback:
    """A server that runs while the `with` block does. `url` is its address, `requests` what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._faults: list[tuple[str, Fault]] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner._serve(self)

            do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

            def log_message(self, *_: object) -> None:
                """Tests read `requests` instead."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def host(self) -> str:
        """Host and port, as the limiter knows it."""
        return urlsplit(self.url).netloc

    def respond(self, request: Request) -> Answer:
        """What the service says when it is well. Subclasses answer."""
        raise NotImplementedError

    def break_next(self, fault: Fault, times: int = 1, path: str = "/") -> None:
        """Queue a fault for the next `times` requests whose path starts with `path`."""
        with self._lock:
            self._faults += [(path, fault)] * times

    def asked(self, path: str = "/") -> int:
        """How many requests came for paths that start so."""
        return sum(request.path.startswith(path) for request in self.requests)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in handler.headers.items()}
        body = handler.rfile.read(int(headers.get("content-length", "0")))
        request = Request(parts.path, query, headers, handler.command, body)
        with self._lock:
            self.requests.append(request)
            at = next((i for i, (path, _) in enumerate(self._faults) if request.path.startswith(path)), None)
            fault = self._faults.pop(at)[1] if at is not None else Fault()
        try:
            self._send(handler, request, fault)
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True  # the client gave up, which is what some tests are about

    def _send(self, handler: BaseHTTPRequestHandler, request: Request, fault: Fault) -> None:
        if fault.silent:
            self._closing.wait(30)
            handler.close_connection = True
            return
        answer = Answer(b"", fault.status) if fault.status else self.respond(request)
        body = answer.body if fault.body is None else fault.body
        body = body if fault.cut is None else body[: fault.cut]
        handler.send_response(answer.status)
        handler.send_header("Content-Type", fault.content_type or answer.content_type)
        handler.send_header("Content-Length", str(len(body)))
        for name, value in {**answer.headers, **fault.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if request.method == "HEAD":
            return
        if fault.drip:
            self._drip(handler, body)
            return
        handler.wfile.write(body if fault.truncate is None else body[: fault.truncate])
        if fault.truncate is not None:
            handler.close_connection = True

    def _drip(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        for at in range(len(body)):
            handler.wfile.write(body[at : at + 1])
            handler.wfile.flush()
            if self._closing.wait(0.05):
                return
