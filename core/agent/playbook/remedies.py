"""What to change after a diagnosis: a factor or a setting for each kind of failure, never a value found on one task.

The change is relative to the job that failed, so the same line serves a 1 M-parameter model and an 8 B one. Where the
recipe library knows a paper for the symptom, its id goes along as the source.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Remedy(NamedTuple):
    words: str
    change: dict[str, Any]
    """Settings that replace those of the failed job."""


def remedy_for(kind: str, method: str, settings: dict[str, Any]) -> Remedy | None:
    """The first remedy for a failure, or None where the job should simply be given up."""
    lr = float(settings.get("lr") or 0.0)
    batch = int(settings.get("batch_size") or 64)
    if kind in ("divergence", "non_finite", "reward_collapse"):
        return Remedy(f"learning rate to a quarter: {lr / 4:.2g}", {"lr": lr / 4})
    if kind == "kl_over_optimisation":
        return Remedy(f"learning rate to a half: {lr / 2:.2g}, KL anchor", {"lr": lr / 2, "beta": max(0.02, float(settings.get("beta") or 0.0))})
    if kind == "entropy_collapse":
        return Remedy("clip high at 0.28 and half the learning rate", {"epsilon_high": 0.28, "lr": lr / 2})
    if kind == "length_runaway":
        return Remedy("mask truncated answers and half the learning rate", {"mask_truncated": True, "lr": lr / 2})
    if kind == "reward_hacking":
        return Remedy("only the strict check as reward, with a KL anchor", {"rewards": [], "beta": 0.04})
    if kind == "out_of_memory":
        half = max(1, batch // 2)
        return Remedy(f"batch {half}, accumulated twice", {"batch_size": half, "grad_accum": 2 * int(settings.get("grad_accum") or 1)})
    if kind == "overfitting":
        return Remedy("half the train steps", {"max_steps": max(10, int(settings.get("max_steps") or 100) // 2)})
    if kind == "no_learning_signal" and method == "grpo":
        return Remedy("more generations a prompt, hotter sampling", {"num_generations": 2 * int(settings.get("num_generations") or 8), "temperature": 1.2})
    return None


SIGN = {
    "divergence": "divergence",
    "non_finite": "divergence",
    "reward_collapse": "small_model_collapse",
    "kl_over_optimisation": "divergence",
    "entropy_collapse": "entropy_collapse",
    "length_runaway": "length_runaway",
    "reward_hacking": "reward_hacking",
    "out_of_memory": "out_of_memory",
    "overfitting": "overfitting",
    "no_learning_signal": "no_signal",
    "plateau": "plateau",
    "slow": "slow",
}
"""The recipe library's word for a detector's finding."""

GROUP_SIGN = {
    "never_ended": "never_ends",
    "truncated": "never_ends",
    "wrong_format": "wrong_format",
    "extra_text": "wrong_format",
    "near_miss": "underfitting",
    "wrong_content": "underfitting",
}
"""The recipe library's word for a group of wrong answers."""
