"""What docs/deployment.md and docs/Containerfile hand to a person is well formed and names what exists."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENT = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
INSTRUCTIONS = {
    "FROM",
    "RUN",
    "COPY",
    "USER",
    "ENV",
    "VOLUME",
    "ENTRYPOINT",
    "WORKDIR",
    "ARG",
    "LABEL",
    "EXPOSE",
    "CMD",
}


def test_the_systemd_unit_is_one(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze to check a unit with")
    unit = re.search(r"```ini\n(\[Unit\].*?)```", DEPLOYMENT, re.DOTALL)
    assert unit is not None
    program = tmp_path / ".local" / "bin" / "intern"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    path = tmp_path / "intern@run.service"
    path.write_text(unit.group(1).replace("%h", str(tmp_path)))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, check=False)  # fmt: skip
    said = [line for line in done.stderr.splitlines() if "intern@run.service" in line]
    assert not said, "\n".join(said)


def test_the_container_file_is_one_and_names_what_exists() -> None:
    text = (ROOT / "docs" / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert lines[0].startswith("FROM ")
    assert {line.split()[0] for line in lines} <= INSTRUCTIONS
    for line in lines:
        if line.startswith("RUN "):
            done = subprocess.run(["sh", "-n", "-c", line[4:]], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "train" in project["optional-dependencies"]
    (entry,) = [line for line in lines if line.startswith("ENTRYPOINT")]
    assert shlex.split(entry.split(None, 1)[1].strip("[]")) == ["intern"]
    assert "intern" in project["scripts"]
    assert (ROOT / "constraints.txt").is_file()
    python = re.match(r"FROM \S+python:(\d+)\.(\d+)", lines[0])
    assert python is not None
    assert (int(python[1]), int(python[2])) >= (3, 11)
