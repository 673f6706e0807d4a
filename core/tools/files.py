"""Files and commands in the run's own workspace, for brains that write code."""

from __future__ import annotations

import subprocess
from pathlib import Path

from core.agent.desk import Desk
from core.compute.confinement import Confinement, Limits, environment, probe
from core.compute.confinement import command as confine
from core.errors import ToolError
from core.tools.toolbox import integer, number, text, tool

LARGEST = 200_000
"""Characters of a file that are read at most."""


def _readable(desk: Desk, path: str) -> Path:
    """A path in the workspace, the run's folder, or the task's folder without its evaluation samples."""
    full = (desk.folder / "workspace" / path).resolve()
    roots = (desk.folder.resolve(), Path(desk.task.path).resolve())
    if not any(full.is_relative_to(root) for root in roots):
        raise ToolError(
            f"{path} is outside the run and the task", next="Use paths in the workspace or the task's folder"
        )
    if str(full) in desk.task.eval_text_files:
        raise ToolError(
            f"{path} holds evaluation samples; they are not to be read",
            next="Use the development split through evaluate",
        )
    return full


def _writable(desk: Desk, path: str) -> Path:
    workspace = (desk.folder / "workspace").resolve()
    full = (workspace / path).resolve()
    if not full.is_relative_to(workspace):
        raise ToolError(f"{path} is outside the workspace", where=str(workspace), next="Write inside it")
    return full


@tool({"path": text("File"), "offset": integer("First line (1)"), "lines": integer("How many lines (200)")})
def read_file(desk: Desk, path: str, offset: int | None = None, lines: int | None = None) -> object:
    """Read a text file of the workspace, the run or the task."""
    full = _readable(desk, path)
    try:
        content = full.read_text("utf-8", "replace")[:LARGEST].splitlines()
    except OSError as error:
        raise ToolError(f"{path} cannot be read: {error.strerror}") from error
    start = max(0, (offset or 1) - 1)
    return {
        "untrusted_source": str(full),
        "lines": len(content),
        "content": "\n".join(content[start : start + (lines or 200)]),
    }


@tool({"path": text("Folder", optional=True)})
def list_files(desk: Desk, path: str | None = None) -> object:
    """List a folder of the workspace, the run or the task."""
    full = _readable(desk, path or ".")
    if not full.is_dir():
        raise ToolError(f"{path} is no folder")
    return [
        f"{p.name}/" if p.is_dir() else f"{p.name} ({p.stat().st_size} bytes)" for p in sorted(full.iterdir())[:200]
    ]


@tool({"path": text("File in the workspace"), "content": text("The whole file")}, effect="idempotent", tier="workspace")
def write_file(desk: Desk, path: str, content: str) -> object:
    """Write a file in the workspace."""
    full = _writable(desk, path)
    full.parent.mkdir(parents=True, exist_ok=True)
    full.write_text(content)
    return f"{len(content)} characters written to {path}"


@tool(
    {
        "path": text("File in the workspace"),
        "old": text("Text that stands there exactly once"),
        "new": text("What replaces it"),
    },
    effect="unsafe",
    tier="workspace",
)
def edit_file(desk: Desk, path: str, old: str, new: str) -> object:
    """Replace one piece of a file in the workspace."""
    full = _writable(desk, path)
    content = full.read_text() if full.exists() else ""
    if content.count(old) != 1:
        raise ToolError(
            f"The old text stands {content.count(old)} times in {path}", next="Give a piece that stands there once"
        )
    full.write_text(content.replace(old, new))
    return f"{path} changed"


@tool(
    {"command": text("Shell command"), "seconds": number("Time limit (60)", optional=True)},
    effect="unsafe",
    tier="workspace",
)
def run_command(desk: Desk, command: str, seconds: float | None = None) -> object:
    """Run a command in the workspace, confined: no home, no token, no network, limited time, memory, disk, processes."""
    workspace = desk.folder / "workspace"
    held = Confinement(
        workspace=str(workspace),
        readable=(*_task_files(desk), *_models(desk)),
        limits=Limits(seconds=min(seconds or 60.0, max(1.0, desk.clock.work_left_s))),
    )
    sandbox = probe()
    done = subprocess.run(
        confine(["bash", "-c", command], held, sandbox.level), cwd=workspace, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, env=environment(held), check=False,
    )  # fmt: skip
    return {
        "exit_code": done.returncode, "sandbox": sandbox.level, "untrusted_source": "command", "content": _tail(done.stdout),
    }  # fmt: skip


def _task_files(desk: Desk) -> list[str]:
    """What stands in the task's folder, without what holds evaluation samples."""
    hidden = [Path(p) for p in desk.task.eval_text_files]
    entries = Path(desk.task.path).resolve().iterdir()
    return [str(p) for p in entries if not any(h == p or h.is_relative_to(p) for h in hidden)]


def _models(desk: Desk) -> list[str]:
    """Folders of the base model and of the checkpoints, to be looked at."""
    found = [desk.card.path, *(job.checkpoint for job in desk.state.jobs.values() if job.checkpoint)]
    return [p for p in found if Path(p).is_dir()]


def _tail(output: bytes) -> str:
    text = output.decode("utf-8", "replace")
    return text if len(text) <= 8000 else f"[first {len(text) - 8000} characters cut]\n{text[-8000:]}"


TOOLS = [read_file, list_files, write_file, edit_file, run_command]
