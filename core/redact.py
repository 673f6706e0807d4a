"""Secrets never reach the log: values of secret-looking environment variables first, then well-known token shapes."""

from __future__ import annotations

import os
import re

_NAMES = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL)", re.IGNORECASE)
_SHAPES = re.compile(
    rb"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|ghp_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}"
    rb"|xox[abpr]-[A-Za-z0-9-]{10,}|AKIA[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{30,})"
)
_MASK = b"[redacted]"


class Redactor:
    """Masks secrets in encoded payloads. Values are read once, when the host starts."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        env = dict(os.environ) if environment is None else environment
        values = {v for k, v in env.items() if _NAMES.search(k) and len(v) >= 8 and not v.startswith("/")}
        # longest first: a secret that contains another must not leave its tail behind
        self._values = [v.encode() for v in sorted(values, key=len, reverse=True)]

    def __call__(self, data: bytes) -> bytes:
        for value in self._values:
            if value in data:
                data = data.replace(value, _MASK)
        return _SHAPES.sub(_MASK, data)
