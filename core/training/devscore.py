"""How the development score moves, with its standard errors: the yardstick of the detectors that compare with it."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, inf
from typing import Protocol

from core.training.history import History, score_error


class Watched(Protocol):
    """What a rule sees of a training."""

    history: History
    base_dev_score: float | None
    time_limit_s: float | None


def samples_of(scores: Sequence[float]) -> float:
    """Of how many samples the scores are shares, at most: the least denominator of all of them; infinite where there is none."""
    told = {score for score in scores if 0 < score < 1}
    if len(told) < 3:
        return inf
    return next((n for n in range(10, 200) if all(abs(score * n - round(score * n)) < 1e-4 for score in told)), inf)


class Dev:
    """The development score: first, last (mean of two once there are three), best, and their standard errors."""

    def __init__(self, watch: Watched) -> None:
        series = watch.history.get("dev_score")
        sizes = watch.history.get("dev_n")
        self.values = list(series.values)
        self.steps = list(series.steps)
        if self.values and max(self.values) > 1.5:
            # percent, or a score of another kind: only what lies in [0, 100] can be read as a share
            readable = min(self.values) >= 0 and max(self.values) <= 100
            self.values = [v / 100 for v in self.values] if readable else []
            self.steps = self.steps if readable else []
        if watch.base_dev_score is not None and (not self.steps or self.steps[0] > 0):
            self.values.insert(0, watch.base_dev_score)
            self.steps.insert(0, 0)
        self.n = sizes.now(1) if len(sizes) else min(200.0, samples_of(series.values))
        self.known = len(self.values) >= 2
        if self.known:
            self.first = self.values[0]
            # the mean of the last two is steadier, but only once both are from the training
            self.now = sum(self.values[-2:]) / 2 if len(self.values) >= 4 else self.values[-1]
            self.best = max(self.values)
            self.error = hypot(score_error(self.first, self.n), score_error(self.now, self.n))
            self.change = self.now - self.first

    @property
    def down(self) -> bool:
        return self.known and self.change < -2.5 * self.error

    @property
    def far_down(self) -> bool:
        return self.known and self.change < -3 * self.error and self.now < 0.5 * self.first

    @property
    def up(self) -> bool:
        return self.known and self.change > 2 * self.error

    @property
    def twice_down(self) -> bool:
        """The last two scores of the training are both below the first."""
        return self.down and len(self.values) >= 3 and max(self.values[-2:]) < self.first - self.error

    @property
    def recovering(self) -> bool:
        """Clearly above its lowest point."""
        return self.known and self.values[-1] > min(self.values[1:]) + self.error

    def __str__(self) -> str:
        return f"development score {self.first:.3f} -> {self.now:.3f} (n={self.n:.0f}, error {self.error:.3f})"
