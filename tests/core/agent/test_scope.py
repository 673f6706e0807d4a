"""What a brain may try to change of what is fixed without its being seen, and what of it needs a yes."""

from __future__ import annotations

from typing import Any

import pytest

from core.agent.scope import comes_from, differences
from core.state import Dataset

FIXED: dict[str, Any] = {
    "lora": False,
    "max_length": 2048,
    "method": "sft",
    "monitoring": True,
    "seed": 1,
    "blocked": ["x"],
}


def data(name: str, *sources: str) -> Dataset:
    return Dataset(name, 1, prepared=f"/r/data/{name}", sources=list(sources))


KNOWN = {
    d.name: d
    for d in (
        data("clean", "data/train.jsonl"), data("clean-audited", "clean"), data("own", "clean-audited"),
        data("clean-2", "data/other.jsonl"), data("mixed", "clean", "clean-2"), data("round", "round"),
    )
}  # fmt: skip


def changes(fixed: dict[str, Any], tool: str = "train", **arguments: Any) -> str:
    return "; ".join(differences(fixed, tool, arguments, KNOWN))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lora": {}}, "LoRA instead of full weights"),
        ({"lora": {"r": 4}}, "LoRA instead of full weights"),
        ({"max_length": 512}, "512 instead of 2048"),
        ({"max_length": "512"}, "512 instead of 2048"),
        ({"max_length": True}, "True instead of 2048"),
        ({"eval_every": 0}, "monitoring would be off"),
        ({"eval_every": 10_000_000}, "monitoring would be off"),
        ({"eval_every": 60, "max_steps": 50}, "monitoring would be off"),
        ({"eval_samples": 0}, "monitoring would be off"),
        ({"seed": True}, "seed would be True"),
        ({"seed": 2}, "seed would be 2"),
    ],
)
def test_a_setting_that_changes_what_is_fixed_is_shown(settings: dict[str, Any], said: str) -> None:
    assert said in changes(FIXED, method="sft", settings=settings)


@pytest.mark.parametrize(
    "settings", [{}, {"max_length": 2048}, {"max_length": 4096}, {"eval_every": 10}, {"seed": 1}, {"lora": None}]
)
def test_what_changes_nothing_needs_nobody(settings: dict[str, Any]) -> None:
    assert changes(FIXED, method="sft", settings=settings) == ""


def test_a_script_of_the_brains_own_is_held_by_nothing_and_says_what_it_was_asked_to_keep() -> None:
    said = changes(FIXED, "run_script", file="mine.py", settings={"max_length": 512}, data="clean")
    assert "mine.py" in said
    for kept in ("method = sft", "max_length = 2048", "full weights"):
        assert kept in said
    assert "max_length = 512 in its settings" in said
    assert changes({"blocked": ["x"]}, "run_script", file="mine.py") == "", (
        "a run in which nothing is fixed asks nothing"
    )


@pytest.mark.parametrize(
    ("name", "wanted", "all_of_it"),
    [
        ("clean", "clean", True),
        ("clean-audited", "clean", True),
        ("own", "clean", True),
        ("own", "train.jsonl", True),
        ("own", "data/train.jsonl", True),
        ("clean-2", "clean", False),  # its name begins with the other's; its rows are others
        ("mixed", "clean", False),
        ("round", "clean", True),  # made of itself alone: nothing else is in it
        ("unknown", "clean", False),
        ("own", "rain.jsonl", False),
    ],
)
def test_data_is_what_its_rows_come_from_and_not_its_name(name: str, wanted: str, all_of_it: bool) -> None:
    assert comes_from(name, wanted, KNOWN) == all_of_it
    assert (changes({"data": wanted}, data=name) == "") == all_of_it


def test_other_rows_do_not_come_under_the_name_that_is_fixed() -> None:
    fixed = {"data": "clean"}
    assert "made anew from /t/data/other.jsonl" in changes(
        fixed, "prepare_data", name="clean", sources=["/t/data/other.jsonl"]
    )
    assert "made anew" in changes(fixed, "sample_and_verify", name="clean", model="final", data="clean")
    assert "made anew" in changes(fixed, "synthesize_data", name="clean", rows=10)
    assert changes(fixed, "prepare_data", name="clean", sources=["/t/data/train.jsonl"]) == ""
    assert changes(fixed, "prepare_data", name="another", sources=["/t/data/other.jsonl"]) == ""
