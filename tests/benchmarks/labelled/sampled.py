"""Logs of trainings whose rows are drawn, not curves with noise on them: prompts of their own difficulty, groups of
samples, pairs with margins, batches of documents.

Where `simulated` lays noise on a curve, here a mean reward is the mean of as many binary rewards as a batch has, the
share of groups without a spread follows from the same samples, a DPO loss is the mean of -log sigmoid of the margins
that gave the accuracy, and an SFT loss has the tails and the memory that batches of documents give it. So the noise of
a small batch, the many dead groups of a sparse reward and the jumps at an epoch's end look as they do in a real log.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from tests.benchmarks.labelled.simulated import Case

Curve = Callable[[float], float]
Rows = list[dict[str, Any]]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-max(min(x, 40.0), -40.0)))


class Dress:
    """Length, logging interval, batch and names of one log."""

    def __init__(self, rng: random.Random, least_rows: int = 24) -> None:
        self.rng = rng
        self.every = rng.choice((1, 1, 1, 5, 10, 25))
        self.rows = max(rng.choice((24, 30, 50, 80, 125, 250, 500)), least_rows)
        self.prompts = rng.choice((4, 8, 16, 32, 64))
        self.group = rng.choice((4, 8, 8, 16))
        self.peak = 10 ** rng.uniform(-6.3, -3.7)
        self.shape = rng.choice(("linear", "cosine", "constant", "constant_with_warmup"))
        self.strings = rng.random() < 0.2  # transformers 5 prints its numbers as strings
        self.old = rng.random() < 0.2
        self.beta = rng.choice((0.0, 0.0, 0.001, 0.04))

    @property
    def steps(self) -> int:
        return self.every * self.rows

    def rate(self, t: float) -> float:
        warm = min(t / 0.06, 1.0) if self.shape != "constant" else 1.0
        down = {"linear": 1 - t, "cosine": 0.5 + 0.5 * math.cos(math.pi * t)}.get(self.shape, 1.0)
        return self.peak * warm * down

    def out(self, rows: Rows) -> Rows:
        if not self.strings:
            return rows
        return [{k: v if k == "step" else f"{v:.4g}" for k, v in row.items()} for row in rows]


def grpo(dress: Dress, skill: Curve, *, hard: float = 1.6, truth: Curve | None = None, entropy: Curve | None = None,
         length: Curve = lambda t: 220.0, cut: Curve = lambda t: 0.02, kl: Curve | None = None, grad: Curve = lambda t: 0.4,
         forms: Curve | None = None, held: Curve | None = None, scale: float = 1.0, evals: int = 10) -> Rows:  # fmt: skip
    """GRPO on prompts whose logit of success is `skill(t)` plus a difficulty of standard deviation `hard`.

    `forms`: probability of the right form, a second reward; `held`: logit of success on the development samples;
    `truth`: a logit of true success, logged as a reward function of weight 0.
    """
    rng, rows = dress.rng, Rows()
    drift = 0.0
    n_dev = rng.choice((100, 200, 500))
    entropy = entropy or (lambda t: 0.7 - 0.35 * t)
    stride = max(dress.rows // evals, 1)
    for i in range(1, dress.rows + 1):
        t = i / dress.rows
        got, std, dead, shaped = 0.0, 0.0, 0, 0.0
        groups = dress.prompts * min(dress.every, 5)  # a row is the mean over its steps
        for _ in range(groups):
            p = sigmoid(skill(t) + rng.gauss(0, hard))
            k = sum(rng.random() < p for _ in range(dress.group))
            f = sum(rng.random() < forms(t) for _ in range(dress.group)) if forms else 0
            got, shaped = got + k / dress.group, shaped + f / dress.group
            mean = k / dress.group
            spread = math.sqrt(mean * (1 - mean) * dress.group / (dress.group - 1))
            if forms:
                q = f / dress.group
                spread = math.hypot(spread, math.sqrt(q * (1 - q) * dress.group / (dress.group - 1)))
            std, dead = std + spread, dead + (spread == 0)
        right, form = got / groups, shaped / groups
        drift = 0.8 * drift + rng.gauss(0, 0.03)
        share = 1 - dead / groups
        distance = max((kl(t) if kl else 0.05 * t) * (1 + rng.gauss(0, 0.15)) + 0.0004, 0.0)
        row: dict[str, Any] = {
            "loss": dress.beta * distance + rng.gauss(0, 0.01) * share,
            "grad_norm": abs(grad(t) * math.sqrt(max(share, 0.0)) * rng.lognormvariate(0, 0.35)),
            "learning_rate": dress.rate(t), "num_tokens": 9000.0 * i,
            "completions/mean_length": max(length(t) * math.exp(drift) * (1 + rng.gauss(0, 0.04)), 1.0),
            "completions/clipped_ratio": min(max(cut(t) + rng.gauss(0, 0.02), 0.0), 1.0),
            "rewards/accuracy_reward/mean": scale * right,
            "rewards/accuracy_reward/std": scale * math.sqrt(right * (1 - right)),
            "reward": scale * (right + form), "reward_std": scale * std / groups, "frac_reward_zero_std": dead / groups,
            "entropy": max(entropy(t) * math.exp(drift) * (1 + rng.gauss(0, 0.05)), 0.001),
            "clip_ratio/region_mean": abs(rng.gauss(0, 0.002)), "epoch": round(3 * t, 4), "step": i * dress.every,
        }  # fmt: skip
        if forms:
            row["rewards/format_reward/mean"] = scale * form
        if truth is not None:
            row["rewards/strict/mean"] = sum(
                rng.random() < sigmoid(truth(t) + rng.gauss(0, hard)) for _ in range(groups * 4)
            ) / (groups * 4)
        if dress.beta or kl is not None:
            row["kl"] = distance
        if dress.old:
            for name in ("entropy", "frac_reward_zero_std", "clip_ratio/region_mean", "completions/clipped_ratio"):
                row.pop(name)
            row["completion_length"] = row.pop("completions/mean_length")
        rows.append(row)
        if held is not None and (i % stride == 0 or i == 1):
            p = sum(rng.random() < sigmoid(held(t) + rng.gauss(0, hard)) for _ in range(n_dev)) / n_dev
            rows.append({"step": i * dress.every, "eval_accuracy": p, "eval_runtime": 12.0})
    return dress.out(rows)


def sft(dress: Dress, loss: Curve, *, noise: float = 0.08, held: Curve | None = None, spikes: float = 0.0, memory: float = 0.3,
        grad: Curve = lambda t: 0.8, evals: int = 8, accuracy: bool = True, rate: float = 1.0) -> Rows:  # fmt: skip
    """SFT: lognormal batches, a share of `spikes` rows that jump and decay over a few rows, an eval loss now and then."""
    rng, rows = dress.rng, Rows()
    bump = slow = 0.0
    size = noise / math.sqrt(min(dress.every, 5))
    stride = max(dress.rows // evals, 1)
    for i in range(1, dress.rows + 1):
        t = i / dress.rows
        slow = memory * slow + rng.gauss(0, size * math.sqrt(1 - memory**2))
        bump = 0.5 * bump + (rng.uniform(0.5, 2.0) if rng.random() < spikes else 0.0)
        value = loss(t) * math.exp(slow) + bump * min(loss(t), 1.0)
        row: dict[str, Any] = {
            "loss": round(value, 4), "grad_norm": grad(t) * rng.lognormvariate(0, 0.25) * (1 + 3 * bump),
            "learning_rate": rate * dress.rate(t), "epoch": round(2 * t, 3), "step": i * dress.every,
        }  # fmt: skip
        if accuracy:
            row |= {"mean_token_accuracy": math.exp(-0.35 * value), "entropy": 0.95 * value, "num_tokens": 1e4 * i}
        rows.append(row)
        if held is not None and i % stride == 0:
            rows.append({"step": i * dress.every, "eval_loss": held(t) * (1 + rng.gauss(0, 0.004)), "eval_runtime": 4.1,
                         "eval_samples_per_second": 30.0})  # fmt: skip
    return dress.out(rows)


def dpo(dress: Dress, margin: Curve, *, width: Curve = lambda t: 0.2 + 1.2 * t, chosen: Curve = lambda t: -0.4 * t, beta: float = 0.1,
        logp: float = -230.0, held: Curve | None = None, grad: Curve = lambda t: 4.0) -> Rows:  # fmt: skip
    """DPO: pairs with margins of mean `margin(t)` and deviation `width(t)`; `chosen`: implicit reward of the better ones."""
    rng, rows = dress.rng, Rows()
    stride = max(dress.rows // 8, 1)
    for i in range(1, dress.rows + 1):
        t = i / dress.rows
        pairs = dress.prompts * min(dress.every, 5)
        margins = [rng.gauss(margin(t), width(t)) for _ in range(pairs)]
        better = chosen(t) + rng.gauss(0, 0.15 / math.sqrt(pairs))
        mean = sum(margins) / pairs
        lengths = rng.gauss(0, 0.17 * abs(logp) / math.sqrt(pairs))
        rows.append({
            "loss": sum(math.log1p(math.exp(-max(min(m, 30), -30))) for m in margins) / pairs,
            "grad_norm": grad(t) * rng.lognormvariate(0, 0.3), "learning_rate": dress.rate(t),
            "rewards/chosen": better, "rewards/rejected": better - mean, "rewards/margins": mean,
            "rewards/accuracies": sum(m > 0 for m in margins) / pairs, "logps/chosen": logp + lengths + better / beta,
            "logps/rejected": logp + lengths + (better - mean) / beta, "logits/chosen": -1.5, "logits/rejected": -1.4,
            "epoch": round(t, 3), "step": i * dress.every,
        })  # fmt: skip
        if held is not None and i % stride == 0:
            rows.append({"step": i * dress.every, "eval_loss": held(t) * (1 + rng.gauss(0, 0.01)), "eval_runtime": 9.0})
    return dress.out(rows)


# ------------------------------------------------------------------------------------------------------------ scenarios


def _healthy(rng: random.Random) -> list[tuple[str, str, Callable[[Dress], Rows]]]:
    low, gain = rng.uniform(-2.5, 0.5), rng.uniform(1.0, 3.0)
    end, start = rng.uniform(0.5, 1.1), rng.uniform(1.3, 2.6)
    return [
        ("grpo/learns", "grpo", lambda d: grpo(d, lambda t: low + gain * t)),
        ("grpo/learns-scored", "grpo", lambda d: grpo(d, lambda t: low + gain * t, held=lambda t: low + 0.8 * gain * t)),
        ("grpo/sparse", "grpo", lambda d: grpo(d, lambda t: -4.5 + 3 * t, hard=1.2)),
        ("grpo/sparse-wakes-late", "grpo", lambda d: grpo(d, lambda t: -4.2 + 4 * max(t - 0.3, 0), hard=1.5)),
        ("grpo/near-ceiling", "grpo", lambda d: grpo(d, lambda t: 3.2 + 2 * t, hard=1.2, entropy=lambda t: 0.15 - 0.1 * t)),
        ("grpo/saturates", "grpo", lambda d: grpo(d, lambda t: low + gain * min(t / 0.25, 1), entropy=lambda t: 0.25 + 0.5 * math.exp(-8 * t))),
        ("grpo/small-gain", "grpo", lambda d: grpo(d, lambda t: low + 0.5 * t, grad=lambda t: 0.03)),
        ("grpo/kl-grows-slowly", "grpo", lambda d: grpo(d, lambda t: low + gain * t, kl=lambda t: 0.4 * t)),
        ("grpo/kl-large-with-gain", "grpo", lambda d: grpo(d, lambda t: low + 3 * t, kl=lambda t: 1.5 * t)),
        ("grpo/entropy-rises", "grpo", lambda d: grpo(d, lambda t: low + gain * t, entropy=lambda t: 0.4 + 0.5 * t)),
        ("grpo/entropy-halves", "grpo", lambda d: grpo(d, lambda t: low + gain * t, entropy=lambda t: 0.05 + 0.9 * math.exp(-4 * t))),
        ("grpo/u-shaped-length", "grpo", lambda d: grpo(d, lambda t: low + gain * t, length=lambda t: 200 + 900 * (t - 0.3) ** 2)),
        ("grpo/longer-and-better", "grpo", lambda d: grpo(d, lambda t: low + 3 * t, length=lambda t: 200 + 600 * t, cut=lambda t: 0.01 + 0.12 * t)),
        ("grpo/format-then-answer", "grpo", lambda d: grpo(d, lambda t: low + gain * max(t - 0.1, 0), forms=lambda t: sigmoid(-2 + 30 * t))),
        ("grpo/no-gain-on-top", "grpo", lambda d: grpo(d, lambda t: 1.0 + 0.4 * t, hard=2.5, kl=lambda t: 0.02 * t)),
        ("grpo/harder-prompts-come", "grpo", lambda d: grpo(d, lambda t: 0.5 + 2 * t - (0.8 if t > 0.5 else 0))),
        ("sft/learns", "sft", lambda d: sft(d, lambda t: end + (start - end) * math.exp(-10 * t))),
        ("sft/small-batches", "sft", lambda d: sft(d, lambda t: end + (start - end) * math.exp(-10 * t), noise=0.3, memory=0.0)),
        ("sft/spikes", "sft", lambda d: sft(d, lambda t: end + (start - end) * math.exp(-8 * t), spikes=0.03)),
        ("sft/known-domain", "sft", lambda d: sft(d, lambda t: 0.9 - 0.12 * (1 - math.exp(-3 * t)), noise=0.12, grad=lambda t: 0.06)),
        ("sft/epochs", "sft", lambda d: sft(d, lambda t: (start, 0.75 * start, 0.55 * start, 0.5 * start)[min(int(3 * t), 3)],
                                            held=lambda t: 0.85 * start * (1 - 0.1 * min(2 * t, 1) + 0.03 * t))),
        ("sft/eval-creeps-up", "sft", lambda d: sft(d, lambda t: start * math.exp(-t), held=lambda t: start * (0.8 + 0.07 * max(t - 0.4, 0)))),
        ("sft/drifting-data", "sft", lambda d: sft(d, lambda t: end + (start - end) * math.exp(-10 * t) + 0.15 * end * math.sin(9 * t), noise=0.1, memory=0.8)),
        ("sft/easy", "sft", lambda d: sft(d, lambda t: 0.02 + 1.5 * math.exp(-20 * t), noise=0.3)),
        ("dpo/learns", "dpo", lambda d: dpo(d, lambda t: 1.5 * t)),
        ("dpo/chosen-falls", "dpo", lambda d: dpo(d, lambda t: 3 * t, chosen=lambda t: -6 * t)),
        ("dpo/epochs", "dpo", lambda d: dpo(d, lambda t: (0.2, 2.5, 5.0)[min(int(3 * t), 2)], width=lambda t: 0.3 + 2 * t, chosen=lambda t: -4 * t,
                                            held=lambda t: 0.69 - 0.12 * min(2 * t, 1) + 0.05 * t)),
        ("dpo/noisy-labels", "dpo", lambda d: dpo(d, lambda t: 0.25 * t, width=lambda t: 0.15 + 0.6 * t)),
        ("dpo/short-answers", "dpo", lambda d: dpo(d, lambda t: 2 * t, logp=-12.0, chosen=lambda t: -0.5 * t)),
    ]  # fmt: skip


def _failing(rng: random.Random) -> list[tuple[str, str, tuple[str, ...], Callable[[Dress], Rows]]]:
    low, at = rng.uniform(-1.0, 0.8), rng.uniform(0.06, 0.35)
    start = rng.uniform(1.3, 2.6)

    def turn(a: float, b: float, width: float = 0.03) -> Curve:
        return lambda t: a + (b - a) * sigmoid((t - at) / width)

    destroyed = ("divergence", "reward_collapse", "over_optimisation", "entropy_collapse")
    return [
        ("grpo/never", "grpo", ("no_learning_signal",), lambda d: grpo(d, lambda t: -40.0, hard=0.1)),
        ("grpo/always", "grpo", ("no_learning_signal",), lambda d: grpo(d, lambda t: 40.0, hard=0.1)),
        ("grpo/hardly-ever", "grpo", ("no_learning_signal", "plateau"), lambda d: grpo(d, lambda t: -9.0, hard=0.5)),
        ("grpo/destroyed", "grpo", destroyed, lambda d: grpo(d, turn(low, -6), kl=turn(0.02, 8), entropy=turn(0.6, 4), held=turn(low, -6))),
        ("grpo/destroyed-unscored", "grpo", destroyed, lambda d: grpo(d, turn(low, -7), kl=turn(0.02, 8), entropy=turn(0.6, 3))),
        ("grpo/learns-then-falls", "grpo", destroyed, lambda d: grpo(d, lambda t: low + 4 * min(t, at) - 12 * max(t - at - 0.05, 0),
                                                                     entropy=lambda t: 0.6 + 3 * max(t - at, 0), kl=lambda t: 4 * t * t)),
        ("grpo/certain-and-wrong", "grpo", ("entropy_collapse",), lambda d: grpo(_new(d), lambda t: low, entropy=turn(0.7, 0.02), hard=2.5)),
        ("grpo/certain-and-scored", "grpo", ("entropy_collapse",), lambda d: grpo(_new(d), lambda t: low, entropy=turn(0.7, 0.02), hard=2.5,
                                                                                  held=lambda t: low)),
        ("grpo/runs-to-the-limit", "grpo", ("length_runaway",), lambda d: grpo(_new(d), turn(low, low - 1), length=turn(150, 700), cut=turn(0.02, 0.85))),
        ("grpo/longer-for-nothing", "grpo", ("length_runaway",), lambda d: grpo(_new(d), lambda t: low, length=turn(150, 600), cut=turn(0.02, 0.5),
                                                                               held=lambda t: low)),
        ("grpo/hacked", "grpo", ("reward_hacking",), lambda d: grpo(d, turn(low, 5, 0.06), held=turn(low, low - 2.5, 0.06))),
        ("grpo/hacked-score-flat", "grpo", ("reward_hacking",), lambda d: grpo(d, turn(-1.5, 5, 0.06), held=lambda t: -1.4)),
        ("grpo/hacked-strict-reward", "grpo", ("reward_hacking",), lambda d: grpo(d, turn(-0.5, 5, 0.06), truth=turn(-0.5, -6))),
        ("grpo/form-eats-answer", "grpo", ("reward_hacking",), lambda d: grpo(d, turn(low, -5), forms=turn(0.1, 0.98))),
        ("grpo/over-optimised", "grpo", ("over_optimisation", "reward_hacking"), lambda d: grpo(d, lambda t: low + 4 * t, kl=lambda t: 6 * t * t,
            held=lambda t: low + 1.5 * min(t / 0.3, 1) - 4 * max(t - 0.3, 0))),
        ("grpo/nothing-moves", "grpo", ("plateau",), lambda d: grpo(_new(d), lambda t: low, entropy=lambda t: 0.6, kl=lambda t: 0.0)),
        ("sft/diverges", "sft", ("divergence",), lambda d: sft(d, lambda t: 0.8 + (start - 0.8) * math.exp(-10 * t) + turn(0, rng.uniform(2.5, 7), 0.015)(t), grad=turn(1, 30))),
        ("sft/climbs", "sft", ("divergence",), lambda d: sft(d, lambda t: 0.8 + (start - 0.8) * math.exp(-12 * t) + 4 * max(t - at, 0))),
        ("sft/explodes", "sft", ("divergence",), lambda d: sft(d, lambda t: start if t * d.rows < 2.5 else 8.5, noise=0.05)),
        ("sft/oscillates-high", "sft", ("divergence",), lambda d: sft(d, lambda t: start if t < 0.05 else 6.0 + 1.5 * math.sin(60 * t), noise=0.1)),
        ("sft/over-fits", "sft", ("over_fitting",), lambda d: sft(d, lambda t: start * math.exp(-5 * t), held=lambda t: start * (0.75 + 0.25 * math.exp(-12 * t) + 0.6 * max(t - 0.2, 0)))),
        ("sft/over-fits-by-epoch", "sft", ("over_fitting",), lambda d: sft(d, lambda t: start * 0.45 ** int(5 * t), held=lambda t: start * (0.7, 0.72, 0.85, 1.0, 1.15, 1.2)[int(5 * t)], evals=10)),
        ("sft/masked", "sft", ("no_learning_signal",), lambda d: sft(d, lambda t: 0.0, grad=lambda t: 0.0)),
        ("sft/rate-too-low", "sft", ("plateau", "no_learning_signal"), lambda d: sft(d, lambda t: start, noise=0.02, rate=1e-6)),
        ("dpo/diverges", "dpo", ("divergence",), lambda d: dpo(d, turn(0, -2.5), width=turn(0.3, 3.5), chosen=turn(0, -6))),
        ("dpo/over-fits", "dpo", ("over_fitting", "over_optimisation"), lambda d: dpo(d, lambda t: 9 * t, width=lambda t: 0.2 + 2 * t, chosen=lambda t: -5 * t,
                                                                 held=lambda t: 0.69 - 0.1 * min(t / 0.2, 1) + 0.8 * max(t - 0.25, 0))),
        ("dpo/likelihood-lost", "dpo", ("over_optimisation", "divergence"), lambda d: dpo(d, lambda t: 20 * t, width=lambda t: 0.2 + 4 * t, chosen=lambda t: -80 * t)),
        ("dpo/nothing-moves", "dpo", ("plateau", "no_learning_signal"), lambda d: dpo(d, lambda t: 0.0, width=lambda t: 0.002)),
    ]  # fmt: skip


def _new(dress: Dress) -> Dress:
    dress.old = False
    return dress


def cases(seed: int) -> list[Case]:
    """All scenarios once, each in a dress of its own; the healthy ones also short, stopped early, or with an odd row."""
    rng = random.Random(f"sampled {seed}")
    made: list[Case] = []
    for name, method, labels, build in [(n, m, (), b) for n, m, b in _healthy(rng)] + _failing(rng):
        dress = Dress(random.Random(rng.random()))
        if not labels and rng.random() < 0.15:
            dress.rows = rng.choice((8, 15, 20))
        rows = build(dress)
        if not labels and rng.random() < 0.25:
            rows = rows[: max(round(rng.uniform(0.2, 0.9) * len(rows)), 3)]
        if not labels and rng.random() < 0.1:  # one overflow, as loss scaling meets it
            rng.choice([r for r in rows if "grad_norm" in r])["grad_norm"] = rng.choice((math.nan, math.inf, "nan"))
        made.append(Case(name, method, labels, rows, dress.steps, dress.every, says_plan=rng.random() < 0.6))
    return made
