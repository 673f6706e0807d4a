"""How sure a score is, and whether a difference is more than noise.

Evaluations are small samples of questions: every score comes with an interval, and a change is judged on the same
questions before and after, pair by pair, which removes most of the noise (arXiv 2411.00640). All values are shares in
[0, 1]. Pure functions, standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Literal

import msgspec

_NORMAL = NormalDist()


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How much better `after` is than `before`."""

    delta: float
    stderr: float
    interval: tuple[float, float]
    """95 % unless asked otherwise."""
    n: int
    """Pairs, or the smaller of two samples."""
    p: float
    """Two-sided p-value of no difference: exact McNemar for paired binary scores, else the normal approximation."""
    paired: bool
    n_before: int | None = None
    n_after: int | None = None

    @property
    def significant(self) -> bool:
        """The interval leaves out zero."""
        return self.interval[0] > 0 or self.interval[1] < 0


def z_value(confidence: float) -> float:
    """The two-sided normal quantile: 1.96 for 0.95."""
    return _NORMAL.inv_cdf(0.5 + confidence / 2)


def wilson(correct: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a share: `correct` of `n`. Right also near 0 and 1 (Wilson 1927). (0, 1) without samples."""
    if n <= 0:
        return (0.0, 1.0)
    z = z_value(confidence)
    p = correct / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At 0 and 1 the bound equals the share; rounding must not put it a hair beyond.
    return (max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half)))


def standard_error(p: float, n: int) -> float:
    """Of a share from `n` independent samples."""
    return math.sqrt(max(p * (1 - p), 0.0) / n) if n > 0 else math.nan


def paired_difference(
    before: Mapping[str, float],
    after: Mapping[str, float],
    *,
    clusters: Mapping[str, str] | None = None,
    confidence: float = 0.95,
) -> Difference:
    """The mean change over the samples both have, by sample id.

    `clusters` names the group of each sample (questions on one text are not independent); the standard error is then
    the cluster-robust one of arXiv 2411.00640, section 2.2. Raises ValueError if no sample is common. When all pairs
    agree the interval is not a point: one pair in `n` could still differ, so it is widened by Wilson's zero bound. For
    binary scores the interval is never narrower than the exact test allows: with few flips the normal approximation
    calls four gains and no loss significant, of which McNemar's test says p = 0.125.
    """
    ids = sorted(before.keys() & after.keys())
    if not ids:
        raise ValueError("the two evaluations share no sample: a paired difference needs the same questions")
    changes = [after[i] - before[i] for i in ids]
    n, delta = len(ids), sum(changes) / len(ids)
    groups = [clusters.get(i, i) for i in ids] if clusters else ids
    stderr = _clustered_stderr(changes, delta, groups)
    half = z_value(confidence) * stderr
    if stderr == 0:
        half = wilson(0, n, confidence)[1]
    binary = all(v in (0, 1) for i in ids for v in (before[i], after[i]))
    interval = (max(-1.0, delta - half), min(1.0, delta + half))
    if binary and not clusters and stderr > 0:
        exact = _exact_interval(sum(c > 0 for c in changes), sum(c < 0 for c in changes), n, confidence)
        interval = (min(interval[0], exact[0]), max(interval[1], exact[1]))
    p = _p_of_pairs(changes) if binary and not clusters else _p_normal(delta, stderr)
    return Difference(delta=delta, stderr=stderr, interval=interval, n=n, p=p, paired=True, n_before=n, n_after=n)


def verdict(interval: tuple[float, float] | None) -> Literal["better", "worse", "no_difference"]:
    """What a difference may be called, everywhere in the program: a gain only where the interval leaves out zero."""
    if interval is None:
        return "no_difference"
    return "better" if interval[0] > 0 else "worse" if interval[1] < 0 else "no_difference"


def unpaired_difference(
    before: float, n_before: int, after: float, n_after: int, *, confidence: float = 0.95
) -> Difference:
    """The change between two shares of which only the means and counts are known.

    The interval combines the two Wilson intervals (Newcombe 1998, method 10), right for small n and extreme shares.
    Raises ValueError without samples on either side.
    """
    if n_before <= 0 or n_after <= 0:
        raise ValueError(f"a difference needs samples on both sides, not {n_before} and {n_after}")
    delta = after - before
    low_a, high_a = wilson(after * n_after, n_after, confidence)
    low_b, high_b = wilson(before * n_before, n_before, confidence)
    low = delta - math.hypot(after - low_a, high_b - before)
    high = delta + math.hypot(high_a - after, before - low_b)
    stderr = math.hypot(standard_error(before, n_before), standard_error(after, n_after))
    pooled = (before * n_before + after * n_after) / (n_before + n_after)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / n_before + 1 / n_after))
    return Difference(
        delta=delta,
        stderr=stderr,
        interval=(max(-1.0, low), min(1.0, high)),
        n=min(n_before, n_after),
        p=_p_normal(delta, spread),
        paired=False,
        n_before=n_before,
        n_after=n_after,
    )


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p-value that `gained` and `lost` flips are equally likely (McNemar 1947, binomial form)."""
    n = gained + lost
    if n == 0:
        return 1.0
    tail = sum(math.comb(n, k) for k in range(min(gained, lost) + 1))
    return min(1.0, 2 * tail / (1 << n))


def _exact_interval(gained: int, lost: int, n: int, confidence: float) -> tuple[float, float]:
    """The change that goes with the exact interval (Clopper and Pearson 1934) of the share of gains among the flips."""
    flips, tail = gained + lost, (1 - confidence) / 2

    def share(successes: int) -> float:
        """The share at which so many successes or more have the probability `tail`; 0 for none. By bisection."""
        low, high = 0.0, 1.0 if successes else 0.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if _at_least(successes, flips, middle) < tail else (low, middle)
        return low

    return (2 * share(gained) - 1) * flips / n, (1 - 2 * share(lost)) * flips / n


def _at_least(successes: int, n: int, p: float) -> float:
    """Probability of `successes` or more among `n` trials; logarithms, because binomials of thousands overflow."""
    if p <= 0 or successes <= 0:
        return float(successes <= 0)
    if p >= 1:
        return 1.0
    rest = math.lgamma(n + 1)
    return sum(
        math.exp(rest - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p))
        for k in range(successes, n + 1)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the given order, for several comparisons at once (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted


def smallest_detectable(
    n: int, p: float = 0.5, *, discordant: float | None = None, power: float = 0.8, confidence: float = 0.95
) -> float:
    """The smallest true difference that `n` samples would show with `power`: say it before the run.

    Unpaired from two evaluations of `n` at share `p`; with `discordant`, the expected share of samples whose verdict
    flips, for paired ones (variance of a pair's change is at most that share). arXiv 2411.00640, section 5.
    """
    if n <= 0:
        return 1.0
    variance = discordant if discordant is not None else 2 * p * (1 - p)
    return min(1.0, (z_value(confidence) + _NORMAL.inv_cdf(power)) * math.sqrt(variance / n))


def _clustered_stderr(changes: Sequence[float], mean: float, groups: Sequence[str]) -> float:
    """Standard error of a mean whose residuals add up within groups; n / (n - 1) corrected."""
    sums: dict[str, float] = {}
    for change, group in zip(changes, groups, strict=True):
        sums[group] = sums.get(group, 0.0) + change - mean
    count = len(sums)
    correction = count / (count - 1) if count > 1 else 1.0
    return math.sqrt(correction * sum(s * s for s in sums.values())) / len(changes)


def _p_of_pairs(changes: Sequence[float]) -> float:
    return mcnemar(sum(c > 0 for c in changes), sum(c < 0 for c in changes))


def _p_normal(delta: float, stderr: float) -> float:
    if stderr == 0:
        return 1.0 if delta == 0 else 0.0
    return 2 * _NORMAL.cdf(-abs(delta) / stderr)
