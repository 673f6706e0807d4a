"""final_model of a benchmark: real files, of the base's lineage, replaced as a whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from core.errors import JobError
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
