"""Every attempt of a synthesis, one line each, on disk before the next begins.

The ledger is the whole memory: after kill -9 the attempts in it are not made again, at most the one under way is.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from core.data.synthesis.plan import ScenarioCount, Spent, SynthesisSpec
from core.errors import Refused, ToolError


class Attempt(msgspec.Struct, kw_only=True, omit_defaults=True):
    i: int
    scenario: str
    prompt: str = ""
    answer: str = ""
    dropped: str = ""
    """Why it gave no row; empty for a row that is kept."""
    note: str = ""
    spent: Spent = msgspec.field(default_factory=Spent)
    by: str = ""
    """The call that made it."""


class _Withdrawn(msgspec.Struct, kw_only=True, tag_field="withdrawn", tag=True):
    i: int
    dropped: str


class Ledger:
    """Attempts in order. Use as a context manager; raises Refused for a ledger of another specification."""

    def __init__(self, folder: Path, spec: SynthesisSpec, source: str) -> None:
        self.attempts: list[Attempt] = []
        self._path = folder / "attempts.jsonl"
        self._bind(folder, spec, source)
        good = self._read()
        self._stream = self._path.open("ab")
        self._stream.truncate(good)  # a torn last line of a process that was killed

    def _bind(self, folder: Path, spec: SynthesisSpec, source: str) -> None:
        """The budget may be raised on resuming; anything else would mix two data sets."""
        body = msgspec.json.encode([msgspec.structs.replace(spec, max_usd=None), source], order="sorted")
        digest = hashlib.sha256(body).hexdigest()
        known = folder / "spec.sha256"
        if known.exists() and known.read_text() != digest:
            raise Refused(
                "Another synthesis was begun here",
                where=str(folder),
                next="Name another folder, or delete this one first",
            )
        partial = folder / "spec.sha256.partial"
        partial.write_text(digest)
        os.replace(partial, known)

    def _read(self) -> int:
        good = 0
        data = self._path.read_bytes() if self._path.exists() else b""
        for number, line in enumerate(data.splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                break
            try:
                if line.startswith(b'{"withdrawn"'):
                    gone = msgspec.json.decode(line, type=_Withdrawn)
                    self.attempts[gone.i].dropped = gone.dropped
                else:
                    self.attempts.append(msgspec.json.decode(line, type=Attempt))
            except (msgspec.DecodeError, IndexError) as error:
                raise ToolError(
                    f"Line {number} of the ledger cannot be read: {error}",
                    where=str(self._path),
                    next="Delete the folder and begin anew",
                ) from error
            good += len(line)
        return good

    def add(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        self._write(attempt)

    def withdraw(self, i: int, reason: str) -> None:
        """A kept row that turned out not to do (a near duplicate, a leak)."""
        self.attempts[i].dropped = reason
        self._write(_Withdrawn(i=i, dropped=reason))

    def _write(self, record: msgspec.Struct) -> None:
        self._stream.write(msgspec.json.encode(record) + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())

    @property
    def kept(self) -> list[Attempt]:
        return [a for a in self.attempts if not a.dropped]

    def spent(self, by: str | None = None) -> Spent:
        """What all attempts took, or those of one call."""
        total = Spent()
        for a in self.attempts:
            if by is None or a.by == by:
                total.calls += a.spent.calls
                total.tokens_in += a.spent.tokens_in
                total.tokens_out += a.spent.tokens_out
                total.usd += a.spent.usd
        return total

    def counts(self, spec: SynthesisSpec, rows: dict[str, int] | None = None) -> tuple[ScenarioCount, ...]:
        """By scenario: wanted, tried, kept."""
        tried = [a.scenario for a in self.attempts]
        kept = [a.scenario for a in self.kept]
        return tuple(
            ScenarioCount(
                name=s.name,
                quota=s.quota,
                attempts=tried.count(s.name),
                kept=kept.count(s.name),
                rows=(rows or {}).get(s.name, 0),
            )
            for s in spec.scenarios
        )

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
