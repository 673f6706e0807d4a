"""`intern`, `runs`, `attach`, `replay`: looking at runs."""

from __future__ import annotations

import argparse
import os
import sys

import msgspec

from core.describe import percent
from core.errors import UsageError
from core.home import find_run, run_info, socket_path


def home(a: argparse.Namespace) -> int:
    """`intern` without a command: the list of runs."""
    if not has_screen():
        raise UsageError(
            "The UI needs a terminal", next="Use intern runs, intern attach R --plain, or intern run --plain"
        )
    from intern_tui.opening import run_home

    return run_home()


def has_screen() -> bool:
    """Whether there is something to draw on: a terminal, or a browser behind textual-serve."""
    return (sys.stdin.isatty() and sys.stdout.isatty()) or "TEXTUAL_DRIVER" in os.environ


def runs(a: argparse.Namespace) -> int:
    """All runs, newest first."""
    from core.summary import summarised_runs

    infos = summarised_runs()
    if a.json:
        print(msgspec.json.encode([info.as_json() for info in infos]).decode())
        return 0
    if not infos:
        print("No runs yet. Start one: intern run --task pocket/addition")
    for info in infos:
        s = info.summary
        score = f"{percent(s.baseline)} -> {percent(s.best)}" if s.best is not None else ""
        print(f"{info.run}  {info.status:<11}  {s.task:<18}  {score:<20}  {s.title or s.goal}")
    return 0


def attach(a: argparse.Namespace) -> int:
    """Watch a run, live if its host lives."""
    folder = find_run(a.run)
    if a.plain or not has_screen():
        from intern_tui.plain import follow_plain

        return follow_plain(folder, socket_path(folder))
    from intern_tui.opening import run_live, run_replay

    ended = run_info(folder).status in ("finished", "failed", "stopped")
    return run_replay(folder, to=None, speed=1.0) if ended else run_live(folder)


def replay(a: argparse.Namespace) -> int:
    """Replay a run: a pure fold of its events."""
    folder = find_run(a.run)
    if a.to is not None and a.to < 1:
        raise UsageError(f"--to {a.to} is no event", next="Events are numbered from 1")
    if a.plain or not has_screen():
        from intern_tui.plain import replay_plain

        return replay_plain(folder, socket_path(folder), to=a.to, speed=a.speed)
    from intern_tui.opening import run_replay

    return run_replay(folder, to=a.to, speed=a.speed or 1.0)
