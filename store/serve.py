"""A live log for other processes: a Unix socket served by the run's host.

One thread a connection. A connection asks and is answered, line by line, or turns into a stream of events by
`subscribe`. A client that stalls blocks its own thread in `send` and nothing else: it holds one line of events, its
position waits in the log, and when it reads again it catches up from disk. A client that dies is noticed at the next
send, or within a second.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from store import wire
from store.errors import ConnectionLost, LogBusy, LogClosed, NotAdmitted, StoreError
from store.lines import LineSocket
from store.log import EventLog

_LOOK_S = 1.0
"""How often a stream without events looks whether its client is still there."""
_GOODBYE_S = 2.0
_WINDOW = 10_000
"""Events in one answer at most."""
_STREAM = 256
"""Events taken from the log at a time for a stream."""

_log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], Mapping[str, Any]]


class LogServer:
    """Serves a log at `socket_path` until closed. `handlers` are further operations, by name. `admits`: whether a process,
    by its id, is talked to at all; asked where the system says who connects (Linux)."""

    def __init__(
        self,
        log: EventLog,
        socket_path: Path,
        handlers: Mapping[str, Handler] | None = None,
        admits: Callable[[int], bool] = lambda pid: True,
    ) -> None:
        self._admits = admits
        self.socket_path = socket_path
        self._log = log
        self._handlers = dict(handlers or {})
        self._answers: dict[str, Callable[[wire.Request], object]] = {
            "last": lambda _: log.last,
            "get": self._get,
            "tail": self._tail,
            "window": self._window,
            "series": self._series,
            "sql": self._sql,
        }
        self._clients: dict[LineSocket, threading.Thread] = {}
        self._changing = threading.Lock()
        self._closed = False
        self._listener = _listen(socket_path)
        self._thread = threading.Thread(target=self._accept, name="log-server", daemon=True)
        self._thread.start()

    @property
    def clients(self) -> int:
        """Connections that are open."""
        return len(self._clients)

    def close(self) -> None:
        """Stop serving and hang up on everyone. Streams of a log that was closed first are ended in good order."""
        with self._changing:
            if self._closed:
                return
            self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        with self._changing:
            clients = dict(self._clients)
        for client in clients:
            client.close()
        for thread in clients.values():
            thread.join(_GOODBYE_S)  # an operation of the host's own may take longer; its thread then ends by itself
        self.socket_path.unlink(missing_ok=True)

    def __enter__(self) -> LogServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # --- connections

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            client = LineSocket(connection, str(self.socket_path))
            pid = _peer(connection)
            serve = self._answers_for if pid is None or self._admits(pid) else partial(_turn_away, pid)
            with self._changing:
                if self._closed:
                    client.close()
                    return
                thread = threading.Thread(target=self._attend, args=(client, serve), name="log-client", daemon=True)
                self._clients[client] = thread
            thread.start()

    def _attend(self, client: LineSocket, serve: Callable[[LineSocket], None]) -> None:
        try:
            serve(client)
        except ConnectionLost:
            pass  # clients come and go
        finally:
            client.close()
            with self._changing:
                self._clients.pop(client, None)

    def _answers_for(self, client: LineSocket) -> None:
        while not self._closed:
            self._take_request(client, client.line() or b"")

    def _take_request(self, client: LineSocket, line: bytes) -> None:
        try:
            request = wire.decode_request(line)
            if request.get("op") == "subscribe":
                position = int(request.get("from", 1))
            else:
                client.send(wire.reply(self._answer(request)))
                return
        except ConnectionLost:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: told to the client, and the host lives on
            if not isinstance(error, StoreError):
                _log.info("request failed: %r", line[:200], exc_info=error)
            client.send(wire.failure(error))
            return
        self._stream(client, position)

    def _stream(self, client: LineSocket, position: int) -> None:
        feed = self._log.subscribe(position)
        client.send(wire.reply(None))
        try:
            while not feed.ended:
                events = feed.batch(_STREAM, _LOOK_S)
                for line in wire.stream_lines(events):
                    client.send(line)
                if not events and client.peer_left():
                    return
        except LogClosed:
            return  # closed while this client was still catching up: the hang-up tells it that there was more
        client.send(wire.encode(wire.Streamed(end=True)))

    # --- operations

    def _answer(self, request: dict[str, Any]) -> object:
        op = request.pop("op", None)
        if op in self._handlers:
            return self._handlers[op](request)
        if op not in self._answers:
            raise wire.unknown(str(op), [*self._answers, "subscribe", *self._handlers])
        return self._answers[op](request)

    def _get(self, request: wire.Request) -> object:
        event = self._log.get(int(request["seq"]))
        return wire.to_wire(event) if event is not None else None

    def _tail(self, request: wire.Request) -> object:
        return [wire.to_wire(event) for event in self._log.tail(min(int(request["n"]), _WINDOW))]

    def _window(self, request: wire.Request) -> object:
        limit = min(int(request.get("limit") or _WINDOW), _WINDOW)
        last = request.get("to")
        window = self._log.events(int(request.get("from") or 1), last, request.get("types"), limit)
        return [wire.to_wire(event) for event in window]

    def _series(self, request: wire.Request) -> object:
        return self._log.series(**msgspec.convert(request, wire.SeriesRequest).arguments())

    def _sql(self, request: wire.Request) -> object:
        return self._log.sql(str(request["query"]), int(request.get("limit") or _WINDOW))


def _peer(connection: socket.socket) -> int | None:
    """Id of the process that connected; None where the system does not say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    try:
        return struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    except OSError:
        return None


def _turn_away(pid: int, client: LineSocket) -> None:
    client.line()  # a socket closed on a request that nobody has read takes the answer with it
    client.send(wire.failure(NotAdmitted(f"the host of this run does not talk to process {pid}")))


def _listen(path: Path) -> socket.socket:
    """A listening socket at `path`, for this user only. What a dead host left there is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _refuse_if_alive(path)
        path.unlink(missing_ok=True)
        listener.bind(wire.checked_path(path))
        os.chmod(path, 0o600)
        listener.listen(64)
    except BaseException:
        listener.close()
        raise
    return listener


def _refuse_if_alive(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(wire.checked_path(path))
        except OSError:
            return
    raise LogBusy("another host serves at this socket", where=str(path))
