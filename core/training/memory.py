"""How much memory a training needs, by its terms, from a spec and the model's files alone.

An estimate for "does it fit": weights, gradients and optimiser are exact; activations and logits follow the usual count for
decoder-only transformers (2205.05198, section 4), within a factor of about 1.5. Light: no torch.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, cast

import msgspec

from core.training.spec import TrainSpec

GB = 1 << 30


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes by term, the largest first."""

    terms: dict[str, int]
    parameters: int

    @property
    def total(self) -> int:
        return sum(self.terms.values())

    def __str__(self) -> str:
        largest = ", ".join(f"{name} {size / GB:.2f}" for name, size in list(self.terms.items())[:3])
        return f"about {self.total / GB:.2f} GB ({largest})"


def count_parameters(folder: Path) -> int:
    """Exact, from the headers of the safetensors files; 0 where there are none."""
    total = 0
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            if size > 100 << 20:
                return 0
            header: dict[str, Any] = json.loads(stream.read(size))
        total += sum(math.prod(t["shape"]) for name, t in header.items() if name != "__metadata__")
    return total


def estimate(spec: TrainSpec, gpu: bool) -> Memory | None:
    """None where the model is not on this disk yet."""
    folder = Path(spec.model).expanduser()
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    config = config.get("text_config", config)
    count = count_parameters(folder)
    hidden, layers = int(config.get("hidden_size", 0) or 0), int(config.get("num_hidden_layers", 0) or 0)
    vocabulary = int(config.get("vocab_size", 0) or 0)
    if not (count and hidden and layers):
        return None
    width = 2 if gpu else 4
    trained = _trained(spec, hidden, layers, int(config.get("intermediate_size", 4 * hidden) or 4 * hidden), count)
    held = {"nf4": 0.55, "int8": 1.1}.get(spec.lora.quantize or "", width) if spec.lora else 4
    tokens = _tokens(spec)
    checkpointing = gpu if spec.gradient_checkpointing is None else spec.gradient_checkpointing
    per_layer = (2 if checkpointing else 34) * hidden * (width / 2)
    terms = {
        "weights": int(count * held),
        "gradients": 4 * trained,
        "optimiser (AdamW)": 8 * trained,
        "activations": int(tokens * (layers * per_layer + (34 * hidden * width / 2 if checkpointing else 0))),
        "logits": tokens * vocabulary * 4 * 3,  # in float32: the logits, their softmax, the gradient
    }
    anchored = (spec.kind == "dpo" or (spec.kind == "grpo" and spec.beta > 0)) and not spec.lora
    if anchored:
        terms["reference model"] = count * 4
    if spec.kind in ("grpo", "rejection"):
        terms["key-value cache"] = tokens * cache_bytes(config, width)
    return Memory(terms=dict(sorted(terms.items(), key=lambda t: -t[1])), parameters=count)


def cache_bytes(config: dict[str, Any], width: int) -> int:
    """Bytes of the key-value cache a token of one sequence takes: a key and a value of `width` bytes a number, for each layer and
    key-value head. `config`: the language model's part of config.json."""
    heads = int(config.get("num_attention_heads") or 1)
    head = int(config.get("head_dim") or int(config.get("hidden_size") or 0) // heads)
    return (
        int(config.get("num_hidden_layers") or 0) * 2 * int(config.get("num_key_value_heads") or heads) * head * width
    )


def _trained(spec: TrainSpec, hidden: int, layers: int, inner: int, count: int) -> int:
    """Parameters with a gradient: all, or an adapter on the seven linear layers of each block."""
    if spec.lora is None:
        return count
    return layers * spec.lora.r * (4 * 2 * hidden + 3 * (hidden + inner))


def _tokens(spec: TrainSpec) -> int:
    """Tokens in one forward pass. SFT rows are padded to the longest of a batch, which `max_length` bounds."""
    pairs = 2 if spec.kind in ("dpo", "reward") else 1
    length = spec.max_completion_length * 2 if spec.kind == "grpo" else min(spec.max_length, _longest(spec))
    return spec.batch_size * pairs * length


def _longest(spec: TrainSpec) -> int:
    """Tokens of the longest of the data's first rows that are trained on: longer ones than `max_length` are left out."""
    try:
        with (Path(spec.data) / "train.jsonl").open("rb") as lines:
            first = [line for line, _ in zip(lines, range(LOOKED_AT), strict=False)]
    except OSError:
        return spec.max_length
    kept = [n for n in _lengths(first, Path(spec.model).expanduser() / "tokenizer.json") if n <= spec.max_length]
    return max(max(kept, default=spec.max_length), 16)


LOOKED_AT = 2000
"""Rows: a long one in a hundred is met with certainty, and they are read in well under a second."""
TEMPLATE_TOKENS = 8
"""What a chat template adds to a row, about."""


def _lengths(lines: list[bytes], tokenizer: Path) -> list[int]:
    """Tokens of each row: the tokenizer's count; a third of the characters, generous for English, where there is none."""
    if not tokenizer.is_file():
        return [len(line) // 3 for line in lines]
    from tokenizers import Tokenizer

    texts = [
        str(row.get("prompt") or "") + max((str(row.get(n) or "") for n in ("answer", "chosen", "rejected")), key=len)
        for line in lines if (row := _row(line))
    ]  # fmt: skip
    counted = Tokenizer.from_file(str(tokenizer)).encode_batch(texts, add_special_tokens=False)
    return [len(one.ids) + TEMPLATE_TOKENS for one in counted]


def _row(line: bytes) -> dict[str, Any]:
    try:
        row: Any = json.loads(line)
    except ValueError:
        return {}
    return cast(dict[str, Any], row) if isinstance(row, dict) else {}
