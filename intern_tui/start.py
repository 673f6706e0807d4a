"""Starting runs from the UI: from the form, and as a fork. Both go the way of the command line; neither in the UI's thread."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from core.errors import InternError
from core.home import find_run
from core.sanitize import one_line
from core.session import command

LONGEST_S = 120.0
"""A host is up within seconds; a fork copies a workspace first."""


def new_run(values: dict[str, str]) -> Path:
    """Create the run and start its host. Raises InternError with what is wrong."""
    from core.launch import Request, create_run, start_host

    folder = create_run(
        Request(
            goal=values["goal"], task=values["task"] or ".", model=values["model"] or None, brain=values["brain"],
            hours=float(values["hours"]) if values["hours"] else None, usd=float(values["usd"] or 0),
            autonomy=values["autonomy"], compute=values["compute"],
        )
    )  # fmt: skip
    start_host(folder)
    return folder


def fork_run(folder: Path, seq: int, steering: str) -> Path:
    """`intern fork R --at SEQ --detach`, then the first words. Raises InternError with what it said."""
    argv = [sys.executable, "-P", "-m", "intern_tui", "fork", str(folder), "--at", str(seq), "--detach"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LONGEST_S, env=environment, check=False)
    words = done.stdout.split()
    if done.returncode or not words:
        said = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise InternError(f"The fork did not start: {one_line(said)}", where=f"{folder.name}, event {seq}")
    forked = find_run(words[-1])
    if steering:
        command(forked, "steer", steering)
    return forked
