"""Whose weights a model's are: does it descend from the base, or from another model of the same sizes?

A config.json says nothing here, because a base and its official instruct model share one. The direction of a model's weights
does: from the end of pretraining on it stays, through fine-tuning and reinforcement learning (2312.04828), while two models
that were trained apart have hardly anything in common. Compared are samples of the matrices both have under one name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from core.errors import NotFound
from core.evaluation.models import weight_files
from core.hub.cache import hub_cache

SAMPLED = 8192
"""Values of a matrix that are compared, from its middle: a model of a billion weights is looked at in a second or two."""
UNRELATED = 0.1
"""Cosine below which weights are no descendants. Models trained apart have about 0 (.007 and less among the pocket bases with
random starts of their own). Fine-tuned large models stay above .9, but a tiny one that was trained long at a high rate has
been seen at .64, and refusing the best model of a run is the worse mistake."""
NEARER = 0.5
"""Of the distance from the base: a model this much nearer to another one descends from that."""
SAME = 1e-3
"""Relative distance below which two folders hold one model (another copy, another number format)."""
_ADAPTER = (".lora_A.", ".lora_B.", ".base_layer.")
_TYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "BF16": "<u2"}

Weights = dict[str, "np.ndarray[Any, np.dtype[np.float32]]"]


def objections(model: Path, base: Path) -> list[str]:
    """Why the weights at `model` are not the base's, or not whole; empty where nothing speaks against them.

    Raises NotFound for weights that are cut off or missing. Models that share no matrix by name are not judged.
    """
    ours, theirs = samples(model), samples(base)
    adapters = [name for name in names(model) if any(sign in name for sign in _ADAPTER)]
    if adapters:
        return [f"an adapter that is not merged ({adapters[0]})"]
    near = _cosine(ours, theirs)
    if near is not None and near < UNRELATED:
        return [f"its weights are not the base's (cosine {near:.2f})"]
    moved = _distance(ours, theirs)
    if not moved:
        return []
    for other in _siblings(base):
        weights = samples(other)
        apart, beside = _distance(weights, theirs), _distance(ours, weights)
        if apart and beside is not None and apart > SAME and beside < NEARER * moved:
            return [f"its weights are those of {_called(other)} ({beside:.3f} from it, {moved:.3f} from the base)"]
    return []


def names(folder: Path) -> list[str]:
    """All tensors of a model."""
    return [name for file in weight_files(folder) for name, _ in _header(file)[1]]


def samples(folder: Path) -> Weights:
    """Some values of each matrix, float32 [at most SAMPLED], by name."""
    found: Weights = {}
    for file in weight_files(folder):
        start, tensors = _header(file)
        with file.open("rb") as opened:
            for name, about in tensors:
                kind, shape = _TYPES.get(str(about["dtype"])), about["shape"]
                if kind is None or len(shape) < 2:
                    continue
                size, count = np.dtype(kind).itemsize, math.prod(shape)
                taken = min(count, SAMPLED)
                opened.seek(start + int(about["data_offsets"][0]) + (count - taken) // 2 * size)
                values = np.frombuffer(opened.read(taken * size), dtype=kind)
                if about["dtype"] == "BF16":  # the upper half of a float32
                    values = (values.astype("<u4") << 16).view("<f4")
                found[name] = values.astype(np.float32)
    return found


def _header(file: Path) -> tuple[int, list[tuple[str, dict[str, Any]]]]:
    """Where a safetensors file's data begin, and its tensors."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        try:
            header = msgspec.json.decode(opened.read(length), type=dict[str, dict[str, Any]])
        except (msgspec.DecodeError, MemoryError, OverflowError) as error:
            raise NotFound("no safetensors file", where=str(file), next="Save the model again.") from error
    return 8 + length, [(name, about) for name, about in header.items() if name != "__metadata__"]


def _both(a: Weights, b: Weights) -> Iterator[tuple[Any, Any]]:
    for name in sorted(a.keys() & b.keys()):
        if a[name].shape == b[name].shape:
            yield a[name].astype(np.float64), b[name].astype(np.float64)


def _cosine(a: Weights, b: Weights) -> float | None:
    dot = aa = bb = 0.0
    for x, y in _both(a, b):
        dot, aa, bb = dot + float(x @ y), aa + float(x @ x), bb + float(y @ y)
    return dot / math.sqrt(aa * bb) if aa > 0 and bb > 0 else None


def _distance(a: Weights, b: Weights) -> float | None:
    """|a - b| / |b|; None where nothing can be compared."""
    apart = size = 0.0
    for x, y in _both(a, b):
        apart, size = apart + float((x - y) @ (x - y)), size + float(y @ y)
    return math.sqrt(apart / size) if size > 0 else None


def _siblings(base: Path) -> Iterator[Path]:
    """Models of the Hub's cache with the base's architecture and sizes."""
    wanted = _sizes(base)
    for config in sorted(hub_cache().glob("models--*/snapshots/*/config.json")):
        folder = config.parent
        if folder.resolve() != base.resolve() and _sizes(folder) == wanted and any(folder.glob("*.safetensors")):
            try:
                weight_files(folder)
            except NotFound:
                continue  # a download that was not finished
            yield folder


def _sizes(folder: Path) -> tuple[Any, ...]:
    try:
        config = msgspec.json.decode((folder / "config.json").read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return ()
    inner = config.get("text_config") or config
    return tuple(inner.get(name) for name in ("model_type", "hidden_size", "num_hidden_layers", "intermediate_size"))


def _called(snapshot: Path) -> str:
    return snapshot.parents[1].name.removeprefix("models--").replace("--", "/")
