"""Who is at the other end of the host's socket: a person's program, or something that a sandbox holds.

A confined command may reach a socket that has a path (Landlock before ABI 9 cannot forbid it), and the one of a run's host
takes approvals. Every command of a brain and every held job has given up new privileges for good (`no_new_privs`): its
children inherit that and nothing takes it back, so it tells them from a person's programs, which have not.
"""

from __future__ import annotations

import os
from pathlib import Path

_FIELD = "NoNewPrivs:"


def is_confined(pid: int) -> bool:
    """Whether the process is held where this one is not. One that is gone already counts as held: nobody can tell, and it
    waits for no answer. False where the system does not say (no /proc), where this process is held itself, and for 0: a
    process of another container, which no sandbox of ours is."""
    if pid == 0 or _given_up(os.getpid()) is not False:
        return False
    return _given_up(pid) is not False


def _given_up(pid: int) -> bool | None:
    """None where it cannot be read."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith(_FIELD)), None)
    return None if found is None else found.removeprefix(_FIELD).strip() != "0"
