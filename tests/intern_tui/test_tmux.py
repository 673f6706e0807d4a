"""The program in a real terminal: tmux at the three usual sizes, driven by keys, read back from the screen."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.tables import TABLES
from store.log import EventLog
from tests.screens import recorded
from tests.speed import SLOWNESS

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here")
SIZES = [(80, 24), (120, 40), (200, 60)]


class Tmux:
    """One session of its own server."""

    def __init__(self, socket: Path, command: str, size: tuple[int, int]) -> None:
        self._base = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        # readline, once imported, tells every child of this process a size that is not the terminal's
        foreign = ("TMUX", "NO_COLOR", "COLUMNS", "LINES")
        environment = {k: v for k, v in os.environ.items() if k not in foreign} | {"LANG": "C.UTF-8"}
        subprocess.run(
            [*self._base, "new-session", "-d", "-x", str(size[0]), "-y", str(size[1]), command],
            check=True,
            env=environment,
        )

    def keys(self, *names: str) -> None:
        subprocess.run([*self._base, "send-keys", *names], check=True)

    def resize(self, width: int, height: int) -> None:
        subprocess.run([*self._base, "resize-window", "-x", str(width), "-y", str(height)], check=True)

    def screen(self) -> str:
        return subprocess.run([*self._base, "capture-pane", "-p"], check=True, capture_output=True, text=True).stdout

    def until(self, fits: Callable[[str], bool], timeout: float = 60.0) -> str:
        deadline = time.monotonic() + timeout * SLOWNESS
        while time.monotonic() < deadline:
            screen = self.screen()
            if fits(screen):
                return screen
            time.sleep(0.1)
        raise AssertionError(self.screen())

    def close(self) -> None:
        subprocess.run([*self._base, "kill-server"], check=False, capture_output=True)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / recorded.RUN
    folder.mkdir(parents=True)
    with EventLog.create(folder, TABLES) as log:
        log.append(recorded.appendable(recorded.events()))
    return tmp_path


@pytest.fixture(params=SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def terminal(request: pytest.FixtureRequest, home: Path) -> Iterator[tuple[Tmux, tuple[int, int]]]:
    words = ["env", f"INTERN_HOME={home}", sys.executable, "-m", "intern_tui", "replay", "last"]
    tmux = Tmux(home / "tmux.sock", shlex.join(words), request.param)
    yield tmux, request.param
    tmux.close()


def whole(screen: str) -> bool:
    """The header is in the first line and the keys are in the last."""
    lines = screen.rstrip("\n").split("\n")
    return "gpqa-qwen3" in lines[0] and "q detach" in lines[-1]


def test_every_screen_stands_in_a_real_terminal(terminal: tuple[Tmux, tuple[int, int]]) -> None:
    tmux, (width, height) = terminal
    tmux.until(lambda s: "REPLAY" in s and "Plan 6/6" in s)
    seen = {"2": "job-3 GRPO", "3": "zero-shot", "4": "run finished", "5": "DAPO", "6": "Runs: 1", "1": "Plan 6/6"}
    for key, words in seen.items():
        tmux.keys(key)
        screen = tmux.until(lambda s, words=words: words in s and whole(s))  # tmux may be read in the middle of a frame
        lines = screen.rstrip("\n").split("\n")
        assert len(lines) <= height
        assert width - 2 <= max(len(line) for line in lines) <= width, "the whole width, and no more"
    tmux.keys("t")
    tmux.until(lambda s: "Go to" in s)
    tmux.keys("300", "Enter")
    tmux.until(lambda s: "#300" in s)
    tmux.keys("?")
    tmux.until(lambda s: "Mission: what it does" in s)
    tmux.keys("Escape", "q")
    time.sleep(0.5)


def test_a_storm_of_resizes_ends_in_the_picture_of_the_last_size(home: Path) -> None:
    words = ["env", f"INTERN_HOME={home}", sys.executable, "-m", "intern_tui", "replay", "last", "--to", "300"]
    calm = Tmux(home / "calm.sock", shlex.join(words), (120, 40))
    stormy = Tmux(home / "storm.sock", shlex.join(words), (120, 40))
    try:
        expected = calm.until(lambda s: "#300" in s and "Eval deltas" in s)
        stormy.until(lambda s: "#300" in s)
        for i in range(40):
            stormy.resize(40 + 37 * i % 160, 12 + 11 * i % 50)
        stormy.resize(120, 40)
        stormy.until(lambda s: s == calm.screen() == expected)
    finally:
        calm.close()
        stormy.close()
