"""Driving the real program in tests: `intern` in a subprocess with a home of its own.

Time-outs are seconds on a usual machine, stretched on a slow one (tests/speed.py); they only end a wait that failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.speed import SLOWNESS


class Intern:
    """One INTERN_HOME and the program on it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "HF_TOKEN", "OPENAI_API_KEY")}
        self.env |= {"INTERN_HOME": str(home), "HF_HUB_OFFLINE": "1"}

    def __call__(self, *words: str, timeout: float = 300, **env: str) -> subprocess.CompletedProcess[str]:
        """Run `intern WORDS`; never raises for an exit code."""
        command = [sys.executable, "-P", "-m", "intern_tui", *words]
        return subprocess.run(
            command,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=timeout * SLOWNESS,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def json(self, *words: str, **options: Any) -> Any:
        """The JSON a command prints; the command has to succeed."""
        done = self(*words, **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def events(self, run: str = "last") -> list[dict[str, Any]]:
        done = self("events", run, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def start(self, *words: str, **env: str) -> str:
        """`intern run … --detach`; the run's id."""
        done = self("run", *words, "--detach", **env)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[-1]

    def wait(self, run: str, timeout: float = 240) -> dict[str, Any]:
        """Until no host lives; the run as `runs --json` tells it."""
        deadline = time.monotonic() + timeout * SLOWNESS
        while time.monotonic() < deadline:
            info = next(r for r in self.json("runs", "--json") if r["run"] == run)
            if info["pid"] is None:
                return info
            time.sleep(0.5)
        raise AssertionError(f"{run} did not end in {timeout * SLOWNESS:.0f} s:\n{self('events', run).stdout[-3000:]}")

    def wait_for(self, run: str, type_: str, timeout: float = 150, count: int = 1) -> dict[str, Any]:
        """Until the log holds that many events of a type; the last of them."""
        deadline = time.monotonic() + timeout * SLOWNESS
        while time.monotonic() < deadline:
            found = [x for x in self.events(run) if x["type"] == type_]
            if len(found) >= count:
                return found[count - 1]
            time.sleep(0.3)
        raise AssertionError(f"no {type_} in {timeout * SLOWNESS:.0f} s:\n{self('events', run).stdout[-3000:]}")
