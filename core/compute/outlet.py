"""The one way out of a sandbox without a network: a proxy on our side that opens the doors of core/compute/doors.py only.

It lives in the process that keeps the job (core/compute/held.py) and ends with it. The sandbox has a network namespace of
its own; into it a Unix socket is bound, and doorway.py listens inside on loopback for clients that speak HTTP proxy.

- https: CONNECT to a door's name and port; bytes pass as they are. We see no more than the name: what the client then asks
  of that host's server, also under another host's name (domain fronting), nobody can see without breaking TLS open.
- http (a configured endpoint alone): each request is parsed whole (h11) and written anew, so that nothing is smuggled
  behind it; its Host is the door's, whatever the client said.

The name is decided on first. Then it is looked up, all that it leads to must lie in the internet unless a person
configured that very host, and the connection goes to an address that was checked. Nothing is added to a request: no token.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import h11

from core.compute.doors import HOSTS_FILE, Door, door_for, is_name, plain_name, told
from core.research.reach import is_public

HEAD_S = 60.0
"""For one request's head, also between two requests."""
CONNECT_S = 10.0
ANSWERS_S = 6.0
"""The look whether the Hub is there at all, before a job starts."""
ADDRESSES = 4
"""Of one name that are tried."""
JOIN_S = 5.0
CONNECTIONS = 200
"""At once, each with two descriptors; a sandbox that asks for more waits."""
WAITING = 300
"""Beyond those a connection is closed at once: a process has 1,024 descriptors, and this one carries the job's metrics too."""
BACKLOG = 1024
"""A Unix socket whose queue is full refuses at once, and asyncio on the other side takes that for a connection."""
CHUNK = 1 << 16
MOST_LINES = 40
"""Refusals that are said in the log; a scan of ports does not fill it."""

CONNECT = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@\s]+):([0-9]{1,5})")
ABSOLUTE = re.compile(rb"http://(\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@\s]+)(?::([0-9]{1,5}))?([/?][^#]*)?")
PER_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"proxy-authenticate", b"te", b"trailer",
     b"upgrade", b"expect", b"host")
)  # fmt: skip
"""Headers that end at a proxy; Host is written anew."""


