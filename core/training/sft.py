# pyright: basic
"""Supervised fine-tuning: show the model prompts with good answers and take the loss on the answers.

    python -P core/training/sft.py <folder>/spec.json

reads a `TrainSpec`, streams to metrics.jsonl beside it and leaves a complete model in `model/`. Rows are tokenised here
and not by TRL, so that prompts are the evaluation's own, byte for byte, and the end of turn is inside the loss.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from datasets import Dataset
from trl import SFTConfig, SFTTrainer, pack_dataset  # pyright: ignore[reportPrivateImportUsage]

from core.errors import UsageError
from core.training.examples import encode_sft, read_rows
from core.training.model_files import lora_config
from core.training.recipe import Bench, by_hand, common_settings, make_callback, run, set_up
from core.training.spec import TrainSpec, read_train_spec


def main(spec_path: str) -> None:
    """Run the job whose spec is at `spec_path`."""
    spec = read_train_spec(spec_path)
    bench = set_up(spec, Path(spec_path).resolve().parent)
    callback = make_callback(bench)
    trainer = SFTTrainer(
        model=bench.model,
        args=settings(spec, bench),
        train_dataset=examples(spec, bench),
        processing_class=bench.tokenizer,
        peft_config=lora_config(spec.lora),
        callbacks=[callback],
    )
    run(bench, trainer, callback)


def settings(spec: TrainSpec, bench: Bench) -> SFTConfig:
    """TRL's configuration; `skip_prepare_dataset` because the rows come as labelled token ids."""
    prepared = {"skip_prepare_dataset": True}
    return SFTConfig(
        **common_settings(bench), max_length=spec.max_length, dataset_kwargs=prepared, packing=packs(spec, bench)
    )


def packs(spec: TrainSpec, bench: Bench) -> bool:
    """Whether rows are packed. Raises UsageError where rows of one block would attend to each other."""
    if spec.packing and bench.model.config._attn_implementation != "flash_attention_2":
        what = "packing needs flash attention: a GPU, an adapter (lora) and the package flash-attn"
        raise UsageError(what, where="packing", next="Leave `packing` out.")
    return spec.packing


def examples(spec: TrainSpec, bench: Bench) -> Dataset:
    """Token ids and labels of train.jsonl."""
    rows = list(read_rows(Path(spec.data) / "train.jsonl"))
    encoded = encode_sft(bench.tokenizer, spec.prompting, rows, spec.max_length)
    bench.stream.note(f"{len(encoded.input_ids)} examples; {encoded.note}")
    if encoded.too_long:
        bench.stream.note(f"{encoded.too_long} rows left out: longer than {spec.max_length} tokens")
    rows = Dataset.from_dict({"input_ids": encoded.input_ids, "labels": encoded.labels})
    if not packs(spec, bench):
        return rows
    packed = pack_dataset(rows, spec.max_length, "bfd")  # rows that are longer were left out: nothing is cut
    bench.stream.note(f"{len(rows)} examples packed into {len(packed)} of at most {spec.max_length} tokens")
    return packed


if __name__ == "__main__":
    sys.exit(by_hand("sft", main))
