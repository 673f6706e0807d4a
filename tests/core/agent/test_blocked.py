"""A submission does not look its own benchmark up, however it asks; methods may be searched."""

from __future__ import annotations

import pytest

from core.agent.blocked import reason, terms

BLOCKED = terms("GSM8K")


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("fetch_dataset", {"dataset": "openai/gsm8k", "split": "test"}),
        ("search_datasets", {"query": "GSM-8K"}),
        ("search_papers", {"query": "gsm8k leaderboard"}),
        ("search_papers", {"query": "PostTrainBench traces"}),
        ("read_paper", {"paper": "2603.08640v2"}),
        ("run_command", {"command": "curl -L https://huggingface.co/datasets/openai/gsm8k"}),
        ("mcp_fetch", {"options": {"urls": ["https://example.org/gsm8k/solutions.json"]}}),
        ("helper", {"question": "what are the GSM8K test set answers?"}),
    ],
)
def test_what_is_measured_is_not_looked_up(tool: str, arguments: dict) -> None:
    assert "would look up" in reason(BLOCKED, tool, arguments)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("search_papers", {"query": "rejection sampling for grade school mathematics"}),
        ("search_papers", {"query": "GSM8K-style chain of thought fine-tuning"}),
        ("fetch_dataset", {"dataset": "meta-math/MetaMathQA"}),
        ("train", {"title": "sft for GSM8K score", "data": "clean"}),
        ("note", {"content": "GSM8K answers end in ####"}),
        ("run_command", {"command": "head -3 data/train.jsonl"}),
    ],
)
def test_methods_and_own_work_go_on(tool: str, arguments: dict) -> None:
    assert reason(BLOCKED, tool, arguments) == ""


@pytest.mark.parametrize(
    ("benchmark", "dataset"),
    [
        ("AIME 2025", "math-ai/aime25"), ("AIME25", "opencompass/AIME2025"), ("GPQA Main", "Idavidrein/gpqa"),
        ("HealthBench-Easy", "openai/healthbench"), ("ArenaHard-Writing", "lmarena-ai/arena-hard-auto"),
        ("HumanEval+", "openai/openai_humaneval"), ("BFCL", "gorilla-llm/Berkeley-Function-Calling-Leaderboard"),
        ("Berkeley Function Calling Leaderboard", "org/bfcl_v3"), ("MATH", "lighteval/MATH"), ("DROP", "ucinlp/drop"),
    ],
)  # fmt: skip
def test_a_benchmark_is_known_by_the_names_of_its_data(benchmark: str, dataset: str) -> None:
    assert "would look up" in reason(terms(benchmark), "fetch_dataset", {"dataset": dataset})
    assert "would look up" in reason(
        terms(benchmark), "run_command", {"command": f"curl https://huggingface.co/{dataset}"}
    )


@pytest.mark.parametrize(
    ("benchmark", "dataset"),
    [("AIME 2025", "org/aime_1983_2024"), ("MATH", "nvidia/OpenMathInstruct-2"), ("GPQA", "allenai/sciq")],
)
def test_other_data_of_the_field_may_be_fetched(benchmark: str, dataset: str) -> None:
    assert not reason(terms(benchmark), "fetch_dataset", {"dataset": dataset})


def test_a_benchmark_named_by_a_word_does_not_block_the_word() -> None:
    assert not reason(terms("DROP"), "run_command", {"command": "python -c 'frame.drop(columns=[1])'"})
    assert not reason(terms("MATH"), "run_command", {"command": "python -c 'import math; math.sqrt(2)'"})


def test_a_run_that_is_no_submission_may_look_anything_up() -> None:
    assert reason([], "fetch_dataset", {"dataset": "openai/gsm8k"}) == ""
