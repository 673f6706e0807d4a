"""Intervals and tests agree with published and simulated values."""

from __future__ import annotations

import math
from random import Random

import pytest

from core.evaluation import stats


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_agrees_with_newcombe_1998(correct: int, n: int, low: float, high: float) -> None:
    assert stats.wilson(correct, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_stays_within_bounds_and_says_nothing_without_samples() -> None:
    assert stats.wilson(0, 0) == (0.0, 1.0)
    assert stats.wilson(10, 10)[1] == 1.0
    assert stats.wilson(150 * 0.5, 150) == pytest.approx((0.421, 0.579), abs=1e-3)  # +-8 points at 150 samples


@pytest.mark.parametrize(
    ("a", "m", "b", "n", "low", "high"),
    [
        (56, 70, 48, 80, 0.0524, 0.3339),  # Newcombe 1998, table II, method 10
        (9, 10, 3, 10, 0.1705, 0.8090),
        (5, 56, 0, 29, -0.0381, 0.1926),
    ],
)
def test_unpaired_difference_agrees_with_newcombe_1998(a: int, m: int, b: int, n: int, low: float, high: float) -> None:
    found = stats.unpaired_difference(b / n, n, a / m, m)
    assert found.interval == pytest.approx((low, high), abs=5e-5)
    assert found.paired is False


@pytest.mark.parametrize(("gained", "lost", "p"), [(10, 0, 2 / 1024), (5, 5, 1.0), (0, 0, 1.0), (8, 2, 0.109375)])
def test_mcnemar_is_the_exact_binomial(gained: int, lost: int, p: float) -> None:
    assert stats.mcnemar(gained, lost) == pytest.approx(p)


def test_mcnemar_survives_large_counts() -> None:
    assert stats.mcnemar(3000, 10) < 1e-100 or stats.mcnemar(3000, 10) == 0.0
    assert 0.05 < stats.mcnemar(1020, 980) < 1


def test_pairs_are_matched_by_id_and_the_rest_is_left_out() -> None:
    before = {"a": 0.0, "b": 1.0, "c": 0.0, "d": 0.0, "only before": 1.0}
    after = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.0, "only after": 0.0}
    found = stats.paired_difference(before, after)
    assert (found.n, found.delta, found.p) == (4, 0.5, 0.5)
    # Changes 1, 0, 1, 0: standard deviation sqrt(1/3), standard error sqrt(1/12).
    assert found.stderr == pytest.approx(math.sqrt(1 / 12))


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(ValueError, match="share no sample"):
        stats.paired_difference({"a": 1.0}, {"b": 1.0})
    with pytest.raises(ValueError, match="both sides"):
        stats.unpaired_difference(0.5, 0, 0.5, 10)


def test_identical_results_are_no_difference_but_not_certainty() -> None:
    same = {str(i): float(i % 2) for i in range(50)}
    found = stats.paired_difference(same, same)
    assert found.delta == 0
    assert found.interval[0] < 0 < found.interval[1]
    assert not found.significant


def test_copies_of_one_question_do_not_make_a_result_surer() -> None:
    rng = Random(1)
    flips = {f"q{i}": float(rng.random() < 0.3) for i in range(40)}
    before = {f"{q}/{k}": 0.0 for q in flips for k in range(10)}
    after = {f"{q}/{k}": flips[q] for q in flips for k in range(10)}
    clusters = {i: i.split("/")[0] for i in before}
    once = stats.paired_difference(dict.fromkeys(flips, 0.0), flips)
    naive = stats.paired_difference(before, after)
    clustered = stats.paired_difference(before, after, clusters=clusters)
    assert clustered.stderr == pytest.approx(once.stderr)
    assert naive.stderr < once.stderr / 3


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng, covered, rounds = Random(2), 0, 400
    for _ in range(rounds):
        before = {str(i): float(rng.random() < 0.4) for i in range(150)}
        after = {i: 1.0 if v or rng.random() < 0.25 else 0.0 for i, v in before.items()}
        low, high = stats.paired_difference(before, after).interval
        covered += low <= 0.15 <= high
    assert 0.90 < covered / rounds < 0.99


def test_holm_agrees_with_a_worked_example() -> None:
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([]) == []
    assert stats.holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_smallest_detectable_difference_shrinks_with_samples_and_pairing() -> None:
    # (1.960 + 0.842) * sqrt(2 * .25 / 1000)
    assert stats.smallest_detectable(1000) == pytest.approx(0.0626, abs=1e-3)
    assert stats.smallest_detectable(1000, discordant=0.1) < stats.smallest_detectable(1000)
    assert stats.smallest_detectable(0) == 1.0
