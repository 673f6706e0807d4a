"""The training that overhead_bench.py measures, as its recipe sets it up: `python -P overhead_recipe.py SPEC.json`.

Alone it has no callback of ours, no stream, no Trackio, and prints the seconds of `trainer.train()`, of wall clock and of
processors. With `--blocks STEPS` and `--host PID` it is one training that alternates: for STEPS train steps it is as a run
has it, for the next STEPS the callback hears nothing and host and supervisor are stopped (SIGSTOP), in the order on, off,
off, on. blocks.json beside the spec then holds `[[is_on, seconds], ...]`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from transformers import PrinterCallback, TrainerCallback

from core.training.recipe import make_callback, set_up
from core.training.spec import read_train_spec

ORDER = (True, False, False, True)
"""Whatever drifts evenly over four blocks falls out of their comparison."""


class Alternating(TrainerCallback):
    """Passes events on to `inner` in blocks that are on, and lets `others` (process ids) run only then."""

    def __init__(self, inner, every, others):
        self.inner, self.every, self.others = inner, every, others
        self.on, self.began, self.blocks = True, 0.0, []

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step % self.every == 0:
            self.turn(ORDER[state.global_step // self.every % len(ORDER)])
        return self._passed("on_step_begin", args, state, control, kwargs)

    def turn(self, on):
        """End the block and begin the next."""
        now = time.perf_counter()
        if self.began:
            self.blocks.append((self.on, now - self.began))
        if on != self.on:
            for pid in self.others:
                os.kill(pid, signal.SIGCONT if on else signal.SIGSTOP)
        if on and not self.on:
            self.inner._idle_since = time.perf_counter()  # or its first row would count the whole block as waiting
        self.on, self.began = on, time.perf_counter()

    def on_train_begin(self, args, state, control, **kwargs):
        return self.inner.on_train_begin(args, state, control, **kwargs)

    def on_train_end(self, args, state, control, **kwargs):
        self.turn(True)
        return self.inner.on_train_end(args, state, control, **kwargs)

    def on_step_end(self, args, state, control, **kwargs):
        return self._passed("on_step_end", args, state, control, kwargs)

    def on_log(self, args, state, control, **kwargs):
        return self._passed("on_log", args, state, control, kwargs)

    def _passed(self, event, args, state, control, kwargs):
        return getattr(self.inner, event)(args, state, control, **kwargs) if self.on else control


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec")
    parser.add_argument("--blocks", type=int, default=0)
    parser.add_argument("--host", type=int, default=0)
    a = parser.parse_args()
    spec = read_train_spec(a.spec)
    folder = Path(a.spec).resolve().parent
    bench = set_up(spec, folder)
    trainer = _sft(spec, bench) if spec.kind == "sft" else _grpo(spec, bench)
    trainer.remove_callback(PrinterCallback)
    if a.blocks:
        _alternate(a, trainer, bench, folder)
        return
    began, worked = time.time(), time.process_time()
    trainer.train()
    print(f"seconds {time.time() - began:.6f} {time.process_time() - worked:.6f}", flush=True)


def _alternate(a, trainer, bench, folder) -> None:
    others = (a.host, os.getppid())  # the parent is the job's supervisor
    callback = Alternating(make_callback(bench), a.blocks, others)
    trainer.add_callback(callback)
    try:
        trainer.train()
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)
    (folder / "blocks.json").write_text(json.dumps(callback.blocks))


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
    main()
