# pyright: basic
"""The development score during a training: the model answers a fixed subset of dev.jsonl, a verifier checks it.

A reward is what the training optimises; this is what it should be good for. Comparing the two shows reward hacking.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

import torch

from core.errors import UsageError
from core.evaluation.generate import generate, stop_ids
from core.evaluation.prompting import render
from core.evaluation.verify import check
from core.training.examples import read_rows, template_text
from core.training.spec import TrainSpec


class DevSet(NamedTuple):
    """The fixed development subset, rendered once."""

    rendered: list[str]
    answers: list[str]


class DevScore(NamedTuple):
    score: float
    n: int
    tokens: float
    """Mean generated tokens an answer."""
    ended: float
    """Share of answers that ended with a stop token."""


def load_dev(spec: TrainSpec, tokenizer) -> DevSet | None:
    """The first `eval_samples` development rows in the order of their ids (a hash: a fixed random subset)."""
    path = Path(spec.data) / "dev.jsonl"
    if spec.eval_samples <= 0 or not path.is_file():
        return None
    rows = sorted(read_rows(path), key=lambda row: row.id)[: spec.eval_samples]
    if not rows:
        raise UsageError("dev.jsonl has no rows", where=str(path), next="Set eval_samples to 0 to train without.")
    return DevSet([render(tokenizer, spec.prompting, row.prompt) for row in rows], [row.answer for row in rows])


def score_dev(model, tokenizer, dev: DevSet, spec: TrainSpec, batch_size: int = 256) -> DevScore:
    """Greedy answers to the subset, checked. Leaves mode, generation config and random state as it found them."""
    training, config = model.training, model.generation_config
    stop = stop_ids(model, tokenizer, template_text(tokenizer, spec.prompting))
    devices = [model.device] if model.device.type == "cuda" else []
    model.eval()
    try:
        with torch.random.fork_rng(devices=devices), _no_checkpointing(model):
            answers = generate(
                model, tokenizer, dev.rendered, max_new_tokens=spec.evaluation_tokens, batch_size=batch_size, stop=stop
            )
    finally:
        model.generation_config = config
        model.train(training)
    right = [check(spec.verifier, a.text, gold) for a, gold in zip(answers, dev.answers, strict=True)]
    n = len(right)
    return DevScore(sum(right) / n, n, sum(a.tokens for a in answers) / n, sum(a.ended for a in answers) / n)


def _no_checkpointing(model):
    """Gradient checkpointing turns the key-value cache off, which makes generation many times slower."""
    if not getattr(model, "is_gradient_checkpointing", False):
        return contextlib.nullcontext()
    from trl.models.utils import disable_gradient_checkpointing

    return disable_gradient_checkpointing(model, {})
