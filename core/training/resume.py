"""Where an interrupted training goes on: the newest checkpoint in its folder that is whole, and whether it is over already.

A process that was killed, requeued or lost with its machine is started again with the same spec in the same folder. Light:
the host asks too.
"""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any, cast


def newest_checkpoint(folder: str | Path) -> Path | None:
    """The checkpoint of the highest train step in a job's folder that was written to its end; None without one.

    A job that is held in a sandbox has them one folder further down.
    """
    paths = [p for pattern in ("checkpoints", "held/checkpoints") for p in Path(folder).glob(f"{pattern}/checkpoint-*")]
    found = [(step, p) for p in paths if (step := _step(p)) is not None]
    return next((p for _, p in sorted(found, reverse=True) if is_whole(p)), None)


def is_whole(checkpoint: Path) -> bool:
    """Whether a process killed while it wrote, or a machine that lost its cache, left all of it.

    transformers writes trainer_state.json last; lengths are compared because a power cut keeps names and loses contents.
    """
    state = _read(checkpoint / "trainer_state.json")
    if state.get("global_step") != _step(checkpoint):
        return False
    weights = list(checkpoint.glob("*.safetensors"))
    shards = {str(name) for name in _read(checkpoint / "model.safetensors.index.json").get("weight_map", {}).values()}
    if not weights or not shards <= {w.name for w in weights} or not all(_is_whole_safetensors(w) for w in weights):
        return False
    return all(zipfile.is_zipfile(p) for p in (checkpoint / "optimizer.pt", checkpoint / "scheduler.pt"))


def is_over(folder: str | Path) -> bool:
    """Whether the training in a folder has said its result and left its model: only the word on its end is missing."""
    last: dict[str, Any] = {}
    try:
        with (Path(folder) / "metrics.jsonl").open("rb") as lines:
            for line in lines:
                last = _parsed(line) or last
    except OSError:
        return False
    return last.get("kind") == "result" and (Path(str(last.get("model"))) / "config.json").is_file()


def _step(checkpoint: Path) -> int | None:
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdigit() else None


def _is_whole_safetensors(path: Path) -> bool:
    """The header names the end of the last tensor: the file must reach exactly there."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > 100_000_000:  # the format's own limit of a header
                return False
            header = _parsed(file.read(length))
    except (OSError, struct.error):
        return False
    ends = [int(t["data_offsets"][1]) for name, t in header.items() if name != "__metadata__"]
    return bool(ends) and path.stat().st_size == 8 + length + max(ends)


def _read(path: Path) -> dict[str, Any]:
    try:
        return _parsed(path.read_bytes())
    except OSError:
        return {}


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}
