"""Example scripts that come with the installed libraries: found without importing them, read as text."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from core.errors import ToolError
from core.libraries.lookup import LIBRARIES

FOLDERS = ("scripts", "examples", "commands")


def list_examples() -> list[str]:
    """Names such as `trl/scripts/sft.py`."""
    return sorted(f"{name}/{p.relative_to(root).as_posix()}" for name, root in _roots() for p in _scripts(root))


def read_example(name: str) -> str:
    """The script's text. Raises ToolError for a name that `list_examples` does not give."""
    for library, root in _roots():
        for path in _scripts(root):
            if name == f"{library}/{path.relative_to(root).as_posix()}":
                return path.read_text(encoding="utf-8", errors="replace")
    known = list_examples()
    near = [n for n in known if Path(name).stem.lower() in n.lower()] or known
    raise ToolError(f"No installed example is called {name[:80]!r}", next="Known: " + ", ".join(near[:30]))


def _roots() -> list[tuple[str, Path]]:
    found = [(name, importlib.util.find_spec(name)) for name in LIBRARIES]
    return [(name, Path(spec.origin).parent) for name, spec in found if spec is not None and spec.origin]


def _scripts(root: Path) -> list[Path]:
    return [p for folder in FOLDERS for p in sorted((root / folder).glob("*.py")) if p.name != "__init__.py"]
