"""Commands to a living run: words, pause, interrupt, stop, approvals."""

from __future__ import annotations

import argparse

from core.home import find_run
from core.session import command


def say(a: argparse.Namespace) -> int:
    """steer, queue."""
    seq = command(find_run(a.run), a.command, " ".join(a.text))
    print(f"{a.command} is event {seq}; the brain reads it before its next decision")
    return 0


def act(a: argparse.Namespace) -> int:
    """pause, unpause, interrupt, stop."""
    name = "resume" if a.command == "unpause" else a.command
    print(f"{a.command} is event {command(find_run(a.run), name)}")
    return 0


def decide(a: argparse.Namespace) -> int:
    """approve, deny."""
    print(f"{a.command} is event {command(find_run(a.run), a.command, a.reason, {'approval': a.approval})}")
    return 0
