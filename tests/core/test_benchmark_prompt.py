"""What `intern solve` reads out of PROMPT, timer.sh and the environment, and what it says when it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.contract import brain_for, read_benchmark, read_contract, read_hours, read_model
from core.errors import NotFound, UsageError

PROMPT = """We want to train the small LLM `Qwen/Qwen3-1.7B-Base` to excel at GSM8K.
Your task is to post-train the base model as well as you can. You have 10 hours on one H100.
- The score is measured by evaluate.py (see templates/ and https://github.com/some/repo).
- Do not use the instruct version, e.g. Qwen/Qwen3-1.7B, and no data of openai/gsm8k's test split.
- Every 30 minutes look at timer.sh. Save the best model in `final_model`.
"""


@pytest.fixture
def task(tmp_path: Path) -> Path:
    (tmp_path / "evaluate.py").write_text("")
    (tmp_path / "templates").mkdir()
    return tmp_path


def timer(task: Path, said: str) -> None:
    (task / "timer.sh").write_text(f"#!/bin/bash\nprintf '{said}'\n")


def test_base_benchmark_and_hours_stand_in_the_prompt(task: Path) -> None:
    told = read_contract({"PROMPT": PROMPT, "AGENT_CONFIG": "playbook", "NUM_GPUS": "1"}, task)
    assert (told.model, told.benchmark, told.hours, told.gpus) == ("Qwen/Qwen3-1.7B-Base", "GSM8K", 10.0, 1)
    assert told.notes == ()


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("Improve google/gemma-3-4b-pt on GPQA within 10 hours.", "google/gemma-3-4b-pt"),
        ("The base model is HuggingFaceTB/SmolLM3-3B-Base.\nEvaluate with templates/smollm.jinja.", "HuggingFaceTB/SmolLM3-3B-Base"),
        ("Use vllm and/or transformers. Base LLM: **Qwen/Qwen3-4B-Base** (1/2 of the runs)", "Qwen/Qwen3-4B-Base"),
        ("Make it better. No model is named here.", None),
    ],
)  # fmt: skip
def test_the_base_is_found_among_what_looks_like_it(task: Path, text: str, model: str | None) -> None:
    assert read_model(text, task) == model


def test_a_folder_counts_if_a_model_is_in_it(task: Path, tmp_path: Path) -> None:
    base = tmp_path / "models" / "Tiny-Base"
    base.mkdir(parents=True)
    (base / "config.json").write_text("{}")
    assert read_model(f"Train the model at {base} as in /no/such/folder.", task) == str(base)


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("You have 10 hours.", 10), ("within a budget of 0.05 hours", 0.05), ("time limit: 90 minutes", 1.5),
        ("You have ten hours in all", 10), ("Check every 30 minutes; you have 2 hrs.", 2), ("a 10-hour limit", 10),
        ("no time is named", None),
    ],
)  # fmt: skip
def test_the_time_limit_is_read(text: str, hours: float | None) -> None:
    assert read_hours(text) == (None if hours is None else pytest.approx(hours))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("to excel at AIME 2025.", "AIME 2025"), ("Benchmark: HumanEval\n", "HumanEval"),
        ("improve its score on the GPQA main benchmark", "GPQA main"), ("It shall do BFCL well", "BFCL"), ("nothing", None),
    ],
)  # fmt: skip
def test_the_benchmark_is_read(text: str, name: str | None) -> None:
    assert read_benchmark(text) == name


def test_the_timer_counts_and_a_difference_is_said(task: Path) -> None:
    timer(task, "Remaining time (hours:minutes):\\n7:30\\n")
    told = read_contract({"PROMPT": PROMPT}, task)
    assert told.hours == 7.5
    assert "timer.sh" in told.notes[0]
    timer(task, "Timer expired!\\n")
    assert read_contract({"PROMPT": PROMPT}, task).hours == 0
    timer(task, "broken")
    assert read_contract({"PROMPT": PROMPT}, task).hours == 10


def test_what_cannot_be_read_is_said(task: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="PROMPT is empty"):
        read_contract({}, task)
    with pytest.raises(UsageError, match="names no base model"):
        read_contract({"PROMPT": "Do well in 10 hours"}, task)
    vague = read_contract({"PROMPT": "Train Qwen/Qwen3-4B-Base."}, task)
    assert len(vague.notes) == 2
    (task / "evaluate.py").unlink()
    with pytest.raises(NotFound, match=r"evaluate\.py"):
        read_contract({"PROMPT": PROMPT}, task)


def test_agent_config_names_a_brain_or_the_playbook_says_why_it_works() -> None:
    assert brain_for("", {}) == ("playbook", "")
    assert brain_for("openai:m@http://x/v1", {})[0] == "openai:m@http://x/v1"
    assert brain_for("some-model", {"OPENAI_BASE_URL": "http://x/v1"})[0] == "openai:some-model@http://x/v1"
    assert "some-model" in brain_for("some-model", {})[1]
