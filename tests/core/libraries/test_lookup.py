"""The installed libraries answer for themselves."""

from __future__ import annotations

import pytest

from core.errors import ToolError
from core.libraries.lookup import look_up


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
