"""The program `intern`: command line, app, displays.

Researchers' folders often hold a `core/` of their own, and PYTHONPATH often holds `.`. This package is always imported
first, so it pins the project's three generic package names to its own installation, whatever comes before them on the path.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

__version__ = "0.1.0"

_ROOT = str(Path(__file__).resolve().parents[1])


class _Pinned:
    """Finds `core`, `screens` and `store` beside this package and nowhere else."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name in ("core", "screens", "store"):
            return importlib.machinery.PathFinder.find_spec(name, [_ROOT], target)
        return None


if _Pinned not in sys.meta_path:
    sys.meta_path.insert(0, _Pinned)  # pyright: ignore[reportArgumentType]
