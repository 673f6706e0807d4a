"""A training as its recipe sets it up, without our callback, stream or Trackio: `python -P bare_recipe.py SPEC.json`.

Prints the seconds of `trainer.train()`, of wall clock and of processors. The comparator of overhead_bench.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def main(spec_path: str) -> None:
    from transformers import PrinterCallback

    from core.training.recipe import set_up
    from core.training.spec import read_train_spec

    spec = read_train_spec(spec_path)
    bench = set_up(spec, Path(spec_path).resolve().parent)
    trainer = _sft(spec, bench) if spec.kind == "sft" else _grpo(spec, bench)
    trainer.remove_callback(PrinterCallback)
    began, worked = time.time(), time.process_time()
    trainer.train()
    print(f"seconds {time.time() - began:.6f} {time.process_time() - worked:.6f}", flush=True)


def _sft(spec, bench):
    from trl import SFTTrainer  # pyright: ignore[reportPrivateImportUsage]

    from core.training import sft

    rows = sft.examples(spec, bench)
    return SFTTrainer(bench.model, args=sft.settings(spec, bench), train_dataset=rows, processing_class=bench.tokenizer)


def _grpo(spec, bench):
    from core.training import grpo
    from core.training.rewards import build_rewards

    functions, weights = build_rewards(spec)
    data = grpo.prompts(spec, bench)
    return grpo.RenderedPrompts(
        bench.model, args=grpo.settings(spec, bench, weights, data["prompt"]), reward_funcs=functions,
        train_dataset=data, processing_class=bench.tokenizer,
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
