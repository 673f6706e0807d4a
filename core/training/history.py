"""The metrics of one training so far, and the few statistics the detectors need.

Everything is measured against the training's own first rows: absolute thresholds do not carry over from one model and
reward to the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

ALIASES = {
    "dev_score": ("dev_score", "eval_accuracy", "eval_score", "eval_exact_match", "eval_pass@1"),
    "length": ("completions/mean_length", "completion_length"),
    "clipped": ("completions/clipped_ratio",),
    "zero_std": ("frac_reward_zero_std",),
    "kl": ("kl", "objective/kl"),
    "entropy": ("entropy", "objective/entropy"),
}
"""Our short names and the keys under which trainers log them; the first that is there counts."""


class Series:
    """Values of one metric by train step, finite ones only."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.values: list[float] = []

    def __len__(self) -> int:
        return len(self.values)

    def add(self, step: int, value: float) -> None:
        self.steps.append(step)
        self.values.append(value)

    def start(self, k: int = 5) -> float:
        """Median of the first `k` values."""
        return median(self.values[:k])

    def now(self, k: int = 5) -> float:
        """Median of the last `k` values."""
        return median(self.values[-k:])

    def mean(self, first: int, last: int) -> float:
        part = self.values[first:last]
        return sum(part) / len(part)

    def noise(self) -> float:
        """Standard deviation of one value around the trend, from successive differences; in the metric's unit."""
        differences = [abs(b - a) for a, b in zip(self.values, self.values[1:], strict=False)]
        if not differences:
            return 0.0
        # for normal noise the median of |difference of two| is 0.6745 * sqrt(2) * sigma
        return max(median(differences) / 0.954, sum(differences) / len(differences) / 1.128 * 0.5)

    def streak(self, holds: Sequence[bool]) -> int:
        """How many of the last values satisfy `holds` (one flag a value, newest last) without a gap."""
        count = 0
        for flag in reversed(holds):
            if not flag:
                break
            count += 1
        return count


class History:
    """All series of a training."""

    def __init__(self, planned_steps: int | None) -> None:
        self.planned = planned_steps
        self.series: dict[str, Series] = {}
        self.last_step = 0
        self.rows = 0

    def add(self, step: int, values: Mapping[str, float]) -> list[str]:
        """Take in a row; returns the names that are not finite."""
        self.last_step = max(self.last_step, step)
        self.rows += 1
        broken: list[str] = []
        for name, value in values.items():
            if math.isfinite(value):
                self.series.setdefault(name, Series()).add(step, value)
            else:
                broken.append(name)
        return broken

    def get(self, name: str) -> Series:
        """A series by our name or the trainer's; empty if it was never logged."""
        for key in ALIASES.get(name, (name,)):
            if key in self.series:
                return self.series[key]
        return Series()

    @property
    def progress(self) -> float:
        """Share of the plan that is done; 0 where the plan is not known."""
        return self.last_step / self.planned if self.planned else 0.0

    def patience(self, name: str = "loss") -> int:
        """Rows a sign must last before it counts: a twentieth of the plan, between 3 and 10."""
        series = self.get(name)
        if not self.planned or len(series) < 2:
            return 3 if not self.planned else min(max(self.planned // 20, 3), 10)
        stride = max((series.steps[-1] - series.steps[0]) / (len(series) - 1), 1.0)
        return min(max(round(self.planned / stride / 20), 3), 10)


class Rise:
    """Change of a noisy series from its first rows to its last ones, in its unit and in standard errors."""

    def __init__(self, series: Series, window: int) -> None:
        head, tail = min(window, len(series) // 2), min(window, len(series) // 2)
        self.known = head >= 2
        if not self.known:
            self.start = self.now = self.change = self.errors = 0.0
            return
        self.start = series.mean(0, head)
        self.now = series.mean(len(series) - tail, len(series))
        self.change = self.now - self.start
        error = series.noise() * math.sqrt(1 / head + 1 / tail)
        self.errors = self.change / error if error > 0 else math.copysign(math.inf, self.change) if self.change else 0.0

    @property
    def up(self) -> bool:
        return self.known and self.errors > 3

    @property
    def down(self) -> bool:
        return self.known and self.errors < -3


def score_error(p: float, n: float) -> float:
    """Standard error of a share, kept above 0 at the ends (Agresti-Coull: two successes and two failures added)."""
    adjusted = (p * n + 2) / (n + 4)
    return math.sqrt(adjusted * (1 - adjusted) / (n + 4))
