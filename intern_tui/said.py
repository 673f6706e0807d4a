"""What a person said to runs before, for the prompt's arrows: one JSON text a line, beside the runs."""

from __future__ import annotations

from pathlib import Path

import msgspec

from core import home

KEPT = 500


def _path() -> Path:
    return home.home() / "said.jsonl"


def load() -> list[str]:
    """The last texts, oldest first."""
    try:
        lines = _path().read_bytes().splitlines()[-KEPT:]
    except OSError:
        return []
    texts: list[str] = []
    for line in lines:
        try:
            texts.append(msgspec.json.decode(line, type=str))
        except msgspec.MsgspecError:
            continue
    return texts


def add(text: str) -> None:
    """Append one. A home that cannot be written costs the memory of it, not the command."""
    try:
        _path().parent.mkdir(parents=True, exist_ok=True)
        with _path().open("ab") as file:
            file.write(msgspec.json.encode(text) + b"\n")
    except OSError:
        return
