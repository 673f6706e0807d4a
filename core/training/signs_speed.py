"""Signs that a training is slower than it should be, and what its end says."""

from __future__ import annotations

import re
from statistics import median

from core.training.devscore import Watched
from core.training.diagnosis import Finding, finding
from core.training.history import History

MEMORY_SIGNS = re.compile(r"can't allocate memory|out of memory|OutOfMemoryError|MemoryError|Cannot allocate memory")


def throughput_drop(watch: Watched) -> Finding | None:
    """Train steps take twice as long as they did, and not because answers grew."""
    times, lengths = watch.history.get("step_time"), watch.history.get("length")
    if len(times) < 15:
        return None
    before, now = median(times.values[2:10]), times.now(5)
    growth = lengths.now(5) / max(median(lengths.values[2:10]), 1e-9) if len(lengths) >= 15 else 1.0
    if now < 2 * before * max(growth, 1.0):
        return None
    said = [f"a train step took {before:.3g} s, now {now:.3g} s"]
    return finding("throughput_drop", times.steps[-5], "warning", 0.6, said)


def data_starvation(watch: Watched) -> Finding | None:
    """The model waits for its rows."""
    waits, times = watch.history.get("data_time"), watch.history.get("step_time")
    if len(waits) < 6 or len(times) < 6:
        return None
    share = waits.now(5) / max(times.now(5), 1e-9)
    if share < 0.3:
        return None
    said = [f"{share:.0%} of each train step ({times.now(5):.3g} s) is waiting for data"]
    return finding("data_starvation", waits.steps[-5], "warning", 0.8, said)


def slow(watch: Watched) -> Finding | None:
    """The plan does not fit the time."""
    history = watch.history
    times = history.get("step_time")
    if watch.time_limit_s is None or not history.planned or len(times) < 5:
        return None
    needed = times.now(5) * history.planned
    if needed < 1.1 * watch.time_limit_s:
        return None
    said = [
        f"{history.planned} steps of {times.now(5):.3g} s take {needed:.0f} s, the limit is {watch.time_limit_s:.0f} s"
    ]
    return finding("slow", times.steps[0], "warning", 0.9, said)


def ending(history: History, code: int | None, tail: str, saved: bool | None) -> Finding | None:
    """What the end of the process says."""
    last = [line.strip() for line in tail.splitlines() if line.strip()]
    if code == 0:
        if saved is False:
            return finding("no_checkpoint", history.last_step, "failing", 0.99, ["exit code 0, but no model was saved"])
        return None
    memory = [line for line in last if MEMORY_SIGNS.search(line)]
    if memory or code in (5, -9, 137):
        said = [f"exit code {code}", *memory[-1:]]
        certain = 0.95 if memory or code == 5 else 0.6
        return finding("out_of_memory", history.last_step, "failing", certain, said, hopeless=True)
    if code is not None or "Traceback (most recent call last)" in tail:
        said = ([f"exit code {code}"] if code is not None else []) + last[-1:]
        return finding("crash", history.last_step, "failing", 0.99, said, hopeless=True)
    return None


SPEED = (throughput_drop, data_starvation, slow)
