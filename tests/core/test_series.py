"""A metric's history in bounded memory."""

from __future__ import annotations

import random

from core.series import BINS, Series


def test_bins_hold_the_extremes_and_the_mean_of_what_went_in() -> None:
    draw = random.Random(1)
    values = {step: draw.uniform(-5, 5) for step in range(3000)}
    series = Series()
    for step, value in values.items():
        series.add(step, value)
    points = series.points()
    assert len(points) <= BINS
    assert min(p[1] for p in points) == min(values.values())
    assert max(p[2] for p in points) == max(values.values())
    for start, low, high, mean in points:
        inside = [values[s] for s in range(start, min(start + series.width, 3000))]
        assert low == min(inside)
        assert high == max(inside)
        assert abs(mean - sum(inside) / len(inside)) < 1e-9


def test_a_bin_never_moves_while_the_curve_grows_within_its_width() -> None:
    series = Series()
    for step in range(100):
        series.add(step, float(step))
    before = series.points()
    for step in range(100, 200):
        series.add(step, 0.0)
    assert series.points()[:100] == before


def test_width_is_a_power_of_two_and_gaps_stay_empty() -> None:
    series = Series()
    series.add(0, 1.0)
    series.add(1_000_000, 2.0)
    assert series.width & (series.width - 1) == 0
    assert [(p[1], p[2]) for p in series.points()] == [(1.0, 1.0), (2.0, 2.0)]
