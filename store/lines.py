"""Lines over a Unix socket, with time limits and an end that any thread can bring about."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time

from store.errors import ConnectionLost

LINE_LIMIT = 64 << 20
"""Bytes of one line at most; more is a broken peer."""
_CHUNK = 256 << 10


class LineSocket:
    """A connected socket that carries lines. One thread reads; `close` may come from any."""

    def __init__(self, connected: socket.socket, where: str) -> None:
        self.where = where
        self._socket = connected
        self._buffer = bytearray()
        self._searched = 0
        self._sending = threading.Lock()
        self.closed = False

    def send(self, data: bytes) -> None:
        """Send whole lines. Blocks while the peer does not read. Raises ConnectionLost."""
        try:
            with self._sending:
                self._socket.sendall(data)
        except OSError as error:
            raise self._lost(error) from error

    def line(self, timeout: float | None = None) -> bytes | None:
        """The next line without its end, or None after `timeout` seconds. Raises ConnectionLost at the end."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._searched = 0
                return line
            self._searched = len(self._buffer)
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._fill(left):
                return None

    def _fill(self, timeout: float | None) -> bool:
        try:
            if timeout is not None and not select.select([self._socket], [], [], timeout)[0]:
                return False
            data = self._socket.recv(_CHUNK)
        except (OSError, ValueError) as error:
            raise self._lost(error) from error
        if not data:
            raise ConnectionLost("the other side closed the connection", where=self.where)
        if len(self._buffer) > LINE_LIMIT:
            raise ConnectionLost("the other side sent a line without end", where=self.where)
        self._buffer += data
        return True

    def peer_left(self) -> bool:
        """True if the peer has hung up. For a side that sends and expects nothing."""
        try:
            return bool(select.select([self._socket], [], [], 0)[0]) and not self._socket.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            return True

    def close(self) -> None:
        """Hang up; a thread that waits in `line` or `send` gets ConnectionLost."""
        self.closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _lost(self, error: Exception) -> ConnectionLost:
        if self.closed:
            return ConnectionLost("the connection was closed here", where=self.where)
        return ConnectionLost(f"the connection broke: {error}", where=self.where)
