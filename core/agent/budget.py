"""The budgets of a run: wall clock, dollars, tokens, disk. Warnings at 50, 80 and 95 %; at the limit an orderly end.

Decides nothing about science: what a run that has reached a limit does is always the same, the last evaluation and the
report.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from core import events as e
from core.clock import Clock
from core.state import RunState

MARKS = (0.5, 0.8, 0.95)

DISK_LOOK_S = 10.0
"""At most between two looks at the disk."""

QUICK_LOOK_S = 1.0
"""Between two looks where the disk has a budget: a training writes a checkpoint of gigabytes in seconds."""

LOOK_SHARE = 0.02
"""Of the time, spent on looking at most: a folder of very many files is looked at less often."""

DISK_FLOOR = 200 << 20
"""Free bytes below which a run ends, whatever its budget: its log and its report must still fit."""

_UNITS = {"wall": "hours", "usd": "dollars", "tokens": "tokens", "disk": "GB"}


class Use(NamedTuple):
    kind: str
    used: float
    limit: float

    @property
    def share(self) -> float:
        return self.used / self.limit if self.limit else 0.0

    def __str__(self) -> str:
        return f"{self.used:.4g} of {self.limit:.4g} {_UNITS[self.kind]}"


def uses(state: RunState, clock: Clock) -> list[Use]:
    """What is used of each budget that has a limit."""
    b = state.budget
    found = [Use("wall", clock.used_s / 3600, clock.limit_s / 3600)]
    if b.usd > 0:
        found.append(Use("usd", b.usd_used, b.usd))
    if b.tokens > 0:
        found.append(Use("tokens", float(b.tokens_used), float(b.tokens)))
    if b.disk_gb > 0:
        found.append(Use("disk", b.disk_used / 1e9, b.disk_gb))
    return found


def warnings(state: RunState, clock: Clock) -> list[e.BudgetWarned]:
    """Warnings that are due and not yet given; of several marks passed at once only the highest is said."""
    due: list[e.BudgetWarned] = []
    for use in uses(state, clock):
        passed = [m for m in MARKS if use.share >= m]
        if passed and f"{use.kind} {passed[-1]:g}" not in state.budget.warned:
            due.append(e.BudgetWarned(kind=use.kind, fraction=passed[-1], used=use.used, limit=use.limit))
    return due


def spent(state: RunState, clock: Clock, free_bytes: int | None = None) -> str:
    """Why research has to end now; empty while it may go on. Wall clock: what is held back for the end is not research's."""
    if clock.work_left_s <= 0:
        return "the time for research is used"
    over = next((u for u in uses(state, clock) if u.kind != "wall" and u.share >= 1.0), None)
    if over is not None:
        return f"the budget is used: {over}"
    if free_bytes is not None and free_bytes < DISK_FLOOR:
        return f"the disk is nearly full: {free_bytes >> 20} MB are free, {DISK_FLOOR >> 20} are the floor"
    return ""


def next_look_s(state: RunState, took_s: float) -> float:
    """Seconds until the disk is looked at again. `took_s`: what the last look took. A checkpoint asks for one at once."""
    if state.budget.disk_gb <= 0:
        return DISK_LOOK_S
    return min(DISK_LOOK_S, max(QUICK_LOOK_S, took_s / LOOK_SHARE))


def worth_saying(limit_gb: float) -> float:
    """Bytes by which the use has to change before it is recorded: a megabyte, of a small budget a hundredth."""
    return min(float(1 << 20), 0.01 * limit_gb * 1e9)


def folder_bytes(root: Path) -> int:
    """Bytes that all files below a folder take on the disk, hard links counted once: of a run its log and blobs, its jobs
    with their checkpoints, prepared data, workspace, evaluations and final_model. What several runs share (the caches of
    models, papers and environments) is not in it and does not count.
    """
    total, seen = 0, set[tuple[int, int]]()
    stack = [root]
    while stack:
        try:
            entries = list(os.scandir(stack.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    stack.append(Path(entry.path))
                    continue
                found = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                total += found.st_blocks * 512
    return total


def free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
