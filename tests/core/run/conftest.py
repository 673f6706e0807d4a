"""One real run of the playbook, shared by the tests that only look at it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.core.cli import Intern
from tests.speed import hours


@pytest.fixture
def intern(tmp_path: Path) -> Intern:
    return Intern(tmp_path / "home")


class Lab:
    def __init__(self, intern: Intern, final: dict[str, Any], lines: str) -> None:
        self.intern = intern
        self.final = final
        self.lines = lines
        self.run = final["run"]
        self.folder = intern.home / "runs" / final["run"]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A whole run on pocket/addition: read, inspect, measure, train, diagnose, evaluate, report."""
    intern = Intern(tmp_path_factory.mktemp("lab"))
    done = intern("run", "--task", "pocket/addition", "--plain", "--json", "--hours", hours(0.05), timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    return Lab(intern, json.loads(done.stdout.strip().splitlines()[-1]), done.stderr)
