"""A small MCP server over standard input and output: keeps notes, echoes, hangs on request, tells its environment."""

from __future__ import annotations

import os
import time

from mcp.server.fastmcp import FastMCP

server = FastMCP("notes")
_notes: list[str] = []


@server.tool()
def remember(text: str) -> str:
    """Keep a note."""
    _notes.append(text)
    return f"{len(_notes)} notes"


@server.tool()
def environment(name: str) -> str:
    """The value of an environment variable, empty where there is none."""
    return os.environ.get(name, "")


@server.tool()
def hang(seconds: float) -> str:
    """Say nothing for a while."""
    time.sleep(seconds)
    return "awake"


if __name__ == "__main__":
    server.run()
