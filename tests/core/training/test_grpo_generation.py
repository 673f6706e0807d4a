"""Who generates in GRPO, and with which part of the GPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoTokenizer
from trl import GRPOConfig  # pyright: ignore[reportPrivateImportUsage]

from core.errors import UsageError
from core.tasks import POCKET
from core.training import grpo
from core.training.spec import TrainSpec


def _bench(device: str) -> Any:
    return SimpleNamespace(device=device, tokenizer=AutoTokenizer.from_pretrained(POCKET / "addition" / "base"))


def test_vllm_lays_its_cache_out_for_the_prompts_and_gives_it_back_between_generations(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = TrainSpec(kind="grpo", model="m", data="d", max_completion_length=40)
    prompts = ["<|user|>1+1=<|end|><|assistant|>", "<|user|>1+1+1+1=<|end|><|assistant|>"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert grpo.generation(spec, _bench("cuda"), prompts) == {"use_vllm": False}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert grpo.generation(spec, _bench("cpu"), prompts) == {"use_vllm": False}
    chosen = grpo.generation(spec, _bench("cuda"), prompts)
    assert chosen["vllm_max_model_length"] == 3 + len("1+1+1+1=") + 40
    made = GRPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True, **chosen)
    assert (made.use_vllm, made.vllm_mode, made.vllm_enable_sleep_mode) == (True, "colocate", True)
    with pytest.raises(UsageError, match="vLLM was asked for"):
        grpo.generation(TrainSpec(kind="grpo", model="m", data="d", vllm=True), _bench("cpu"), prompts)
