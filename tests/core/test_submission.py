"""final_model of a benchmark: real files, of the base's lineage, replaced as a whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.errors import JobError, NotFound
from core.submission import Submission, foreign

BASE = Path(__file__).parents[2] / "core" / "pocket" / "addition" / "base"


def as_in_the_cache(folder: Path) -> Path:
    """A snapshot of the Hub's cache: names that are links to blobs."""
    blobs = folder / "blobs"
    blobs.mkdir(parents=True)
    snapshot = folder / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for file in BASE.iterdir():
        shutil.copy(file, blobs / file.name)
        (snapshot / file.name).symlink_to(blobs / file.name)
    return snapshot


def test_links_of_the_cache_become_real_files(tmp_path: Path) -> None:
    base = as_in_the_cache(tmp_path / "hub")
    target = tmp_path / "final_model"
    Submission(target, base).offer(base)
    assert (target / "model.safetensors").read_bytes() == (BASE / "model.safetensors").read_bytes()
    assert not any(p.is_symlink() for p in target.rglob("*"))
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".final")] == []


def test_another_model_is_refused_and_the_old_one_stays(tmp_path: Path) -> None:
    target, other = tmp_path / "final_model", tmp_path / "other"
    submission = Submission(target, BASE)
    submission.offer(BASE)
    before = (target / "config.json").read_bytes()
    shutil.copytree(BASE, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 99}))
    assert foreign(other, BASE) == ["num_hidden_layers"]
    with pytest.raises(JobError, match="not a descendant"):
        submission.offer(other)
    assert (target / "config.json").read_bytes() == before


def variant(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    shutil.copytree(BASE, folder)
    weights = load_file(BASE / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def moved(share: float, seed: int) -> Callable[[dict[str, torch.Tensor]], None]:
    """Each matrix moved by a share of its size, in a direction of its own."""

    def change(weights: dict[str, torch.Tensor]) -> None:
        generator = torch.Generator().manual_seed(seed)
        for name, matrix in weights.items():
            if matrix.ndim > 1:
                step = torch.randn(matrix.shape, generator=generator)
                weights[name] = (matrix.float() + share * matrix.float().norm() / step.norm() * step).to(matrix.dtype)

    return change


def test_the_instruct_sibling_in_the_cache_is_no_descendant_though_its_config_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    sibling = variant(tmp_path / "hub" / "models--org--model-instruct" / "snapshots" / "1", moved(0.3, seed=1))
    submission = Submission(tmp_path / "final_model", BASE)
    mine = variant(tmp_path / "mine", moved(0.2, seed=2))
    submission.offer(mine)
    held = (tmp_path / "final_model" / "model.safetensors").read_bytes()
    # handed in as it is, and trained on a little
    touched = load_file(sibling / "model.safetensors")
    for name, matrix in touched.items():
        touched[name] = matrix * 1.001
    shutil.copytree(sibling, tmp_path / "trained")
    save_file(touched, tmp_path / "trained" / "model.safetensors", metadata={"format": "pt"})
    for other in (sibling, tmp_path / "trained"):
        assert foreign(other, BASE) == []
        with pytest.raises(JobError, match="those of org/model-instruct"):
            submission.offer(other)
    assert (tmp_path / "final_model" / "model.safetensors").read_bytes() == held
    # another copy of the base is no other model
    shutil.copytree(BASE, tmp_path / "hub" / "models--mirror--base" / "snapshots" / "1")
    submission.offer(variant(tmp_path / "little", moved(0.01, seed=3)))


def test_weights_of_another_origin_and_adapters_that_are_not_merged_are_refused(tmp_path: Path) -> None:
    submission = Submission(tmp_path / "final_model", BASE)
    with pytest.raises(JobError, match="not the base's"):
        submission.offer(variant(tmp_path / "other", moved(20.0, seed=1)))
    submission.offer(variant(tmp_path / "far", moved(2.0, seed=2)))  # long and hard, but the base's
    pairs = {"model.layers.0.self_attn.q_proj.lora_A.default.weight": torch.zeros(4, 8)}
    with pytest.raises(JobError, match="not merged"):
        submission.offer(variant(tmp_path / "adapter", lambda weights: weights.update(pairs)))
    beside = variant(tmp_path / "beside", lambda weights: None)
    (beside / "adapter_config.json").write_text("{}")
    with pytest.raises(NotFound, match="an adapter"):
        submission.offer(beside)


def test_what_a_model_came_without_is_taken_from_the_base(tmp_path: Path) -> None:
    source = tmp_path / "trained"
    shutil.copytree(BASE, source)
    (source / "tokenizer.json").unlink()
    (source / "generation_config.json").unlink()
    (source / "optimizer.pt").write_bytes(b"x")
    Submission(tmp_path / "final_model", BASE).offer(source)
    names = {p.name for p in (tmp_path / "final_model").iterdir()}
    assert {"tokenizer.json", "generation_config.json"} <= names
    assert "optimizer.pt" not in names
