"""Starting a run: check what was asked, make the folder, write the first event, start the detached host."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from core import events as e
from core import install
from core.agent import scope
from core.agent.brain import check_brain, parse_brain
from core.agent.gate import TIERS
from core.compute.choice import check_choice, settle
from core.compute.machine import Machine
from core.compute.schedule import Capacity
from core.errors import InternError, NotFound, Refused, UsageError
from core.evaluation.models import check_model
from core.home import (
    Summary,
    create_run_folder,
    living_host,
    new_run_id,
    socket_path,
    write_json,
)
from core.tables import TABLES
from core.tasks import load_task
from core.tracking.target import parse_target
from store.errors import StoreError
from store.log import EventLog

MIN_FREE_BYTES = 500 << 20
"""Free disk below which no run starts: a checkpoint of the smallest model and its log would not fit."""

DEFAULT_HOURS = 10.0
"""PostTrainBench's limit; a task may set its own."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asked for on the command line or in the form."""

    goal: str = ""
    task: str = "pocket/addition"
    model: str | None = None
    brain: str = "playbook"
    hours: float | None = None
    usd: float = 0.0
    autonomy: str = "network"
    compute: str = "local"
    seed: int = 0
    unattended: bool = False
    tokens: int = 0
    disk_gb: float = 0.0
    effort: str = ""
    fixed: dict[str, Any] = {}
    """What the person fixed, besides what the goal's own words fix."""
    trackio: str = ""
    """Where Trackio logs besides the run's folder: a Space, a server's address, or off."""


def create_run(request: Request) -> Path:
    """Check everything that can be checked without a GPU, then write the run's first event. Returns its folder.

    Raises UsageError, TaskInvalid, NotFound or Refused; nothing is left behind then.
    """
    check_brain(parse_brain(request.brain))
    task = load_task(request.task)
    hours = request.hours if request.hours is not None else task.hours or DEFAULT_HOURS
    if not math.isfinite(hours) or hours <= 0:
        raise UsageError(f"{hours:g} hours is no budget", where="--hours", next="Give hours above 0, such as 0.1")
    if request.usd < 0 or not math.isfinite(request.usd):
        raise UsageError(f"{request.usd:g} dollars is no budget", where="--usd", next="Give 0 or more")
    if request.tokens < 0 or request.disk_gb < 0 or not math.isfinite(request.disk_gb):
        raise UsageError("A budget cannot be below 0", where="--tokens, --disk", next="Give 0 (no limit) or more")
    if request.autonomy not in TIERS:
        raise UsageError(
            f"No tier is called {request.autonomy!r}", where="--autonomy", next="Use one of " + ", ".join(TIERS)
        )
    check_choice(request.compute)
    target = parse_target(request.trackio)
    model = request.model or task.base_model
    if not model:
        raise UsageError(f"The task {task.name} names no base model", where=task.path, next="Name one with --model")
    card = check_model(model, base=Path(task.path))
    compute, why = settle(request.compute, card.params, Machine().capacity() if request.compute == "auto" else Capacity(cpus=1))  # fmt: skip
    _check_training_installed()
    run = new_run_id()
    folder = create_run_folder(run)
    free = os.statvfs(folder)
    if free.f_bavail * free.f_frsize < MIN_FREE_BYTES:
        _discard(folder)
        raise Refused(
            f"Only {free.f_bavail * free.f_frsize >> 20} MB of disk are free, a run needs {MIN_FREE_BYTES >> 20}",
            where=str(folder),
            next="Free some space or set INTERN_HOME to another disk",
        )
    name = f"pocket/{Path(task.path).name}" if request.task.startswith("pocket/") else task.name
    goal = request.goal or f"Improve {Path(card.path).name if not card.remote else card.path} on {name}"
    created = e.RunCreated(
        run=run, goal=goal, task=name, task_path=task.path, model=card.path, brain=request.brain,
        autonomy=request.autonomy, compute=compute, hours=hours, usd=request.usd, seed=request.seed,
        unattended=request.unattended, versions=versions(), tokens=request.tokens, disk_gb=request.disk_gb,
        effort=request.effort, scope={**scope.from_goal(request.goal), **request.fixed},
        trackio=target.address or ("off" if target.kind == "off" else ""),
    )  # fmt: skip
    summary = Summary(
        run=run, goal=goal, task=name, model=card.path, brain=request.brain, started=datetime.now(UTC).isoformat()
    )
    try:
        with EventLog.create(folder, TABLES) as log:
            log.append([e.new(created, actor="user")])
            if why:
                log.append([e.new(e.NoteAdded(text=f"Jobs run on {compute}: {why}", kind="note"), actor="host")])
        write_json(folder / "summary.json", summary)
    except (OSError, StoreError) as error:
        _discard(folder)
        raise Refused(f"The log cannot be written: {error}", where=str(folder), next="Check the disk") from error
    return folder


def start_host(folder: Path, wait_s: float = 120.0) -> int:
    """Start the detached host of a run and wait until it listens. Returns its pid; raises if it does not come up.

    It takes two seconds, and a minute on a machine that is busy or reads its programs for the first time; one that ends is
    seen at once.
    """
    alive = living_host(folder)
    if alive is not None:
        raise Refused(
            f"Run {folder.name} has a host already (pid {alive.pid})",
            where=str(folder),
            next=f"intern attach {folder.name}",
        )
    log_path = folder / "host.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "intern_tui.host", str(folder)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        )
    deadline = time.monotonic() + wait_s
    socket = socket_path(folder)
    while time.monotonic() < deadline:
        if living_host(folder) is not None and socket.exists():
            return process.pid
        code = process.poll()
        if code is not None:
            if code == 0:
                return process.pid  # it came, worked and ended before we looked
            raise InternError(
                f"The run's host ended at once with exit code {code}: {_last_line(log_path)}",
                where=str(log_path),
                next=f"Read that file; then intern resume {folder.name}",
            )
        time.sleep(0.02)
    raise InternError(
        f"The run's host is there (pid {process.pid}) and does not answer after {wait_s:.0f} s",
        where=str(log_path),
        next=f"It goes on by itself if the machine is only busy: intern attach {folder.name}",
    )


def versions() -> dict[str, str]:
    """Installed versions of what a result depends on; missing packages are left out."""
    found: dict[str, str] = {}
    for name in ("torch", "transformers", "trl", "peft", "smolagents", "duckdb", "datasets", "trackio"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _check_training_installed() -> None:
    missing = [n for n in ("torch", "trl", "transformers", "peft", "datasets") if n not in versions()]
    if missing:
        raise NotFound(
            f"Training needs {', '.join(missing)}",
            where=sys.prefix,
            next=f"Install it: {install.command('train')}",
        )


def _discard(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "no output"
