# pyright: basic
"""What every recipe shares: settings for TRL from a `TrainSpec`, the callback, and the end of a job.

Kept apart so that sft.py, dpo.py, grpo.py and reward.py show only what is theirs: the data, the trainer, its own settings.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from core.errors import InternError, UsageError
from core.training.best import Best
from core.training.callback import Clock, InternCallback
from core.training.model_files import (
    load_for_training,
    merged_into_full_weights,
    pick_device,
    resolve_model,
    save_model,
)
from core.training.resume import newest_checkpoint
from core.training.scoring import DevScore, load_dev, score_dev
from core.training.spec import TrainSpec, check_inputs, read_train_spec
from core.training.stream import Stream, is_first
from core.training.trackio_log import TrackioLog

LINES = 60
"""Metric lines of an SFT training whose spec names no interval: enough for a curve and for the detectors."""


def by_hand(kind: str, main: Callable[[str], None]) -> int:
    """`python -P recipe.py spec.json`: run it; returns the exit code. What is wrong is said in one line, as a job says it."""
    try:
        if len(sys.argv) != 2:
            raise UsageError("one argument is needed", where=sys.argv[0], next="Give the path of a spec.json.")
        spec = read_train_spec(sys.argv[1])
        if spec.kind != kind:
            raise UsageError(f"the spec is for {spec.kind}", where=sys.argv[1], next=f"Run {spec.kind}.py with it.")
        main(sys.argv[1])
    except InternError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


class Bench(NamedTuple):
    """All a recipe works with."""

    spec: TrainSpec
    folder: Path
    stream: Stream
    base: Path
    device: str
    model: Any
    tokenizer: Any
    resume: str | None = None
    """The checkpoint it goes on from."""


def set_up(spec: TrainSpec, folder: Path) -> Bench:
    """Open the stream, load the base, and find where a process before this one in the same folder stopped."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # TRL's use of it, not ours
    if spec.threads:
        torch.set_num_threads(spec.threads)
    device = pick_device(spec.device)
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))  # one process a GPU, each on its own
    check_inputs(spec)
    base = resolve_model(spec.model)
    model, tokenizer = load_for_training(spec, base, device)
    if not (spec.lora and spec.lora.quantize):  # a quantised base is on its device already and cannot be moved
        model = model.to(device)
    stream = Stream(folder)
    own = newest_checkpoint(folder)
    if own is not None:
        stream.note(f"goes on from {own.name}: what was trained after it is trained again")
    resume = str(own) if own is not None else spec.resume_from
    return Bench(spec, folder, stream, base, device, model, tokenizer, resume)


