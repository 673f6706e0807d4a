"""The metrics of one training so far, and the few statistics the detectors need.

Everything is measured against the training's own first rows: absolute thresholds do not carry over from one model and
reward to the next.
"""

from __future__ import annotations

import bisect
import functools
import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median

ALIASES = {
    "dev_score": ("dev_score",),
    "length": ("completions/mean_length", "completion_length"),
    "clipped": ("completions/clipped_ratio",),
    "zero_std": ("frac_reward_zero_std",),
    "kl": ("kl", "objective/kl"),
    "reward": ("reward", "objective/scores", "objective/rlhf_reward"),
    "data_time": ("data_time", "data_loading_time", "dataloader_time", "data_wait_time"),
    "step_time": ("step_time", "train_step_time", "seconds_per_step"),
    "entropy": ("entropy", "objective/entropy"),
}
"""Our short names and the keys under which trainers log them; the first that is there counts."""

_HELD_OUT = r"(eval|val|valid|validation|dev|test|held[_-]?out)"
_MEASURE = r"(accuracy|acc|score|exact_match|em|f1|pass@1|pass_at_1|success_rate|pass_rate|solve_rate|win_rate|correct|correctness)"
_SCORE = re.compile(rf"{_HELD_OUT}[_/](.*[_/])?{_MEASURE}(/mean)?|(.*[_/])?{_MEASURE}[_/]{_HELD_OUT}")
_NO_SCORE = re.compile(r"token|rewards?[_/]|margin|logp|loss")
"""Token accuracy is the loss in other words, and a reward on held-out prompts is still the reward."""

_ONE_REWARD = re.compile(r"rewards/[^/]+/mean")

MOST = 512
"""Values kept of a series; a longer one is halved by averaging neighbours, so that a long log is read in bounded time."""


@functools.lru_cache(maxsize=4096)  # asked of every metric at every row
def is_score(name: str) -> bool:
    """The metric is a score on samples that the training does not see, under any of its usual names."""
    return _SCORE.fullmatch(name) is not None and _NO_SCORE.search(name) is None


