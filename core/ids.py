"""Event ids that are the same whenever the same thing is said again: what is carried out twice is recorded once."""

from __future__ import annotations

import hashlib
import uuid


def stable_id(ts_us: int, key: bytes) -> str:
    """A UUIDv7 made of a time and a key: the same for the same two."""
    digest = int.from_bytes(hashlib.sha256(key).digest()[:10], "big")
    value = (ts_us // 1000 & (1 << 48) - 1) << 80 | 7 << 76 | (digest >> 68 & 0xFFF) << 64
    value |= 0b10 << 62 | digest & (1 << 62) - 1
    return str(uuid.UUID(int=value))
