"""Is the brain going round in circles? The same call with the same result, again and again, and nothing else changing.

A poll is no loop: waiting for a job whose numbers move gives another result each time, and what only reads the clock
or a running job is left alone while a job runs.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

WINDOW = 12
"""Calls looked back on."""

REPEATS = 3
"""The same call and result this often within the window is a loop; A-B-A-B-A-B counts as well."""

POLLS = frozenset({"wait_for_jobs", "budget", "read_job_log"})

_VOLATILE = re.compile(r'("(?:seconds[a-z_]*|[a-z_]*_s|ts|time)":\s*)-?[\d.eE+]+')
"""Numbers that change by themselves."""

_ADVICE = "\n[loop] "


class LoopDetector:
    """Fed with every call and its result, in order."""

    def __init__(self, past: Iterable[tuple[str, dict[str, Any] | str, str]] = ()) -> None:
        self._recent: deque[str] = deque(maxlen=WINDOW)
        for tool, arguments, told in past:
            self._recent.append(key_of(tool, arguments, told))

    def saw(self, tool: str, arguments: dict[str, Any] | str, told: str, *, jobs_running: bool) -> int:
        """How often this call gave this result lately, if that is a loop; else 0."""
        key = key_of(tool, arguments, told)
        self._recent.append(key)
        if tool in POLLS and jobs_running:
            return 0
        count = self._recent.count(key)
        return count if count >= REPEATS else 0


def key_of(tool: str, arguments: dict[str, Any] | str, told: str) -> str:
    """Names a call with its result; the clock and an advice given before do not count."""
    said = _VOLATILE.sub(r"\1_", told.partition(_ADVICE)[0])
    asked = msgspec.json.encode(arguments, order="sorted")
    return hashlib.sha256(tool.encode() + b"\0" + asked + b"\0" + said.encode("utf-8", "replace")).hexdigest()


def advice(tool: str, count: int) -> str:
    """What the brain is told besides the result."""
    return (
        f"{_ADVICE}You have called {tool} {count} times with these arguments and the same result. Calling it again will "
        "not change that. Look at what you know, change the arguments or the plan, or say with note why this is right."
    )
