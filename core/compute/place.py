"""A place in the machine's queue for work that this process does itself: a task's own evaluate.py.

It takes its turn as an evaluation's job does, before trainings that wait, and holds what it was given until it is over.
Nothing is held while it waits and all is given at once, so two runs that end cannot hold each other up. The wait has an
end: whoever is ahead may have ten hours to go, and a run that is over must come to its report.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from core.compute.protocol import Bookable, Compute
from core.compute.schedule import Booking
from core.errors import NoPlace

LOOK_S = 0.2
SAID_S = 2.0
"""A wait that is longer is told."""


@contextmanager
def place(
    compute: Compute, key: str, what: str, *, gpus: int, slots: int, patience_s: float | None, stop: threading.Event,
    tell: Callable[[str], object],
) -> Generator[dict[str, str]]:  # fmt: skip
    """Wait for a place and hold it; gives the environment that shows the work its own GPUs.

    `key` names the place for good. `patience_s`: the longest wait (None: until `stop`). On a machine without GPUs the work
    begins after it all the same, beside what runs there: that costs time only. Raises NoPlace where a GPU did not become
    free: beside a training there the work would fail, or make the training fail. Places of other machines than this one
    are their schedulers' business: nothing is waited for.
    """
    if not isinstance(compute, Bookable):
        yield {}
        return
    try:
        yield _wait(compute, key, what, gpus, slots, patience_s, stop, tell)
    finally:
        compute.leave_place(key)


def _wait(
    compute: Bookable, key: str, what: str, gpus: int, slots: int, patience_s: float | None, stop: threading.Event,
    tell: Callable[[str], object],
) -> dict[str, str]:  # fmt: skip
    asked, began, told = time.time(), time.monotonic(), False
    while True:
        found = compute.ask_place(key, gpus=gpus, slots=slots, asked=asked)
        waited = time.monotonic() - began
        if found is not None:
            if told:
                tell(f"{what} has its place after {waited:.0f} s; its time limit counts from now")
            return found
        if stop.is_set():
            raise NoPlace(f"{what} was told to end while it waited for its place", next="Evaluate by hand")
        ahead = _ahead(compute.held(), compute.gpu_count() > 0)
        if patience_s is not None and waited >= patience_s:
            if not compute.gpu_count():
                tell(f"{what} begins beside {ahead}: no cores became free within {waited:.0f} s")
                return {}
            raise NoPlace(
                f"no GPU became free for {what.lower()} within {waited:.0f} s: {ahead}",
                next="Run evaluate.py on final_model by hand once the GPU is free",
            )
        if not told and waited >= SAID_S:
            told = True
            most = "" if patience_s is None else f", {patience_s:.0f} s at most"
            tell(f"{what} waits for its place on this machine{most}: {ahead}")
        stop.wait(LOOK_S)


def _ahead(held: list[Booking], gpus: bool) -> str:
    """Who holds what is waited for, in words."""
    now = time.time()
    names = [
        f"{Path(b.ticket.folder).name or 'an evaluation'} of run {Path(b.ticket.run).name} (for {(now - b.granted) / 60:.0f} min)"
        for b in held
        if b.gpus or not gpus
    ]
    if not names:
        return (
            "something outside of the queue holds the GPU's memory" if gpus else "others are ahead of it in the queue"
        )
    return f"{', '.join(names)} {'holds' if len(names) == 1 else 'hold'} {'the GPU' if gpus else 'the cores'}"
