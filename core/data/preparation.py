"""What a preparation is asked for and what it answers: options, the account, and the rows on their way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Any, Literal

import msgspec

from core.data.schema import Roles
from core.data.text import clip


class PrepareOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to keep and how to write it."""

    format: Literal["answers", "messages", "preference", "prompts"] = "answers"
    dedup: bool = True
    """One row for each (prompt, answer)."""
    conflicts: Literal["majority", "drop", "keep"] = "majority"
    """Prompts with several short answers: keep the clear majority's rows, drop all, or keep all. No majority: all
    dropped."""
    drop_contaminated: bool = True
    drop_shape_mismatch: bool = False
    drop_near_duplicates: bool = False
    drop_empty: bool = True
    drop_broken_turns: bool = True
    strip_control: bool = True
    """Take invisible and control characters out of the texts."""
    max_tokens: int | None = None
    """Prompt and answer together; needs `tokenizer_json`."""
    tokenizer_json: str | None = None
    dev_rows: int | None = None
    """Rows of the development split; before `dev_fraction`. 0: none."""
    dev_fraction: float = 0.1
    weights: dict[str, float] = {}
    """Copies of a source's rows in train: 2.0 twice, 0.5 every second (by hash). By the name of its file, or of data that
    was prepared before."""
    upsample: dict[str, int] = {}
    """Copies of rows whose prompt or answer contains this text."""
    exclude: tuple[str, ...] = ()
    """Row ids to leave out, each an id or `id:answer` for one of several answers (a label audit's findings)."""
    splits: tuple[str, ...] = ("train", "dev", "all")
    """Splits of the source to take from; a source's test split is not training data."""
    seed: int = 0
    roles: Roles | None = None


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """One row that was left out."""

    reason: str
    file: str
    line: int
    id: str
    prompt: str
    answer: str
    note: str = ""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """The account of a preparation. read = sum of dropped + unique train rows + dev rows."""

    folder: str
    format: str
    read: int
    train: int
    """Rows written to train.jsonl, copies by weight and upsampling included."""
    dev: int
    unique_train: int
    dropped: dict[str, int]
    changed: dict[str, int]
    """Rows altered but kept, by reason."""
    digest: str
    """SHA-256 over train.jsonl and dev.jsonl."""
    notes: tuple[str, ...] = ()
    uncompared: int = 0
    """Pairs of a row and an evaluation sample that the check for contamination left out; said in `notes`, too."""


class Row(msgspec.Struct):
    n: int
    source: int
    line: int
    id: str
    prompt: str
    answer: str
    turns: list[dict[str, Any]] | None
    rejected: str | None
    system: str | None
    copies: int = 1


class Account:
    """Writes each dropped row as it falls, and counts by reason."""

    def __init__(self, stream: IO[bytes], names: Sequence[str]) -> None:
        self.counts: dict[str, int] = {}
        self._stream = stream
        self._names = names

    def drop(self, row: Row, reason: str, note: str = "") -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        record = Dropped(
            reason=reason, file=self._names[row.source], line=row.line, id=row.id, prompt=clip(row.prompt, 200),
            answer=clip(row.answer, 200), note=note,
        )  # fmt: skip
        self._stream.write(msgspec.json.encode(record) + b"\n")
