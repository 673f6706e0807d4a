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

LONGEST_CYCLE = 8
"""Calls of the longest round that is seen when it is made three times, however many calls that takes."""

SAME_ERROR = 5
"""One tool that fails so often with one error, whatever its arguments, is not being understood."""

POLLS = frozenset({"wait_for_jobs", "budget", "read_job_log"})

_VOLATILE = re.compile(r'("(?:seconds[a-z_]*|[a-z_]*_s|ts|time)":\s*)-?[\d.eE+]+')
"""Numbers that change by themselves."""

_NAMES = re.compile(r'\bjob-\d+|(?<="log":)\s*"[^"]*"')
"""What a call names anew each time: its job, the file of its output."""

_DETAILS = re.compile(r"'[^']*'|\"[^\"]*\"|[\d.]+")
"""Of an error: what it repeats of the arguments."""

ADVICE = "\n[loop] "


class LoopDetector:
    """Fed with every call and its result, in order."""

    def __init__(self, past: Iterable[tuple[str, dict[str, Any] | str, str]] = ()) -> None:
        self._recent: deque[str] = deque(maxlen=REPEATS * LONGEST_CYCLE)
        self._errors: deque[str] = deque(maxlen=WINDOW)
        """Of each call the error, arguments apart; empty where it had none."""
        for tool, arguments, told in past:
            self._take(tool, arguments, told)

    def saw(self, tool: str, arguments: dict[str, Any] | str, told: str, *, jobs_running: bool) -> int:
        """How often this call gave this result lately, if that is a loop; else 0."""
        key = self._take(tool, arguments, told)
        if tool in POLLS and jobs_running:
            return 0
        count = list(self._recent)[-WINDOW:].count(key)
        failed = self._errors.count(self._errors[-1]) if self._errors[-1] else 0
        if count >= REPEATS:
            return count
        return failed if failed >= SAME_ERROR else REPEATS if self._goes_round() else 0

    def _take(self, tool: str, arguments: dict[str, Any] | str, told: str) -> str:
        key = key_of(tool, arguments, told)
        self._recent.append(key)
        self._errors.append(f"{tool} {_DETAILS.sub('_', told)}" if told.startswith("ERROR:") else "")
        return key

    def _goes_round(self) -> bool:
        """The last calls are one round of several, made three times."""
        calls = list(self._recent)
        for length in range(2, LONGEST_CYCLE + 1):
            last = calls[-REPEATS * length :]
            if len(last) == REPEATS * length and last == last[-length:] * REPEATS:
                return True
        return False


def key_of(tool: str, arguments: dict[str, Any] | str, told: str) -> str:
    """Names a call with its result; the clock and an advice given before do not count."""
    said = _NAMES.sub("_", _VOLATILE.sub(r"\1_", told.partition(ADVICE)[0]))
    asked = msgspec.json.encode(arguments, order="sorted")
    return hashlib.sha256(tool.encode() + b"\0" + asked + b"\0" + said.encode("utf-8", "replace")).hexdigest()


def advice(tool: str, count: int) -> str:
    """What the brain is told besides the result."""
    return (
        f"{ADVICE}You have called {tool} {count} times with the same result, by itself or in a round of calls. Calling it again will "
        "not change that. Look at what you know, change the arguments or the plan, or say with note why this is right."
    )
