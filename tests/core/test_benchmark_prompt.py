"""What `intern solve` reads out of PROMPT, timer.sh and the environment, and what it says when it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.contract import benchmark_of_folder, brain_for, read_benchmark, read_contract, read_hours, read_model
from core.durations import time_left
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
        ("You must not use Qwen/Qwen3-1.7B. Train Qwen/Qwen3-1.7B-Base.", "Qwen/Qwen3-1.7B-Base"),
        ("Fine-tune google/gemma-3-4b-pt. Train it on openai/gsm8k data if you like.", "google/gemma-3-4b-pt"),
        ("We want to train the small LLM SmolLM3-3B-Base to excel at GPQA.", "HuggingFaceTB/SmolLM3-3B-Base"),
        ("Do not use Qwen3-1.7B; the base model is `Qwen3-1.7B-Base`.\nGo.", "Qwen/Qwen3-1.7B-Base"),
        ("The only model you may train is\nQwen/Qwen3-4B-Base\nin 10 hours", "Qwen/Qwen3-4B-Base"),
        ("Use data from openai/gsm8k only.", None),
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
        ("no time is named", None), ("You have **10** hours", 10), ("600 minutes at most", 10), ("half an hour", 0.5),
        ("in 1.5h", 1.5), ("1h30m in total", 1.5), ("2 hours and 30 minutes", 2.5), ("an hour and a half", 1.5),
        ("10 (ten) hours", 10), ("36,000 seconds", 10), ("a day", 24), ("10 wall-clock hours", 10), ("nine hours", 9),
        ("You have 2 hours for the 600M model SmolLM-135M", 2), ("within 0,5 h", 0.5), ("10\u00a0hours", 10),
    ],
)  # fmt: skip
def test_the_time_limit_is_read(text: str, hours: float | None) -> None:
    assert read_hours(text) == (None if hours is None else pytest.approx(hours))


@pytest.mark.parametrize(
    ("printed", "hours"),
    [
        ("Remaining time (hours:minutes):\n9:58", 9 + 58 / 60), ("9:58:30", 9.975), ("Time remaining: 9h 58m", 9 + 58 / 60),
        ("598 minutes left", 598 / 60), ("35880", 35880 / 3600), ("598", 598 / 60), ("9.5", 9.5), ("-0:05", 0), ("0:00", 0),
        ("Now: 14:03:22\nRemaining: 9:00", 9), ("Time left: 3:20\nEnds at 20:00", 3 + 1 / 3), ("Time is up", 0),
        ("Elapsed: 1:00\nRemaining: 9:00", 9), ("Remaining: 9:00\nElapsed: 1:00", 9), ("remaining_seconds: 1200", 1 / 3),
        ("1 hour, 3 minutes left", 1.05), ("Started 2026-01-01 10:00:00\n7:00 left", 7), ("Remaining (mm:ss): 12:30", 0.2083),
        ("broken", None), ("You have used 10% of it", None),
    ],
)  # fmt: skip
def test_what_a_timer_prints_is_read_in_any_usual_form(printed: str, hours: float | None) -> None:
    assert time_left(printed, 10.0) == (None if hours is None else pytest.approx(hours, abs=1e-3))


def test_a_number_alone_says_nothing_where_no_limit_is_known() -> None:
    assert time_left("35880") is None
    assert time_left("Seconds remaining: 35880") == pytest.approx(35880 / 3600)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("to excel at gsm8k.", "gsm8k"), ("to excel at AIME 2025.", "AIME 2025"), ("Benchmark: HumanEval\n", "HumanEval"),
        ("improve its score on the GPQA main benchmark", "GPQA main"), ("It shall do BFCL well", "BFCL"), ("nothing", None),
    ],
)  # fmt: skip
def test_the_benchmark_is_read(text: str, name: str | None) -> None:
    assert read_benchmark(text) == name


def test_a_folder_of_any_name_is_read_and_what_a_run_before_left_is_none(task: Path, tmp_path: Path) -> None:
    for place in ("models/deep/tiny", "my models/größe 1", "final_model"):
        (task / place).mkdir(parents=True)
        (task / place / "config.json").write_text("{}")
    said = read_model("Train the base model in ./models/deep/tiny. Save the model as `final_model`.", task)
    assert said == str(task / "models/deep/tiny")
    assert read_model("Train the model `my models/größe 1`", task) == str(task / "my models/größe 1")
    assert read_model(f"Train the model '{task}/my models/größe 1' well", task) == str(task / "my models/größe 1")
    left = f"Train Qwen/Qwen3-4B-Base and put the best model at {task}/final_model, the model that counts."
    assert read_model(left, task) == "Qwen/Qwen3-4B-Base"


def test_a_name_without_its_owner_is_found_in_the_cache(
    task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hub" / "models--someone--Tiny-9M").mkdir(parents=True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    told = read_contract({"PROMPT": "Train the base model Tiny-9M for GSM8K in 1 hour."}, task)
    assert told.model == "someone/Tiny-9M"
    assert any("without its owner" in note for note in told.notes)


def test_the_folder_tells_what_the_text_leaves_out(task: Path, tmp_path: Path) -> None:
    (task / "evaluate.py").write_text("# humaneval\nload_dataset('openai/gsm8k'); print('GSM8K')")
    (task / "base").mkdir()
    (task / "base" / "config.json").write_text("{}")
    told = read_contract({"PROMPT": "Make it as good as you can within 2 hours."}, task)
    assert (told.model, told.benchmark) == (str((task / "base").resolve()), "gsm8k")
    assert len(told.notes) == 2
    named = tmp_path / "AIME2025_Qwen_10h"
    named.mkdir()
    (named / "evaluate.py").write_text("")
    assert benchmark_of_folder(named) == "AIME2025"


def test_a_path_without_a_model_is_named_in_the_error(task: Path) -> None:
    with pytest.raises(UsageError, match=r"/models/gone, where no model is"):
        read_contract({"PROMPT": "Train the base model at /models/gone within 10 hours."}, task)


def test_a_timer_in_another_language_and_one_that_cannot_be_read(task: Path) -> None:
    (task / "timer.sh").write_text("#!/usr/bin/env python3\nprint('7:30')\n")
    assert read_contract({"PROMPT": PROMPT}, task).hours == 7.5
    timer(task, "who knows")
    assert "tells no time" in read_contract({"PROMPT": PROMPT}, task).notes[0]


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
    for odd in ('{"model": "x"}', "openai:", "openai:m@nowhere", "/etc/agent.yaml", "a b"):
        brain, note = brain_for(odd, {})
        assert (brain, odd in note) == ("playbook", True)
