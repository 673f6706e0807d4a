"""Logs as other people's trainings write them: simulated curves with a known label, in many dresses.

The recorded runs come from one laboratory; these vary what it holds fixed: reward scale and sign, length of the run,
logging interval, noise, missing columns, names of older releases, absence of a plan. Shapes follow published training
curves (healthy GRPO: 2402.03300, 2503.14476; entropy: 2505.22617; DPO: 2305.18290; over-optimisation: 2210.10760), not
the rules that read them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Curve = Callable[[float], float]
Rows = list[dict[str, Any]]


@dataclass
class Case:
    """One simulated log."""

    name: str
    method: str
    labels: tuple[str, ...]
    rows: Rows = field(default_factory=list)
    steps: int = 100
    every: int = 1
    tail: str = ""
    says_plan: bool = True


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-max(min(x, 50.0), -50.0)))


def _rise(a: float, b: float, pace: float = 4.0) -> Curve:
    """From `a` to near `b`, fast at first."""
    return lambda t: a + (b - a) * (1 - math.exp(-pace * t)) / (1 - math.exp(-pace))


def _turn(a: float, b: float, at: float, width: float = 0.04) -> Curve:
    """`a` until about `at`, then `b`."""
    return lambda t: a + (b - a) * _sigmoid((t - at) / width)


class Draw:
    """The dress of one log: how long, how often logged, how noisy, which columns, which reward scale."""

    def __init__(self, rng: random.Random, least_rows: int = 24) -> None:
        self.rng = rng
        self.every = rng.choice((1, 1, 5, 10, 50))
        self.rows = rng.choice((least_rows, least_rows, 40, 60, 100, 200, 400))
        self.rows = max(self.rows, least_rows)
        self.steps = self.rows * self.every
        self.noise = rng.choice((0.0, 0.3, 1.0, 2.0)) / math.sqrt(self.every) ** 0.5
        self.scale = rng.choice((1.0, 1.0, 1.0, 2.5, 0.1, 100.0))
        self.shift = rng.choice((0.0, 0.0, 0.0, 0.0, -1.0, -3.0))
        self.rate = 10 ** rng.uniform(-6.5, -4)
        self.schedule = rng.choice(("linear", "cosine", "constant"))
        self.old_names = rng.random() < 0.25
        self.wall = rng.random() < 0.5
        self.second = 10 ** rng.uniform(-0.5, 1.8)

    def times(self) -> list[tuple[int, float]]:
        return [(i * self.every, i / self.rows) for i in range(1, self.rows + 1)]

    def learning_rate(self, t: float) -> float:
        warm = min(t / 0.05, 1.0)
        fall = {"linear": 1 - t, "cosine": 0.5 * (1 + math.cos(math.pi * t)), "constant": 1.0}[self.schedule]
        return self.rate * warm * fall

    def jitter(self, size: float) -> float:
        return self.rng.gauss(0, size * self.noise)


def grpo(draw: Draw, *, reward: Curve, spread: Curve = lambda t: 0.35, dead: Curve = lambda t: 0.15 + 0.2 * t,
         entropy: Curve | None = None, length: Curve = lambda t: 180.0, cut: Curve = lambda t: 0.03,
         kl: Curve | None = None, grad: Curve = lambda t: 0.5, score: Curve | None = None, seconds: Curve = lambda t: 1.0,
         parts: dict[str, Curve] | None = None, needs: tuple[str, ...] = (), noise: float = 0.04) -> Rows:  # fmt: skip
    """Rows of a GRPO training. `reward` in [0, 1] before scale and shift; `needs`: columns the label cannot do without."""
    rng = draw.rng
    optional = [n for n in ("entropy", "frac_reward_zero_std", "grad_norm", "completions/clipped_ratio", "reward_std",
                            "step_time", "completions/mean_length", "loss") if n not in needs]  # fmt: skip
    dropped = set(rng.sample(optional, rng.choice((0, 0, 1, 2))))
    key = rng.choice(("eval_accuracy", "eval/exact_match", "dev_score", "eval_pass@1", "eval_gsm8k_accuracy"))
    entropy = entropy or _rise(0.9, 0.3, 3)
    part_names = parts or {rng.choice(("accuracy_reward", "correctness_reward_func", "exact")): reward}
    clock, out = rng.uniform(0, 1e6), []
    evals = max(draw.rows // 8, 1)
    if score is not None and rng.random() < 0.8:
        out.append({"step": 0, key: _share(draw, score(0))})
    for index, (step, t) in enumerate(draw.times(), 1):
        scale, shift = draw.scale, draw.shift
        means = {n: scale * (c(t) + draw.jitter(noise)) + shift for n, c in part_names.items()}
        total = sum(means.values())
        if parts is None:
            total = next(iter(means.values()))
        std = abs(scale * spread(t) * (1 + draw.jitter(0.1)))
        if dead(t) >= 0.999:
            std, total = 0.0, scale * reward(t) + shift
            means = dict.fromkeys(means, total / len(means))
        clock += draw.second * draw.every * seconds(t) * rng.uniform(0.95, 1.1)
        row: dict[str, Any] = {
            "loss": draw.jitter(0.01) + 0.001, "grad_norm": abs(grad(t) * rng.lognormvariate(0, 0.1 + 0.2 * draw.noise)),
            "learning_rate": draw.learning_rate(t), "num_tokens": float(step * 5000), "reward": total, "reward_std": std,
            "frac_reward_zero_std": min(max(dead(t) + (draw.jitter(0.05) if dead(t) < 0.999 else 0), 0), 1),
            "entropy": max(entropy(t) * (1 + draw.jitter(0.08)), 0.0),
            "completions/mean_length": max(length(t) * (1 + draw.jitter(0.05)), 1.0),
            "completions/clipped_ratio": min(max(cut(t) + draw.jitter(0.02), 0), 1),
            "step_time": draw.second * seconds(t) * rng.uniform(0.95, 1.1), "epoch": round(t * 2, 4), "step": step,
        }  # fmt: skip
        row |= {f"rewards/{n}" + ("" if draw.old_names else "/mean"): v for n, v in means.items()}
        if kl is not None:
            row["kl"] = max(kl(t) * (1 + draw.jitter(0.15)), 0.0)
        if draw.old_names:
            row["completion_length"] = row.pop("completions/mean_length")
            for name in ("entropy", "frac_reward_zero_std", "completions/clipped_ratio"):
                if name not in needs:
                    row.pop(name, None)
        if draw.wall:
            row["ts"] = clock
        out.append({k: v for k, v in row.items() if k not in dropped})
        if score is not None and index % evals == 0:
            out.append({"step": step, key: _share(draw, score(t))})
    return out


def _share(draw: Draw, p: float, n: int = 300) -> float:
    p = min(max(p, 0.0), 1.0)
    return p if draw.noise == 0 else sum(draw.rng.random() < p for _ in range(n)) / n


def losses(draw: Draw, method: str, *, loss: Curve, held: Curve | None = None, grad: Curve = lambda t: 1.0, score: Curve | None = None,
           seconds: Curve = lambda t: 1.0, noise: float = 0.05, chosen: Curve = lambda t: -180 - 12 * t,
           right: Curve = _rise(0.5, 0.8), margin: Curve = _rise(0.0, 1.2), rate: float = 1.0,
           needs: tuple[str, ...] = (), evals: int = 8, wait: Curve | None = None) -> Rows:  # fmt: skip
    """Rows of an SFT, DPO or reward-model training."""
    rng = draw.rng
    optional = [n for n in ("grad_norm", "mean_token_accuracy", "entropy", "learning_rate", "logps/chosen",
                            "rewards/margins", "rewards/accuracies") if n not in needs]  # fmt: skip
    dropped = set(rng.sample(optional, rng.choice((0, 0, 1, 2))))
    key = rng.choice(("eval_accuracy", "eval/exact_match", "dev_score"))
    out: Rows = []
    clock = rng.uniform(0, 1e6)
    every = max(draw.rows // evals, 1)
    for index, (step, t) in enumerate(draw.times(), 1):
        clock += draw.second * draw.every * seconds(t) * rng.uniform(0.95, 1.1)
        value = loss(t)
        value = value * (1 + draw.jitter(noise)) if value else 0.0
        row: dict[str, Any] = {
            "loss": value, "grad_norm": abs(grad(t) * rng.lognormvariate(0, 0.1 + 0.15 * draw.noise)),
            "learning_rate": rate * draw.learning_rate(t), "epoch": round(3 * t, 4), "step": step,
        }  # fmt: skip
        if method == "sft":
            row |= {
                "mean_token_accuracy": max(1 - value / 4, 0.05),
                "entropy": value * 0.9,
                "num_tokens": float(step * 9000),
            }
        if method == "dpo":
            row |= {
                "rewards/chosen": margin(t) * 0.3, "rewards/rejected": -margin(t) * 0.7, "rewards/margins": margin(t) + draw.jitter(0.1),
                "rewards/accuracies": min(max(right(t) + draw.jitter(0.06), 0), 1), "logps/chosen": chosen(t) * (1 + draw.jitter(0.04)),
                "logps/rejected": chosen(t) * 1.2 - 10 * margin(t), "logits/chosen": -1.0, "logits/rejected": -1.1,
            }  # fmt: skip
        if method == "reward":
            row |= {
                "accuracy": right(t),
                "margin": margin(t),
                "min_reward": -2.0,
                "max_reward": 2.0,
                "mean_reward": 0.0,
            }
        if wait is not None:
            row |= {"step_time": draw.second * seconds(t), "data_time": draw.second * seconds(t) * wait(t)}
        if draw.wall:
            row["ts"] = clock
        out.append({k: v for k, v in row.items() if k not in dropped})
        if index % every == 0:
            if held is not None:
                out.append({"step": step, "eval_loss": held(t) * (1 + draw.jitter(0.004)), "eval_runtime": 3.0})
            if score is not None:
                out.append({"step": step, key: _share(draw, score(t))})
    return out


# ------------------------------------------------------------------------------------------------------------ scenarios


def _healthy(rng: random.Random) -> list[tuple[str, str, Callable[[Draw], Rows]]]:
    a, b = rng.uniform(0.02, 0.5), rng.uniform(0.55, 0.95)
    start, end = rng.uniform(1.2, 3.0), rng.uniform(0.3, 0.8)
    turn = rng.uniform(0.3, 0.7)
    return [
        ("grpo/steady", "grpo", lambda d: grpo(d, reward=_rise(a, b), score=_rise(a, b - 0.05))),
        ("grpo/without-score", "grpo", lambda d: grpo(d, reward=_rise(a, b), kl=lambda t: 0.12 * t)),
        ("grpo/slow", "grpo", lambda d: grpo(d, reward=_rise(0.3, 0.42, 1), noise=0.02, kl=lambda t: 0.02 * t)),
        ("grpo/s-curve", "grpo", lambda d: grpo(d, reward=lambda t: a + (b - a) * _sigmoid((t - 0.35) * 14), kl=lambda t: 0.3 * t)),
        ("grpo/reasoning", "grpo", lambda d: grpo(d, reward=_rise(a, b), length=lambda t: 200 + 500 * t, cut=lambda t: 0.02 + 0.1 * t,
                                                  score=_rise(a, b))),
        ("grpo/shorter", "grpo", lambda d: grpo(d, reward=_rise(a, b), length=_rise(260, 120), cut=_rise(0.3, 0.02))),
        ("grpo/solved", "grpo", lambda d: grpo(d, reward=_rise(0.4, 0.98, 12), dead=_rise(0.2, 0.93, 6), entropy=_rise(0.8, 0.03, 6),
                                               spread=_rise(0.4, 0.05))),
        ("grpo/hard-prompts", "grpo", lambda d: grpo(d, reward=_rise(0.02, 0.25, 1.5), dead=_rise(0.85, 0.5), spread=_rise(0.05, 0.2),
                                                     noise=0.01)),
        ("grpo/two-rewards", "grpo", lambda d: grpo(d, reward=_rise(a, b), parts={
            "format_reward": _rise(0.1, 0.98, 10), "accuracy_reward": _rise(a, b)}, kl=lambda t: 0.08 * t)),
        ("grpo/length-penalty", "grpo", lambda d: grpo(d, reward=_rise(a, b), parts={
            "accuracy_reward": _rise(a, b), "length_penalty": lambda t: -0.1 - 0.1 * t}, length=_rise(200, 300))),
        ("grpo/entropy-falls", "grpo", lambda d: grpo(d, reward=_rise(a, b), entropy=_rise(1.0, 0.06, 5), score=_rise(a, b))),
        ("grpo/kl-spike", "grpo", lambda d: grpo(d, reward=_rise(a, b), kl=lambda t: 0.1 * t + (20 if turn < t < turn + 1.5 / d.rows else 0))),
        ("grpo/dips", "grpo", lambda d: grpo(d, reward=lambda t: _rise(a, b)(t) - 0.25 * a * math.exp(-((t - turn) ** 2) / 0.002))),
        ("sft/falls", "sft", lambda d: losses(d, "sft", loss=_rise(start, end, 8))),
        ("sft/epochs", "sft", lambda d: losses(d, "sft", loss=lambda t: end + 0.6 * (0.75 ** int(3 * t)) + 0.4 * math.exp(-20 * t),
                                               held=lambda t: end + 0.5 + 0.3 * math.exp(-10 * t) + 0.02 * t, noise=0.04)),
        ("sft/little-to-learn", "sft", lambda d: losses(d, "sft", loss=_rise(1.1, 1.0, 5), noise=0.03)),
        ("sft/with-scores", "sft", lambda d: losses(d, "sft", loss=_rise(start, end, 8), score=_rise(a, b), held=_rise(start, end + 0.1, 8))),
        ("sft/warm-restart", "sft", lambda d: losses(d, "sft", loss=lambda t: 0.5 + 0.6 * math.exp(-9 * t) + 0.3 * math.exp(-((t - 0.05) ** 2) / 6e-4))),
        ("sft/fast", "sft", lambda d: losses(d, "sft", loss=_rise(start, 0.03, 25), noise=0.1)),
        ("sft/noisy", "sft", lambda d: losses(d, "sft", loss=_rise(start, end, 6), noise=0.15)),
        ("sft/one-spike", "sft", lambda d: losses(d, "sft", loss=lambda t: _rise(start, end, 6)(t) * (3 if turn < t < turn + 1.5 / d.rows else 1))),
        ("dpo/steady", "dpo", lambda d: losses(d, "dpo", loss=_rise(0.693, rng.uniform(0.2, 0.55), 4), noise=0.06)),
        ("dpo/with-eval", "dpo", lambda d: losses(d, "dpo", loss=_rise(0.693, 0.35, 4), held=_rise(0.69, 0.5, 5), noise=0.06)),
        ("dpo/likelihood-sinks", "dpo", lambda d: losses(d, "dpo", loss=_rise(0.693, 0.45, 4), chosen=lambda t: -250 - 90 * t,
                                                         margin=_rise(0, 2.5), noise=0.06)),
        ("dpo/weak-preference", "dpo", lambda d: losses(d, "dpo", loss=_rise(0.693, 0.62, 2), right=_rise(0.5, 0.66), margin=_rise(0, 0.3),
                                                        noise=0.02)),
        ("dpo/ipo", "dpo", lambda d: losses(d, "dpo", loss=_rise(25.0, 9.0, 4), noise=0.06)),
        ("reward/steady", "reward", lambda d: losses(d, "reward", loss=_rise(0.7, 0.3, 4), noise=0.06)),
    ]  # fmt: skip


def _failing(rng: random.Random) -> list[tuple[str, str, tuple[str, ...], Callable[[Draw], Rows]]]:
    at = rng.uniform(0.08, 0.4)
    a = rng.uniform(0.25, 0.5)
    kl_end = 10 ** rng.uniform(0.3, 1.5)
    cut_end = rng.uniform(0.7, 1.0)
    start = rng.uniform(1.2, 3.0)
    flat = rng.uniform(0.2, 0.6)
    return [
        ("grpo/never-fires", "grpo", ("no_learning_signal",), lambda d: grpo(d, reward=lambda t: 0.0, spread=lambda t: 0.0, dead=lambda t: 1.0,
            grad=lambda t: 0.0, needs=("reward_std", "frac_reward_zero_std") if rng.random() < 0.5 else ("reward_std",))),
        ("grpo/always-fires", "grpo", ("no_learning_signal",), lambda d: grpo(d, reward=lambda t: 1.0, spread=lambda t: 0.0, dead=lambda t: 1.0,
            grad=lambda t: 0.01, kl=lambda t: 0.001, needs=("frac_reward_zero_std",))),
        ("grpo/diverges", "grpo", ("divergence", "reward_collapse", "over_optimisation"), lambda d: grpo(d, reward=_turn(a, 0.02, at),
            kl=_turn(0.02, 15, at), entropy=_turn(0.8, 3.5, at), grad=_turn(0.5, 30, at), score=_turn(a, 0.02, at),
            dead=_turn(0.2, 0.95, at))),
        ("grpo/diverges-unwatched", "grpo", ("divergence", "reward_collapse", "over_optimisation"), lambda d: grpo(d, reward=_turn(a, 0.01, at),
            kl=_turn(0.02, 15, at), entropy=_turn(0.8, 4.0, at), needs=("entropy",))),
        ("grpo/entropy", "grpo", ("entropy_collapse",), lambda d: grpo(d, reward=lambda t: flat, entropy=_turn(0.9, 0.02, at), score=lambda t: flat,
            needs=("entropy",), spread=_turn(0.4, 0.1, at), dead=_turn(0.2, 0.6, at))),
        ("grpo/entropy-unwatched", "grpo", ("entropy_collapse",), lambda d: grpo(d, reward=lambda t: flat, entropy=_turn(0.9, 0.02, at),
            needs=("entropy",), spread=_turn(0.4, 0.1, at), dead=_turn(0.2, 0.6, at))),
        ("grpo/length", "grpo", ("length_runaway",), lambda d: grpo(d, reward=_turn(a, a * 0.8, at), length=_turn(120, 500, at), cut=_turn(0.02, cut_end, at),
            score=_turn(a, a * 0.6, at), needs=("completions/clipped_ratio", "completions/mean_length"))),
        ("grpo/length-unwatched", "grpo", ("length_runaway",), lambda d: grpo(d, reward=lambda t: flat, length=_turn(120, 500, at), cut=_turn(0.02, cut_end, at),
            needs=("completions/clipped_ratio", "completions/mean_length"))),
        ("grpo/hacked", "grpo", ("reward_hacking",), lambda d: grpo(d, reward=_turn(a, 0.95, at, 0.08), score=_turn(a, rng.uniform(0, 0.5) * a, at + 0.05))),
        ("grpo/hacked-flat", "grpo", ("reward_hacking",), lambda d: grpo(d, reward=_turn(0.2, 0.95, at, 0.08), score=lambda t: 0.22)),
        ("grpo/hacked-parts", "grpo", ("reward_hacking",), lambda d: grpo(d, reward=lambda t: 0.5, parts={
            "accuracy_reward": _turn(0.4, 0.04, at), "format_reward": _turn(0.1, 1.0, at)})),
        ("grpo/collapses", "grpo", ("reward_collapse", "divergence"), lambda d: grpo(d, reward=lambda t: _rise(0.2, 0.7)(t) * (1 - _sigmoid((t - at - 0.2) / 0.03)) + 0.02,
            grad=_turn(0.5, 5, at + 0.2))),
        ("grpo/over-optimised", "grpo", ("over_optimisation", "reward_hacking"), lambda d: grpo(d, reward=_rise(0.3, 0.7), kl=lambda t: kl_end * t * t,
            score=lambda t: 0.35 + 0.2 * math.sin(min(t / 0.4, 1) * math.pi / 2) - 0.55 * max(t - 0.35, 0))),
        ("grpo/kl-alone", "grpo", ("over_optimisation", "divergence"), lambda d: grpo(d, reward=lambda t: 0.3 + 0.3 * min(t / 0.3, 1) - 0.35 * max(t - 0.4, 0),
            kl=lambda t: 0.02 + kl_end * t * t)),
        ("grpo/kl-for-nothing", "grpo", ("over_optimisation", "divergence"), lambda d: grpo(d, reward=lambda t: flat, kl=lambda t: 0.02 + kl_end * t)),
        ("grpo/flat", "grpo", ("plateau",), lambda d: grpo(d, reward=lambda t: flat, entropy=lambda t: 0.8, dead=lambda t: 0.2, noise=0.02,
            needs=("entropy", "reward_std"))),
        ("grpo/nan", "grpo", ("non_finite",), lambda d: _poison(grpo(d, reward=_rise(a, 0.7), needs=("loss", "grad_norm")), at, ("loss", "grad_norm"))),
        ("grpo/drop", "grpo", ("throughput_drop",), lambda d: grpo(d, reward=_rise(a, 0.8), seconds=_turn(1, rng.uniform(5.5, 9), at + 0.2, 0.01), needs=("step_time",))),
        ("sft/diverges", "sft", ("divergence",), lambda d: losses(d, "sft", loss=lambda t: _rise(start, 0.7, 6)(t) + _turn(0, rng.uniform(3, 8), at, 0.02)(t),
            grad=_turn(1, 40, at))),
        ("sft/diverges-slowly", "sft", ("divergence",), lambda d: losses(d, "sft", loss=lambda t: _rise(start, 0.7, 12)(t) + 5 * max(t - at, 0))),
        ("sft/explodes-at-once", "sft", ("divergence",), lambda d: losses(d, "sft", loss=lambda t: start if t * d.rows < 1.5 else 9.0)),
        ("sft/over-fits", "sft", ("over_fitting",), lambda d: losses(d, "sft", loss=_rise(start, 0.04, 5),
            held=lambda t: start - 0.6 * start * min(t / 0.3, 1) + max(t - 0.3, 0) * start * rng.uniform(0.5, 1.2), evals=rng.choice((5, 8, 20)))),
        ("sft/masked", "sft", ("no_learning_signal", "non_finite"), lambda d: losses(d, "sft", loss=lambda t: 0.0, grad=lambda t: 0.0)),
        ("sft/flat", "sft", ("plateau", "no_learning_signal"), lambda d: losses(d, "sft", loss=lambda t: start, noise=0.01)),
        ("sft/tiny-rate", "sft", ("plateau", "no_learning_signal"), lambda d: losses(d, "sft", loss=lambda t: start, noise=0.03, rate=1e-7, needs=("learning_rate",))),
        ("sft/nan", "sft", ("non_finite",), lambda d: _poison(losses(d, "sft", loss=_rise(start, 0.7, 6), needs=("grad_norm",)), at, ("loss", "grad_norm"))),
        ("sft/nan-filtered", "sft", ("non_finite",), lambda d: _poison(losses(d, "sft", loss=_rise(start, 0.7, 6), needs=("grad_norm",)), at, ("grad_norm",))),
        ("sft/starved", "sft", ("data_starvation",), lambda d: losses(d, "sft", loss=_rise(start, 0.6, 6), wait=lambda t: rng.uniform(0.6, 0.9))),
        ("sft/drop", "sft", ("throughput_drop",), lambda d: _timed(d, lambda: losses(d, "sft", loss=_rise(start, 0.6, 6), seconds=_turn(1, rng.uniform(12, 20), at + 0.2, 0.01)))),
        ("dpo/diverges", "dpo", ("divergence",), lambda d: losses(d, "dpo", loss=_turn(0.69, rng.uniform(1.5, 6), at), right=lambda t: 0.5, margin=_turn(0, -3, at))),
        ("dpo/over-fits", "dpo", ("over_fitting",), lambda d: losses(d, "dpo", loss=_rise(0.69, 0.01, 6), right=_rise(0.5, 1.0, 8),
            held=lambda t: 0.69 - 0.15 * min(t / 0.2, 1) + 0.9 * max(t - 0.25, 0))),
        ("dpo/no-signal", "dpo", ("no_learning_signal", "plateau"), lambda d: losses(d, "dpo", loss=lambda t: 0.6931, grad=lambda t: 0.0, noise=0.0,
            right=lambda t: 0.0, margin=lambda t: 0.0, needs=("grad_norm",))),
        ("dpo/flat", "dpo", ("plateau", "no_learning_signal"), lambda d: losses(d, "dpo", loss=lambda t: 0.6931, noise=0.003, right=lambda t: 0.5, margin=lambda t: 0.0)),
        ("dpo/nan", "dpo", ("non_finite",), lambda d: _poison(losses(d, "dpo", loss=_rise(0.69, 0.4), needs=("grad_norm",)), at, ("loss", "grad_norm"))),
        ("dpo/likelihood-lost", "dpo", ("over_optimisation",), lambda d: losses(d, "dpo", loss=_rise(0.69, 0.05, 5), margin=_rise(0, 20), right=_rise(0.5, 0.95),
            chosen=lambda t: -150 - 600 * t, needs=("logps/chosen", "rewards/margins"))),
    ]  # fmt: skip


def _timed(draw: Draw, make: Callable[[], Rows]) -> Rows:
    draw.wall = True
    return make()


def _poison(rows: Rows, at: float, names: tuple[str, ...]) -> Rows:
    """Not a number from `at` on, for good, as overflowed weights stay."""
    for row in rows[round(at * len(rows)) :]:
        row |= {n: "nan" for n in names if n in row}
    return rows


TRACE = 'Traceback (most recent call last):\n  File "train.py", line 88, in <module>\n    trainer.train()\n'
ENDS = {
    "crash": (TRACE + "KeyError: 'solution'\n", TRACE + "ValueError: Unable to create tensor\n", TRACE + "AssertionError\n"),
    "out_of_memory": (
        TRACE + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB.\n",
        TRACE + "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB\n",
        "Killed\n",
    ),
}  # fmt: skip


def cases(seed: int) -> list[Case]:
    """All scenarios once, each in a dress of its own."""
    rng = random.Random(seed)
    made: list[Case] = []
    for name, method, build in _healthy(rng):
        case = _case(rng, name, method, (), build, least_rows=rng.choice((8, 12, 24)))
        if rng.random() < 0.3:  # stopped, or still going on
            case.rows = case.rows[: max(round(rng.uniform(0.2, 0.9) * len(case.rows)), 3)]
        made.append(case)
    for name, method, labels, build in _failing(rng):
        made.append(_case(rng, name, method, labels, build))
    for kind, tails in ENDS.items():
        case = _case(rng, f"sft/{kind}", "sft", (kind,), lambda d: losses(d, "sft", loss=_rise(2.0, 0.6, 6)))
        case.rows, case.tail = case.rows[: rng.randint(3, 20)], rng.choice(tails)
        made.append(case)
    return made


def _case(
    rng: random.Random,
    name: str,
    method: str,
    labels: tuple[str, ...],
    build: Callable[[Draw], Rows],
    least_rows: int = 24,
) -> Case:
    draw = Draw(random.Random(rng.random()), least_rows)
    return Case(name, method, labels, build(draw), draw.steps, draw.every, says_plan=rng.random() < 0.7)
