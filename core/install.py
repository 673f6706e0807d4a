"""The command that adds a part of this program (an extra) to the installation that runs, however it came here.

`pip install` in a person's shell would reach another environment than that of `uv tool` or pipx.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

NAME = "ml-intern-tui"
SHOWS = {"train": "trl", "eval": "inspect_ai", "mcp": "mcpadapt", "notify": "apprise", "web": "textual_serve",
         "gym": "reasoning_gym", "ray": "ray"}  # fmt: skip
"""A module that is there where an extra is installed."""


def command(extra: str, prefix: str | Path = sys.prefix) -> str:
    """The line to type. uv replaces what a tool was installed with, so the extras that are here are named again."""
    prefix = Path(prefix)
    if (prefix / "uv-receipt.toml").is_file():
        have = {name for name, module in SHOWS.items() if importlib.util.find_spec(module) is not None}
        return f"uv tool install --force '{NAME}[{','.join(sorted({extra, *have}))}]'"
    if (prefix / "pipx_metadata.json").is_file():
        return f"pipx runpip {NAME} install '{NAME}[{extra}]'"
    return (
        f"{prefix}/bin/python -m pip install '{NAME}[{extra}]'" if _venv(prefix) else f"pip install '{NAME}[{extra}]'"
    )


def _venv(prefix: Path) -> bool:
    return (prefix / "pyvenv.cfg").is_file() and (prefix / "bin" / "python").exists()
