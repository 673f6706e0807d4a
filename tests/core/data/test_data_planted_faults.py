"""Inspection finds at least 95 % of planted faults with under 5 % false alarms, on seeds nobody looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.data.files import open_data
from core.data.inspect import inspect_data
from tests.core.data.figures import MAKERS, measure
from tests.core.data.planted import DEVELOPMENT, HELD_OUT, Planted


@pytest.mark.parametrize("name", MAKERS)
def test_planted_faults_are_found_on_held_out_seeds_with_few_false_alarms(name: str, tmp_path: Path) -> None:
    for fault, count in measure(MAKERS[name], HELD_OUT[:2], tmp_path).items():
        assert count.found >= 0.95 * count.planted, f"{fault}: {count.found} of {count.planted}"
        assert count.alarms < 0.05 * count.clean, f"{fault}: {count.alarms} false alarms in {count.clean} rows"
        if fault == "contaminated":
            assert count.alarms < 0.01 * count.clean, f"{fault}: {count.alarms} false alarms in {count.clean} rows"


def test_the_held_out_seeds_are_others() -> None:
    assert not set(DEVELOPMENT) & set(HELD_OUT)


def test_siblings_of_one_template_are_no_near_duplicates(tmp_path: Path) -> None:
    """Long prompts that differ only in what the question is about."""
    instruction = (
        "Read the following two numbers with care, add them up without a calculator, and reply with the sum alone: "
    )
    rows = [{"prompt": f"{instruction}{a} and {a * 7 % 89}", "answer": str(a + a * 7 % 89)} for a in range(300)]
    with open_data(Planted(rows).write(tmp_path / "t.jsonl")) as data:
        result = inspect_data(data, evaluation_texts=[f"{instruction}{a} and 3" for a in range(500, 560)])
    assert result.concern("near_duplicates") is None
    assert result.concern("contaminated") is None
