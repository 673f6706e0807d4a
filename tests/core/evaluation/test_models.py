"""A model folder that cannot work is refused at once, with the reason."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from foreign import write_model

from core.errors import NotFound
from core.evaluation.models import check_model


def test_a_whole_folder_gives_a_card(tmp_path: Path) -> None:
    card = check_model(write_model(tmp_path / "m"))
    assert (card.params, card.architecture, card.dtype) == (24, "Qwen3ForCausalLM", "bfloat16")
    assert (card.tokenizer, card.context_length, card.eos_token) == ("BPE, 2 tokens", 256, "b")
    assert card.has_chat_template
    assert card.samples_by_default
    assert not card.remote
    assert card.problems == ()


@pytest.mark.parametrize(
    ("missing", "what"),
    [("config.json", "no config.json"), ("tokenizer.json", "no tokenizer"), ("model.safetensors", "no weights")],
)
def test_what_is_missing_is_named(tmp_path: Path, missing: str, what: str) -> None:
    folder = write_model(tmp_path / "m")
    (folder / missing).unlink()
    with pytest.raises(NotFound, match=what) as caught:
        check_model(folder)
    assert caught.value.where == str(folder)
    assert caught.value.next


def test_an_adapter_is_not_a_model(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "config.json").rename(folder / "adapter_config.json")
    with pytest.raises(NotFound, match="adapter"):
        check_model(folder)


def test_weights_cut_off_by_a_full_disk_are_found(tmp_path: Path) -> None:
    weights = write_model(tmp_path / "m") / "model.safetensors"
    whole = weights.read_bytes()
    for size in (len(whole) - 1, 20, 4, 0):
        weights.write_bytes(whole[:size])
        with pytest.raises(NotFound, match="cut off"):
            check_model(tmp_path / "m")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    names = {"a": "model.safetensors", "b": "model-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(NotFound, match=r"model-2\.safetensors"):
        check_model(folder)


def test_a_broken_config_says_so(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "config.json").write_text("{")
    with pytest.raises(NotFound, match=r"config\.json is not a JSON object"):
        check_model(folder)


def test_soft_problems_are_listed(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    for name in ("generation_config.json", "chat_template.jinja"):
        (folder / name).unlink()
    (folder / "link").symlink_to(folder / "config.json")
    text = " ".join(check_model(folder).problems)
    assert all(word in text for word in ("generation_config", "chat template", "links"))


def test_hub_ids_are_allowed_and_other_unknown_names_are_not(tmp_path: Path) -> None:
    assert check_model("Qwen/Qwen3-1.7B-Base").remote
    for bad in ("nowhere", "./no/where", str(tmp_path / "none"), "~/none", ""):
        if bad:
            with pytest.raises(NotFound, match="no model at"):
                check_model(bad)


def test_a_relative_path_is_looked_for_in_the_task_folder(tmp_path: Path) -> None:
    write_model(tmp_path / "task" / "base")
    assert check_model("base", base=tmp_path / "task").path == str(tmp_path / "task" / "base")


def test_the_light_modules_bring_no_torch() -> None:
    modules = "core.tasks, core.evaluation.benchmark, core.evaluation.analysis, core.evaluation.stats"
    heavy = "('torch', 'transformers', 'trl', 'numpy', 'textual')"
    code = f"import {modules}, core.evaluation.prompting, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
