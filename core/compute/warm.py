"""The host's side of the fork server: starts it, waits until it has imported everything, hands it job folders."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from core.compute.launcher import SPIN_ENV

_SERVER = Path(__file__).resolve().parents[2] / "intern_tui" / "forkserver.py"

IMPORT_WAIT_S = 120.0
"""Imports from a cold network disk can take a minute; past this a job starts cold."""


ANSWER_WAIT_S = 10.0
"""A fork takes milliseconds; this is for a machine that swaps."""


class ForkServer:
    """One fork server. `start_job` says whether it took the job; where it did not, the caller starts it cold."""

    def __init__(self, python: str, log: Path, env: dict[str, str]) -> None:
        """Starts it and returns at once. `log` takes what it prints; errors of its imports stand there."""
        self._python, self._log, self._env = python, log, env
        ours, theirs = socket.socketpair()
        with theirs, log.open("ab") as out:
            self._process = subprocess.Popen(
                [python, "-P", str(_SERVER), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | env,
            )
        self._socket = ours
        self._said = b""
        self._started = 0
        self._lock = threading.Lock()

    def waits_as(self, env: dict[str, str]) -> bool:
        """Whether jobs of several threads that it forks wait for each other as `env` has it."""
        return all(self._env.get(name, "") == env.get(name, "") for name in SPIN_ENV)

    def again(self, changes: dict[str, str]) -> ForkServer:
        """A new one with `changes` in its environment, in place of this one."""
        self.close()
        return ForkServer(self._python, self._log, {k: v for k, v in (self._env | changes).items() if v})

    @property
    def pid(self) -> int:
        return self._process.pid

    def ready(self, wait_s: float = 0.0) -> bool:
        """Whether it can fork now; waits up to `wait_s` for its imports."""
        with self._lock:
            return self._lines(1, wait_s)[:1] == [b"ready"] and self._process.poll() is None

    def start_job(self, folder: Path, wait_s: float = IMPORT_WAIT_S) -> bool:
        """Have the job of `folder` (launch.json is there) started. False if this server cannot or does not answer: start it
        cold then; should both come to start it, the second supervisor of a folder does nothing."""
        if not self.ready(wait_s):
            return False
        with self._lock:
            try:
                self._socket.sendall(os.fsencode(folder) + b"\n")
            except OSError:
                return False
            self._started += 1
            return len(self._lines(1 + self._started, ANSWER_WAIT_S)) > self._started

    def _lines(self, count: int, wait_s: float) -> list[bytes]:
        """All whole lines it has said, once there are `count`, it is gone, or the time is up."""
        deadline = time.monotonic() + wait_s
        while self._said.count(b"\n") < count:
            try:
                if not select.select([self._socket], [], [], max(0.0, deadline - time.monotonic()))[0]:
                    break
                part = self._socket.recv(4096)
            except (OSError, ValueError):  # closed meanwhile: replaced, or the run ends
                break
            if not part:
                break
            self._said += part
        return self._said.split(b"\n")[:-1]

    def lives(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """End it at once, also in the middle of its imports; it holds nothing. Jobs it started go on."""
        with contextlib.suppress(OSError):
            self._socket.close()
        self._process.kill()
        self._process.wait()


def can_fork() -> bool:
    """macOS's system libraries do not survive a fork (Python's own default there is spawn since 3.8)."""
    return sys.platform == "linux"
