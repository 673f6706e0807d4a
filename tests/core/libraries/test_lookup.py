"""The installed libraries answer for themselves."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import ToolError
from core.libraries.fitting import fitted
from core.libraries.lookup import look_up
from core.tools.toolbox import observation


def test_a_config_tells_its_fields_and_a_wrong_name_is_told_what_is_near() -> None:
    told = look_up("peft.LoraConfig")
    fields = {field["name"]: field for field in told["fields"]}
    assert told["kind"] == "class"
    assert fields["r"]["default"] == "8"
    assert "dimension" in fields["r"]["help"].lower()
    with pytest.raises(ToolError, match="LoraConfig"):
        look_up("peft.LoraConfg")


@pytest.mark.parametrize("name", ["os.system", "trl; import os", "", "trl.", "torch.nn"])
def test_only_the_training_libraries_are_asked(name: str) -> None:
    with pytest.raises(ToolError, match="no name in"):
        look_up(name)


@pytest.fixture(scope="module")
def grpo() -> dict[str, Any]:
    return look_up("trl.GRPOConfig")


def test_of_a_large_configuration_every_field_is_told(grpo: dict[str, Any]) -> None:
    """A brain is given 24,000 characters of a result: what stands behind is cut off."""
    told = observation(fitted(grpo))
    assert len(told) < 23_000
    missing = [f["name"] for f in grpo["fields"] if f'"{f["name"]}: ' not in told]
    assert missing == []
    assert "trl.GRPOConfig." in fitted(grpo)["shortened"]


def test_fields_are_asked_for_by_a_word_and_keep_their_help(grpo: dict[str, Any]) -> None:
    told = fitted(grpo, "loss_type")
    assert any(f["name"] == "loss_type" and len(f["help"]) > 50 for f in told["fields"])
    assert all("loss_type" in f"{f['name']} {f['help']}".lower() for f in told["fields"])


def test_one_field_is_told_by_its_name_and_not_as_its_default() -> None:
    told = look_up("trl.GRPOConfig.loss_type")
    assert told["kind"] == "field of trl.GRPOConfig"
    assert told["default"].startswith("'")
    assert "loss" in told["doc"].lower()


def test_whatever_the_size_it_fits_and_says_what_is_gone() -> None:
    huge = {"name": "x", "kind": "module", "doc": "d" * 50_000, "signature": "s" * 9_000, "members": [f"m{i}" for i in range(9_000)]}  # fmt: skip
    told = fitted(huge)
    assert len(observation(told)) < 23_000
    assert "[cut:" in told["doc"]
    assert "members: the first" in told["shortened"]
    small = {"name": "x", "doc": "d", "signature": "", "members": []}
    assert fitted(small) == small
