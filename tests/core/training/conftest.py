"""A laboratory: a real Qwen3 of 0.2 M parameters with a character tokenizer and a chat template, and sums to learn."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

import pytest

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<u>{{ m['content'] }}<a>"
    "{% else %}{{ m['content'] }}<end>{% endif %}{% endfor %}"
)


class Lab(NamedTuple):
    base: Path
    """Random weights."""
    trained: Path
    """After a few steps of SFT: answers end, some are right."""
    data: Path
    job: Path
    """The folder of the SFT job that made `trained`."""


def make_tokenizer(eos: str | None = "<end>", pad: str | None = "<pad>"):
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = ["<pad>", "<u>", "<a>", "<end>", "<eos>", *"0123456789+=a"]
    inner = Tokenizer(models.WordLevel({t: i for i, t in enumerate(tokens)}))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    inner.decoder = decoders.Fuse()
    special = {k: v for k, v in {"eos_token": eos, "pad_token": pad}.items() if v}
    others = [t for t in tokens[:5] if t not in special.values()]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, additional_special_tokens=others, **special)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_model(folder: Path, tokenizer, architecture: str = "qwen3") -> Path:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {
        "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 4, "head_dim": 16, "max_position_embeddings": 64, "tie_word_embeddings": True,
    }  # fmt: skip
    if architecture == "gpt2":
        sizes = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64}
    torch.manual_seed(0)
    ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = AutoConfig.for_model(architecture, vocab_size=len(tokenizer), **sizes, **ids)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_sums(folder: Path, largest: int = 20) -> Path:
    """Sums below `largest`; every fifth (by the hash of its prompt) is for development."""
    folder.mkdir(parents=True)
    parts: dict[str, list[str]] = {"train": [], "dev": []}
    for a in range(largest):
        for b in range(largest):
            prompt = f"{a}+{b}="
            digest = hashlib.sha256(prompt.encode()).hexdigest()[:16]
            row = json.dumps({"id": digest, "prompt": prompt, "answer": str(a + b)}) + "\n"
            parts["dev" if int(digest, 16) % 5 == 0 else "train"].append(row)
    for name, rows in parts.items():
        (folder / f"{name}.jsonl").write_text("".join(rows))
    return folder


def read_stream(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def series(folder: Path, name: str) -> list[float]:
    rows = [r for r in read_stream(folder) if r["kind"] == "metric"]
    return [r["values"][name] for r in rows if name in r["values"]]


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Lab:
    """The base, the data, and a job that ran as users' jobs do: by the supervisor, in its own process."""
    from core.compute.local import LocalCompute
    from core.compute.spec import JobSpec
    from core.training.spec import TrainSpec, write_spec

    root = tmp_path_factory.mktemp("lab")
    base = make_model(root / "base", make_tokenizer())
    data = write_sums(root / "data")
    job = root / "jobs" / "sft"
    spec = TrainSpec(
        kind="sft", model=str(base), data=str(data), lr=5e-3, max_steps=90, batch_size=64, threads=1, eval_samples=40,
        max_completion_length=6, trackio_project="lab", scheduler="linear",
    )  # fmt: skip
    write_spec(job, spec)
    compute = LocalCompute(root / "jobs")
    compute.submit(JobSpec(job="sft", kind="sft", effect_id="lab", folder=str(job), time_limit_s=900))
    status = compute.wait("sft", 900)  # 20 s; on a busy machine the imports alone were seen to take 200
    assert status.state == "done", compute.logs("sft").text[-3000:]
    return Lab(base, job / "model", data, job)