class Series:
    """Values of one metric by train step, finite ones only."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.values: list[float] = []
        self._stride = 1
        self._waiting: list[float] = []
        # The rules ask for these at every row: what is known of the rows before is kept.
        self._differences: list[float] = []
        """Of successive values, without their sign."""
        self._ordered: list[float] = []
        """The same, sorted."""
        self._means: dict[int, list[float]] = {}
        """By length of the window."""

    def __len__(self) -> int:
        return len(self.values)

    def add(self, step: int, value: float) -> None:
        self._waiting.append(value)
        if len(self._waiting) < self._stride:
            return
        self.steps.append(step)
        self.values.append(sum(self._waiting) / len(self._waiting))
        self._waiting.clear()
        if len(self.values) >= MOST:
            self._halve()

    def _halve(self) -> None:
        self.values = [(a + b) / 2 for a, b in zip(self.values[::2], self.values[1::2], strict=True)]
        self.steps = self.steps[1::2]
        self._stride *= 2
        self._differences, self._ordered, self._means = [], [], {}

    def start(self, k: int = 5) -> float:
        """Median of the first `k` values."""
        return median(self.values[:k])

    def now(self, k: int = 5) -> float:
        """Median of the last `k` values."""
        return median(self.values[-k:])

    def mean(self, first: int, last: int) -> float:
        part = self.values[first:last]
        return sum(part) / len(part)

    def means(self, window: int) -> list[float]:
        """Means of every `window` successive values, by where the window begins."""
        known = self._means.setdefault(window, [])
        known += (self.mean(i, i + window) for i in range(len(known), len(self.values) - window + 1))
        return known

    def noise(self, until: int | None = None) -> float:
        """Standard deviation of one value around the trend, from successive differences; in the metric's unit.

        Few differences know it badly: they are taken for as much more as Student's distribution asks for at four standard
        errors. Where most neighbours are equal (a sparse reward) the median says nothing, and the root mean square counts.
        """
        self._differ()
        differences = self._differences[: None if until is None else max(until - 1, 0)]
        if not differences:
            return 0.0
        n = len(differences)
        ordered = self._ordered if until is None else sorted(differences)
        # for normal noise the median of |difference of two| is 0.6745 * sqrt(2) * sigma
        middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2 / 0.954
        mean = sum(differences) / n / 1.128
        known = max(middle, 0.5 * mean) if middle > 0 else math.sqrt(sum(d * d for d in differences) / n / 2)
        return known * (1 + 4 / n)

    def _differ(self) -> None:
        for a, b in pairwise(self.values[len(self._differences) :]):
            self._differences.append(abs(b - a))
            bisect.insort(self._ordered, self._differences[-1])

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
        if name == "dev_score":
            return next((series for key, series in self.series.items() if is_score(key)), Series())
        if name == "reward":  # logged by its function alone; of several the weights are not known
            parts = [series for key, series in self.series.items() if _ONE_REWARD.fullmatch(key)]
            return parts[0] if len(parts) == 1 else Series()
        return Series()

    @property
    def progress(self) -> float:
        """Share of the plan that is done; 0 where the plan is not known."""
        return self.last_step / self.planned if self.planned else 0.0

    def without_rate(self) -> bool:
        """The learning rate has been 0 in every row (a warm-up starts at 0 and leaves it at once)."""
        rates = self.get("learning_rate")
        return len(rates) >= 5 and max(rates.values) == 0

    def patience(self, name: str = "loss") -> int:
        """Rows a sign must last before it counts: a twentieth of the plan, between 3 and 10."""
        series = self.get(name)
        if not self.planned or len(series) < 2:
            return 3 if not self.planned else min(max(self.planned // 20, 3), 10)
        stride = max((series.steps[-1] - series.steps[0]) / (len(series) - 1), 1.0)
        return min(max(round(self.planned / stride / 20), 3), 10)


def follow(a: Series, b: Series) -> float:
    """Correlation of the changes of two series of the same rows from row to row; 0 where it cannot be said.

    Trends correlate by chance; changes do only if one thing makes the other.
    """
    if len(a) != len(b) or len(a) < 8:
        return 0.0
    x = [q - p for p, q in zip(a.values, a.values[1:], strict=False)]
    y = [q - p for p, q in zip(b.values, b.values[1:], strict=False)]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    xx, yy = sum((v - mx) ** 2 for v in x), sum((v - my) ** 2 for v in y)
    if xx <= 0 or yy <= 0:
        return 0.0
    return sum((v - mx) * (w - my) for v, w in zip(x, y, strict=True)) / math.sqrt(xx * yy)


class Rise:
    """Change of a noisy series from its first rows to its last ones, in its unit and in standard errors."""

    def __init__(self, series: Series, window: int) -> None:
        head, tail = min(window, len(series) // 2), min(window, len(series) // 2)
        self.known = head >= 2
        if not self.known:
            self.start = self.now = self.change = self.errors = self.error = 0.0
            return
        self.start = series.mean(0, head)
        self.now = series.mean(len(series) - tail, len(series))
        self.change = self.now - self.start
        self.error = error = series.noise() * math.sqrt(1 / head + 1 / tail)
        self.errors = self.change / error if error > 0 else math.copysign(math.inf, self.change) if self.change else 0.0

    @property
    def up(self) -> bool:
        return self.known and self.errors > 3

    @property
    def down(self) -> bool:
        return self.known and self.errors < -3


def score_error(p: float, n: float) -> float:
    """Standard error of a share, kept above 0 at the ends (Agresti-Coull: two successes and two failures added)."""
    p = min(max(p, 0.0), 1.0)
    adjusted = (p * n + 2) / (n + 4)
    return math.sqrt(adjusted * (1 - adjusted) / (n + 4))
