"""Files in the run's own workspace, for brains that write code: read, write, edit, list, search."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from core.agent.desk import Desk
from core.errors import ToolError
from core.tools.toolbox import integer, text, tool

LARGEST = 2 << 20
"""Bytes of a file that are read at most."""

MOST_HITS = 100


def _readable(desk: Desk, path: str) -> Path:
    """A path in the workspace, the run's folder, or the task's folder without its evaluation samples."""
    full = (desk.folder / "workspace" / path).resolve()
    roots = (desk.folder.resolve(), Path(desk.task.path).resolve())
    if not any(full.is_relative_to(root) for root in roots):
        raise ToolError(
            f"{path} is outside the run and the task", next="Use paths in the workspace or the task's folder"
        )
    check_no_samples(desk, full, path)
    return full


def check_no_samples(desk: Desk, full: Path, path: str) -> None:
    """Raises ToolError where a path leads to evaluation samples."""
    if _secret(desk, full):
        raise ToolError(
            f"{path} holds evaluation samples; they are not to be read",
            next="Use the development split through evaluate",
        )


def _secret(desk: Desk, full: Path) -> bool:
    """Evaluation samples, and what held-out evaluations wrote down."""
    if str(full) in desk.task.eval_text_files:
        return True
    held_out = desk.folder.resolve() / "evaluations"
    return full.is_relative_to(held_out) and "heldout" in str(full.relative_to(held_out))


def _writable(desk: Desk, path: str) -> Path:
    workspace = (desk.folder / "workspace").resolve()
    full = (workspace / path).resolve()
    if not full.is_relative_to(workspace) or full == workspace:
        raise ToolError(f"{path} is outside the workspace", where=str(workspace), next="Write inside it")
    if full.is_dir():
        raise ToolError(f"{path} is a folder", next="Name a file")
    return full


def _content(full: Path, path: str) -> str:
    try:
        with full.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ToolError(f"{path} cannot be read: {error.strerror}", next="list_files shows what is there") from error
    if b"\0" in data[:8192]:
        raise ToolError(f"{path} is no text file", next="Look at it with run_command")
    return data[:LARGEST].decode("utf-8", "replace")


@tool({"path": text("File"), "offset": integer("First line (1)"), "lines": integer("How many lines (200)")})
def read_file(desk: Desk, path: str, offset: int | None = None, lines: int | None = None) -> object:
    """Read a text file of the workspace, the run or the task."""
    full = _readable(desk, path)
    content = _content(full, path).splitlines()
    start = max(0, (offset or 1) - 1)
    return {
        "untrusted_source": str(full),
        "lines": len(content),
        "content": "\n".join(content[start : start + max(1, lines or 200)]),
    }


@tool({"path": text("Folder", optional=True)})
def list_files(desk: Desk, path: str | None = None) -> object:
    """List a folder of the workspace, the run or the task."""
    full = _readable(desk, path or ".")
    if not full.is_dir():
        raise ToolError(f"{path} is no folder")
    shown: list[str] = []
    for entry in sorted(os.scandir(full), key=lambda e: e.name)[:200]:
        size = "" if entry.is_dir() else f" ({entry.stat(follow_symlinks=False).st_size} bytes)"
        shown.append(entry.name + ("/" if entry.is_dir() else size))
    return shown


@tool(
    {
        "pattern": text("Regular expression"),
        "path": text("Folder or file (the workspace)", optional=True),
        "files": text("Only files of this name, such as *.py", optional=True),
    }
)
def search_files(desk: Desk, pattern: str, path: str | None = None, files: str | None = None) -> object:
    """Search text files of the workspace, the run or the task for a regular expression: file, line, text."""
    full = _readable(desk, path or ".")
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise ToolError(
            f"The pattern cannot be read: {error}", next="Escape special characters with a backslash"
        ) from error
    hits: list[str] = []
    for file in _files(full):
        if (files and not fnmatch.fnmatch(file.name, files)) or _secret(desk, file.resolve()):
            continue
        try:
            content = _content(file, file.name)
        except ToolError:
            continue
        for number, line in enumerate(content.splitlines(), 1):
            if wanted.search(line[:2000]):
                hits.append(
                    f"{os.path.relpath(file, full if full.is_dir() else full.parent)}:{number}: {line.strip()[:200]}"
                )
            if len(hits) >= MOST_HITS:
                return {
                    "untrusted_source": str(full),
                    "hits": hits,
                    "note": f"the first {MOST_HITS}; narrow the pattern",
                }
    return {"untrusted_source": str(full), "hits": hits}


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in ("blobs", "__pycache__"))
        for name in sorted(names):
            yield Path(folder) / name


@tool({"path": text("File in the workspace"), "content": text("The whole file")}, effect="idempotent", tier="workspace")
def write_file(desk: Desk, path: str, content: str) -> object:
    """Write a file in the workspace."""
    full = _writable(desk, path)
    _write(full, content)
    return f"{len(content)} characters written to {path}"


def _write(full: Path, content: str) -> None:
    """Whole or not at all."""
    full.parent.mkdir(parents=True, exist_ok=True)
    partial = full.with_name(f".{full.name}.partial")
    partial.write_text(content, "utf-8", "surrogateescape")
    if full.exists():
        partial.chmod(full.stat().st_mode & 0o777)
    partial.replace(full)


@tool(
    {
        "path": text("File in the workspace"),
        "old": text(
            "Text that stands there exactly once; white space at the ends of lines and its indentation may differ"
        ),
        "new": text("What replaces it"),
    },
    effect="idempotent",
    tier="workspace",
)
def edit_file(desk: Desk, path: str, old: str, new: str) -> object:
    """Replace one piece of a file in the workspace: an exact match, else one that differs in white space only."""
    full = _writable(desk, path)
    content = _content(full, path)
    if _done_before(desk, content):
        return f"{path} changed"
    if not old.strip():
        raise ToolError("There is no old text", next="Give the piece that is to be replaced, or use write_file")
    exact = content.count(old)
    if exact == 1:
        _replace(desk, full, content.replace(old, new))
        return f"{path} changed"
    if exact == 0:
        found = loose_matches(content, old)
        if len(found) == 1:
            start, end, indent = found[0]
            _replace(desk, full, content[:start] + _indented(new, old, indent) + content[end:])
            return f"{path} changed (the old text differed in white space)"
        exact = len(found)
    hint = (
        "Give a longer piece that stands there once" if exact else "Read the file and copy the piece as it stands there"
    )
    raise ToolError(f"The old text stands {exact} times in {path}", next=hint)


def _mark(desk: Desk) -> Path:
    return desk.folder / "edits" / (desk.call or "edit")


def _replace(desk: Desk, full: Path, content: str) -> None:
    """Write down what the file is going to be, then make it so: an edit taken up after a crash is not made twice."""
    mark = _mark(desk)
    mark.parent.mkdir(exist_ok=True)
    mark.write_text(_digest(content))
    _write(full, content)


def _done_before(desk: Desk, content: str) -> bool:
    mark = _mark(desk)
    return mark.exists() and mark.read_text() == _digest(content)


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()


def loose_matches(content: str, old: str) -> list[tuple[int, int, str]]:
    """Where whole lines equal those of `old` but for white space at either end: (start, end, indentation there)."""
    lines = content.splitlines(keepends=True)
    wanted = [line.strip() for line in old.strip("\n").splitlines()]
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    found: list[tuple[int, int, str]] = []
    for at in range(len(lines) - len(wanted) + 1):
        if [line.strip() for line in lines[at : at + len(wanted)]] == wanted:
            last = lines[at + len(wanted) - 1]
            end = starts[at + len(wanted)] - (len(last) - len(last.rstrip("\r\n")))
            first = lines[at]
            found.append((starts[at], end, first[: len(first) - len(first.lstrip())]))
    return found


def _indented(new: str, old: str, indent: str) -> str:
    """`new` moved to where `old` really stood."""
    first = old.strip("\n").splitlines()[0]
    given = first[: len(first) - len(first.lstrip())]
    if given == indent:
        return new.strip("\n")
    moved = [indent + line[len(given) :] if line.startswith(given) else line for line in new.strip("\n").splitlines()]
    return "\n".join(moved)


TOOLS = [read_file, list_files, search_files, write_file, edit_file]