class Closed(Exception):
    """The door stays closed: what the client is told. `status` is the proxy's answer."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


class Outlet:
    """Serves one sandbox on the Unix socket `path` while the `with` block does. Raises OSError where no socket can be."""

    def __init__(self, folder: Path, doors: Sequence[Door], say: Callable[[str], None]) -> None:
        self.path = folder / "outlet.sock"
        self.doors = tuple(doors)
        self._say = say
        self._said: set[str] = set()
        self._places = asyncio.Semaphore(CONNECTIONS)
        self._loop = asyncio.new_event_loop()
        self._clients: set[asyncio.Task[None] | None] = set()
        """A stream knows its reader weakly: one whose client has closed its half is held by nothing else, and was collected
        with its answer under way."""

    def __enter__(self) -> Self:
        listener = _listen(self.path)
        # A daemon: it ends with its process, whatever ends that.
        self._thread = threading.Thread(target=self._run, args=(listener,), name="outlet", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(JOIN_S)
        self.path.unlink(missing_ok=True)

    def answers(self, door: Door) -> str:
        """Empty if a connection to that door can be made now, else why not."""
        asked = asyncio.run_coroutine_threadsafe(self._knock(door), self._loop)
        try:
            return asked.result(ANSWERS_S)
        except TimeoutError:
            asked.cancel()
            return f"no answer of {told([door])} within {ANSWERS_S:g} s"

    async def _knock(self, door: Door) -> str:
        try:
            _, writer = await self._reach(door, door.host)
        except Closed as closed:
            return closed.why
        writer.close()
        return ""

    def _run(self, listener: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_unix_server(self._client, sock=listener, backlog=BACKLOG))
        self._loop.run_forever()
        open_still = asyncio.all_tasks(self._loop)
        for task in open_still:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*open_still, return_exceptions=True))
        self._loop.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= CONNECTIONS + WAITING:
            writer.close()
            return
        inner = _Wire(reader, writer, h11.SERVER)
        self._clients.add(me := asyncio.current_task())
        try:
            async with self._places:
                while await self._one(inner):
                    pass
        except h11.ProtocolError as error:
            await self._answer(inner, Closed(400, f"not a request to a proxy: {error}"))
        except Closed as closed:
            await self._answer(inner, closed)
        except (OSError, TimeoutError):
            pass  # one of the two ends is gone: so is this connection, and nobody is left to be told
        except asyncio.CancelledError:
            pass  # the outlet ends; Python 3.11 would print this into the job's log
        finally:
            self._clients.discard(me)
            writer.close()

    async def _one(self, inner: _Wire) -> bool:
        """One request. True if another may follow on this connection."""
        async with asyncio.timeout(HEAD_S):
            request = await inner.next()
        if not isinstance(request, h11.Request):
            return False
        inner.method = request.method
        scheme, host, port, path = _target(request)
        outer = await self._reach(self._decide(scheme, host, port), host)
        try:
            if scheme == "https":
                await inner.send(h11.Response(status_code=200, headers=[], reason=b"Connection established"))
                await _join(inner, *outer)
                return False
            await _pass_on(inner, _Wire(*outer, h11.CLIENT), request, _authority(host, port), path)
        finally:
            outer[1].close()
        return inner.again()

    def _decide(self, scheme: str, host: str, port: int) -> Door:
        """By the name alone. Raises Closed."""
        door = door_for(self.doors, scheme, host, port)
        if door is not None:
            return door
        what = _authority(host, port)
        named = [d for d in self.doors if d.fits(d.scheme, host, d.port)]
        if named:
            why = f"{what} by {scheme} is closed; open there: " + ", ".join(f"{d.scheme} port {d.port}" for d in named)
        elif not is_name(host):
            why = f"{what} is an address; a job reaches hosts by their names alone"
        else:
            why = f"{what} is none of this job's hosts"
        raise self._refuse(why)

    def _refuse(self, why: str) -> Closed:
        """Said in the log once each, and to the client every time."""
        if why not in self._said and len(self._said) <= MOST_LINES:
            self._said.add(why)
            more = " Further refusals are not listed." if len(self._said) > MOST_LINES else ""
            self._say(
                f"network refused: {why}. Open are {told(self.doors)}. Do without it, fetch it with a tool before the job, "
                f"or ask a person to add the host to {HOSTS_FILE} in the intern's folder (INTERN_HOME).{more}"
            )
        return Closed(403, why)

    async def _reach(self, door: Door, host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to an address that was checked. Raises Closed."""
        try:
            async with asyncio.timeout(CONNECT_S):
                found = await asyncio.get_running_loop().getaddrinfo(host, door.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, TimeoutError) as error:
            raise Closed(502, f"{host} cannot be found: {error or 'no answer in time'}") from error
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        private = [a for a in addresses if not is_public(a)]
        if private and not door.private:
            raise self._refuse(f"{host} leads to {private[0]}, which is not in the internet")
        last = ""
        for address in addresses[:ADDRESSES]:
            try:
                async with asyncio.timeout(CONNECT_S):
                    return await asyncio.open_connection(address, door.port, limit=4 * CHUNK)
            except (OSError, TimeoutError) as error:
                last = str(error) or "no answer in time"
        raise Closed(502, f"{_authority(host, door.port)} cannot be reached: {last}")

    async def _answer(self, inner: _Wire, closed: Closed) -> None:
        if inner.state.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        text = closed.why.encode("ascii", "replace")
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(text))), ("Connection", "close")]
        line = bytes(c if 32 <= c < 127 else 63 for c in text)[:200]  # clients show this line as the error
        with contextlib.suppress(OSError, h11.ProtocolError):
            await inner.send(h11.Response(status_code=closed.status, headers=headers, reason=line))
            await inner.send(h11.Data(data=b"" if inner.method == b"HEAD" else text))
            await inner.send(h11.EndOfMessage())


