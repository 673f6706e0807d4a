"""Of many candidates one looks better by chance: the run's comparisons are one family."""

from __future__ import annotations

import pytest

from core.evaluation.comparisons import adjusted
from core.report import render_report
from core.state import Evaluation, RunState


def compared(id: str, p: float | None, split: str = "dev", done: bool = True) -> Evaluation:
    return Evaluation(id=id, seq=1, label=id, model="/m", split=split, done=done, samples=100, score=0.5, p_value=p, delta=0.1, delta_interval=(0.0, 0.2), against="base")  # fmt: skip


def test_holm_over_the_development_comparisons_of_a_run() -> None:
    found = [compared("a", 0.01), compared("b", 0.04), compared("c", 0.03), compared("base", None), compared("h", 0.001, "heldout"), compared("open", 0.001, done=False)]  # fmt: skip
    assert adjusted(found) == {"a": pytest.approx(0.03), "b": pytest.approx(0.06), "c": pytest.approx(0.06)}
    assert adjusted([]) == {}


def test_the_report_shows_adjusted_values_and_says_so() -> None:
    state = RunState(run="r", evaluations={x.id: x for x in (compared("a", 0.01), compared("b", 0.04))})
    report = render_report(state)
    assert "adjusted for 2 comparisons (Holm)" in report
    assert "| 0.02 |" in report
    assert "| 0.04 |" in report
