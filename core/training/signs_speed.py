"""Signs that a training is slower than it should be, and what its end says."""

from __future__ import annotations

import re
from statistics import median

from core.training.devscore import Watched
from core.training.diagnosis import Finding, finding
from core.training.history import History

MEMORY_SIGNS = re.compile(
    r"can't allocate memory|out of memory|OutOfMemoryError|MemoryError|Cannot allocate memory|oom[-_ ]?kill"
    r"|CUBLAS_STATUS_ALLOC_FAILED|std::bad_alloc",
    re.IGNORECASE,
)

DIED = re.compile(
    r"Traceback \(most recent call last\)|^\s*File \"[^\"]+\", line \d+, in |Segmentation fault|core dumped"
    r"|ChildFailedError|Watchdog caught collective operation timeout",
    re.MULTILINE,
)
KILLED = re.compile(r"^Killed$", re.MULTILINE)
"""What a shell prints for SIGKILL: as a rule the system's own answer to a lack of memory."""


def throughput_drop(watch: Watched) -> Finding | None:
    """Train steps take twice as long as they did, and not because answers grew.

    Failing where they take four times as long, row after row, for a quarter of the log: another program on the machine makes
    steps slower too, but not evenly, and it passes.
    """
    times, lengths = watch.history.get("step_time"), watch.history.get("length")
    if len(times) < 12:
        return None
    # the first step pays for start-up; a drop that comes early must not become the measure of itself
    before, now = min(median(times.values[1:5]), median(times.values[2:8])), times.now(5)
    growth = lengths.now(5) / max(median(lengths.values[2:8]), 1e-9) if len(lengths) >= 12 else 1.0
    usual = before * max(growth, 1.0)
    if now < 2 * usual:
        return None
    slow_rows = times.streak([v > 3 * usual for v in times.values])
    # times reckoned from when rows were written hold all that the machine did between them
    much = 10 if len(watch.history.get("silence")) else 4
    lasting = now > much * usual and slow_rows >= max(10, len(times) // 4)
    at = times.steps[-max(times.streak([v > 1.5 * usual for v in times.values]), 1)]
    said = [f"a train step took {before:.3g} s, now {now:.3g} s"]
    return finding("throughput_drop", at, "failing" if lasting else "warning", 0.8 if lasting else 0.6, said)


def data_starvation(watch: Watched) -> Finding | None:
    """The model waits for its rows; failing where it waits longer than it computes."""
    waits, times = watch.history.get("data_time"), watch.history.get("step_time")
    if len(waits) < 6 or len(times) < 6:
        return None
    recent = list(zip(waits.values[-10:], times.values[-10:], strict=False))
    shares = [wait / max(time, 1e-9) for wait, time in recent]
    share = median(shares)
    if share < 0.3:
        return None
    said = [f"{share:.0%} of each train step ({times.now(5):.3g} s) is waiting for data"]
    grave = share > 0.5 and len(shares) >= 8
    at = waits.steps[-min(len(recent), len(waits))]
    return finding("data_starvation", at, "failing" if grave else "warning", 0.8, said)


def gap(watch: Watched) -> Finding | None:
    """A long silence in the middle of a log that says when its rows were written."""
    silences = watch.history.get("silence")
    if len(silences) < 6:
        return None
    longest = max(silences.values)
    patience = max(60.0, 20 * median(silences.values))
    if longest < patience:
        return None
    at = silences.steps[silences.values.index(longest)]
    said = [f"{longest:.0f} s without a row before step {at}, {median(silences.values):.3g} s are usual"]
    return finding("stalled", at, "warning", 0.6, said)


def slow(watch: Watched) -> Finding | None:
    """The plan does not fit the time."""
    history = watch.history
    times = history.get("step_time")
    if watch.time_limit_s is None or not history.planned or not len(times):
        return None
    # the first steps pay for start-up: few of them tell only where the time is as good as over
    spent = times.mean(0, len(times)) * history.last_step > 0.7 * watch.time_limit_s and history.progress < 0.5
    if len(times) < 5 and not spent:
        return None
    needed = times.now(5) * history.planned
    if needed < 1.1 * watch.time_limit_s:
        return None
    said = [
        f"{history.planned} steps of {times.now(5):.3g} s take {needed:.0f} s, the limit is {watch.time_limit_s:.0f} s"
    ]
    grave = needed > 1.5 * watch.time_limit_s and (len(times) >= 8 or spent)
    return finding("slow", times.steps[0], "failing" if grave else "warning", 0.9, said)


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
    if code is None and KILLED.search(tail):
        said = ["the log ends with `Killed`: as a rule the system was out of memory"]
        return finding("out_of_memory", history.last_step, "failing", 0.6, said, hopeless=True)
    if code is not None or DIED.search(tail):
        said = ([f"exit code {code}"] if code is not None else []) + named_error(last)
        return finding("crash", history.last_step, "failing", 0.99, said, hopeless=True)
    return None


def named_error(lines: list[str]) -> list[str]:
    """The line that names the error: the last one that looks like an exception, else the last."""
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt|Exit)\b", line)]
    return (named or lines)[-1:]


SPEED = (throughput_drop, data_starvation, gap, slow)
