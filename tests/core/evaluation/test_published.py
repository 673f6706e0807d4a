"""The third baseline is quoted for the right model and benchmark, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import events as e
from core.errors import TaskInvalid
from core.evaluation.published import published
from core.fold import fold
from core.report import render_report
from core.state import RunState
from core.tasks import load_task
from store.event import Event


@pytest.mark.parametrize(
    ("model", "task", "score"),
    [
        ("Qwen/Qwen3-1.7B-Base", "gsm8k", 0.885),
        ("/models/Qwen3-1.7B-Base/", "inspect/inspect_evals/gsm8k", 0.885),
        ("Qwen/Qwen3-1.7B-Base", "AIME 2025", 0.267),
        ("google/gemma-3-4b-pt", "GPQA main", 0.315),
        ("Qwen/Qwen3-1.7B-Base", "gsm8k_hard2", None),
        ("Qwen/Qwen3-1.7B-Base", "gpqa_diamond", None),
        ("Qwen/Qwen3-0.6B-Base", "gsm8k", None),
        ("Qwen/Qwen3-1.7B-Base", "pocket/addition", None),
    ],
)
def test_a_figure_is_for_one_model_on_one_benchmark(model: str, task: str, score: float | None) -> None:
    found = published(model, task)
    assert (found.score if found else None) == score


def test_a_task_may_quote_its_own_and_the_report_says_where_it_is_from(tmp_path: Path) -> None:
    (tmp_path / "evaluate.py").touch()
    (tmp_path / "task.toml").write_text('[published]\nmodel = "org/Chat"\nscore = 0.7\nsource = "its card"\n')
    known = load_task(tmp_path).published_for("whatever")
    assert known is not None
    said = e.BaselinePublished(model=known.model, score=known.score, source=known.source, benchmark="x")
    done = e.RunFinished(status="finished", reason="", baseline=0.1, best=0.2, delta=0.1, interval=(0.05, 0.15))
    events = [Event(i, i, p.type, 1, "host", None, e.encode(p), str(i), "") for i, p in enumerate((said, done), 1)]
    report = render_report(fold(RunState(run="r"), events))
    assert "Published, not measured here: `org/Chat`, the official instruct model, 70.0 % (its card) [1]." in report


def test_a_quote_that_lacks_its_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "evaluate.py").touch()
    (tmp_path / "task.toml").write_text('[published]\nmodel = "org/Chat"\nscore = 0.7\n')
    with pytest.raises(TaskInvalid, match="source"):
        load_task(tmp_path)
