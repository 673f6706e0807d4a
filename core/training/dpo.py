# pyright: basic
"""Direct preference optimisation (2305.18290): raise the better answer of a pair against the worse one.

    python -P core/training/dpo.py <folder>/spec.json

reads a `TrainSpec` (train.jsonl holds prompt, chosen or answer, rejected), streams to metrics.jsonl beside it and leaves a
complete model in `model/`. Pairs are tokenised here and not by TRL, so that prompts are the evaluation's own, byte for byte,
and both answers end with the end of turn.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from datasets import Dataset
from trl import DPOConfig, DPOTrainer  # pyright: ignore[reportPrivateImportUsage]

from core.training.examples import encode_pairs, read_pairs
from core.training.model_files import lora_config
from core.training.recipe import Bench, by_hand, common_settings, make_callback, run, set_up
from core.training.spec import TrainSpec, read_train_spec

BETA = 0.1
"""TRL's, and the paper's for most tasks."""


class EncodedPairsTrainer(DPOTrainer):
    """DPO on pairs that are token ids already."""

    def _prepare_dataset(self, dataset, *args, **kwargs):
        return dataset


def main(spec_path: str) -> None:
    """Run the job whose spec is at `spec_path`."""
    spec = read_train_spec(spec_path)
    bench = set_up(spec, Path(spec_path).resolve().parent)
    callback = make_callback(bench)
    trainer = EncodedPairsTrainer(
        model=bench.model,
        args=settings(spec, bench),
        train_dataset=examples(spec, bench),
        processing_class=bench.tokenizer,
        peft_config=lora_config(spec.lora),
        callbacks=[callback],
    )
    run(bench, trainer, callback)


def settings(spec: TrainSpec, bench: Bench) -> DPOConfig:
    """TRL's configuration."""
    return DPOConfig(
        **common_settings(bench),
        beta=spec.beta or BETA,
        loss_type=[spec.dpo_loss],
        max_length=spec.max_length,
    )


def examples(spec: TrainSpec, bench: Bench) -> Dataset:
    """Token ids of the pairs in train.jsonl."""
    pairs = list(read_pairs(Path(spec.data) / "train.jsonl"))
    encoded = encode_pairs(bench.tokenizer, spec.prompting, pairs, spec.max_length)
    bench.stream.note(f"{len(encoded.prompt_ids)} pairs; {encoded.note}")
    if encoded.too_long:
        bench.stream.note(f"{encoded.too_long} pairs left out: longer than {spec.max_length} tokens")
    columns = {"prompt_ids": encoded.prompt_ids, "chosen_ids": encoded.chosen_ids}
    return Dataset.from_dict(columns | {"rejected_ids": encoded.rejected_ids})


if __name__ == "__main__":
    sys.exit(by_hand("dpo", main))
