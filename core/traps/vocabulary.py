"""A model folder with more rows in its embedding than its tokenizer has tokens, as models have that share one with larger
sisters. Works on the bytes of the safetensors file, so it needs neither torch nor a type that numpy lacks (bfloat16)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

EMBEDDING = "model.embed_tokens.weight"


def pad_vocabulary(base: Path, size: int) -> None:
    """Grow the embedding of the model in `base` (tied, one file) to `size` rows, in place. New rows are copies of the pad
    token's, which is never an answer, so their logits are as low as its own."""
    config: dict[str, Any] = json.loads((base / "config.json").read_text())
    path = base / "model.safetensors"
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8:start])
    tensors = {name: data[start:][slice(*t["data_offsets"])] for name, t in header.items() if name != "__metadata__"}
    rows, hidden = header[EMBEDDING]["shape"]
    width = len(tensors[EMBEDDING]) // rows
    pad = tensors[EMBEDDING][config["pad_token_id"] * width :][:width]
    tensors[EMBEDDING] += pad * (size - rows)
    header[EMBEDDING]["shape"] = [size, hidden]
    _write(path, header, tensors)
    (base / "config.json").write_text(json.dumps(config | {"vocab_size": size}, indent=2) + "\n")


def _write(path: Path, header: dict[str, Any], tensors: dict[str, bytes]) -> None:
    at = 0
    for name, raw in tensors.items():
        header[name]["data_offsets"] = [at, at + len(raw)]
        at += len(raw)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as out:
        out.write(len(head).to_bytes(8, "little") + head)
        for raw in tensors.values():
            out.write(raw)
