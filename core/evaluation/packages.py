"""The installed packages that an evaluation imports: whether somebody's hand was in them.

Copies of them would be gigabytes, and contents take long to read, so a package is known by the names, sizes and change
times (ctime, which no program sets at will) of its source files. A change is told, not undone: an upgrade may be meant.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import sys
from pathlib import Path

from core.python_source import parse


def imported(folder: Path) -> set[str]:
    """Top-level names that evaluate.py and evaluation_code/ import."""
    names: set[str] = set()
    for path in [folder / "evaluate.py", *sorted((folder / "evaluation_code").rglob("*.py"))]:
        try:
            nodes = list(ast.walk(parse(path.read_text(encoding="utf-8", errors="replace"))))
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in names} - {""}


def states(folder: Path) -> dict[str, str]:
    """{package: digest of its files' names, sizes and change times}, of the imported ones outside the standard library."""
    found: dict[str, str] = {}
    for name in sorted(imported(folder) - set(sys.stdlib_module_names)):
        # the finder of this interpreter, and not the import itself: what is only looked at must not run
        spec = importlib.machinery.PathFinder.find_spec(name, [p for p in sys.path if p])
        places = list(spec.submodule_search_locations or []) if spec else []
        files = sorted(p for place in places for p in Path(place).rglob("*.py"))
        if not places and spec and spec.origin and Path(spec.origin).is_file():
            files = [Path(spec.origin)]
        if files:
            found[name] = _digest(files)
    return found


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        try:
            now = path.stat()
        except OSError:
            continue
        digest.update(f"{path}\0{now.st_size}\0{now.st_ctime_ns}\n".encode())
    return digest.hexdigest()
