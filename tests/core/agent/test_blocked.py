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


def test_a_run_that_is_no_submission_may_look_anything_up() -> None:
    assert reason([], "fetch_dataset", {"dataset": "openai/gsm8k"}) == ""
