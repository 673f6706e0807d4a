"""Which labelled runs there are: healthy ones and failing ones of SFT, DPO and GRPO, several seeds and two sizes.

A label is what was set up to happen; `record` drops a run in which it did not happen (by the model's held-out accuracy
and facts of the log that no detector uses in that form), so that the detectors are measured against outcomes and not
against intentions. Seeds below `HELD_OUT` are for development, the others are looked at once.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

HELD_OUT = 100


@dataclass(frozen=True)
class Plan:
    """One run."""

    name: str
    method: str
    labels: tuple[str, ...] = ()
    """What is wrong, in the words a careful reader may use: one of them must be found; empty: healthy."""
    size: str = "small"
    seed: int = 0
    steps: int = 80
    batch: int = 32
    rows: int = 1200
    lr: float = 1e-3
    scheduler: str = "linear"
    warmup: float = 0.0
    clip: float = 1.0
    log_every: int = 1
    first: bool = False
    eval_loss: bool = False
    dev_key: str = ""
    mask_all: bool = False
    random_labels: bool = False
    same_pairs: bool = False
    poison: bool = False
    trouble: str = ""
    sleep_s: float = 2.0
    job: bool = False
    """Recorded as a job of ours: with the timings of our callback, its time limit and its last sign of life."""
    limit_s: float = 0.0
    """Seconds the job was given, by the pace of a plan like `healthy`; 0: no limit."""
    beta: float = 0.0
    reward: str = "exact"
    scale: float = 1.0
    watch_exact: bool = False
    epsilon: float = 0.2
    iterations: int = 1
    room: int = 1
    """Completion limit in units of the answers' own."""


SCHEDULERS = ("linear", "cosine", "constant", "constant_with_warmup")
DEV_KEYS = ("eval_accuracy", "eval_exact_match", "dev_score", "")


def _healthy(rng: random.Random) -> list[Plan]:
    def any_of(**more: Any) -> dict[str, Any]:
        scheduler = rng.choice(SCHEDULERS)
        return {
            "scheduler": scheduler, "warmup": rng.choice((0.03, 0.1)) if "warmup" in scheduler else rng.choice((0, 0.1)),
            "first": rng.random() < 0.3, **more,
        }  # fmt: skip

    return [
        Plan("healthy", "sft", lr=rng.choice((5e-4, 1e-3, 2e-3)), log_every=rng.choice((1, 2, 5)), eval_loss=rng.random() < 0.5,
             dev_key=rng.choice(DEV_KEYS), steps=rng.choice((60, 120)), **any_of()),
        Plan("healthy-sparse", "sft", lr=1e-3, log_every=10, eval_loss=True, steps=160, **any_of()),
        Plan("healthy-small-batch", "sft", lr=2e-4, batch=8, log_every=rng.choice((1, 5)), steps=120, **any_of()),
        Plan("healthy", "dpo", lr=rng.choice((1e-5, 2e-5, 4e-5)), beta=rng.choice((0.1, 0.3)), log_every=rng.choice((1, 2, 5)),
             eval_loss=rng.random() < 0.7, dev_key=rng.choice(("", "", "dev_score")), **any_of()),
        Plan("healthy-sparse", "dpo", lr=2e-5, beta=0.1, log_every=10, steps=120, eval_loss=True, **any_of()),
        Plan("healthy", "grpo", lr=rng.choice((2e-4, 3e-4, 4e-4)), batch=128, scheduler="constant", steps=80,
             dev_key=rng.choice(DEV_KEYS), beta=rng.choice((0.0, 0.0, 0.04))),
        Plan("healthy-scaled", "grpo", lr=3e-4, batch=128, steps=80, scale=rng.choice((10.0, 100.0)), **any_of()),
        Plan("healthy-negative", "grpo", lr=3e-4, batch=128, steps=80, reward="near", watch_exact=True,
             beta=rng.choice((0.0, 0.02)), **any_of()),
        Plan("healthy-sparse", "grpo", lr=3e-4, batch=128, steps=100, log_every=rng.choice((5, 10)), **any_of()),
    ]  # fmt: skip


