"""A program of a person is told from one that a sandbox holds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.compute.confinement import Confinement, command, environment, probe
from core.peers import is_confined

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc")

HELD = "import ctypes; ctypes.CDLL(None).prctl(38, 1, 0, 0, 0); "
"""PR_SET_NO_NEW_PRIVS, as every level of the sandbox does."""
WAITS = "print('up', flush=True); input()"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    made: list[subprocess.Popen[bytes]] = []
    yield made
    for process in made:
        process.kill()
        process.wait()


def start(started: list[subprocess.Popen[bytes]], *argv: str, **options: Any) -> int:
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
    started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process.pid


def test_one_that_gave_up_privileges_is_held_and_so_are_its_children(started: list[subprocess.Popen[bytes]]) -> None:
    assert not is_confined(start(started, sys.executable, "-c", WAITS))
    assert is_confined(start(started, sys.executable, "-c", HELD + WAITS))
    become = f"import os; os.execv({sys.executable!r}, ['python', '-c', {WAITS!r}])"
    assert is_confined(start(started, sys.executable, "-c", HELD + become)), "nothing takes it back"


def test_one_that_is_gone_counts_as_held_and_one_of_another_container_does_not() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert is_confined(gone.pid)
    assert not is_confined(0)


@pytest.mark.parametrize("level", ["landlock", "limits"])
def test_a_command_of_a_brain_is_held_at_the_levels_that_leave_sockets_open(
    started: list[subprocess.Popen[bytes]], tmp_path: Path, level: Any
) -> None:
    if level == "landlock" and probe().level == "limits":
        pytest.skip("no Landlock here")
    held = Confinement(workspace=str(tmp_path))
    argv = command(["sh", "-c", "echo up; read x"], held, level)
    pid = start(started, *argv, env=environment(held), cwd=tmp_path)
    below = psutil.Process(pid).children(recursive=True)
    assert is_confined(below[-1].pid if below else pid)
