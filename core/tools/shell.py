"""Commands in the run's workspace: a time limit, the whole process group killed at its end, output that streams.

A command never blocks the host: it runs in a session of its own, its output goes to a file under the run's folder that
can be read while it grows, and an interruption, a stop or the end of its time kills everything it started.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from core.agent.desk import Desk
from core.agent.patience import abandoned
from core.compute.confinement import Confinement, Limits, environment, probe
from core.compute.confinement import command as confine
from core.compute.priority import step_back
from core.errors import ToolError
from core.evaluation.process import end_all
from core.redact import Redactor, StreamRedactor
from core.tools.toolbox import integer, number, text, tool

DEFAULT_S = 60.0
SHOWN = 8_000
"""Characters of the output's end that the brain is told."""

MOST_BYTES = 50 << 20
"""Of one command's output that are kept; a command that writes more is ended."""


@tool(
    {"command": text("Shell command"), "seconds": number("Time limit (60)", optional=True)},
    effect="unsafe",
    tier="workspace",
    waits=True,
    runs=("command",),
)
def run_command(desk: Desk, command: str, seconds: float | None = None) -> object:
    """Run a command in the workspace, confined: no home, no token, no network, limited time, memory, disk and processes;
    what it started is killed at its end."""
    limit = min(max(0.1, seconds or DEFAULT_S), max(1.0, desk.clock.work_left_s))
    log = _log_file(desk)
    mark = secrets.token_hex(8)
    held = Confinement(
        workspace=str(desk.folder / "workspace"), readable=(*_task_files(desk), *_models(desk)), limits=Limits(seconds=limit)
    )  # fmt: skip
    sandbox = probe()
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            confine(["bash", "-c", command], held, sandbox.level), cwd=desk.folder / "workspace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True, env=environment(held) | {"INTERN_PROCESS_MARK": mark},
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise ToolError(f"The command cannot be started: {error}", next="Correct it") from error
    step_back(process.pid)
    reader = threading.Thread(target=_pump, args=(process, log), daemon=True, name="output")
    reader.start()
    ended = _wait(desk, process, log, began + limit)
    if ended or process.poll() is None:
        _kill(process)
    end_all(process, mark)  # what went into the background, or into a session of its own
    reader.join(2.0)
    answer: dict[str, Any] = {
        "exit_code": process.returncode if not ended else None,
        "seconds": round(time.monotonic() - began, 2),
        "sandbox": sandbox.level,
        "log": str(log),
        "untrusted_source": "command",
        "content": _tail(log),
    }
    return {**answer, "note": ended.format(limit=limit)} if ended else answer


def _task_files(desk: Desk) -> list[str]:
    """What stands in the task's folder, without what holds evaluation samples."""
    hidden = [Path(p) for p in desk.task.eval_text_files]
    entries = Path(desk.task.path).resolve().iterdir()
    return [str(p) for p in entries if not any(h == p or h.is_relative_to(p) for h in hidden)]


def _models(desk: Desk) -> list[str]:
    """Folders of the base model and of the checkpoints, to be looked at."""
    found = [desk.card.path, *(job.checkpoint for job in desk.state.jobs.values() if job.checkpoint)]
    return [p for p in found if Path(p).is_dir()]


def _log_file(desk: Desk) -> Path:
    folder = desk.folder / "commands"
    folder.mkdir(exist_ok=True)
    return folder / f"{desk.call or 'command'}.txt"


def _pump(process: subprocess.Popen[bytes], log: Path) -> None:
    """Output into the file as it comes, secrets masked."""
    assert process.stdout is not None
    redact = StreamRedactor(Redactor())
    written = 0
    with log.open("wb", buffering=0) as file:
        while chunk := os.read(process.stdout.fileno(), 65_536):
            if written < MOST_BYTES:
                written += file.write(redact.feed(chunk)) or 0
        file.write(redact.rest())


def _wait(desk: Desk, process: subprocess.Popen[bytes], log: Path, deadline: float) -> str:
    """Why the command has to be ended; empty if it ended by itself."""
    while True:
        try:
            process.wait(0.05)
            return ""
        except subprocess.TimeoutExpired:
            pass
        if time.monotonic() > deadline:
            return "killed after {limit:.0f} s with everything it had started; give more seconds if it needs them"
        if desk.interrupt.is_set() or desk.stopping.is_set() or abandoned():
            return "interrupted by a person and killed with everything it had started"
        if log.exists() and log.stat().st_size >= MOST_BYTES:
            return f"killed: more than {MOST_BYTES >> 20} MB of output"


def _kill(process: subprocess.Popen[bytes]) -> None:
    for number_, grace in ((signal.SIGTERM, 0.2), (signal.SIGKILL, 2.0)):
        try:
            os.killpg(process.pid, number_)
            process.wait(grace)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 4 * SHOWN))
            shown = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return (
        shown if len(shown) <= SHOWN and size <= 4 * SHOWN else f"[the beginning is in the log file]\n{shown[-SHOWN:]}"
    )


@tool(
    {
        "call": text("Id of the call, as in the name of its log file"),
        "characters": integer("How much of the end (8000)"),
    }
)
def read_command_output(desk: Desk, call: str, characters: int | None = None) -> object:
    """The output of a command that was run before, from its end."""
    path = desk.folder / "commands" / f"{Path(call).name.removesuffix('.txt')}.txt"
    if not path.exists():
        raise ToolError(f"No command has left the output {call!r}", next="The answer of run_command names its log")
    return {
        "untrusted_source": "command",
        "content": path.read_bytes().decode("utf-8", "replace")[-(characters or SHOWN) :],
    }


TOOLS = [run_command, read_command_output]
