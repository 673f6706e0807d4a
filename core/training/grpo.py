# pyright: basic
"""GRPO (2402.03300, with DAPO's loss 2503.14476): sample groups of answers, reward them, push towards the better ones.

    python -P core/training/grpo.py <folder>/spec.json

reads a `TrainSpec`, streams to metrics.jsonl beside it and leaves a complete model in `model/`.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer  # pyright: ignore[reportPrivateImportUsage]

from core.errors import UsageError
from core.evaluation.prompting import render
from core.training.examples import read_rows
from core.training.model_files import lora_config
from core.training.recipe import Bench, by_hand, common_settings, make_callback, run, set_up
from core.training.reward_trial import try_rewards
from core.training.rewards import build_rewards
from core.training.spec import TrainSpec, read_train_spec


class RenderedPrompts(GRPOTrainer):
    """GRPO on prompts that are rendered already: the tokenizer adds nothing, so no start token comes twice."""

    def _tokenize_prompts(self, prompts):
        tokenizer: Any = self.processing_class
        ids = tokenizer(prompts, add_special_tokens=False, return_attention_mask=False).input_ids
        return ids, None, {}


def main(spec_path: str) -> None:
    """Run the job whose spec is at `spec_path`."""
    spec = read_train_spec(spec_path)
    bench = set_up(spec, Path(spec_path).resolve().parent)
    callback = make_callback(bench)
    functions: list[Any]
    functions, weights = build_rewards(spec)
    if spec.check_rewards and not bench.resume:
        try_rewards(bench, functions, weights)
    data = prompts(spec, bench)
    trainer = RenderedPrompts(
        model=bench.model,
        args=settings(spec, bench, weights, data["prompt"]),
        reward_funcs=functions,
        train_dataset=data,
        processing_class=bench.tokenizer,
        peft_config=lora_config(spec.lora),
        callbacks=[callback],
    )
    run(bench, trainer, callback)


def settings(spec: TrainSpec, bench: Bench, weights: list[float], prompts: Sequence[str]) -> GRPOConfig:
    """TRL's configuration for these rendered prompts."""
    return GRPOConfig(
        **common_settings(bench),
        num_generations=spec.num_generations,
        max_completion_length=spec.max_completion_length,
        temperature=spec.temperature,
        beta=spec.beta,
        epsilon=spec.epsilon,
        epsilon_high=spec.epsilon_high,
        loss_type=spec.loss_type,
        scale_rewards=spec.scale_rewards,
        mask_truncated_completions=spec.mask_truncated,
        reward_weights=weights,
        **generation(spec, bench, prompts),
    )


def generation(spec: TrainSpec, bench: Bench, prompts: Sequence[str]) -> dict[str, Any]:
    """Who generates. vLLM shares the GPU with the training: it gives its memory back between two generations, and its cache
    is laid out for these prompts and completions and not for the longest text the model could take."""
    if not uses_vllm(spec, bench.device):
        return {"use_vllm": False}
    longest = max(len(ids) for ids in bench.tokenizer(list(prompts), add_special_tokens=False).input_ids)
    return {
        "use_vllm": True, "vllm_mode": "colocate", "vllm_enable_sleep_mode": True,
        "vllm_max_model_length": longest + spec.max_completion_length,
    }  # fmt: skip


def uses_vllm(spec: TrainSpec, device: str) -> bool:
    """vLLM generates many times faster on a GPU; used where it is installed unless the spec says no."""
    installed = importlib.util.find_spec("vllm") is not None
    if spec.vllm and not (installed and device == "cuda"):
        raise UsageError("vLLM was asked for but cannot run here", where="vllm", next="Install it, or drop the field.")
    return device == "cuda" and installed and spec.vllm is not False


def prompts(spec: TrainSpec, bench: Bench) -> Dataset:
    """Rendered prompts with their answers for the reward functions."""
    rows = list(read_rows(Path(spec.data) / "train.jsonl"))
    if not rows:
        raise UsageError("train.jsonl has no rows", where=spec.data, next="Prepare the data again.")
    rendered = [render(bench.tokenizer, spec.prompting, row.prompt) for row in rows]
    bench.stream.note(f"{len(rows)} prompts, {spec.batch_size * spec.grad_accum // spec.num_generations} a train step")
    return Dataset.from_dict({"prompt": rendered, "answer": [row.answer for row in rows]})


if __name__ == "__main__":
    sys.exit(by_hand("grpo", main))