def _failing(rng: random.Random) -> list[Plan]:
    dev = rng.choice(("dev_score", "eval_accuracy"))
    grpo = {"method": "grpo", "batch": 64, "scheduler": "constant", "steps": 60}
    return [
        Plan("reward-never", labels=("no_learning_signal",), reward="never", lr=2e-4, **grpo),
        Plan("reward-always", labels=("no_learning_signal",), reward="always", lr=2e-4, beta=rng.choice((0, 0.04)), **grpo),
        Plan("rate-high-kl", labels=("divergence",), lr=rng.choice((5e-3, 8e-3)), beta=0.02, dev_key=rng.choice((dev, "")), **grpo),
        Plan("rate-high", labels=("divergence", "reward_collapse", "entropy_collapse"), lr=rng.choice((6e-3, 1e-2)),
             clip=1e9, dev_key=rng.choice((dev, "")), **grpo),
        Plan("pays-length", labels=("length_runaway",), reward="length", lr=6e-4, room=2, dev_key=rng.choice((dev, "")), **grpo),
        Plan("pays-brackets", labels=("reward_hacking",), reward="brackets", lr=6e-4, dev_key=dev, **grpo),
        Plan("pays-brackets-watched", labels=("reward_hacking",), reward="brackets", lr=6e-4, watch_exact=True, **grpo),
        Plan("pays-substring", labels=("reward_hacking", "divergence", "over_optimisation"), reward="contains", lr=8e-4, dev_key=dev, room=2, beta=1e-4, **grpo),
        Plan("over-optimised", labels=("over_optimisation", "reward_hacking"), reward="digits", lr=1e-3, dev_key=dev, beta=1e-3, **grpo),
        Plan("reward-raises", labels=("crash",), trouble="raise", lr=2e-4, **grpo),
        Plan("reward-memory", labels=("out_of_memory",), trouble="memory", lr=2e-4, **grpo),
        Plan("reward-slows", labels=("throughput_drop",), trouble="sleep", lr=2e-4, **grpo),
        Plan("rate-nothing", labels=("plateau", "no_learning_signal"), lr=1e-9, **grpo),
        Plan("rate-high", "sft", ("divergence",), lr=rng.choice((0.1, 0.3)), log_every=rng.choice((1, 5)), clip=1e9,
             warmup=rng.choice((0, 0.1)), scheduler=rng.choice(SCHEDULERS)),
        Plan("small-data", "sft", ("over_fitting",), lr=2e-3, rows=48, batch=16, steps=160, log_every=rng.choice((1, 5, 10)),
             eval_loss=True, scheduler=rng.choice(("constant", "cosine"))),
        Plan("masked", "sft", ("no_learning_signal", "non_finite"), mask_all=True, log_every=rng.choice((1, 5))),
        Plan("rate-nothing", "sft", ("plateau", "no_learning_signal"), lr=1e-9, log_every=rng.choice((1, 2, 5))),
        Plan("poisoned", "sft", ("non_finite",), poison=True, log_every=rng.choice((1, 10))),
        Plan("collator-raises", "sft", ("crash",), trouble="raise"),
        Plan("collator-memory", "sft", ("out_of_memory",), trouble="memory"),
        Plan("rate-high", "dpo", ("divergence",), lr=rng.choice((0.03, 0.1)), clip=1e9, log_every=rng.choice((1, 5)), beta=0.1),
        Plan("small-data", "dpo", ("over_fitting",), lr=1e-3, rows=32, batch=16, steps=120, eval_loss=True, beta=0.5,
             log_every=rng.choice((1, 5))),
        Plan("same-pairs", "dpo", ("no_learning_signal", "plateau"), same_pairs=True, lr=1e-4, log_every=rng.choice((1, 5))),
        Plan("rate-nothing", "dpo", ("plateau", "no_learning_signal"), lr=1e-10, log_every=rng.choice((1, 5))),
        Plan("poisoned", "dpo", ("non_finite",), poison=True),
        Plan("reward-turns", labels=("reward_collapse",), trouble="turn", lr=2e-4, dev_key=rng.choice((dev, "")), **grpo),
    ]  # fmt: skip


def _of_jobs(rng: random.Random) -> list[Plan]:
    """Failures that only a job's folder tells of (how long it waited, what time it had, when it was last heard of), healthy
    jobs that carry the same facts, and policies that become certain of nothing in particular."""
    grpo = {"method": "grpo", "scheduler": "constant", "job": True}
    collapse = {"method": "grpo", "scheduler": "constant", "batch": 64, "steps": 60, "iterations": rng.choice((1, 2))}
    return [
        Plan("healthy-job", "sft", job=True, limit_s=600, lr=1e-3, steps=60),
        Plan("healthy-job", lr=3e-4, batch=128, steps=60, limit_s=900, **grpo),
        Plan("loader-waits", "sft", ("data_starvation",), job=True, trouble="starve", sleep_s=rng.choice((1.5, 3.0)), lr=1e-3,
             steps=40, batch=rng.choice((16, 32)), scheduler=rng.choice(SCHEDULERS)),
        Plan("loader-waits-later", "sft", ("data_starvation",), job=True, trouble="sleep", sleep_s=2.0, lr=1e-3, steps=40),
        Plan("too-long", labels=("slow",), lr=2e-4, batch=256, room=rng.choice((6, 8)), reward="length", steps=60,
             limit_s=rng.choice((8.0, 12.0)), **grpo),
        Plan("too-many", "sft", ("slow",), job=True, lr=5e-4, batch=512, steps=400, limit_s=rng.choice((8.0, 12.0))),
        Plan("reward-hangs", labels=("stalled",), trouble="hang", sleep_s=75.0, lr=2e-4, batch=64, steps=60, **grpo),
        Plan("reward-waits", labels=("stalled",), trouble="pause", sleep_s=75.0, lr=2e-4, batch=64, steps=60, **grpo),
        Plan("judge-agrees", labels=("entropy_collapse", "reward_hacking"), reward="majority", lr=rng.choice((1.5e-3, 2e-3)),
             dev_key="dev_score", **collapse),
    ]  # fmt: skip


def plans(seed: int) -> Iterator[Plan]:
    """All runs of one seed, each in one of the sizes (they alternate, so that every run comes in both)."""
    rng = random.Random(seed)
    for index, plan in enumerate(_healthy(rng) + _failing(rng) + _of_jobs(rng)):
        size = ("small", "large")[(index + seed) % 2]
        slower = (
            (0.4 if plan.method == "grpo" and not plan.labels else 0.5) if size == "large" else 1.0
        )  # the larger model wants the smaller rate
        yield replace(plan, seed=seed, size=size, lr=plan.lr * slower)
