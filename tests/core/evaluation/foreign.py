"""A task folder as somebody else would make it, and evaluate.py scripts that misbehave."""

from __future__ import annotations

import json
import struct
from pathlib import Path

HEAD = """
import argparse, json, os, pathlib, subprocess, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--model-path")
parser.add_argument("--limit", type=int, default=50)
parser.add_argument("--json-output-file")
"""
FLAGS = """
parser.add_argument("--split", choices=("dev", "test"), default="test")
parser.add_argument("--samples-output-file")
parser.add_argument("--templates-dir", default="templates/")
"""
PARSE = """
args = parser.parse_args()
out = pathlib.Path(args.json_output_file)
"""
GOOD = """out.write_text(json.dumps({"accuracy": 0.25, "stderr": 0.05}))"""


def write_task(folder: Path, body: str = GOOD, *, flags: str = "", toml: str | None = None) -> Path:
    """A folder with evaluate.py (its `body` runs after the arguments are parsed), a template and data."""
    (folder / "templates").mkdir(parents=True)
    (folder / "templates" / "qwen3.jinja").write_text("{{ messages }}")
    (folder / "data").mkdir()
    rows = [{"prompt": f"{i}?", "answer": str(i)} for i in range(5)]
    (folder / "data" / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (folder / "evaluate.py").write_text(HEAD + flags + PARSE + body + "\n")
    if toml is not None:
        (folder / "task.toml").write_text(toml)
    return folder


def write_model(folder: Path, *, tensors: dict[str, list[int]] | None = None) -> Path:
    """A model folder with every file `check_model` looks at; the weights are zeros in bfloat16."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        json.dumps({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "max_position_embeddings": 256})
    )
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "b"}))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "generation_config.json").write_text(json.dumps({"do_sample": True}))
    header, end = {}, 0
    for name, shape in (tensors or {"embed": [2, 8], "head": [8]}).items():
        size = 2
        for side in shape:
            size *= side
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
    return folder
