# pyright: basic
"""Loading the base and saving the result so that any evaluation can load it.

The saved folder holds full weights (an adapter is merged), config and generation config written by transformers, and
the base's own tokenizer files copied byte for byte: a newer transformers writes tokenizer files that the packages of
the evaluation may not read.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from core.errors import JobError, NotFound, UsageError
from core.evaluation.generate import stop_ids
from core.evaluation.prompting import Prompting
from core.hub.transfer import or_without_xet
from core.training.examples import template_text
from core.training.spec import LoraSpec, TrainSpec
from core.training.trust import Risk, loading

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx", ".index.json")
_WRITTEN = ("config.json", "generation_config.json", "adapter_config.json", "README.md", ".gitattributes")
"""Not copied from the base: weights and what transformers writes itself."""


def resolve_model(model: str) -> Path:
    """The local folder of a model: a path, or a Hub id (downloaded if need be)."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder.resolve()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        ignored = ["*.bin", "*.pth", "*.gguf", "original/*"]
        return Path(or_without_xet(lambda: snapshot_download(model, ignore_patterns=ignored)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise NotFound(
            f"cannot get the model: {error}", where=model, next="Download it first, or check the id."
        ) from error


def pick_device(device: str) -> str:
    """cuda if there is one and nothing else was asked."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("no GPU that torch can use", where="device", next="Use device `auto` or `cpu`.")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def load_for_training(spec: TrainSpec, folder: Path, device: str) -> tuple[Any, Any]:
    """(model, tokenizer), the pad token filled in and every stop token declared in the generation config.

    Full weights are trained in float32 (bfloat16 weights lose updates below 1/256 of a weight); under an adapter the
    base is frozen and may be bfloat16 on a GPU.
    """
    dtype = torch.bfloat16 if device == "cuda" and spec.lora else torch.float32
    flags = loading(folder, spec.trust)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", **flags)
    except (OSError, ValueError, KeyError) as error:
        raise NotFound(f"no usable tokenizer: {error}", where=str(folder), next="Put tokenizer.json there.") from error
    quantized: dict[str, Any] = {}
    if spec.lora and spec.lora.quantize:
        here = torch.cuda.current_device() if device == "cuda" else device
        quantized = {"quantization_config": quantization(spec.lora, device), "device_map": {"": here}}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **attention(dtype, device), **quantized, **flags)
    if quantized:
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    rows = int(model.get_input_embeddings().weight.shape[0])  # pyright: ignore
    if len(tokenizer) > rows:
        raise UsageError(
            f"the tokenizer has {len(tokenizer)} tokens, the model {rows}",
            where=str(folder),
            next="They do not belong together.",
        )
    stops = stop_ids(model, tokenizer, template_text(tokenizer, spec.prompting))
    if tokenizer.pad_token_id is None:
        if not stops:
            raise UsageError("no pad and no end token", where=str(folder), next="Set eos_token in the tokenizer.")
        tokenizer.pad_token_id = stops[0]
    if stops:
        model.generation_config.eos_token_id = stops if len(stops) > 1 else stops[0]
        if tokenizer.eos_token_id is None:
            tokenizer.eos_token_id = stops[0]
    return model, tokenizer


def attention(dtype: torch.dtype, device: str) -> dict[str, str]:
    """Flash attention's own kernels (2307.08691) where they can run; else torch's, which pick theirs by the device.

    They take half precision only, so weights that train in float32 do without: the development score generates outside
    of autocast.
    """
    fits = device == "cuda" and dtype == torch.bfloat16 and importlib.util.find_spec("flash_attn") is not None
    return {"attn_implementation": "flash_attention_2"} if fits else {}


def quantization(lora: LoraSpec, device: str) -> Any:
    """QLoRA's settings (2305.14314, section 3). Raises UsageError where bitsandbytes cannot run."""
    if device != "cuda" or importlib.util.find_spec("bitsandbytes") is None:
        what = "QLoRA needs a GPU and bitsandbytes"
        raise UsageError(what, where="lora.quantize", next="pip install bitsandbytes, or leave `quantize` out.")
    from transformers import BitsAndBytesConfig

    if lora.quantize == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def merged_into_full_weights(base: Path, adapter: Path, generation_config: Any, trust: tuple[Risk, ...] = ()) -> Any:
    """The adapter over the base's own weights: merging into quantised ones would keep their rounding."""
    from peft import PeftModel

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16, **loading(base, trust))
    merged: Any = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    merged.generation_config = generation_config
    return merged


def lora_config(lora: LoraSpec | None) -> Any:
    """PEFT's configuration, or None for full weights."""
    if lora is None:
        return None
    from peft import LoraConfig

    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    return LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM"
    )


def save_model(model, base: Path, output: Path, prompting: Prompting | None = None, **generation: Any) -> Path:
    """Save `model` (an adapter is merged first) with the base's tokenizer files. Complete or not there at all.

    `generation`: values for generation_config.json. `output` is replaced if it exists.
    """
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    stops = model.generation_config.eos_token_id
    model.generation_config = (
        GenerationConfig()
    )  # transformers refuses to save contradictory ones; ours is written below
    model.save_pretrained(partial)
    copy_tokenizer(base, partial, prompting)
    write_generation_config(base, partial, {"eos_token_id": stops} | generation)
    if not any(partial.glob("*.safetensors")):
        raise JobError("no weights were written", where=str(partial), next="Check the disk.")
    shutil.rmtree(output, ignore_errors=True)
    os.replace(partial, output)
    return output


def copy_tokenizer(base: Path, target: Path, prompting: Prompting | None = None) -> None:
    """The base's tokenizer files as they are (real files, no links), with the template the model was trained for."""
    for file in sorted(base.iterdir()):
        if file.is_file() and file.name not in _WRITTEN and not file.name.endswith(_WEIGHTS):
            shutil.copyfile(file, target / file.name)
    if prompting is not None and prompting.format == "chat" and prompting.template_path:
        shutil.copyfile(prompting.template_path, target / "chat_template.jinja")


def write_generation_config(base: Path, target: Path, values: dict[str, Any]) -> None:
    """generation_config.json: the base's, with `values` over it; None removes a key.

    Written as JSON and not by transformers, which rejects `temperature: 0.0` beside `do_sample: false`. Both are
    wanted: vLLM reads only the first, transformers only the second.
    """
    source = base / "generation_config.json"
    config = json.loads(source.read_text(encoding="utf-8")) if source.is_file() else {}
    config |= values
    text = json.dumps({k: v for k, v in config.items() if v is not None}, indent=2)
    (target / "generation_config.json").write_text(text + "\n", encoding="utf-8")
