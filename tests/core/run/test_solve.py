"""`intern solve` on a small task folder: a valid final_model at once, and at every moment after, however it is ended."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from core.evaluation.models import check_model
from core.session import last_state

POCKET = Path(__file__).parents[3] / "core" / "pocket" / "addition"


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A task as the benchmark lays it out, with some local data; the base is elsewhere and named in PROMPT only."""
    folder = tmp_path / "task"
    folder.mkdir()
    for name in ("evaluate.py", "templates", "data", "evaluation_data"):
        source = POCKET / name
        shutil.copytree(source, folder / name) if source.is_dir() else shutil.copy(source, folder / name)
    shutil.copytree(POCKET / "base", tmp_path / "Tiny-Base")
    (folder / "timer.sh").write_text("echo 'Remaining time (hours:minutes):'; echo 0:10\n")
    return folder


def start(task: Path, prompt: str | None = None, hours: float = 0.17) -> subprocess.Popen[str]:
    base = task.parent / "Tiny-Base"
    text = f"We want to train the small LLM {base} to excel at Addition.\nYou have {hours} hours."
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    env |= {
        "INTERN_HOME": str(task.parent / "home"),
        "HF_HUB_OFFLINE": "1",
        "AGENT_CONFIG": "playbook",
        "NUM_GPUS": "0",
    }
    env["PROMPT"] = text if prompt is None else prompt
    command = [sys.executable, "-P", "-m", "intern_tui", "solve", "--json"]
    return subprocess.Popen(command, cwd=task, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.1)


def hosts(task: Path) -> list[psutil.Process]:
    home = str(task.parent / "home")
    found = []
    for process in psutil.process_iter():
        try:
            if any(home in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_final_model_is_there_at_once_and_sigterm_ends_it_in_order(task: Path) -> None:
    process = start(task)
    try:
        # a tenth of ten minutes
        wait_for(lambda: (task / "final_model" / "config.json").is_file(), 60)
        wait_for(lambda: any((task.parent / "home" / "runs").glob("*/host.json")), 60)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=90)
    finally:
        process.kill()
        for left in hosts(task):
            left.kill()
    assert process.returncode == 0, err
    told = json.loads(out)
    assert (told["reason"], len(told["runs"])) == ("told to end", 1)
    final = task / "final_model"
    assert check_model(str(final)).problems == ()
    assert not any(p.is_symlink() for p in final.rglob("*"))
    assert (final / "model.safetensors").stat().st_size == (POCKET / "base" / "model.safetensors").stat().st_size
    assert (task / "evaluate.py").read_bytes() == (POCKET / "evaluate.py").read_bytes()


def test_after_a_kill_the_final_model_is_whole(task: Path) -> None:
    process = start(task)
    try:
        wait_for(lambda: (task / "final_model" / "config.json").is_file(), 60)
        time.sleep(1.5)
        process.kill()
        process.wait()
        assert check_model(str(task / "final_model")).problems == ()
    finally:
        process.kill()
        for left in hosts(task):
            left.kill()


ITS_COPY_S = 5.0
"""A model evaluated this shortly before a kill may still have been on its way into the folder."""


@pytest.mark.soak
@pytest.mark.parametrize("trial", range(20))
def test_killed_at_any_moment_final_model_is_no_worse_than_the_best_evaluated(task: Path, trial: int) -> None:
    """Everything is killed at once: solve, the run's host, supervisors and trainings."""
    (task / "timer.sh").unlink()
    hours = 0.08
    after = random.Random(trial).uniform(2.0, 3600 * hours)
    process = start(task, hours=hours)
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after)
            assert process.returncode == 0, process.communicate()[1][-2000:]  # it ended by itself, in order
        killed = time.time()
    finally:
        for _ in range(3):  # one may have begun another meanwhile
            for left in [process, *hosts(task)]:
                with contextlib.suppress(psutil.Error):
                    left.kill()
        process.wait()
    final = task / "final_model"
    assert check_model(str(final)).problems == ()
    command = [sys.executable, "evaluate.py", "--model-path", str(final), "--limit", "20"]
    subprocess.run(command, cwd=task, check=True, timeout=300, capture_output=True)  # it loads in a process of its own
    evaluated = [
        e
        for run in (task.parent / "home" / "runs").glob("*")
        for e in last_state(run).evaluations.values()
        if e.done and e.split == "dev" and not e.shots
    ]
    best = max((e.score for e in evaluated if e.ts / 1e6 < killed - ITS_COPY_S), default=0.0)
    held = (final / "model.safetensors").read_bytes()
    scores = [e.score for e in evaluated if (Path(e.model) / "model.safetensors").read_bytes() == held]
    if held == (task.parent / "Tiny-Base" / "model.safetensors").read_bytes():
        scores.append(0.0)  # the base: what is there before anything was evaluated
    print(
        f"killed after {after:.0f} s, {len(evaluated)} evaluations: best {best:.3f}, final_model {max(scores, default=-1):.3f}"
    )
    assert max(scores, default=-1.0) >= best


@pytest.mark.parametrize(
    ("prompt", "said"), [("", "PROMPT is empty"), ("Be good within 10 hours.", "names no base model")]
)
def test_what_cannot_be_read_ends_with_one_line(task: Path, prompt: str, said: str) -> None:
    process = start(task, prompt)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
