# pyright: basic
"""How often each reward fires on answers of the base, seen before a GRPO training begins.

A reward that gives every answer the same leaves nothing to compare: all advantages are zero, and hours of sampling teach
nothing. Minutes before are cheaper.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from core.errors import JobError
from core.evaluation.code_check import isolation
from core.evaluation.generate import Generation, generate, stop_ids
from core.evaluation.prompting import render
from core.training.examples import Row, read_rows, template_text
from core.training.recipe import Bench
from core.training.spec import RewardSpec

PROMPTS, ANSWERS = 48, 4
"""192 answers: a reward that fires on 2 % of them shows itself with 98 % certainty."""


class Fired(NamedTuple):
    """One reward on the base's answers."""

    name: str
    share: float
    """Of answers with more than the reward's least value."""
    mean: float
    low: float
    high: float

    @property
    def constant(self) -> bool:
        return self.high - self.low < 1e-9

    def __str__(self) -> str:
        if self.constant:
            return f"{self.name} {'never' if self.high <= 0 else 'always'} fires: {self.low:g} for every answer"
        return f"{self.name}: fires on {self.share:.1%} of the base's answers, mean {self.mean:.3g} in [{self.low:g}, {self.high:g}]"


def try_rewards(bench: Bench, functions: list[Callable[..., list[float]]], weights: list[float]) -> list[Fired]:
    """Sample from the base, score, note the result.

    Raises JobError if the weighted sum is the same for all answers, or one reward is: of several the others would be all that
    is learnt. One of weight 0 is only watched, and the penalty near the length limit may wait for answers that grow.
    """
    rows = list(read_rows(Path(bench.spec.data) / "train.jsonl"))[:PROMPTS]
    repeated = [row for row in rows for _ in range(ANSWERS)]
    prompts = [render(bench.tokenizer, bench.spec.prompting, row.prompt) for row in repeated]
    answers = _answers(bench, prompts)
    values = [_values(function, prompts, answers, repeated, bench) for function in functions]
    fired = [summary(f.__name__, v) for f, v in zip(functions, values, strict=True)]
    bench.stream.note("rewards on the base: " + "; ".join(map(str, fired)))
    if any(one.verifier and one.verifier.kind == "code" for one in (bench.spec, *bench.spec.rewards)):
        bench.stream.note(f"code in answers is run in: {isolation()}")
    total = [sum(w * v for w, v in zip(weights, column, strict=True)) for column in zip(*values, strict=True)]
    if len(total) >= 2 * ANSWERS and max(total) - min(total) < 1e-9:
        raise JobError(
            f"the reward teaches nothing: {'; '.join(map(str, fired))} ({len(total)} answers to {len(rows)} prompts)",
            where="rewards",
            next=_advice(fired, answers),
        )
    specs = bench.spec.rewards or (RewardSpec(),)
    dead = [f for f, one in zip(fired, specs, strict=True) if f.constant and one.weight and one.kind != "overlong"]
    if dead and len(total) >= 2 * ANSWERS:
        raise JobError(
            f"{' and '.join(map(str, dead))} ({len(total)} answers of the base to {len(rows)} prompts): only the other "
            "rewards would be learnt",
            where="rewards",
            next=f"{_advice(dead, answers)} Or leave it out, watch it (weight 0), or set check_rewards to false.",
        )
    return fired


def _answers(bench: Bench, prompts: list[str]) -> list[Generation]:
    """Sampled as the training will; the random state stays as it was."""
    spec, model = bench.spec, bench.model
    stop = stop_ids(model, bench.tokenizer, template_text(bench.tokenizer, spec.prompting))
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        return generate(
            model, bench.tokenizer, prompts, max_new_tokens=spec.max_completion_length, temperature=spec.temperature,
            seed=spec.seed, batch_size=max(spec.batch_size, 32), stop=stop,
        )  # fmt: skip


def _values(
    function: Callable[..., list[float]], prompts: list[str], answers: list[Generation], rows: list[Row], bench: Bench
) -> list[float]:
    columns: dict[str, Any] = {
        "prompts": prompts,
        "completions": [a.text for a in answers],
        "completion_ids": [[0] * a.tokens for a in answers],  # rewards look at the length only
        "answer": [row.answer for row in rows],
    }
    return [float(v) for v in function(**columns)]


def summary(name: str, values: list[float]) -> Fired:
    low, high = min(values), max(values)
    share = sum(v > low + 1e-9 for v in values) / len(values)
    return Fired(name, share, sum(values) / len(values), low, high)


def _advice(fired: list[Fired], answers: list[Generation]) -> str:
    if not any(a.ended for a in answers):
        return "No answer of the base ends: raise max_completion_length or fine-tune on examples first."
    if all(f.high <= 0 for f in fired):
        return "Fine-tune on examples first, ease the prompts, or check the verifier against an answer of the base."
    return "Take harder prompts or a stricter reward."
