"""A missing extra is named with the command of the tool that installed the program."""

from __future__ import annotations

from pathlib import Path

from core import install


def test_uv_replaces_what_a_tool_has_so_all_extras_are_named(tmp_path: Path) -> None:
    (tmp_path / "uv-receipt.toml").touch()
    said = install.command("web", tmp_path)
    assert said.startswith("uv tool install --force 'ml-intern-tui[")
    named = said.partition("[")[2].partition("]")[0].split(",")
    assert {"web", "train"} <= set(named), "training is installed here and must stay"
    assert len(named) == len(set(named))


def test_pipx_and_a_plain_environment(tmp_path: Path) -> None:
    assert install.command("web", tmp_path) == "pip install 'ml-intern-tui[web]'"
    (tmp_path / "pipx_metadata.json").touch()
    assert install.command("web", tmp_path) == "pipx runpip ml-intern-tui install 'ml-intern-tui[web]'"


def test_an_environment_of_ones_own_is_named_by_its_python(tmp_path: Path) -> None:
    (tmp_path / "pyvenv.cfg").touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    assert install.command("train", tmp_path) == f"{tmp_path}/bin/python -m pip install 'ml-intern-tui[train]'"
