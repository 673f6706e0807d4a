"""What the data part says about data: frozen structs that become event payloads and observations of the brain.

Texts are short on purpose (a brain reads them): numbers first, at most five examples a concern.
"""

from __future__ import annotations

import msgspec


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One row to look at."""

    file: str
    line: int
    """Line (jsonl, csv) or record number (json, parquet), from 1."""
    text: str
    note: str = ""


class Concern(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that may be wrong with the data."""

    name: str
    score: float
    """0: nothing found, 1: unusable as it is. Grows with the share of rows concerned, faster for grave concerns."""
    count: int
    """Rows concerned."""
    checked: int
    """Rows looked at (fewer than all where a check samples)."""
    text: str
    examples: tuple[Example, ...] = ()


class ColumnInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One column as found."""

    name: str
    type: str
    nulls: int
    """Missing values, the key's absence included."""
    empty: int
    """Empty or blank texts, empty lists."""
    distinct: int
    """Approximate number of different values."""


class Roles(msgspec.Struct, frozen=True, kw_only=True):
    """Which column plays which part. None: there is no such column."""

    prompt: tuple[str, ...] = ()
    """Joined by a blank line when there are several (instruction and input)."""
    answer: str | None = None
    messages: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    text: str | None = None
    """Running text without a question."""
    system: str | None = None
    split: str | None = None
    licence: str | None = None
    reason: str = ""
    sure: bool = True
    """False when the parts were guessed from the order of the columns, not from their names."""

    @property
    def kind(self) -> str:
        """preference, messages, answers, prompts, text or unknown."""
        if self.chosen and self.rejected:
            return "preference"
        if self.messages:
            return "messages"
        if self.prompt and self.answer:
            return "answers"
        if self.prompt:
            return "prompts"
        return "text" if self.text else "unknown"


class SourceFile(msgspec.Struct, frozen=True, kw_only=True):
    """One input file."""

    path: str
    format: str
    rows: int
    broken_lines: int = 0
    """Lines that are not a record."""
    broken_at: tuple[int, ...] = ()
    """The first five of them."""
    blank_lines: int = 0
    notes: tuple[str, ...] = ()
    """What had to be repaired to read it (encoding, line ends)."""


class Lengths(msgspec.Struct, frozen=True, kw_only=True):
    """Distribution of a length."""

    unit: str
    """characters or tokens"""
    checked: int
    min: int
    p50: int
    p95: int
    max: int
    mean: float


class AnswerShape(msgspec.Struct, frozen=True, kw_only=True):
    """The form most answers have."""

    name: str
    """integer, decimal, choice, json, ... or mixed"""
    share: float
    keys: tuple[str, ...] = ()
    """For JSON objects: the keys nearly all have."""
    classes: dict[str, int] = {}
    """Answers by value, the most frequent first, when there are few different ones; else empty."""
    checked: int = 0
    """Rows looked at: all, or evenly spread ones of large data in free text."""


class SampleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row to look at, drawn by the hash of its place."""

    file: str
    line: int
    prompt: str
    answer: str


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """All that `inspect` found."""

    path: str
    rows: int
    files: tuple[SourceFile, ...]
    columns: tuple[ColumnInfo, ...]
    roles: Roles
    splits: dict[str, int]
    lengths: dict[str, Lengths]
    """prompt, answer (characters); prompt_tokens, answer_tokens where a tokenizer was given."""
    languages: dict[str, float]
    """Share of rows by script, or by language where it can be told."""
    shape: AnswerShape
    concerns: tuple[Concern, ...]
    """The gravest first."""
    samples: tuple[SampleRow, ...]
    licence: str | None = None
    unchecked: tuple[str, ...] = ()
    """Checks that could not be made, and why."""
    sampled: tuple[str, ...] = ()
    """Checks that looked at evenly spread rows only: which, and how many of how many."""
    uncompared: int = 0
    """Pairs of a row and an evaluation sample that the check for contamination left out; said in `unchecked`, too."""

    def concern(self, name: str) -> Concern | None:
        """The concern of that name, if it was found."""
        return next((c for c in self.concerns if c.name == name), None)


class VerifierSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a program can tell whether an answer is right or well formed. One of the kinds:

    regex (`pattern` must match the whole answer), json (an object with `keys`), number, choice (one of `values`),
    python (`function(prompt, answer) -> bool | float | None` in the file `path`; run in its own process).
    """

    kind: str
    pattern: str = ""
    keys: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    path: str = ""
    function: str = "verify"
    timeout_s: float = 60.0
