"""Inspection finds at least 95 % of planted faults with under 5 % false alarms, on seeds nobody looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.data.files import open_data
from core.data.inspect import flagged, inspect_data
from tests.core.data.planted import DEVELOPMENT, HELD_OUT, Planted, calls, chats, prose_data, sums

MAKERS: dict[str, Callable[[int], Planted]] = {"prose": prose_data, "sums": sums, "calls": calls, "chats": chats}


def measure(
    make: Callable[[int], Planted], seeds: tuple[int, ...], folder: Path
) -> dict[str, tuple[int, int, int, int]]:
    """By fault: (found, planted, false alarms on rows without any fault, such rows), pooled over the seeds."""
    total: dict[str, tuple[int, int, int, int]] = {}
    for seed in seeds:
        planted = make(seed)
        with open_data(planted.write(folder / f"{seed}.jsonl")) as data:
            inspect_data(data, evaluation_texts=planted.evaluation or None)
            found = flagged(data)
        clean = set(range(len(planted.rows))) - planted.bad
        for fault in {*planted.faults, *found}:
            rows, marked = planted.faults.get(fault, set()), found.get(fault, set())
            now = (len(rows & marked), len(rows), len(marked & clean), len(clean))
            total[fault] = tuple(a + b for a, b in zip(total.get(fault, (0, 0, 0, 0)), now, strict=True))  # type: ignore[assignment]
    return total


def report(name: str, measured: dict[str, tuple[int, int, int, int]]) -> None:
    for fault, (found, planted, alarms, clean) in sorted(measured.items()):
        recall = f"{found}/{planted} = {found / planted:.1%}" if planted else "none planted"
        print(f"{name:6} {fault:20} found {recall:18} false alarms {alarms}/{clean} = {alarms / clean:.2%}")


@pytest.mark.parametrize("name", MAKERS)
def test_planted_faults_are_found_on_held_out_seeds_with_few_false_alarms(name: str, tmp_path: Path) -> None:
    measured = measure(MAKERS[name], HELD_OUT, tmp_path)
    report(name, measured)
    for fault, (found, planted, alarms, clean) in measured.items():
        assert found >= 0.95 * planted, f"{fault}: {found} of {planted}"
        assert alarms < 0.05 * clean, f"{fault}: {alarms} false alarms in {clean} rows"


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
