"""A disk that somebody else fills: the run ends in order while there is room, and says why it leaves when there is hardly any."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.session import command, open_source, state_at
from store.event import Event
from store.verify import verify
from tests.core.run.quick import Quick, wait_for
from tests.servers.llm import LLMServer
from tests.servers.researchers import Capable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

MB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of a size with which a run begins."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Take the disk's space but for so many bytes, at once."""
    ballast = disk / "ballast"
    found = os.statvfs(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - leave)
    return ballast


def last_event(run: Path) -> Event:
    source = open_source(run)
    with contextlib.closing(source):
        return list(source.events(1))[-1]


def test_a_disk_that_gets_full_ends_the_run_with_its_report(disk: Path) -> None:
    with Quick(disk, QUICK_STEP_S="0.3") as quick, LLMServer(Capable({"max_steps": 90})) as server:
        run = quick.create(f"openai:t@{server.url}")
        quick.start(run)
        wait_for(run, lambda s: any(j.step for j in s.jobs.values()))
        fill(disk, 150 * MB)
        assert quick.ended() == 0
        state = state_at(run)
        assert state.reason.startswith("the disk is nearly full")
        assert not state.running_jobs()
        assert "the disk is nearly full" in (run / "report.md").read_text()


def test_a_host_that_can_write_no_more_says_why_and_the_run_is_taken_up_once_there_is_room(disk: Path) -> None:
    with Quick(disk, QUICK_STEP_S="0.1") as quick, LLMServer(Capable({"max_steps": 90})) as server:
        run = quick.create(f"openai:t@{server.url}")
        quick.start(run)
        wait_for(run, lambda s: any(j.step for j in s.jobs.values()))
        ballast = fill(disk, 30 * MB)  # below the log's floor, above what is kept for the reason
        assert quick.ended() != 0
        said = last_event(run)
        assert said.type == "note_added", (run / "host.log").read_text()[-6000:]
        assert b"of disk are free" in said.payload
        assert b"Free some space, then resume" in said.payload
        assert verify(run).sound
        ballast.unlink()
        quick.start(run)
        wait_for(run, lambda s: s.status == "paused")  # as after any crash
        command(run, "stop")
        assert quick.ended() == 1
        assert state_at(run).status == "stopped"
