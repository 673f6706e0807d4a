"""Work that fills every core steps back behind the run's host and the UI, which need little and need it at once."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NICE = 5
"""As jobs have it (intern_tui/supervisor.py, which stands alone)."""


def step_back(pid: int) -> None:
    """Lower the priority of a process just started in a session of its own, and of what it starts.

    Linux weighs sessions against each other before it looks at processes (autogroups): the session's weight is set too.
    """
    with contextlib.suppress(OSError):  # it has ended already, or this system has no such thing
        os.setpriority(os.PRIO_PROCESS, pid, max(NICE, os.getpriority(os.PRIO_PROCESS, pid)))
        Path(f"/proc/{pid}/autogroup").write_text(f"{NICE}", encoding="utf-8")
