"""The connection breaks while the screen is open: the program leaves, whatever became of SIGHUP."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

from intern_tui.terminal import hung_up
from store.log import EventLog
from tests.screens import recorded
from tests.speed import SLOWNESS


def test_the_screen_does_not_outlive_its_terminal(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / recorded.RUN
    folder.mkdir(parents=True)
    with EventLog.create(folder) as log:
        log.append(recorded.appendable(recorded.events()))
    ours, theirs = pty.openpty()
    assert not hung_up(theirs)
    process = subprocess.Popen(
        [sys.executable, "-m", "intern_tui", "replay", recorded.RUN], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "INTERN_HOME": str(tmp_path), "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )  # fmt: skip
    os.close(theirs)
    try:
        drawn = b""
        while b"Plan" not in drawn:
            drawn += os.read(ours, 65536)
        time.sleep(1.0)
        assert process.poll() is None
        os.close(ours)
        process.wait(10 * SLOWNESS)
    finally:
        process.kill()
