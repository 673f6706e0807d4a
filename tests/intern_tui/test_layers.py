"""Layers, proved by importing; and the pin that keeps a stranger's `core/` out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "trackio", "accelerate")


def modules_after(statement: str) -> set[str]:
    code = f"import intern_tui\n{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, cwd="/")
    return {name.split(".")[0] for name in done.stdout.split()}


def test_core_and_store_know_no_terminal_and_no_torch() -> None:
    loaded = modules_after("import core.host, core.launch, core.session, store.log, store.serve, store.verify")
    assert not loaded & {"textual", *HEAVY}


def test_the_ui_loads_neither_torch_nor_a_database_while_a_host_lives() -> None:
    loaded = modules_after("import intern_tui.app, screens.mission, intern_tui.feed")
    assert not loaded & {"duckdb", "smolagents", *HEAVY}


def test_help_loads_nothing_heavy() -> None:
    loaded = modules_after("from intern_tui.cli import parser; parser().format_help()")
    assert not loaded & {"textual", "duckdb", "smolagents", "msgspec", *HEAVY}


@pytest.mark.parametrize("pythonpath", [None, "."])
@pytest.mark.parametrize("module", [True, False])
def test_a_foreign_folder_with_a_core_of_its_own_changes_nothing(
    tmp_path: Path, pythonpath: str | None, module: bool
) -> None:
    for name in ("core", "store", "screens"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('the wrong package')")
    script = Path(sys.executable).with_name("intern")
    command = [sys.executable, "-m", "intern_tui"] if module else [str(script)]
    import os

    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"INTERN_HOME": str(tmp_path / "home")}
    if pythonpath:
        env["PYTHONPATH"] = pythonpath
    done = subprocess.run(
        [*command, "runs", "--json"], capture_output=True, text=True, cwd=tmp_path, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
