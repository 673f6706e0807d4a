"""How fast this machine is now. Limits in tests are given for a usual machine and stretched on a slow or shared one."""

from __future__ import annotations

import time

USUAL_S = 0.045
"""A million additions in a loop of CPython 3.11 on a core of 2.6 GHz that nobody else uses."""

MOST = 4.0
"""Limits are stretched at most so far: a test has to end at some time."""


def _million() -> float:
    began = time.perf_counter()
    total = 0
    for i in range(1_000_000):
        total += i
    return time.perf_counter() - began


MEASURED = min(_million() for _ in range(3)) / USUAL_S
"""Times slower than usual, as this process began."""

SLOWNESS = min(MOST, max(1.0, MEASURED))


def hours(usual: float) -> str:
    """A run's budget for `--hours`: what would be `usual` hours on a usual machine."""
    return f"{usual * SLOWNESS:.4f}"
