"""What a log is made of: an event that is to be stored, and an event as stored.

The payload is opaque here: the bytes of one JSON object in canonical form (sorted keys, no spaces). The layer above
gives it types. Times are whole microseconds since 1970 in UTC, the unit DuckDB's TIMESTAMP has.
"""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder(order="sorted")
_decode_object = msgspec.json.Decoder(dict[str, Any])


def canonical(payload: object) -> bytes:
    """The canonical JSON of a payload: sorted keys, no spaces, so that equal payloads are equal bytes."""
    return _encoder.encode(payload)


def now_us() -> int:
    """The wall clock, microseconds since 1970 in UTC. It may jump either way: order events by `seq`, never by time."""
    return time.time_ns() // 1000


class _Ticker:
    """The last (millisecond, counter) given out, so that ids of one process rise even when its clock does not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        """Milliseconds in the high 48 bits and a 12-bit fraction (RFC 9562, method 3), strictly rising."""
        with self._lock:
            ns = time.time_ns()
            tick = (ns // 1_000_000) << 12 | (ns % 1_000_000) * 4096 // 1_000_000
            self._last = max(tick, self._last + 1)
            return self._last


_ticker = _Ticker()


def uuid7() -> str:
    """A new UUIDv7 (RFC 9562). Ids of one process sort in the order they were made."""
    tick = _ticker.next()
    low = int.from_bytes(os.urandom(8), "big") & (1 << 62) - 1
    value = (tick >> 12) << 80 | 7 << 76 | (tick & 0xFFF) << 64 | 0b10 << 62 | low
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class NewEvent(msgspec.Struct, frozen=True):
    """An event that is to be appended. `id` is its idempotency key: appending the same id twice stores it once."""

    type: str
    payload: bytes
    """One JSON object, canonical: see `canonical`."""
    actor: str
    cause: int | None = None
    """The sequence number of the event this one answers."""
    v: int = 1
    id: str = msgspec.field(default_factory=uuid7)
    ts: int = msgspec.field(default_factory=now_us)


class Event(msgspec.Struct, frozen=True, gc=False):
    """An event as stored; it never changes."""

    seq: int
    """Dense from 1."""
    id: str
    ts: int
    """Microseconds since 1970, UTC."""
    type: str
    v: int
    actor: str
    cause: int | None
    payload: bytes
    hash: str
    """The first 16 hex digits of the chain's SHA-256 at this event (see `store.chain`)."""


def envelope(event: Event) -> dict[str, Any]:
    """The event as a plain object for `--json`: `ts` as ISO 8601 with Z, the payload decoded."""
    return {
        "seq": event.seq,
        "id": event.id,
        "ts": iso(event.ts),
        "type": event.type,
        "v": event.v,
        "actor": event.actor,
        "cause": event.cause,
        "payload": _decode_object.decode(event.payload),
        "hash": event.hash,
    }


def iso(ts: int) -> str:
    """Microseconds since 1970 as `2026-11-23T22:55:01.000123Z`."""
    moment = datetime.fromtimestamp(ts // 1_000_000, UTC).replace(microsecond=ts % 1_000_000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
