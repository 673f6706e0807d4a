"""What is exported loads in a fresh process and decodes as measured; what is promoted is there at every instant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from core.errors import InternError, JobError, NotFound
from core.evaluation.prompting import Decoding
from core.training import promote
from core.training.export_spec import ExportSpec
from core.training.promote import recover_swap, swap_directory, tree_digest
from core.training.spec import write_spec
from tests.core.training.conftest import Lab, read_stream

ROOT = Path(__file__).resolve().parents[3]


def test_an_export_says_greedy_to_every_engine_and_proves_that_it_loads(lab: Lab, tmp_path: Path) -> None:
    spec = ExportSpec(model=str(lab.trained), decoding=Decoding(max_new_tokens=6), proof_prompts=("1+1=", "2+3="))
    job = [sys.executable, "-P", str(ROOT / "intern_tui" / "job.py"), str(write_spec(tmp_path / "j", spec))]
    subprocess.run(job, check=True, timeout=100, capture_output=True)
    result = read_stream(tmp_path / "j")[-1]
    output = Path(result["model"])
    config = json.loads((output / "generation_config.json").read_text())
    assert (config["do_sample"], config["temperature"], config["max_new_tokens"]) == (False, 0.0, 6)
    assert config["eos_token_id"] == 3
    assert len(result["proof"]) == 2
    assert result["digest"] == tree_digest(output)


def test_an_adapter_is_merged(lab: Lab, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    from core.training import export

    model = AutoModelForCausalLM.from_pretrained(lab.trained)
    lora = LoraConfig(target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(model, lora).save_pretrained(tmp_path / "adapter")
    spec = ExportSpec(model=str(lab.trained), adapter=str(tmp_path / "adapter"), decoding=Decoding(max_new_tokens=2))
    export.main(str(write_spec(tmp_path / "j", spec)))
    names = {p.name for p in (tmp_path / "j" / "model").iterdir()}
    assert "adapter_config.json" not in names
    name = "model.layers.0.self_attn.q_proj.weight"
    merged = load_file(tmp_path / "j" / "model" / "model.safetensors")[name]
    assert not merged.equal(load_file(lab.trained / "model.safetensors")[name])


def test_weights_that_are_not_finite_are_not_exported(lab: Lab, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from core.training import export

    model = AutoModelForCausalLM.from_pretrained(lab.trained)
    model.model.norm.weight.data[0] = float("inf")
    model.save_pretrained(tmp_path / "bad")
    AutoTokenizer.from_pretrained(lab.trained).save_pretrained(tmp_path / "bad")
    with pytest.raises(JobError, match="not finite"):
        export.main(str(write_spec(tmp_path / "j", ExportSpec(model=str(tmp_path / "bad")))))


def folder(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "weights").write_text(text)
    return path


def test_a_swap_puts_the_new_in_place_and_removes_the_old(tmp_path: Path) -> None:
    target = tmp_path / "final_model"
    swap_directory(folder(tmp_path / "a", "one"), target)
    swap_directory(folder(tmp_path / "b", "two"), target)
    assert (target / "weights").read_text() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["final_model"]


def test_a_reader_never_finds_the_target_missing(tmp_path: Path) -> None:
    target = tmp_path / "final_model"
    if not swap_directory(folder(tmp_path / "first", "x"), target):
        pytest.skip("no atomic exchange here")
    missing, over = [], threading.Event()

    def look() -> None:
        while not over.is_set():
            if not os.path.exists(target / "weights"):
                missing.append(1)

    reader = threading.Thread(target=look)
    reader.start()
    for i in range(100):
        swap_directory(folder(tmp_path / f"n{i}", str(i)), target)
    over.set()
    reader.join()
    assert not missing


def test_a_crash_in_the_fallback_is_undone(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(promote, "_exchange", lambda a, b: False)
    target = folder(tmp_path / "final_model", "old")
    assert swap_directory(folder(tmp_path / "new", "new"), target) is False
    assert (target / "weights").read_text() == "new"
    target.rename(tmp_path / "final_model.old")  # as a kill between the two renames leaves it
    assert recover_swap(target)
    assert (target / "weights").read_text() == "new"
    assert not recover_swap(target)


def test_nothing_to_promote_is_an_error_and_the_target_stays(tmp_path: Path) -> None:
    target = folder(tmp_path / "final_model", "old")
    with pytest.raises(NotFound):
        swap_directory(tmp_path / "nothing", target)
    assert (target / "weights").read_text() == "old"


def test_the_digest_sees_names_contents_and_links(tmp_path: Path) -> None:
    a, b = folder(tmp_path / "a", "x"), folder(tmp_path / "b", "x")
    assert tree_digest(a) == tree_digest(b)
    (b / "weights").write_text("y")
    assert tree_digest(a) != tree_digest(b)
    (b / "weights").unlink()
    (b / "weighty").write_text("x")
    assert tree_digest(a) != tree_digest(b)
    (a / "link").symlink_to("/etc/hostname")
    with pytest.raises(InternError, match="link is a link"):
        tree_digest(a)
