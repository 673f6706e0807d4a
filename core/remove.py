"""Deleting a run for good: its folder, and what was kept of it elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

from core.errors import Refused
from core.home import LOG_NAME, cache_dir, living_host


def delete_run(folder: Path) -> None:
    """Delete a run that nobody works on. Raises Refused where a host lives or the folder is no run, OSError otherwise."""
    host = living_host(folder)
    if host is not None:
        raise Refused(f"{folder.name} is running (pid {host.pid})", next=f"Stop it first: intern stop {folder.name}")
    if not (folder / LOG_NAME).is_file():
        raise Refused("This folder is no run: it holds no log", where=str(folder))
    # The log goes first: a deletion that is cut short leaves no run in the list whose files are half gone.
    (folder / LOG_NAME).unlink()
    shutil.rmtree(folder)
    shutil.rmtree(cache_dir() / "replay" / folder.name, ignore_errors=True)
