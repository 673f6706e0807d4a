"""QLoRA, flash attention and packing up to the wire: what transformers and PEFT would be asked for on a GPU, as their own objects check it."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from core.errors import UsageError
from core.training import model_files, recipe, sft
from core.training.model_files import attention, load_for_training, lora_config, quantization
from core.training.spec import LoraSpec, TrainSpec
from tests.core.training.conftest import make_model, make_tokenizer, write_sums


class Reached(Exception):
    """The call that would load the base."""


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine with bitsandbytes whose GPU 3 is this process's; records what the base is loaded with."""
    module = types.ModuleType("bitsandbytes")
    module.__spec__ = types.SimpleNamespace(name="bitsandbytes")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "bitsandbytes", module)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    asked: dict[str, Any] = {}

    def load(folder: Path, **given: Any) -> None:
        asked.update(given)
        raise Reached

    monkeypatch.setattr(model_files.AutoModelForCausalLM, "from_pretrained", load)
    return asked


def test_the_base_is_loaded_in_four_bits_on_this_processs_gpu(tmp_path: Path, gpu: dict[str, Any]) -> None:
    make_tokenizer().save_pretrained(tmp_path)
    spec = TrainSpec(kind="sft", model=str(tmp_path), data="d", lora=LoraSpec(quantize="nf4"))
    with pytest.raises(Reached):
        load_for_training(spec, tmp_path, "cuda")
    config = gpu["quantization_config"]
    assert (config.load_in_4bit, config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant) == (True, "nf4", True)
    assert config.bnb_4bit_compute_dtype == torch.bfloat16
    assert gpu["device_map"] == {"": 3}, "with several processes each holds its own copy"
    assert gpu["dtype"] == torch.bfloat16


def test_eight_bits(gpu: dict[str, Any]) -> None:
    assert quantization(LoraSpec(quantize="int8"), "cuda").load_in_8bit is True


def test_a_quantised_base_is_not_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Quantised:
        def to(self, device: str) -> None:
            raise ValueError("`.to` is not supported for 8-bit models")  # what transformers says

    base = make_model(tmp_path / "base", make_tokenizer())
    monkeypatch.setattr(recipe, "load_for_training", lambda spec, folder, device: (Quantised(), None))
    spec = TrainSpec(kind="sft", model=str(base), data=str(write_sums(tmp_path / "data")), lora=LoraSpec(quantize="int8"), device="cpu")  # fmt: skip
    assert isinstance(recipe.set_up(spec, tmp_path / "job").model, Quantised)


def test_flash_attention_only_where_its_kernels_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files.importlib.util, "find_spec", lambda name: name == "flash_attn")
    assert attention(torch.bfloat16, "cuda") == {"attn_implementation": "flash_attention_2"}
    assert attention(torch.float32, "cuda") == attention(torch.bfloat16, "cpu") == {}


def test_packing_keeps_every_token_and_where_each_row_ends(tmp_path: Path) -> None:
    spec = _packing(tmp_path)
    bench = recipe.set_up(spec, tmp_path / "job")
    with pytest.raises(UsageError, match="packing needs flash attention"):
        sft.examples(spec, bench)
    loose = sft.examples(msgspec.structs.replace(spec, packing=False), bench)
    bench.model.config._attn_implementation = "flash_attention_2"
    packed = sft.examples(spec, bench)
    assert len(packed) < len(loose) / 2
    assert sum(map(len, packed["input_ids"])) == sum(map(len, loose["input_ids"]))
    assert all(
        sum(lengths) == len(ids) for lengths, ids in zip(packed["seq_lengths"], packed["input_ids"], strict=True)
    )
    assert sft.settings(spec, bench).packing


def _packing(tmp_path: Path) -> TrainSpec:
    base = make_model(tmp_path / "base", make_tokenizer())
    data = write_sums(tmp_path / "data", largest=6)
    return TrainSpec(kind="sft", model=str(base), data=str(data), max_length=60, packing=True, device="cpu")


def test_the_adapter_is_the_one_the_spec_asks_for() -> None:
    config = lora_config(LoraSpec(r=8, alpha=16, dropout=0.1, targets=("q_proj", "v_proj")))
    assert (config.r, config.lora_alpha, config.lora_dropout) == (8, 16, 0.1)
    assert set(config.target_modules) == {"q_proj", "v_proj"}
    assert lora_config(None) is None
