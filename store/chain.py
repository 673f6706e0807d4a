"""The hash chain: each event's hash covers the event and, through the hash before it, everything that came earlier.

    h(0) = SHA-256("intern log " + log id)
    h(n) = SHA-256(h(n-1) + header(n) + payload(n)),  header = JSON [seq, id, ts, type, v, actor, cause]

The header is a JSON array, so it ends where it says it ends, and the payload follows verbatim: two different events
never have the same encoding. The chain always runs over the full 32 bytes. Stored with each event are its first 8 (the
rest, incompressible, would more than double the file); the full hash of the last event lies in the mark beside the
database. A changed event therefore shows at that event, with one chance in 2^64 to be passed over, and again, over the
full width, at the mark. There is no secret in it: the chain shows damage and careless edits, not a forger who
rewrites the whole log and its mark.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from store.event import Event, NewEvent

WIDTH = 16
"""Hex digits of the hash that are stored with an event."""

_header = msgspec.json.Encoder().encode


def genesis(log_id: str) -> bytes:
    """The hash before the first event. It differs from log to log, so events cannot move from one to another."""
    return hashlib.sha256(b"intern log " + log_id.encode()).digest()


def link(previous: bytes, seq: int, event: NewEvent | Event) -> bytes:
    """The full hash at `event`, which stands at `seq` after the full hash `previous`. 32 bytes each."""
    return chain(previous, seq - 1, [event])[0]


def chain(previous: bytes, last: int, events: Iterable[NewEvent | Event]) -> list[bytes]:
    """The full hashes at `events`, which follow the one at `last` with the full hash `previous`."""
    hashes: list[bytes] = []
    sha256, header = hashlib.sha256, _header
    for e in events:
        last += 1
        previous = sha256(previous + header((last, e.id, e.ts, e.type, e.v, e.actor, e.cause)) + e.payload).digest()
        hashes.append(previous)
    return hashes


def short(full: bytes) -> str:
    """What is stored with the event: the first 16 hex digits."""
    return full[: WIDTH // 2].hex()


class Break(msgspec.Struct, frozen=True):
    """The first event at which a stored log departs from its chain."""

    seq: int
    why: str


class Walker:
    """Follows the chain event by event. `seq` and `hash` are the last good event and its full hash."""

    def __init__(self, seq: int, full: bytes) -> None:
        self.seq = seq
        self.hash = full

    def walk(self, events: Iterable[Event]) -> Break | None:
        """Follow `events`; the first that is out of order or does not hash to what is stored ends the walk."""
        for event in events:
            if event.seq != self.seq + 1:
                return Break(self.seq + 1, f"event {self.seq + 1} is missing; event {event.seq} stands in its place")
            full = link(self.hash, event.seq, event)
            if short(full) != event.hash:
                return Break(event.seq, f"event {event.seq} does not match its hash")
            self.seq, self.hash = event.seq, full
        return None
