"""A laboratory in which a whole run takes seconds: the real host, log, supervisors, tools and agent; small jobs.

Only what a job computes is replaced (`quick_job.py`); how it is launched, watched, killed and found again is not.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from unittest import mock

from core.home import living_host
from core.launch import Request, create_run
from core.session import command, state_at
from core.state import RunState
from core.tasks import POCKET
from store.errors import StoreError

HERE = Path(__file__).parent
_ENVIRONMENT = threading.Lock()
"""Laboratories play in threads of one process, and INTERN_HOME is the process's."""

EVALUATE = """
import argparse, hashlib, json
from pathlib import Path
p = argparse.ArgumentParser()
p.add_argument("--model-path"); p.add_argument("--limit", type=int, default=-1); p.add_argument("--json-output-file")
p.add_argument("--split", default="heldout", choices=["dev", "heldout"]); p.add_argument("--samples-output-file")
a = p.parse_args()
here = Path(__file__).parent
rows = [json.loads(x) for x in (here / "evaluation_data" / (a.split + ".jsonl")).read_text().splitlines()]
rows = rows if a.limit < 0 else rows[: a.limit]
skill = float((Path(a.model_path) / "skill.txt").read_text())
out = []
for i, r in enumerate(rows):
    luck = int(hashlib.sha256(r["prompt"].encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    out.append({"id": str(i), "prompt": r["prompt"], "answer": r["answer"], "completion": r["answer"] if luck < skill else "0", "correct": luck < skill})
if a.samples_output_file:
    Path(a.samples_output_file).write_text("".join(json.dumps(x) + "\\n" for x in out))
Path(a.json_output_file).write_text(json.dumps({"accuracy": sum(x["correct"] for x in out) / len(out), "n": len(out)}))
"""


def make_task(folder: Path) -> Path:
    """A task whose model has a skill and whose evaluation reads it."""
    task = folder / "task"
    shutil.copytree(POCKET / "addition" / "base", task / "base")
    (task / "base" / "skill.txt").write_text("0.3")
    (task / "evaluate.py").write_text(EVALUATE)
    (task / "evaluation_data").mkdir()
    for name, first in (("dev", 200), ("heldout", 600)):
        rows = [{"id": f"{name}-{i}", "prompt": f"{i}+{i}=", "answer": str(2 * i)} for i in range(first, first + 120)]
        (task / "evaluation_data" / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (task / "data").mkdir()
    rows = [{"prompt": f"{i}+1=", "answer": str(i + 1)} for i in range(60)]
    (task / "data" / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (task / "task.toml").write_text(
        'name = "quick"\nbase_model = "base"\nmetric = "accuracy"\nmax_new_tokens = 8\nhas_dev_split = true\n'
        'dev_file = "evaluation_data/dev.jsonl"\n[verifier]\nkind = "exact"\n'
    )
    return task


class Quick:
    """A home with one task and a host starter. Use as a context manager."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.task = make_task(folder)
        self.starts_file = folder / "starts.txt"
        self.env = {
            "QUICK_STARTS": str(self.starts_file),
            "INTERN_HOME": str(folder / "home"),
            "HF_HUB_OFFLINE": "1",
            **env,
        }
        self.python = self._interpreter()
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.core.run.fork_host"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=HERE.parents[2], env={**os.environ, **self.env},
        )  # fmt: skip
        self._hosts: list[int] = []
        assert self._line() == "ready"

    def __enter__(self) -> Quick:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self._hosts:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait(20)

    def _interpreter(self) -> str:
        """What LocalCompute runs jobs with: ours for a job, the real one for its supervisor."""
        path = self.folder / "python"
        path.write_text(
            f'#!/bin/sh\ncase "$2" in */job.py) exec {sys.executable} -S -E {HERE / "quick_job.py"} "$3";; '
            f'*) exec {sys.executable} -S "$@";; esac\n'
        )
        path.chmod(0o755)
        return str(path)

    def _line(self) -> str:
        assert self.server.stdout is not None
        return self.server.stdout.readline().strip()

    # ------------------------------------------------------------------------------------------------------------ runs

    def create(self, brain: str, **options: Any) -> Path:
        """A new run's folder; INTERN_HOME is this lab's while it is made."""
        request = Request(task=str(self.task), brain=brain, hours=options.pop("hours", 0.2), **options)
        with _ENVIRONMENT, mock.patch.dict(os.environ, INTERN_HOME=self.env["INTERN_HOME"]):
            return create_run(request)

    def host(self, run: Path, fault: str = "", count: int = 1, *, deaths: Path | None = None, **env: str) -> int:
        """Run the host to its end, or to its planned death. Its exit code; -9 for the death.

        `deaths`: a file of points to die at, one a line; the host takes away the one it dies at.
        """
        self.start(run, fault, count, deaths=deaths, **env)
        return int(self._line())

    def start(self, run: Path, fault: str = "", count: int = 1, *, deaths: Path | None = None, **env: str) -> int:
        """Start the host; returns its pid. `ended` waits for it."""
        order = {
            "folder": str(run), "python": self.python, "fault": fault, "count": count, "env": env,
            "deaths": str(deaths or ""),
        }  # fmt: skip
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        pid = int(self._line())
        self._hosts.append(pid)
        return pid

    def ended(self) -> int:
        return int(self._line())

    @property
    def starts(self) -> list[str]:
        """Job folders in the order in which jobs began, one entry a start."""
        return self.starts_file.read_text().splitlines() if self.starts_file.exists() else []


def wait_for(run: Path, ready: Any, timeout: float = 30.0) -> RunState:
    """Until the state of a living run is so."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with contextlib.suppress(StoreError, Exception):
            state = state_at(run)
            if ready(state):
                return state
        time.sleep(0.03)
    raise AssertionError(f"never came to be; host.log: {(run / 'host.log').read_text()[-2000:]}")


class Person(threading.Thread):
    """Somebody at the keyboard: approves what waits, ends pauses, over any number of hosts."""

    def __init__(self, run: Path) -> None:
        super().__init__(daemon=True)
        self.run_folder = run
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.03):
            if living_host(self.run_folder) is None:
                continue
            with contextlib.suppress(Exception):  # the host may die at any word of ours: that is the test
                state = state_at(self.run_folder)
                for waiting in state.waiting_approvals():
                    command(
                        self.run_folder,
                        "approve",
                        "",
                        {"approval": waiting.id, "arguments_hash": waiting.arguments_hash},
                    )
                for question in [q for q in state.questions.values() if not q.answer]:
                    command(self.run_folder, "answer", "yes, go on", {"question": question.id})
                if state.status == "paused":
                    command(self.run_folder, "resume")
