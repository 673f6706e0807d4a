"""Looking at a run from outside its host: through the socket where a host lives, else from the file."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import Refused
from core.events import ENDED
from core.home import HostInfo, living_host
from core.snapshots import state_from
from core.state import RunState, from_bytes
from store.client import RemoteLog
from store.errors import ConnectionLost, LogBusy
from store.event import Event
from store.source import EventSource

RETRIES = 50
RETRY_S = 0.1
"""A host that is coming up or going answers, or leaves its file free, within these five seconds."""


def open_source(folder: Path, salvage: bool = False) -> EventSource:
    """The run's events: from its host if one lives, else from the file, which nobody writes then.

    `salvage` opens a damaged log up to its last good event; without it LogDamaged is raised.
    """
    for _ in range(RETRIES):
        host = living_host(folder)
        if host is not None:
            try:
                return RemoteLog(Path(host.socket))
            except ConnectionLost:
                time.sleep(RETRY_S)  # the host is just coming up, or just going
                continue
        try:
            return _open_file(folder, salvage)
        except LogBusy:
            time.sleep(RETRY_S)  # a host opened the file between our two looks
    raise _silent(folder)


def _silent(folder: Path) -> Refused:
    return Refused(
        "The run's log is busy and its host does not answer", where=str(folder), next="Try again, or intern doctor"
    )


def _open_file(folder: Path, salvage: bool) -> EventSource:
    from store.reader import LogFile  # duckdb is heavy, and the UI needs none of it while a host lives

    return LogFile.open(folder, salvage=salvage)


def state_at(folder: Path, to: int | None = None, salvage: bool = False) -> RunState:
    """The state after event `to` (default the last)."""
    for _ in range(RETRIES):
        source = open_source(folder, salvage)
        try:
            if to is None and isinstance(source, RemoteLog):
                return from_bytes(base64.b64decode(source.call("state")["state"]))
            return state_from(source, folder, to)
        except ConnectionLost:
            time.sleep(RETRY_S)  # the host ended between our question and its answer: the file has it all
        finally:
            source.close()
    raise _silent(folder)


def last_state(folder: Path) -> RunState:
    return state_at(folder)


def follow_events(folder: Path, from_seq: int = 1) -> Iterator[Event]:
    """Events from `from_seq` on, live until the host ends; then what the file still has."""
    seq = from_seq
    while True:
        host: HostInfo | None = living_host(folder)
        if host is None:
            break
        try:
            with RemoteLog(Path(host.socket)) as log:
                for event in log.subscribe(seq):
                    seq = event.seq + 1
                    yield event
            break
        except ConnectionLost:
            time.sleep(RETRY_S)
    source = open_source(folder)
    try:
        for event in source.events(seq):
            yield event
    finally:
        source.close()


def command(folder: Path, name: str, text: str = "", arguments: dict[str, Any] | None = None) -> int:
    """Send a command to the run's host; returns the sequence number of its event. Raises Refused if it says no."""
    return int(ask(folder, name, text, arguments)["seq"])


def _hostless(folder: Path) -> Refused:
    """Nobody takes commands of this run; what to do next depends on whether it is over."""
    status = last_state(folder).status
    if status in ENDED:
        said, then = (
            f"Run {folder.name} is over ({status})",
            f"intern replay {folder.name}, or intern fork {folder.name}",
        )
    else:
        said, then = f"Run {folder.name} has no living host", f"intern resume {folder.name}"
    return Refused(said, where=str(folder), next=then)


def ask(folder: Path, name: str, text: str = "", arguments: dict[str, Any] | None = None) -> dict[str, Any]:
    """As `command`; returns the host's whole answer: `seq`, and `result`, what was done, empty where that comes later."""
    host = living_host(folder)
    if host is None:
        raise _hostless(folder)
    with RemoteLog(Path(host.socket)) as log:
        answer = log.call("command", command=name, text=text, arguments=arguments or {}, client="cli")
    if not answer.get("ok"):
        raise Refused(
            f"{name} was rejected: {answer.get('error')}", where=f"run {folder.name}, event {answer.get('seq')}"
        )
    return answer
