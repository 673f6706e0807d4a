"""Planned death, for the tests: `INTERN_FAULT="committed:3"` kills this process, as kill -9 does, the third time the
write path passes the point named `committed`. Without the variable a point costs one comparison.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

POINTS = (
    "grouped",
    "inserted",
    "committed",
    "published",
    "marked",
    "packing",
    "packed",
    "checkpointing",
    "checkpointed",
    "copying",
    "copied",
    "replaced",
    "sealing",
)
"""Every point of the write path, in the order one passes them."""

_name, _, _count = os.environ.get("INTERN_FAULT", "").partition(":")
_left = int(_count or "1")
plan: Callable[[str], bool] | None = None
"""Set by a test that plans many deaths: told every point that is passed, says whether to die there."""


def point(name: str) -> None:
    """Die here if the plan says so."""
    global _left
    if plan is not None and plan(name):
        os.kill(os.getpid(), signal.SIGKILL)
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
