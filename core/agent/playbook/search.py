"""Choosing between numbers: a ladder of learning rates from the recipe library's range, climbed by cheap trials."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from core.evaluation.stats import standard_error


class Trial(NamedTuple):
    lr: float
    job: str
    score: float | None
    """Last development score; None where the trial failed before one."""
    failed: bool
    settings: dict[str, Any]
    seconds_per_step: float | None = None


def ladder(low: float, high: float, rungs: int) -> list[float]:
    """`rungs` learning rates from low to high, evenly in the logarithm, two significant digits."""
    if rungs < 2 or high <= low:
        return [_round(math.sqrt(low * high))]
    ratio = (high / low) ** (1 / (rungs - 1))
    return [_round(low * ratio**i) for i in range(rungs)]


def best(trials: list[Trial], *, bold: bool = True) -> Trial | None:
    """The trial to build a long job on; None if none worked.

    `bold`: the highest learning rate within one standard error of the highest development score (the one-standard-error
    rule of Breiman et al. 1984). Of rates that a short trial cannot tell apart the higher one learns more in a long job:
    short horizons favour rates that are too low (arXiv 1803.02021). Not for policy gradients, where a long job at a rate
    that already costs score costs more: there the highest score counts, of equals the lower rate.
    """
    good = [t for t in trials if t.score is not None and not t.failed]
    if not good:
        return None
    if not bold:
        return max(good, key=lambda t: (t.score or 0.0, -t.lr))
    top = max(t.score or 0.0 for t in good)
    near = [t for t in good if (t.score or 0.0) >= top - standard_error(top, TRIAL_SAMPLES)]
    return max(near, key=lambda t: t.lr)


TRIAL_SAMPLES = 200
"""Development samples behind a trial's score (TrainSpec.eval_samples)."""


def next_rung(trials: list[Trial], *, bold: bool = True) -> float | None:
    """Where to look next: beyond the edge if the best rung is the last one on its side, None if it is inside."""
    top = best(trials, bold=bold)
    rates = sorted(t.lr for t in trials)
    if top is None:
        return _round(rates[0] / 4)
    step = (rates[-1] / rates[0]) ** (1 / (len(rates) - 1)) if len(rates) > 1 else 3.0
    if top.lr == rates[-1]:
        return _round(top.lr * min(step, 4.0))
    if top.lr == rates[0]:
        return _round(top.lr / min(step, 4.0))
    return None


def _round(value: float) -> float:
    return float(f"{value:.2g}")


def last_score(report: dict[str, Any]) -> float | None:
    """The development score at the end of a job, as `wait_for_jobs` tells it."""
    curve: list[list[float]] = report.get("dev_scores") or []
    return float(curve[-1][1]) if curve else None


def best_score(report: dict[str, Any]) -> float | None:
    curve: list[list[float]] = report.get("dev_scores") or []
    return max((float(point[1]) for point in curve), default=None)
