"""`intern open R`: the run's screens, or with --trackio the dashboard of its Trackio project."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from core import install
from core.errors import NotFound, UsageError
from core.home import find_run
from core.tracking.target import installed, store_folder

DASHBOARD = """\
import sys, trackio
project, port, browser = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "browser"
try:
    trackio.show(project=project, open_browser=browser, block_thread=True, server_port=port or None, host="127.0.0.1")
except OSError as error:
    sys.exit(f"intern: the dashboard cannot listen: {error}. Try another --port")
"""
"""A process of its own: Trackio reads TRACKIO_DIR when it is imported, and takes 0.6 s for that."""


def open_run(a: argparse.Namespace) -> int:
    """Without a flag as `attach`. The dashboard ends with Ctrl+C."""
    folder = find_run(a.run)
    if not a.trackio:
        from intern_tui.commands.watch import attach

        return attach(argparse.Namespace(run=str(folder), plain=False))
    if not 0 <= a.port < 65536:
        raise UsageError(f"{a.port} is no port", where="--port", next="Give a number from 1024 to 65535")
    project = the_project(folder)
    if not installed():
        raise NotFound("Trackio is not installed", where=sys.prefix, next=f"Install it: {install.command('train')}")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"TRACKIO_DIR": str(project.parent)}
    if elsewhere := _elsewhere(folder):
        print(f"This run is also at {elsewhere}")
    remote = "SSH_CONNECTION" in os.environ
    if remote:
        print(
            "You are here by ssh: forward the port below (ssh -L PORT:127.0.0.1:PORT HOST), then open the address there"
        )
    browser = "no" if a.no_browser or remote else "browser"
    command = [sys.executable, "-P", "-u", "-c", DASHBOARD, project.stem, str(a.port), browser]
    try:
        return subprocess.run(command, env=environment).returncode
    except KeyboardInterrupt:
        return 0


def the_project(folder: Path) -> Path:
    """The store of the run's own project; a job on a rented machine has one in its folder. Raises NotFound."""
    found = store_folder(folder) / f"{folder.name}.db"
    if found.is_file():
        return found
    others = [*sorted(store_folder(folder).glob("*.db")), *sorted(folder.glob("jobs/*/trackio/*.db"))]
    if others:
        return others[-1]
    raise NotFound(
        "the run has no Trackio project: no training of it has logged, or it was started with --trackio off",
        where=str(store_folder(folder)), next=f"intern open {folder.name} shows its curves in the terminal",
    )  # fmt: skip


def _elsewhere(folder: Path) -> str:
    from core.session import last_state
    from core.tracking.target import parse_target

    target = parse_target(last_state(folder).trackio)
    return f"the Space {target.address}" if target.kind == "space" else target.address
