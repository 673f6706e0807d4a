"""Choosing learning rates: a range test by cheap trials (Smith, arXiv 1506.01186) over the recipe library's range, upwards
until something breaks. A short trial favours rates that are too low for a long job (arXiv 1803.02021), so trials tell
what learns and what breaks, and the choice among the sound ones leans on the library and to the bold side.
"""

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
    data: str = ""
    """Prepared data other than the bench's."""

    def as_launched(self, wanted: dict[str, Any], launched: dict[str, Any]) -> Trial:
        """With what a person changed: `launched` is what they made of the settings that were `wanted`."""
        changed = {k: v for k, v in launched.items() if k in self.settings and wanted.get(k) != v}
        return self.but(**changed) if changed else self

    def but(self, **settings: Any) -> Trial:
        """The same with other settings. A step's time follows the batch: measured here, half of it does not depend on it."""
        merged = {**self.settings, **settings}
        ratio = float(merged.get("batch_size", 1)) / float(self.settings.get("batch_size", 1))
        seconds = self.seconds_per_step and self.seconds_per_step * (0.5 + 0.5 * ratio)
        return self._replace(lr=merged["lr"], settings=merged, seconds_per_step=seconds)

    @property
    def gain(self) -> float:
        """What it learnt; minus infinity where it failed."""
        return -math.inf if self.failed or self.score is None else self.score - self.start_score

    @property
    def sound(self) -> bool:
        """It did not fall below its start by more than noise."""
        return self.gain >= -standard_error(self.start_score, TRIAL_SAMPLES)


TRIAL_SAMPLES = 200
"""Development samples behind a trial's score (TrainSpec.eval_samples)."""


def ladder(low: float, high: float, rungs: int) -> list[float]:
    """`rungs` learning rates from low to high, evenly in the logarithm, two significant digits."""
    if rungs < 2 or high <= low:
        return [_round(math.sqrt(low * high))]
    ratio = (high / low) ** (1 / (rungs - 1))
    return [_round(low * ratio**i) for i in range(rungs)]


def next_rungs(trials: list[Trial], count: int) -> list[float]:
    """Where the range test goes on: above its top while the top is sound and learns, or nothing has moved at all yet; below its
    foot where nothing learns."""
    rates = sorted(t.lr for t in trials)
    step = min((rates[-1] / rates[0]) ** (1 / (len(rates) - 1)) if len(rates) > 1 else 3.0, 4.0)
    top = max(trials, key=lambda t: t.lr)
    unmoved = all(t.gain == 0 for t in trials)
    if top.sound and (top.gain > 0 or unmoved):
        return [_round(top.lr * step ** (i + 1)) for i in range(count)]
    if all(t.gain <= 0 for t in trials):
        return [_round(rates[0] / 4 ** (i + 1)) for i in range(count)]
    return []


def best(trials: list[Trial]) -> Trial | None:
    """The highest development score; of equals the lower rate. None where all failed."""
    good = [t for t in trials if t.gain > -math.inf]
    return max(good, key=lambda t: (t.score or 0.0, -t.lr), default=None)


def worth_a_long_job(trials: list[Trial], middle: float) -> list[Trial]:
    """The rates for long jobs, first choice first: the sound one nearest the library's middle, unless a trial beat it by more
    than two standard errors; then the highest that learnt at least half of what the best learnt."""
    top = best(trials)
    if top is None:
        return []
    learnt = [t for t in trials if t.sound and t.gain > 0]
    # where nothing has moved yet, trials tell what breaks and no more
    sound = learnt or [t for t in trials if t.sound] or [top]
    nearest = min(sound, key=lambda t: (round(abs(math.log(t.lr / middle)), 1), -t.lr))
    error = math.sqrt(2) * standard_error(top.score or 0.0, TRIAL_SAMPLES)
    first = top if (top.score or 0.0) - (nearest.score or 0.0) > 2 * error else nearest
    bold = max((t for t in sound if t.gain >= top.gain / 2), key=lambda t: t.lr, default=first)
    return [first] if bold.lr == first.lr else [first, bold]


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
