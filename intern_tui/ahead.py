"""What an open UI needs against an upgrade of the program under it.

A UI stands open for days. A module first imported after an upgrade would come from the new version and meet old ones in
memory, and the next screen would break. So everything that keys may need is imported soon after the first picture, one
module after the other, off the UI's thread; and the program's files are looked at now and then, so that a person is told.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import screens
import screens.widgets

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("intern_tui", "screens", "core", "store")
LATER = (
    "core.launch",
    "core.agent.brain",
    "core.agent.gate",
    "core.evaluation.models",
    "core.tasks",
    "store.reader",
    "textual.widgets",
    "textual.scrollbar",
    "textual.command",
    "textual.system_commands",
)
"""What the screens and the app import within functions, beside the screens themselves."""


def imports() -> Iterator[str]:
    """Import one module a step, so that the caller can rest in between, or stop. Yields their names."""
    for package in (screens, screens.widgets):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
            yield module.name
    for name in LATER:
        importlib.import_module(name)
        yield name


Stamp = dict[str, tuple[int, int]]


def stamp() -> Stamp:
    """Change time (ns) and size of each of the program's files. Of a folder that is being replaced: what is there."""
    found: Stamp = {}
    for package in PACKAGES:
        for folder, _, names in os.walk(ROOT / package):
            for name in names:
                if name.endswith((".py", ".tcss")):
                    path = os.path.join(folder, name)
                    try:
                        status = os.stat(path)
                    except OSError:
                        continue
                    found[path] = (status.st_mtime_ns, status.st_size)
    return found
