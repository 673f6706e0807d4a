"""A script may count in percent; a score is a share all the same, and no gain comes from reading two scores differently."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from foreign import write_task

from core import events as e
from core.errors import EvaluationError
from core.evaluation.benchmark import BenchmarkResult, Request, run_benchmark
from core.evaluation.scale import Scale, said_by, settle
from core.finish import _on_one_scale
from core.state import Evaluation, Scores
from core.tasks import load_task

ROW = '{"id": "%d", "prompt": "p", "answer": "1", "completion": "1", "correct": %s}'


def evaluate(folder: Path, told: str, scale: Scale = "", toml: str = "") -> BenchmarkResult:
    task = write_task(folder / "task", f"out.write_text(json.dumps({told}))")
    if toml:
        (task / "task.toml").write_text(toml)
    return run_benchmark(load_task(task), Request(model_path="m", output_folder=str(folder / "out"), scale=scale))


def test_a_rate_above_one_is_percent_and_its_error_too(tmp_path: Path) -> None:
    result = evaluate(tmp_path, '{"acc": 35.0, "stderr": 4.0}')
    assert (result.score, result.stderr, result.scale) == (0.35, 0.04, "percent")
    assert result.n == round(0.35 * 0.65 / 0.04**2), "the count is worked out in one scale"


def test_once_it_is_known_a_small_number_is_percent_as_well(tmp_path: Path) -> None:
    assert evaluate(tmp_path, '{"accuracy": 0.8}', "percent").score == pytest.approx(0.008)


def test_a_score_that_contradicts_those_before_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"outside \[0, 1\]"):
        evaluate(tmp_path, '{"accuracy": 35.0}', "fraction")
    with pytest.raises(EvaluationError, match="another scale") as caught:
        settle("percent", "fraction", 0.5, "f")
    assert 'scale = "percent"' in caught.value.next


@pytest.mark.parametrize(
    ("toml", "told", "score"),
    [
        ('scale = "percent"', 0.8, 0.008),
        ('scale = "fraction"', 0.8, 0.8),
        ('scale = "percent"\nmetric = "score"', 41, 0.41),
    ],
)
def test_what_the_task_says_decides(tmp_path: Path, toml: str, told: float, score: float) -> None:
    key = "score" if "metric" in toml else "accuracy"
    assert evaluate(tmp_path, f'{{"{key}": {told}}}', toml=toml).score == pytest.approx(score)


@pytest.mark.parametrize(
    ("value", "key", "raw", "n", "mean", "said"),
    [
        (0.8, "accuracy_pct", {}, None, None, "percent"),
        (0.8, "accuracy", {"unit": "%"}, None, None, "percent"),
        (0.8, "accuracy", {}, None, 0.008, "percent"),
        (0.8, "accuracy", {}, None, 0.8, "fraction"),
        (0.0, "accuracy", {}, 50, 0.0, ""),
        (0.4375, "accuracy", {}, 16, None, "fraction"),  # 7 of 16; no percentage of 16 is below 6
        (1.0, "accuracy", {}, 16, None, "fraction"),
        (0.3002, "accuracy", {}, 1319, None, "fraction"),  # 396 of 1319; as percent 3.96 of them
        (0.8, "accuracy", {}, 1000, None, ""),  # 800 or 8 of 1000
        (0.531, "f1", {}, 16, None, ""),  # no count: of a graded score nothing can be told
        (0.8, "accuracy", {}, None, None, ""),
        (1.5, "accuracy", {}, None, None, "percent"),
    ],
)
def test_what_an_output_says_of_its_scale(
    value: float, key: str, raw: dict[str, Any], n: int | None, mean: float | None, said: str
) -> None:
    assert said_by(value, key, raw, n=n, mean=mean) == said


def result(score: float, scale: Scale = "") -> BenchmarkResult:
    return BenchmarkResult(
        score=score, scale=scale, metric="accuracy", stderr=None, n=1000, samples_path=None, seconds=1.0, digest="d"
    )


def desk(
    dev: tuple[float, tuple[float, float]] | None = None, look: float = 0.8, known: Scale = ""
) -> tuple[Any, list[Any]]:
    said: list[Any] = []
    found = {"contract": Evaluation("contract", 1, "look", "m", "contract", True, 16, look)}
    if dev is not None:
        found["best"] = Evaluation("best", 2, "SFT", "m", "dev", True, 200, dev[0], dev[1])
    state = SimpleNamespace(scores=Scores(scale=known, best_evaluation="best"), evaluations=found)
    return SimpleNamespace(state=state, task=SimpleNamespace(evaluate_path="e"), emit=said.append), said


def test_a_base_of_less_than_a_percent_is_read_as_its_better_successor_shows_and_so_are_the_looks_before() -> None:
    stand, said = desk()
    base, final = _on_one_scale(stand, result(0.8), result(0.35, "percent"))
    assert (base.score, final.score) == (pytest.approx(0.008), 0.35), "a gain of 34 points, not a loss of 45"
    assert [(p.evaluation, p.score, p.scale) for p in said] == [("contract", pytest.approx(0.008), "percent")]
    assert isinstance(said[0], e.EvaluationFinished)


def test_nor_is_a_percent_after_a_share_a_gain() -> None:
    stand, said = desk()
    with pytest.raises(EvaluationError, match="another scale"):
        _on_one_scale(stand, result(0.5, "fraction"), result(0.35, "percent"))
    assert said == []


def test_where_nothing_tells_and_the_development_score_fits_percent_only_no_gain_is_claimed() -> None:
    stand, _ = desk(dev=(0.01, (0.002, 0.03)))
    with pytest.raises(EvaluationError, match=r"whether 0\.9 is a share or percent"):
        _on_one_scale(stand, result(0.0), result(0.9))
    stand, _ = desk(dev=(0.8, (0.7, 0.9)))
    assert _on_one_scale(stand, result(0.0), result(0.9))[1].score == 0.9, "the contract's scale, and it fits"
