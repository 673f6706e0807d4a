"""What the rest of a log refutes: a training that was given up too early by a detector, and went on to its best.

A detector speaks as soon as the signs are there, because a job that fails should not run on. Where the whole log lies
before the reader, its end counts more than what its beginning looked like.
"""

from __future__ import annotations

import math
from statistics import median

from core.training.devscore import Dev, Watched
from core.training.history import History, Rise
from core.training.signs_supervised import less_sure

_BY_REWARD = ("no_learning_signal", "entropy_collapse", "reward_collapse", "divergence", "over_optimisation", "plateau")
_LEAST = 24
"""Rows below which the end of a log cannot be told from its middle."""


def recovered(watch: Watched, kind: str, first_step: int) -> str:
    """What at the end of the log speaks against a finding, "" where nothing does."""
    history, dev = watch.history, Dev(watch)
    if dev.known and (dev.down or dev.now < dev.best - 2.5 * dev.error):
        return ""
    if kind == "reward_hacking":
        return f"by the end the {dev}" if dev.up else ""
    if len(history.get("reward")):
        return _best_reward_at_the_end(history, first_step) if kind in _BY_REWARD else ""
    if kind == "over_fitting":
        held = history.get("eval_loss")
        back = len(held) >= 3 and held.values[-1] <= 1.02 * min(held.values)
        return f"eval loss at its least at the end, {held.values[-1]:.3g}" if back else ""
    # the likelihood that answers lost does not show in a preference loss, so that its end refutes nothing
    by_loss = kind in ("divergence", "plateau") and not len(history.get("rewards/margins"))
    return _least_loss_at_the_end(history, first_step) if by_loss else ""


def _best_reward_at_the_end(history: History, first_step: int) -> str:
    rewards = history.get("reward")
    window = max(8, len(rewards) // 10)
    if len(rewards) < max(_LEAST, 3 * window) or first_step > rewards.steps[-window]:
        return ""
    rise = Rise(rewards, window)
    best = max(rewards.mean(i, i + window) for i in range(len(rewards) - window + 1))
    if not rise.up or rise.now < best - 2 * rise.error:
        return ""
    return f"reward {rise.start:.3g} -> {rise.now:.3g} by the end, where it is at its best"


def _least_loss_at_the_end(history: History, first_step: int) -> str:
    loss = history.get("loss")
    window = max(5, len(loss) // 10)
    if len(loss) < max(_LEAST, 3 * window) or first_step > loss.steps[-window]:
        return ""
    if loss.steps[0] > 1 and less_sure(history):  # from what was destroyed before the first row a loss falls too
        return ""
    medians = [median(loss.values[i : i + window]) for i in range(len(loss) - window + 1)]
    error = 1.253 * loss.noise() / math.sqrt(window)
    # a training that destroys its model in the first updates falls from there to an end that is worse than its start
    if medians[-1] > min(medians) + 2 * error or medians[-1] > loss.values[0] or not Rise(loss, window).down:
        return ""
    return f"loss {medians[0]:.3g} -> {medians[-1]:.3g} by the end, where it is at its least"
