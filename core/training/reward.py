# pyright: basic
"""Reward modelling: a score for an answer, learnt from pairs (Bradley-Terry, as in 2203.02155).

    python -P core/training/reward.py <folder>/spec.json

reads a `TrainSpec` (train.jsonl holds prompt, chosen or answer, rejected; dev.jsonl pairs of the same form) and leaves a
sequence classifier with one output in `model/`. Its development score is the share of held-out pairs it orders rightly.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification
from trl import RewardConfig, RewardTrainer  # pyright: ignore[reportPrivateImportUsage]

from core.training.examples import EncodedPairs, encode_pairs, read_pairs
from core.training.model_files import lora_config
from core.training.recipe import Bench, by_hand, common_settings, make_callback, run, set_up
from core.training.scoring import DevScore
from core.training.spec import TrainSpec, read_train_spec
from core.training.trust import loading


def main(spec_path: str) -> None:
    """Run the job whose spec is at `spec_path`."""
    spec = read_train_spec(spec_path)
    causal = set_up(spec, Path(spec_path).resolve().parent)
    bench = causal._replace(model=scorer(causal))
    callback = make_callback(bench._replace(spec=_without_answers(spec)))
    held = Path(spec.data) / "dev.jsonl"
    if held.is_file() and spec.eval_samples:
        pairs = encode(bench, held, spec.eval_samples)
        callback.score = lambda: score_pairs(bench, pairs)
    trainer = RewardTrainer(
        model=bench.model,
        args=settings(spec, bench),
        train_dataset=examples(bench),
        processing_class=bench.tokenizer,
        peft_config=_lora(spec),
        callbacks=[callback],
    )
    run(bench, trainer, callback)


def _without_answers(spec: TrainSpec) -> TrainSpec:
    """The spec for the shared callback, whose own development score generates answers: a classifier has none."""
    import msgspec

    return msgspec.structs.replace(spec, eval_samples=0)


def scorer(causal: Bench) -> Any:
    """The base with a new head of one output, its backbone's weights as they are."""
    model = AutoModelForSequenceClassification.from_pretrained(
        causal.base, num_labels=1, dtype=causal.model.dtype, **loading(causal.base, causal.spec.trust)
    )
    model.config.pad_token_id = causal.tokenizer.pad_token_id
    model.generation_config = causal.model.generation_config
    return model.to(causal.device)


def _lora(spec: TrainSpec) -> Any:
    config = lora_config(spec.lora)
    if config is not None:
        config.task_type, config.modules_to_save = "SEQ_CLS", ["score"]
    return config


def settings(spec: TrainSpec, bench: Bench) -> RewardConfig:
    """TRL's configuration; rewards are centred on 0, or their level drifts (2312.09244)."""
    return RewardConfig(**common_settings(bench), max_length=spec.max_length, center_rewards_coefficient=0.01)


def encode(bench: Bench, path: Path, most: int | None = None) -> EncodedPairs:
    """The pairs of a file as ids."""
    pairs = list(read_pairs(path))
    return encode_pairs(bench.tokenizer, bench.spec.prompting, pairs[:most], bench.spec.max_length)


def examples(bench: Bench) -> Dataset:
    """Whole dialogues (prompt and answer) under the names RewardTrainer takes as processed."""
    encoded = encode(bench, Path(bench.spec.data) / "train.jsonl")
    bench.stream.note(f"{len(encoded.prompt_ids)} pairs; {encoded.note}")
    return Dataset.from_dict(
        {
            "chosen_ids": [p + c for p, c in zip(encoded.prompt_ids, encoded.chosen_ids, strict=True)],
            "rejected_ids": [p + r for p, r in zip(encoded.prompt_ids, encoded.rejected_ids, strict=True)],
        }
    )


@torch.inference_mode()
def score_pairs(bench: Bench, pairs: EncodedPairs, batch: int = 64) -> DevScore:
    """Share of pairs in which the better answer gets the higher score."""
    training = bench.model.training
    bench.model.eval()
    better = _scores(bench, pairs.prompt_ids, pairs.chosen_ids, batch)
    worse = _scores(bench, pairs.prompt_ids, pairs.rejected_ids, batch)
    bench.model.train(training)
    right = (better > worse).float()
    tokens = sum(map(len, pairs.chosen_ids)) / len(pairs.chosen_ids)
    return DevScore(right.mean().item(), len(right), tokens, 1.0)


def _scores(bench: Bench, prompts: list[list[int]], answers: list[list[int]], batch: int) -> torch.Tensor:
    """Scores [n] of prompt and answer together."""
    found: list[torch.Tensor] = []
    for start in range(0, len(prompts), batch):
        rows = [p + a for p, a in zip(prompts[start : start + batch], answers[start : start + batch], strict=True)]
        padded = bench.tokenizer.pad({"input_ids": rows}, return_tensors="pt", padding_side="right").to(bench.device)
        found.append(bench.model(**padded).logits[:, 0].float().cpu())
    return torch.cat(found)


if __name__ == "__main__":
    sys.exit(by_hand("reward", main))
