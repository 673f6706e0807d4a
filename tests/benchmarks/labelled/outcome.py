"""Did what was planned happen? Judged by what a detector does not see: the model's held-out accuracy after the training,
and the exit of the process. A run that did not turn out as planned is no fair label either way."""

from __future__ import annotations

import math
from typing import Any


def doubt(record: dict[str, Any]) -> str | None:
    """Why the run does not carry its label, or None."""
    before, after = record["accuracy"]
    error = math.sqrt(max(before * (1 - before) + after * (1 - after), 0.02) / 200)
    lost = after < before - 3 * error
    labels = record["labels"]
    if not labels:
        return f"accuracy fell, {before} -> {after}" if after < before - 2 * error else None
    if labels[0] in ("divergence", "reward_hacking", "over_optimisation", "length_runaway") and not lost:
        return f"the model is as good as before, {before} -> {after}"
    if labels[0] == "throughput_drop" and _slowing(record) < 3:
        return f"steps took {_slowing(record):.1f} times as long: the machine was slower than the hindrance"
    if labels[0] == "entropy_collapse":
        few, many = record["variety"][1], record["variety"][0]
        if few - 1 > 0.4 * (many - 1):
            return f"{few} different answers to a prompt, {many} before"
        if after > before + 2 * error:
            return f"it became better, {before} -> {after}"
    if labels[0] == "slow" and record["steps"] >= record["max_steps"]:
        return "it came to its end within the limit"
    if labels[0] == "slow" and record["steps"] < 5:
        return (
            f"its time was over after {record['steps']} steps: the first ones are start-up and tell nothing of the pace"
        )
    if labels[0] == "data_starvation" and _waited(record) < 0.3:
        return f"it waited for {_waited(record):.0%} of its last third: the machine was slower than the loader"
    return None


def labels(record: dict[str, Any]) -> list[str]:
    """The kinds of which one must be found. A reward that was to be hacked and fell all the same was not hacked: then
    the policy broke."""
    planned: list[str] = record["labels"]
    rewards = [row["reward"] for row in record["log"] if "reward" in row]
    quarter = len(rewards) // 4
    if "reward_hacking" in planned and quarter and sum(rewards[-quarter:]) <= sum(rewards[:quarter]):
        return ["divergence", "reward_collapse", "over_optimisation"]
    return planned


def _waited(record: dict[str, Any]) -> float:
    """The share of the last third's time that the loader slept, by what was set up and the clock of the rows."""
    at = [row["ts"] for row in record["log"] if "ts" in row]
    third = len(at) // 3
    waits = [row["data_time"] for row in record["log"] if "data_time" in row][-third:]
    return sum(waits) / max(at[-1] - at[-1 - third], 1e-9) if third else 0.0


def _slowing(record: dict[str, Any]) -> float:
    """How much longer the last third of the run took than the first, by the clock of its rows."""
    at = [row["ts"] for row in record["log"] if "ts" in row]
    third = len(at) // 3
    return (at[-1] - at[-1 - third]) / max(at[third] - at[0], 1e-9) if third else 0.0
