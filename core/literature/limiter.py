"""One rate limiter a host, shared by every process of the machine through a lock file.

Each host has a file with the time from which it may be asked again. Whoever wants to ask takes the file's lock, waits for
that time, asks, writes the time anew, and lets go: so requests are never closer than the interval and never in parallel,
however many runs there are, and however long each is under way. (arXiv asks for one request in three seconds on one connection, Semantic Scholar for one
a second.) A host's Retry-After is written to the same file and holds for everyone. The clock can be replaced.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from core.literature.errors import RateLimited, Unreachable

INTERVALS_S: dict[str, float] = {
    "export.arxiv.org": 3.0,
    "arxiv.org": 3.0,
    "api.semanticscholar.org": 1.0,
    "api.openalex.org": 0.15,
    "huggingface.co": 0.2,
    "ar5iv.labs.arxiv.org": 3.0,
}
"""Seconds between two requests. arXiv: its API terms; Semantic Scholar: its limit with a key, kept without one too."""

DEFAULT_INTERVAL_S = 1.0
LONGEST_PAUSE_S = 86_400.0
"""A host that asks for more (a number without end, by mistake or malice) is asked again a day later."""
_LOOK_AGAIN_S = 0.02


class Clock(Protocol):
    """Wall time that all processes of the machine share, and a way to let it pass."""

    def now(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock. Wall time, since a monotonic one does not survive a reboot but the file does."""

    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Limiter:
    """Hands out turns to ask a host.

    Args:
        folder: where the lock files lie; the same for all runs of a machine.
        intervals_s: seconds between requests by host (with port, if it has one); added to INTERVALS_S.
        max_wait_s: a turn further away than this raises RateLimited instead of blocking the agent.
    """

    def __init__(
        self,
        folder: Path,
        *,
        intervals_s: Mapping[str, float] | None = None,
        clock: Clock | None = None,
        max_wait_s: float = 120.0,
    ) -> None:
        self._folder = folder
        self._intervals = {**INTERVALS_S, **(intervals_s or {})}
        self.clock: Clock = clock or SystemClock()
        self._max_wait_s = max_wait_s
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def turn(self, host: str) -> Generator[Callable[[float], None], None, None]:
        """Wait for the host's next free moment and hold the host while the request runs.

        Yields what lets nobody ask the host for so many seconds more (its Retry-After): it is written before the turn
        goes on to the next run, which may be waiting at the door. Raises RateLimited if the host has asked for a pause longer than `max_wait_s`.
        """
        with self._locked(host) as handle:
            free = self._next_free(handle, host)
            wait = free - self.clock.now()
            if wait > self._max_wait_s:
                raise RateLimited(
                    f"{host} asked to wait {wait:.0f} s",
                    where=host,
                    next="Use another source or come back later.",
                    wait_s=wait,
                )
            while wait > 0:  # a sleep may end early
                self.clock.sleep(wait)
                wait = free - self.clock.now()
            _write(handle, self.clock.now() + self.interval_s(host))
            asked = True
            try:
                yield lambda seconds: self._hold_off(handle, seconds)
            except Unreachable as error:
                asked = not isinstance(error.__cause__, (socket.gaierror, ConnectionRefusedError))
                raise
            finally:
                if asked:  # counted from its end: when a request reached the host, between the two, is not known here
                    self._hold_off(handle, self.interval_s(host))
                else:  # the turn is given back
                    _write(handle, self.clock.now())

    def hold_off(self, host: str, seconds: float) -> None:
        """Let no process ask the host for so long (its Retry-After). Never shortens a pause already set."""
        with self._locked(host) as handle:
            self._hold_off(handle, seconds)

    def _hold_off(self, handle: int, seconds: float) -> None:
        _write(handle, max(_read(handle), self.clock.now() + min(seconds, LONGEST_PAUSE_S)))

    def _lock(self, handle: int, host: str) -> None:
        """The host's lock, with an end to the wait: whoever holds it may have been stopped with it in hand."""
        deadline = time.monotonic() + self._max_wait_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise RateLimited(
                        f"another run has been asking {host} for {self._max_wait_s:.0f} s",
                        where=host,
                        next="Use another source, or look whether a run hangs (intern runs).",
                        wait_s=self._max_wait_s,
                    ) from error
                time.sleep(_LOOK_AGAIN_S)

    def interval_s(self, host: str) -> float:
        """Seconds between two requests to the host."""
        return self._intervals.get(host, self._intervals.get(_site(host), DEFAULT_INTERVAL_S))

    def _next_free(self, handle: int, host: str) -> float:
        """When the host may be asked. A day or more ahead means that the clock was set back: then wait one interval."""
        free, now = _read(handle), self.clock.now()
        return now + self.interval_s(host) if free > now + LONGEST_PAUSE_S else free

    @contextmanager
    def _locked(self, host: str) -> Generator[int, None, None]:
        handle = os.open(self._folder / f"{_file_name(host)}.next", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._lock(handle, host)
            yield handle
        finally:
            os.close(handle)  # closing lets go of the lock, also when the process dies


def _site(host: str) -> str:
    """The host without a default port or the root's dot; all of arXiv is one site to its operators."""
    name = re.sub(r"\.?(:(80|443))?$", "", host.lower())
    return "arxiv.org" if name == "arxiv.org" or name.endswith(".arxiv.org") else name


def _file_name(host: str) -> str:
    site = _site(host)
    return "arxiv" if site == "arxiv.org" else re.sub(r"[^a-z0-9.-]", "_", site)[:200]


def _read(handle: int) -> float:
    """The time in the file; 0 when it is new or damaged (then the next write repairs it)."""
    raw = os.pread(handle, 64, 0)
    try:
        return float(raw)
    except ValueError:
        return 0.0


def _write(handle: int, moment: float) -> None:
    os.pwrite(handle, f"{moment:<30.6f}".encode(), 0)
    os.ftruncate(handle, 30)  # what a damaged file had beyond would be read as part of the number