def share_of_batch(spec: TrainSpec) -> int:
    """Rows of one process's forward pass: a train step takes `batch_size * grad_accum` rows however many GPUs share it.

    So a recipe's learning rate holds on one GPU and on eight. Raises UsageError where the batch does not divide.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if spec.batch_size % processes:
        raise UsageError(
            f"a batch of {spec.batch_size} does not divide among {processes} processes", where="batch_size",
            next=f"Use {max(spec.batch_size // processes, 1) * processes}.",
        )  # fmt: skip
    return spec.batch_size // processes


def common_settings(bench: Bench) -> dict[str, Any]:
    """Keyword arguments that SFTConfig and GRPOConfig have in common."""
    spec, gpu = bench.spec, bench.device == "cuda"
    every = 1 if spec.kind == "grpo" else max(spec.max_steps // LINES, 1)
    return {
        "output_dir": str(bench.folder / "checkpoints"),
        "max_steps": spec.max_steps,
        "per_device_train_batch_size": share_of_batch(spec),
        "gradient_accumulation_steps": spec.grad_accum,
        "learning_rate": spec.learning_rate,
        "lr_scheduler_type": spec.scheduler or ("constant" if spec.kind == "grpo" else "linear"),
        "warmup_steps": round(spec.warmup_ratio * spec.max_steps),
        "weight_decay": spec.weight_decay,
        "max_grad_norm": spec.max_grad_norm,
        "seed": spec.seed,
        "logging_steps": spec.log_every or every,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,  # the filter hides exactly what the non-finite detector looks for
        "save_strategy": "steps" if spec.save_every else "no",
        "save_steps": spec.save_every or 500,
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": gpu,
        "use_cpu": not gpu,
        "bf16": gpu and torch.cuda.is_bf16_supported(),
        "gradient_checkpointing": gpu if spec.gradient_checkpointing is None else spec.gradient_checkpointing,
    }


def make_callback(bench: Bench) -> InternCallback:
    """The callback with the development score, clock and Trackio the spec asks for."""
    spec = bench.spec
    dev = load_dev(spec, bench.tokenizer)
    every = max(spec.max_steps // 8, 1) if spec.eval_every is None else spec.eval_every
    trackio = None
    if spec.trackio_project and is_first():
        run = spec.run_name or bench.folder.name
        config = {"model": spec.model, "method": spec.kind, "lr": spec.learning_rate, "seed": spec.seed}
        where = spec.trackio_dir or bench.folder / "trackio"
        trackio = TrackioLog(spec.trackio_project, run, where, config, bench.stream.note)
    callback = InternCallback(
        bench.stream,
        eval_every=every,
        eval_at_start=spec.eval_at_start,
        clock=Clock(spec.time_limit_s),
        trackio=trackio,
        checkpoint_every_s=spec.checkpoint_every_s,
        stop_after=spec.stop_after,
    )
    if dev is not None:
        batch = max(spec.batch_size, 256 if bench.device == "cpu" else 64)
        callback.score = lambda: score_dev(bench.model, bench.tokenizer, dev, spec, batch)
    return callback


def tokens_seen(checkpoint: Path) -> int:
    """The last `num_tokens` that was logged before a checkpoint; 0 where none was."""
    try:
        history = json.loads((checkpoint / "trainer_state.json").read_bytes())["log_history"]
    except (OSError, ValueError, KeyError):
        return 0
    return int(next((row["num_tokens"] for row in reversed(history) if "num_tokens" in row), 0))


def run(bench: Bench, trainer: Any, callback: InternCallback) -> None:
    """Train, save, write the result line. `trainer.callback_handler` must print nothing: the stream is the log."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    if bench.resume and bench.spec.kind != "grpo":  # TRL's running total of tokens; GRPO's is in the trainer's state
        trainer._total_train_tokens = tokens_seen(Path(bench.resume))
    best = Best(bench.folder / "checkpoints" / "best.safetensors")

    def keep(step: int, score: DevScore) -> None:
        if trouble := best.offer(bench.model, step, score):
            bench.stream.note(trouble)

    callback.scored = keep
    began, worked = time.time(), time.process_time()
    trainer.train(resume_from_checkpoint=bench.resume)
    seconds, cpu = time.time() - began, time.process_time() - worked
    if callback.reason == "preempted":  # no model and no result: it will be started again and go on
        return
    if is_first():
        _save(bench, trainer, callback, best, (seconds, cpu))
    trainer.accelerator.wait_for_everyone()


def _save(bench: Bench, trainer: Any, callback: InternCallback, best: Best, took: tuple[float, float]) -> None:
    """The model, whole and under its name, then the line that says so. `took`: seconds of wall clock and of processors."""
    last, step = callback.last, trainer.state.global_step
    if last is not None and best.restore(bench.model, last):
        step = best.step
        bench.stream.note(
            f"the model of step {step} is kept: development score {best.score:.3f}, at the end {last.score:.3f}"
        )
        last = last._replace(score=best.score)
    model = trainer.accelerator.unwrap_model(trainer.model)
    if bench.spec.lora:
        model.save_pretrained(bench.folder / "adapter")
        if bench.spec.lora.quantize:
            model = merged_into_full_weights(
                bench.base, bench.folder / "adapter", model.generation_config, bench.spec.trust
            )
    output = Path(bench.spec.output or bench.folder / "model")
    save_model(model, bench.base, output, bench.spec.prompting)
    best.drop()
    bench.stream.result(
        status=callback.reason,
        model=str(output),
        steps=trainer.state.global_step,
        model_step=step,
        train_seconds=round(took[0], 3),
        cpu_seconds=round(took[1], 3),
        dev_score=last.score if last else None,
        dev_n=last.n if last else None,
    )
