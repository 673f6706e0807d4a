"""Runs a command in a process group of its own and leaves nothing behind, whatever the command does.

A benchmark may start servers that outlive it, ignore SIGTERM, or move into another session. Each command therefore
carries a mark in its environment; at the end everything with that mark is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import psutil

from core.compute.priority import step_back

_MARK = "INTERN_PROCESS_MARK"
_GRACE_S = 3.0
_SWEEPS = 5


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended."""

    exit_code: int | None
    """None if it was killed for its time or by `stop`; negative for a signal."""
    seconds: float
    timed_out: bool = False
    stopped: bool = False


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    log: Path,
    timeout_s: float,
    env: Mapping[str, str],
    stop: threading.Event | None = None,
) -> Ended:
    """Runs `command` in the environment `env`, output to `log`. Ends it after `timeout_s`, or soon after `stop` is set; raises OSError if it
    cannot be started."""
    mark = uuid.uuid4().hex
    started = time.monotonic()
    with log.open("wb") as out:
        child = subprocess.Popen(
            list(command),
            cwd=cwd,
            env={**env, _MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    step_back(child.pid)
    try:
        timed_out, stopped = _wait(child, started + timeout_s, stop)
    finally:
        _end(child, mark)
    return Ended(
        exit_code=None if timed_out or stopped else child.returncode,
        seconds=time.monotonic() - started,
        timed_out=timed_out,
        stopped=stopped,
    )


def tail(log: Path, lines: int = 15, most: int = 4000) -> str:
    """The last lines of a log, control characters removed."""
    with contextlib.suppress(OSError):
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64_000))
            text = file.read().decode("utf-8", "replace")
        clean = "".join(c for c in text if c == "\n" or c.isprintable())
        return "\n".join([line for line in clean.splitlines() if line.strip()][-lines:])[-most:]
    return ""


def _wait(child: subprocess.Popen[bytes], deadline: float, stop: threading.Event | None) -> tuple[bool, bool]:
    """(timed out, stopped); returns when the child has ended or must be ended."""
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return True, False
        try:
            child.wait(min(left, 0.2) if stop else left)
        except subprocess.TimeoutExpired:
            if stop and stop.is_set():
                return False, True
            continue
        return False, False


def _end(child: subprocess.Popen[bytes], mark: str) -> None:
    """Ends the group politely if the child still lives, then everything that carries the mark."""
    if child.poll() is None:
        _signal(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_GRACE_S)
    end_all(child, mark)


def end_all(child: subprocess.Popen[bytes], mark: str) -> None:
    """Kills the group, then everything that carries the mark in its environment."""
    _signal(child.pid, signal.SIGKILL)
    child.wait()
    for _ in range(_SWEEPS):
        found = _marked(mark)
        if not found:
            return
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=_GRACE_S)  # killed is not yet gone; one may also have forked meanwhile


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _marked(mark: str) -> list[psutil.Process]:
    """Processes of this user whose environment carries the mark; where that cannot be read, none."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(_MARK) == mark:
                found.append(process)
    return found
