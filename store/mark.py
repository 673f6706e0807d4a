"""The high-water mark: how far the log had come, kept in a file outside the database.

DuckDB cannot tell that the end of its log is missing: a write-ahead log that was deleted or whose last bytes flipped
opens silently with fewer rows. So after every commit, and before anyone is told of it, the sequence number and full
hash of the last event are written here and synced. On opening, the two are compared.

Order at a power loss: data first, then mark, then acknowledgement. So the mark may *lag* the data, by a commit nobody
was told of (those events are whole, chained and kept), and it never *leads*: a mark beyond the data is a lost tail,
always.

The file has two slots of one page each, written in turn, so that a torn write leaves the one before. A slot is one line
of text padded with spaces, ending in the CRC-32 of what stands before it:

    intern-mark 1 <turn> <log id> <seq> <hash> <seal or ->

The *seal* is the SHA-256 of the database file as its last checkpoint left it. It covers what reading cannot: free
blocks and the unused header. It is withdrawn before anything may change that file, and set again when the file is at
rest.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import msgspec

from store.errors import LogDamaged, LogMissing

NAME = "log.mark"
_SLOT = 4096
_SLOTS = 2


class Mark(msgspec.Struct, frozen=True):
    """One state of the high-water mark."""

    log_id: str
    seq: int
    hash: str
    """Full hash at `seq`, 64 hex digits."""
    seal: str | None = None
    """SHA-256 of the database file, or None while that file may change."""
    turn: int = 0
    """Rises with every write; the newest whole slot counts."""


def _encode(mark: Mark) -> bytes:
    line = f"intern-mark 1 {mark.turn} {mark.log_id} {mark.seq} {mark.hash} {mark.seal or '-'} "
    line += f"{zlib.crc32(line.encode()):08x}"
    return line.encode().ljust(_SLOT - 1) + b"\n"


def _decode(slot: bytes) -> Mark | None:
    """The mark in a slot, or None if any byte of it is not as `_encode` writes it."""
    try:
        words = slot.decode("ascii").split()
        mark = Mark(
            turn=int(words[2]),
            log_id=words[3],
            seq=int(words[4]),
            hash=words[5],
            seal=None if words[6] == "-" else words[6],
        )
    except (ValueError, IndexError):
        return None
    return mark if _encode(mark) == slot else None


class MarkRead(msgspec.Struct, frozen=True):
    """What a mark file says: the newest whole slot, and how many slots are not whole."""

    mark: Mark
    bad_slots: int


def read_mark(folder: Path) -> MarkRead:
    """Read the mark of the log in `folder`. Raises LogMissing if there is none, LogDamaged if no slot is whole."""
    path = folder / NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise LogMissing("the log's high-water mark is missing", where=str(path)) from None
    slots = [_decode(data[k * _SLOT : (k + 1) * _SLOT]) for k in range(_SLOTS)]
    whole = [slot for slot in slots if slot is not None]
    if not whole:
        raise LogDamaged("the log's high-water mark cannot be read", where=str(path))
    extra = 1 if len(data) > _SLOT * _SLOTS else 0
    return MarkRead(max(whole, key=lambda mark: mark.turn), _SLOTS - len(whole) + extra)


class MarkFile:
    """The mark as its one writer holds it."""

    def __init__(self, folder: Path, mark: Mark) -> None:
        """Take over the mark; both slots are written afresh, so that a slot that was torn is whole again."""
        self.mark = mark
        path = folder / NAME
        fresh = not path.exists()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DSYNC | os.O_CLOEXEC, 0o644)
        self.settle()
        os.ftruncate(self._fd, _SLOT * _SLOTS)
        os.fsync(self._fd)
        if fresh:
            sync_folder(folder)

    def advance(self, seq: int, full_hash: str) -> None:
        """The log has come this far. Returns when that is on disk."""
        self._write(msgspec.structs.replace(self.mark, seq=seq, hash=full_hash))

    def seal(self, digest: str | None) -> None:
        """Set the seal, or withdraw it. Returns when that is on disk."""
        if digest != self.mark.seal:
            self._write(msgspec.structs.replace(self.mark, seal=digest))

    def settle(self) -> None:
        """Write the present state into both slots."""
        for _ in range(_SLOTS):
            self._write(self.mark)

    def close(self) -> None:
        os.close(self._fd)

    def _write(self, mark: Mark) -> None:
        self.mark = msgspec.structs.replace(mark, turn=self.mark.turn + 1)
        os.pwrite(self._fd, _encode(self.mark), self.mark.turn % _SLOTS * _SLOT)


def sync_folder(folder: Path) -> None:
    """Make names that were created, renamed or removed in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
