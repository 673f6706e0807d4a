"""Secrets never reach the log: values of secret-looking environment variables first, then well-known token shapes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

_NAMES = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL)", re.IGNORECASE)
_SHAPES = re.compile(
    rb"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|ghp_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}"
    rb"|xox[abpr]-[A-Za-z0-9-]{10,}|AKIA[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{30,})"
)
_MASK = b"[redacted]"


def secret_names(environment: Mapping[str, str]) -> set[str]:
    """Variables that hold a secret, by their names: not paths of key files, not flags (TOKENIZERS_PARALLELISM=false)."""
    return {k for k, v in environment.items() if _NAMES.search(k) and len(v) >= 8 and not v.startswith("/")}


class Redactor:
    """Masks secrets in encoded payloads. Values are read once, when the host starts."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        env = dict(os.environ) if environment is None else environment
        values = {env[name] for name in secret_names(env)}
        # longest first: a secret that contains another must not leave its tail behind
        plain = [v.encode() for v in sorted(values, key=len, reverse=True)]
        # payloads are JSON: a value with quotes, backslashes or line breaks stands there escaped
        escaped = [msgspec.json.encode(v)[1:-1] for v in values]
        self._values = [*plain, *(v for v in escaped if v not in plain)]

    @property
    def longest(self) -> int:
        """Bytes in which every secret fits: a piece cut from a stream is looked at together with so many of the next."""
        return max([StreamRedactor.HOLD, *map(len, self._values)])

    def __call__(self, data: bytes) -> bytes:
        for value in self._values:
            if value in data:
                data = data.replace(value, _MASK)
        return _SHAPES.sub(_MASK, data)

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """Where secrets stand, from the last to the first."""
        found = [m.span() for m in _SHAPES.finditer(data)]
        for value in self._values:
            at = data.find(value)
            while at >= 0:
                found.append((at, at + len(value)))
                at = data.find(value, at + 1)
        return sorted(found, reverse=True)

    def found_in(self, path: Path) -> bool:
        """Whether a file holds a secret, at whatever size and wherever it lies."""
        most, tail = self.longest, b""
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                data = tail + piece
                if self(data) != data:
                    return True
                tail = data[-most:]
        return False

    def text(self, text: str) -> str:
        """As for encoded payloads, for plain text."""
        data = text.encode("utf-8", "surrogatepass")
        masked = self(data)
        return text if masked == data else masked.decode("utf-8", "surrogatepass")


class StreamRedactor:
    """Masks secrets in output that comes in pieces, also one that is split between two of them.

    What could be the beginning of a secret is held back until the next piece shows what it is; `rest` gives the end.
    """

    HOLD = 512
    """Bytes held back at most: longer than any token shape and than nearly every value."""

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact
        self._held = b""
        self._hold = redact.longest

    def feed(self, piece: bytes) -> bytes:
        """What can be shown now."""
        raw = self._held + piece
        cut = max(0, len(raw) - self._hold)
        for start, end in self._redact.spans(raw):
            if start < cut < end:
                cut = start  # a secret that reaches into what is held back is held back whole
        self._held = raw[cut:]
        return self._redact(raw[:cut])

    def rest(self) -> bytes:
        data, self._held = self._redact(self._held), b""
        return data
