"""Which files of the workspace a call runs: a person's yes is for these, as they are.

A program runs what it imports, so the modules of the workspace that it imports belong to it, and those that they import. They
are read from the text, nothing is run for it. Where a text does not say what will run (a module named at run time, code made
of strings, another process, a shell line with substitutions), the yes is for all programs of the workspace. What a program
reads as data and then runs as code by means that do not show in its text is not found.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from core.agent.taint import leaves
from core.python_source import parse
from store.sealer import digest_file

SHELL, PYTHON = ".sh", ".py"
PROGRAMS = (PYTHON, SHELL)
LOADED = (*PROGRAMS, ".pyc", ".so", ".pth")
"""What Python or a shell may run without anybody naming it."""

MOST_FILES = 50
"""Files an approval names one by one; what is beyond them has one digest together."""

LARGEST = 1 << 20
"""Bytes of a program that is still read for its imports."""

_NAME = re.compile(r"[\w./-]+")
_ABSENT = re.compile(rf"[\w./-]*\w(?:{'|'.join(map(re.escape, PROGRAMS))})")
_UNSAID = re.compile(
    r"[*?`$]|<<|(?:^|[\s;&|(])(?:cd|pushd|eval|source|exec|make|pytest|find|xargs|\.)(?=\s|$)|(?:^|\s)-[a-zA-Z]*[cm](?=[\s'\"])"
)
"""In a shell line: what runs depends on more than the names in it."""

_MODULES = frozenset(
    ["importlib", "imp", "runpy", "pkgutil", "zipimport", "builtins", "subprocess", "ctypes", "cffi", "pty", "code"]
)
_CALLS = frozenset(["exec", "eval", "compile", "__import__", "__builtins__", "__loader__", "__spec__"])
_OF_OS = re.compile(r"system|popen|exec[lv]\w*|spawn\w*|posix_spawn\w*")
_OF_SYS = frozenset(["path", "modules", "meta_path", "path_hooks"])


def files_run(workspace: Path, runs: Iterable[str], arguments: dict[str, Any]) -> dict[str, str]:
    """SHA-256 of what of the workspace a call runs, by path: the files named in those of `arguments` that `runs` names, and
    the modules of the workspace they import; empty for a program that is not there. Beyond MOST_FILES one digest of the rest."""
    found = _Reading(workspace.resolve())
    for name in runs:
        for text in leaves(arguments.get(name)):
            found.shell(text, line=name == "command")
    return _short({name: digest(found.root / name) for name in found.all()})


def digest(path: Path) -> str:
    """SHA-256 of a file; empty where there is none."""
    try:
        return digest_file(path)
    except OSError:
        return ""


def _short(files: dict[str, str]) -> dict[str, str]:
    if len(files) <= MOST_FILES:
        return files
    names = list(files)
    rest = "".join(f"{files[n]} {n}\n" for n in sorted(names[MOST_FILES - 1 :]))
    kept = {n: files[n] for n in names[: MOST_FILES - 1]}
    return kept | {
        f"({len(names) - len(kept)} more)": hashlib.sha256(rest.encode("utf-8", "surrogateescape")).hexdigest()
    }


class _Reading:
    """Follows names and imports through a workspace."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names: dict[str, None] = {}
        self.unsaid = False
        """Something runs that no text names."""
        self._programs: list[Path] = [root]
        """Folders that Python looks for modules in: the workspace's, and those of the programs that are started."""

    def all(self) -> list[str]:
        """Paths below the workspace, those named first."""
        return list(self.names | dict.fromkeys(_everything(self.root))) if self.unsaid else list(self.names)

    def shell(self, text: str, *, line: bool) -> None:
        """Names in a text; `line`: it is a shell's, which can run more than it names."""
        words = _NAME.findall(text)
        try:
            words += shlex.split(text, comments=True) if line else [text]
        except ValueError:
            self.unsaid = True
        inside = [w for w in dict.fromkeys(words) if "\0" not in w and len(w) < 4096 and self._inside(self.root / w)]
        self.unsaid |= line and bool(_UNSAID.search(text) or any((self.root / w).is_dir() for w in inside))
        for word in inside:
            path = self.root / word
            if path.is_file() or _ABSENT.fullmatch(word):
                self._programs.append(path.parent)
                self._take(path)

    def _inside(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self.root)

    def _take(self, path: Path) -> None:
        """A file that is run: with all it names in its turn."""
        name = os.path.relpath(os.path.normpath(path), self.root)
        if name in self.names:
            return
        self.names[name] = None
        try:
            text = path.read_text("utf-8", "replace") if path.stat().st_size <= LARGEST else None
        except OSError:
            return  # not there: once it is, it is another one
        if text is None:
            self.unsaid |= name.endswith(PROGRAMS)
        elif name.endswith(SHELL):
            self.shell(text, line=True)
        elif name.endswith(PYTHON):
            self._python(path, text)

    def _python(self, path: Path, text: str) -> None:
        try:
            tree = parse(text)
        except (SyntaxError, ValueError, RecursionError):
            self.unsaid = True
            return
        for node in ast.walk(tree):
            self.unsaid |= _says_too_little(node)
            for base in self._imported(node, path):
                for file in _files_of(base):
                    if self._inside(file):
                        self._take(file)

    def _imported(self, node: ast.AST, path: Path) -> Iterator[Path]:
        """Where the modules of an import would lie, without their endings; packages on the way included."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from self._ways(alias.name.split("."), self._folders(path))
        elif isinstance(node, ast.ImportFrom):
            parts = node.module.split(".") if node.module else []
            folders = [_above(path, node.level)] if node.level else self._folders(path)
            for alias in node.names:
                yield from self._ways([*parts, alias.name], folders)

    def _folders(self, path: Path) -> list[Path]:
        return list(dict.fromkeys([*self._programs, path.parent]))

    @staticmethod
    def _ways(parts: list[str], folders: list[Path]) -> Iterator[Path]:
        for folder in folders:
            if not parts[:-1]:
                yield folder / "__init__"  # `from . import x`
            for n in range(1, len(parts) + 1):
                yield folder.joinpath(*parts[:n])
                yield folder.joinpath(*parts[:n], "__init__")


def _above(path: Path, level: int) -> Path:
    for _ in range(level):
        path = path.parent
    return path


def _files_of(base: Path) -> list[Path]:
    """Files that Python would load for the module."""
    found = [base.with_name(f"{base.name}{end}") for end in (".py", ".pyc")]
    return [f for f in [*found, *base.parent.glob(f"{base.name}.*so")] if f.is_file()]


def _says_too_little(node: ast.AST) -> bool:
    """Whether what runs here cannot be read from the text."""
    match node:
        case ast.Import():
            return any(alias.name.partition(".")[0] in _MODULES for alias in node.names)
        case ast.ImportFrom():
            first = (node.module or "").partition(".")[0] if not node.level else ""
            return first in _MODULES or any(_hides(first, alias.name) for alias in node.names)
        case ast.Name():
            return node.id in _CALLS
        case ast.Attribute(value=ast.Name(id=module)):
            return _hides(module, node.attr)
        case _:
            return False


def _hides(module: str, name: str) -> bool:
    """Whether a name of os or sys starts a program, or changes where modules come from."""
    return bool(_OF_OS.fullmatch(name)) if module == "os" else module == "sys" and name in _OF_SYS


def _everything(root: Path) -> Iterator[str]:
    """All programs of the workspace, in the same order each time."""
    for folder, inside, files in os.walk(root):
        inside[:] = sorted(name for name in inside if name not in ("__pycache__", ".git"))
        for name in sorted(files):
            if name.endswith(LOADED) or name.lower() == "makefile":
                yield os.path.relpath(os.path.join(folder, name), root)
