"""The same training, told differently: what must not change a verdict.

Each variation takes a recorded run and gives it in another dress: rewards on another scale, rows of every k-th step, a
column left out, names of an older release. `None` where the run has nothing of the kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Record = dict[str, Any]
Variation = Callable[[Record], Record | None]

_MEANS = re.compile(r"reward|rewards/(?!chosen|rejected|margins|accuracies).+/mean")
_SPREADS = re.compile(r"reward_std|rewards/.+/std")


def rewards(factor: float, shift: float) -> Variation:
    """Rewards in another unit, or counted from another zero."""

    def given(record: Record) -> Record | None:
        if record["method"] != "grpo":
            return None
        return record | {"log": [{k: _moved(k, v, factor, shift) for k, v in row.items()} for row in record["log"]]}

    return given


def _moved(name: str, value: Any, factor: float, shift: float) -> Any:
    if not isinstance(value, int | float):
        return value
    if _MEANS.fullmatch(name):
        return factor * value + shift
    return factor * value if _SPREADS.fullmatch(name) else value


def every(k: int) -> Variation:
    """Logged every `k` rows: means of what lies between, as TRL gives them."""

    def given(record: Record) -> Record | None:
        rows: list[dict[str, Any]] = []
        waiting: list[dict[str, Any]] = []
        for row in record["log"]:
            if "loss" not in row or "eval_loss" in row:
                rows.append(row)
                continue
            waiting.append(row)
            if len(waiting) == k:
                rows.append({n: _mean(n, [w[n] for w in waiting if n in w]) for n in row})
                waiting = []
        return record | {"log": rows} if sum("loss" in r for r in rows) >= 8 else None

    return given


def _mean(name: str, values: list[Any]) -> Any:
    if name in ("step", "epoch", "ts", "learning_rate", "num_tokens") or not all(
        isinstance(v, int | float) for v in values
    ):
        return values[-1]
    return sum(values) / len(values)


def without(*names: str) -> Variation:
    """Columns that this user's trainer does not log."""

    def given(record: Record) -> Record | None:
        if not any(n in row for row in record["log"] for n in names):
            return None
        return record | {"log": [{k: v for k, v in row.items() if k not in names} for row in record["log"]]}

    return given


def _older(record: Record) -> Record | None:
    """Names of TRL before 0.16."""
    if record["method"] != "grpo":
        return None

    def name(key: str) -> str | None:
        if re.fullmatch(r"rewards/.+/std", key) or key in ("frac_reward_zero_std", "entropy"):
            return None
        if key.startswith("completions/"):
            return "completion_length" if key == "completions/mean_length" else None
        return key.removesuffix("/mean") if key.startswith("rewards/") else key

    return record | {"log": [{n: v for k, v in row.items() if (n := name(k))} for row in record["log"]]}


def _as_text(record: Record) -> Record | None:
    return record | {"log": [{k: v if k == "step" else str(v) for k, v in row.items()} for row in record["log"]]}


def _prefixed(record: Record) -> Record | None:
    """As a tracker stores them."""

    def rename(key: str) -> str:
        if key in ("step", "ts"):
            return key
        return re.sub("^eval_", "eval/", key) if key.startswith("eval_") else f"train/{key}"

    return record | {"log": [{rename(k): v for k, v in row.items()} for row in record["log"]]}


def _without_plan(record: Record) -> Record | None:
    return record | {"max_steps": None}


VARIATIONS: dict[str, Variation] = {
    "rewards in hundredths": rewards(0.01, 0.0),
    "rewards times fifty": rewards(50.0, 0.0),
    "rewards below zero": rewards(1.0, -2.0),
    "every 2": every(2),
    "every 5": every(5),
    "no gradient norm": without("grad_norm"),
    "no entropy": without("entropy"),
    "no spread of rewards": without("reward_std"),
    "no share of equal groups": without("frac_reward_zero_std"),
    "no times": without("step_time", "ts"),
    "no learning rate": without("learning_rate"),
    "no token counts": without("num_tokens", "mean_token_accuracy"),
    "names of older releases": _older,
    "numbers as text": _as_text,
    "names with prefixes": _prefixed,
    "no plan": _without_plan,
}