class _Wire:
    """One connection and what h11 knows of it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, role: type[h11.CLIENT] | type[h11.SERVER]
    ) -> None:
        self.reader, self.writer = reader, writer
        self.state = h11.Connection(role)
        self.method = b""

    async def next(self) -> h11.Event | type[h11.PAUSED]:
        while (event := self._event()) is h11.NEED_DATA:
            if self.state.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            self.state.receive_data(await self.reader.read(CHUNK))
        assert not isinstance(event, type) or event is h11.PAUSED
        return event  # pyright: ignore[reportReturnType]

    def _event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return self.state.next_event()
        except h11.RemoteProtocolError as error:
            if self.state.our_role is h11.SERVER:
                raise
            raise Closed(502, f"the host's answer is not HTTP: {error}") from error

    async def send(self, event: h11.Event) -> None:
        data = self.state.send(event)
        if data:
            self.writer.write(data)
            await self.writer.drain()

    def again(self) -> bool:
        """Ready for the next request, if the client may send one."""
        if self.state.our_state is not h11.DONE or self.state.their_state is not h11.DONE:
            return False
        self.state.start_next_cycle()
        return True


def _target(request: h11.Request) -> tuple[str, str, int, bytes]:
    """(scheme, host, port, path) of a request to a proxy. Raises Closed."""
    tunnel = request.method == b"CONNECT"
    found = (CONNECT if tunnel else ABSOLUTE).fullmatch(request.target)
    port = int(found[2] or b"80") if found else 0
    if found is None or not 0 < port < 65_536:
        raise Closed(400, "not a request to a proxy: CONNECT host:port, or an address that begins with http://")
    path = b"/" if tunnel else found[3] or b"/"
    host = plain_name(found[1].decode("ascii", "replace").strip("[]"))
    return "https" if tunnel else "http", host, port, path if path.startswith(b"/") else b"/" + path


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _pass_on(inner: _Wire, outer: _Wire, request: h11.Request, host: str, path: bytes) -> None:
    """One request and its answer, each parsed and written anew."""
    headers = [(b"Host", host.encode()), *_kept(request.headers), (b"Connection", b"close")]
    await outer.send(h11.Request(method=request.method, target=path, headers=headers))
    while isinstance(event := await inner.next(), h11.Data | h11.EndOfMessage):
        await outer.send(event if isinstance(event, h11.Data) else h11.EndOfMessage())
        if isinstance(event, h11.EndOfMessage):
            break
    while not isinstance(event := await outer.next(), h11.ConnectionClosed | type):
        if isinstance(event, h11.Response):
            event = h11.Response(status_code=event.status_code, headers=_kept(event.headers), reason=event.reason)
        elif isinstance(event, h11.EndOfMessage):
            event = h11.EndOfMessage()
        elif not isinstance(event, h11.Data):
            continue  # 100, 103: for our hop
        await inner.send(event)
        if isinstance(event, h11.EndOfMessage):
            return


def _kept(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Without those of one hop, also those that Connection names, and with one length at most."""
    headers = list(headers)
    named = {n.strip().lower() for k, v in headers if k == b"connection" for n in v.split(b",")}
    chunked = any(k == b"transfer-encoding" for k, _ in headers)
    named = (named | {b"content-length"} if chunked else named - {b"content-length"}) - {b"transfer-encoding"}
    return [(k, v) for k, v in headers if k not in PER_HOP and k not in named]


async def _join(inner: _Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes in both ways until both are over."""
    early, _ = inner.state.trailing_data
    writer.write(early)
    await asyncio.gather(_pump(inner.reader, writer), _pump(reader, inner.writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def _listen(path: Path) -> socket.socket:
    """A Unix socket at a path of any length (the kernel takes 107 bytes): named through its folder's descriptor."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        path.chmod(0o600)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(folder)
    listener.setblocking(False)
    return listener
