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
    """The last (millisecond, fraction) given out, so that ids of one process rise even when its clock does not, and
    the 62 bits that tell this process from every other.

    RFC 9562 lets the low bits of a UUIDv7 name the node that made it (section 6.4). Here they are drawn once a
    process: two processes meet with one chance in 2^62, and a column of equal numbers costs a log nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self.draw()
        os.register_at_fork(after_in_child=self.draw)

    def draw(self) -> None:
        """Become a process of its own."""
        self._lock = threading.Lock()  # a fork may have copied it locked
        node = int.from_bytes(os.urandom(8), "big") & (1 << 62) - 1
        self.low = f"{0b10 << 62 | node:016x}"

    def next(self, ns: int) -> int:
        """Milliseconds in the high 48 bits and a 12-bit fraction (RFC 9562, method 3), strictly rising."""
        tick = tick_of(ns)
        with self._lock:
            self._last = max(tick, self._last + 1)
            return self._last


def tick_of(ns: int) -> int:
    """Nanoseconds since 1970 as the 60 bits of time in a UUIDv7."""
    return (ns // 1_000_000) << 12 | (ns % 1_000_000) * 4096 // 1_000_000


def tick_of_high(high: int) -> int:
    """The 60 bits of time in the high half of a UUIDv7."""
    return high >> 16 << 12 | high & 0xFFF


def time_in(tick: int) -> int:
    """The microseconds since 1970 that 60 bits of UUIDv7 time speak of."""
    return (tick >> 12) * 1000 + ((tick & 0xFFF) * 1000 >> 12)


_ticker = _Ticker()


def uuid7(ns: int | None = None) -> str:
    """A new UUIDv7 (RFC 9562) for the moment `ns`, default now. Ids of one process sort in the order they were made."""
    tick = _ticker.next(time.time_ns() if ns is None else ns)
    high, low = f"{(tick >> 12) << 16 | 7 << 12 | tick & 0xFFF:016x}", _ticker.low
    return f"{high[:8]}-{high[8:12]}-{high[12:]}-{low[:4]}-{low[4:]}"


class NewEvent(msgspec.Struct, frozen=True):
    """An event that is to be appended. `id` is its idempotency key: appending the same id twice stores it once."""

    type: str
    payload: bytes
    """One JSON object, canonical: see `canonical`."""
    actor: str
    cause: int | None = None
    """The sequence number of the event this one answers."""
    v: int = 1
    id: str = ""
    """A lower-case UUID; a new one by default."""
    ts: int = 0
    """Microseconds since 1970, UTC; now by default."""

    def __post_init__(self) -> None:
        """Time and id from one look at the clock: a log then stores the two for the price of one."""
        if self.id and self.ts:
            return
        ns = time.time_ns()
        if not self.ts:
            msgspec.structs.force_setattr(self, "ts", time_in(tick_of(ns)))
        if not self.id:
            msgspec.structs.force_setattr(self, "id", uuid7(ns))


class Record(msgspec.Struct, frozen=True, gc=False):
    """What an event says, without what identifies and proves it: all that a fold needs."""

    seq: int
    """Dense from 1."""
    ts: int
    """Microseconds since 1970, UTC."""
    type: str
    v: int
    actor: str
    cause: int | None
    payload: bytes


class Event(Record, frozen=True, gc=False):
    """An event as stored; it never changes."""

    id: str
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
