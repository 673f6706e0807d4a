"""`intern web`: the terminal UI in a browser on this machine."""

from __future__ import annotations

import argparse

from core import install
from core.errors import NotFound, Refused, UsageError
from core.home import find_run


def web(a: argparse.Namespace) -> int:
    """Serve until Ctrl+C."""
    try:
        from intern_tui.web import HOST, GuardedServer
    except ModuleNotFoundError as error:
        raise NotFound(
            f"The browser display needs {error.name}", next=f"Install it: {install.command('web')}"
        ) from error
    if not 0 < a.port < 65536:
        raise UsageError(f"{a.port} is no port", where="--port", next="Give a number from 1024 to 65535")
    arguments = ["attach", str(find_run(a.run))] if a.run else []
    try:
        GuardedServer(arguments, a.port).serve()
    except OSError as error:
        raise Refused(
            f"Port {a.port} cannot be used: {error.strerror}", where=HOST, next=f"intern web --port {a.port + 1}"
        ) from error
    return 0
