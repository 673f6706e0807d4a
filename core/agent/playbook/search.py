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
    start_score: float = 0.0
    """Development score before its first train step."""

    def but(self, **settings: Any) -> Trial:
        """The same with other settings. A step's time follows the batch: measured here, half of it does not depend on it."""
        merged = {**self.settings, **settings}
        ratio = float(merged.get("batch_size", 1)) / float(self.settings.get("batch_size", 1))
        seconds = self.seconds_per_step and self.seconds_per_step * (0.5 + 0.5 * ratio)
        return self._replace(lr=merged["lr"], settings=merged, seconds_per_step=seconds)


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


def next_rung(trials: list[Trial], start_score: float = 0.0, *, bold: bool = True) -> float | None:
    """Where the ladder goes on: above its top where the top is best, below its foot where not even the foot beats the
    start; None where it need not. A foot that is best but sound is left at that: a short trial favours it. A policy
    gradient whose rates all lose has no signal, and a lower rate would only hide that."""
    top = best(trials, bold=bold)
    rates = sorted(t.lr for t in trials)
    step = (rates[-1] / rates[0]) ** (1 / (len(rates) - 1)) if len(rates) > 1 else 3.0
    if top is None or (bold and top.lr == rates[0] and (top.score or 0.0) <= start_score):
        return _round(rates[0] / 4)
    return _round(top.lr * min(step, 4.0)) if top.lr == rates[-1] and len(rates) > 1 else None


def higher(lr: float, broken: float | None) -> float | None:
    """About three times the rate; half way (in the logarithm) to a rate known to break; None where that is no change."""
    raised = min(3 * lr, math.sqrt(lr * broken) if broken else math.inf)
    return _round(raised) if raised > 1.15 * lr else None


def _round(value: float) -> float:
    return float(f"{value:.2g}")


def first_score(report: dict[str, Any]) -> float:
    """The development score before the first train step; 0 where there is none."""
    curve: list[list[float]] = report.get("dev_scores") or []
    return float(curve[0][1]) if curve and curve[0][0] == 0 else 0.0


def last_score(report: dict[str, Any]) -> float | None:
    """The development score at the end of a job, as `wait_for_jobs` tells it."""
    curve: list[list[float]] = report.get("dev_scores") or []
    return float(curve[-1][1]) if curve else None


def best_score(report: dict[str, Any]) -> float | None:
    curve: list[list[float]] = report.get("dev_scores") or []
    return max((float(point[1]) for point in curve), default=None)
