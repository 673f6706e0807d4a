"""`--trackio`: where the rows of a run's jobs go besides its own folder."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from core.errors import UsageError

HOW = "Use local, off, USER/SPACE, or https://SERVER with TRACKIO_WRITE_TOKEN in the environment"
_SPACE = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The local store is always written, unless it is off: it is what `diagnose` and `open --trackio` read."""

    kind: Literal["local", "off", "space", "server"]
    address: str = ""
    """`USER/SPACE`, or the address of a Trackio server."""

    def arguments(self) -> dict[str, Any]:
        """What `trackio.init` is told of it."""
        return {"space": {"space_id": self.address}, "server": {"server_url": self.address}}.get(self.kind, {})


def parse_target(text: str) -> Target:
    """Raises UsageError for what is no target, and for an address that carries its write token: it would stand in the log."""
    if text in ("", "local"):
        return Target(kind="local")
    if text == "off":
        return Target(kind="off")
    if text.startswith(("http://", "https://")):
        parts = urlsplit(text)
        if parts.query or parts.username or parts.password or parts.fragment:
            what = "the address of a Trackio server must not carry a token: everybody who reads the run's log would have it"
            raise UsageError(what, where="--trackio", next="Set TRACKIO_WRITE_TOKEN and give the address alone")
        return Target(kind="server", address=text.rstrip("/"))
    if _SPACE.fullmatch(text):
        return Target(kind="space", address=text)
    raise UsageError(f"{text!r} is no place for Trackio", where="--trackio", next=HOW)


def store_folder(run_folder: Path) -> Path:
    """The folder of a run's local Trackio projects (`TRACKIO_DIR`)."""
    return run_folder / "trackio"


def installed() -> bool:
    """Whether there is a Trackio to write with; looked up without importing it."""
    return importlib.util.find_spec("trackio") is not None
