"""Code that comes with a model runs only where a person approved this repository at this revision."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from core.errors import Refused
from core.training.trust import loading, local_folder, origin, risks


def model(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    for name, text in {"config.json": "{}", "model.safetensors": "w", **files}.items():
        if text:
            (folder / name).write_text(text)
    return folder


def test_a_model_of_safetensors_and_no_code_needs_nothing(tmp_path: Path) -> None:
    plain = model(tmp_path / "m", **{"training_args.bin": "x", "optimizer.pt": "x"})
    assert risks(plain) == ()
    assert loading(plain) == {}


@pytest.mark.parametrize(
    ("files", "risk"),
    [
        ({"config.json": json.dumps({"auto_map": {"AutoModelForCausalLM": "m.M"}}), "m.py": "x = 1"}, "remote_code"),
        ({"tokenizer_config.json": json.dumps({"auto_map": {"AutoTokenizer": ["t.T", None]}})}, "remote_code"),
        ({"model.safetensors": "", "pytorch_model.bin": "x"}, "pickle"),
        ({"model.safetensors": "", "consolidated.00.pth": "x"}, "pickle"),
    ],
)
def test_code_and_pickles_are_refused_until_they_are_approved(tmp_path: Path, files: dict[str, str], risk: str) -> None:
    found = model(tmp_path / "m", **files)
    assert risks(found) == (risk,)
    with pytest.raises(Refused, match="approve"):
        loading(found)
    assert loading(found, (risk,)) == ({"trust_remote_code": True} if risk == "remote_code" else {})  # type: ignore[arg-type]


def test_an_approval_of_one_kind_is_none_of_the_other(tmp_path: Path) -> None:
    both = model(tmp_path / "m", **{"config.json": '{"auto_map": {}}', "model.safetensors": "", "a.bin": "x"})
    with pytest.raises(Refused, match="pickled"):
        loading(both, ("remote_code",))


def test_the_origin_is_repository_and_revision_and_changes_with_code_and_pickles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = model(tmp_path / "hub" / "models--lab--tiny" / "snapshots" / ("a1" * 20))
    refs = tmp_path / "hub" / "models--lab--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text("a1" * 20)
    assert local_folder("lab/tiny") == snapshot
    assert local_folder("lab/other") is None
    assert (origin(snapshot).repository, origin(snapshot).revision) == ("lab/tiny", "a1" * 20)
    mine = model(tmp_path / "mine", **{"m.py": "x = 1", "w.bin": "x"})
    first = origin(mine)
    assert origin(mine) == first
    (mine / "m.py").write_text("x = 2")
    assert origin(mine).revision != first.revision
    shutil.copy(mine / "m.py", mine / "n.py")
    (mine / "m.py").write_text("x = 1")
    (mine / "n.py").unlink()
    assert origin(mine) == first
    (mine / "w.bin").write_text("y")
    assert origin(mine).revision != first.revision
