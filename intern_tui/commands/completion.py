"""`intern completion SHELL`."""

from __future__ import annotations

import argparse


def completion(a: argparse.Namespace) -> int:
    """Print the completion script of a shell."""
    from intern_tui.cli import parser
    from intern_tui.completion import script

    print(script(a.shell, parser()), end="")
    return 0
