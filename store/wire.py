"""What goes over the socket: one JSON object a line, both ways.

    -> {"op": "tail", "n": 100}
    <- {"ok": true, "result": ...}            or {"ok": false, "error": {"kind", "what", "where", "next"}}
    -> {"op": "subscribe", "from": 1}
    <- {"ok": true, "result": null}, then {"events": [...]} again and again, and {"end": true} when the log is closed

Payloads travel verbatim (`msgspec.Raw`): they are neither parsed nor built anew on the way.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from store import errors
from store.errors import ConnectionLost, RemoteError, StoreError
from store.event import Event
from store.source import Scalar

EVENTS_BYTES = 256 << 10
"""A line of streamed events is closed when it has this many payload bytes."""
_PATH_LIMIT = 100
"""The kernel's limit for a Unix socket's path is 108 bytes (104 on macOS)."""


class WireEvent(msgspec.Struct, frozen=True):
    """An event on the wire."""

    seq: int
    id: str
    ts: int
    type: str
    v: int
    actor: str
    cause: int | None
    payload: msgspec.Raw
    hash: str


class Failure(msgspec.Struct, frozen=True):
    """An error on the wire."""

    kind: str
    what: str
    where: str = ""
    next: str = ""


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a request."""

    ok: bool
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Failure | None = None


class Streamed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of a subscription."""

    events: list[WireEvent] = []
    end: bool = False


_encoder = msgspec.json.Encoder(enc_hook=str)


def encode(value: object) -> bytes:
    """One line. What JSON lacks (an interval, a bit string) becomes text."""
    return _encoder.encode(value) + b"\n"


def to_wire(event: Event) -> WireEvent:
    return WireEvent(
        event.seq,
        event.id,
        event.ts,
        event.type,
        event.v,
        event.actor,
        event.cause,
        msgspec.Raw(event.payload),
        event.hash,
    )


def from_wire(event: WireEvent) -> Event:
    return Event(
        event.seq, event.ts, event.type, event.v, event.actor, event.cause, bytes(event.payload), event.id, event.hash
    )


def reply(result: object) -> bytes:
    return encode({"ok": True, "result": result})


def failure(error: Exception) -> bytes:
    """An error as a line; the three parts of our own errors, in `store` and above, are kept."""
    what = str(getattr(error, "what", "")) or str(error) or type(error).__name__
    parts = Failure(type(error).__name__, what, str(getattr(error, "where", "")), str(getattr(error, "next", "")))
    return encode({"ok": False, "error": parts})


def raised(error: Failure) -> StoreError:
    """The error that a failure on the wire stands for: the store's own class where it has one."""
    kind = getattr(errors, error.kind, None)
    if kind in (
        errors.LogDamaged,
        errors.LogMissing,
        errors.NotAdmitted,
        errors.LogClosed,
        errors.BadQuery,
        errors.BadEvent,
        errors.DiskFull,
    ):
        return kind(error.what, where=error.where, next=error.next)
    return RemoteError(error.what, kind=error.kind, where=error.where, next=error.next)


def stream_lines(events: Iterable[Event]) -> Iterable[bytes]:
    """Lines of events, each of moderate length, so that a slow peer holds little memory."""
    part: list[WireEvent] = []
    size = 0
    for event in events:
        part.append(to_wire(event))
        size += len(event.payload)
        if size >= EVENTS_BYTES:
            yield encode(Streamed(part))
            part, size = [], 0
    if part:
        yield encode(Streamed(part))


def checked_path(path: Path) -> str:
    """`path` for bind or connect; raises ConnectionLost if the kernel cannot take it."""
    if len(os.fsencode(path)) > _PATH_LIMIT:
        raise ConnectionLost(
            f"a socket's path has at most {_PATH_LIMIT} bytes", where=str(path), next="Choose a shorter folder for it"
        )
    return str(path)


def unknown(op: str, known: Iterable[str]) -> RemoteError:
    """The error for an operation nobody serves."""
    return RemoteError(f"there is no operation {op!r}", kind="UnknownOperation", next=f"Known: {', '.join(known)}")


class SeriesRequest(msgspec.Struct, frozen=True):
    """What `series` takes."""

    table: str
    x: str
    y: str
    where: dict[str, Scalar] = {}
    buckets: int = 500

    def arguments(self) -> dict[str, Any]:
        return msgspec.structs.asdict(self)


Request = Mapping[str, Any]
decode_request = msgspec.json.Decoder(dict[str, Any]).decode
decode_reply = msgspec.json.Decoder(Reply).decode
decode_streamed = msgspec.json.Decoder(Streamed).decode
decode_events = msgspec.json.Decoder(list[WireEvent]).decode
