"""The budget of time: what is left, and what is held back for the last evaluation."""

from __future__ import annotations

import time

RESERVE = 0.12
"""Share of the budget held back for the last evaluation; PostTrainBench's best agents leave about as much."""

LAST_TIMES = 3.0
"""The last evaluation against a first look of a few samples."""


def reserve_of(limit_s: float) -> float:
    """Seconds held back of a budget of `limit_s`."""
    return min(1800.0, max(20.0, RESERVE * limit_s))


class Clock:
    """Wall clock of one run in seconds; pauses do not count, a dead host's time does not either."""

    def __init__(self, hours: float, used_s: float = 0.0) -> None:
        self.limit_s = hours * 3600.0
        self._used_s = used_s
        self._since: float | None = time.monotonic()
        self._look_s = 0.0
        self.reserve_s = 0.0
        """Held back for the held-out evaluation and the report."""

    def set_limit(self, hours: float) -> None:
        """A new budget, and what of it is held back for the end."""
        self.limit_s = hours * 3600.0
        self.hold_back(self._look_s)

    def hold_back(self, evaluation_s: float) -> None:
        """An evaluation of a few samples took `evaluation_s`, mostly its start: the last one, of all samples and two models,
        will take several times as long. Up to four tenths of the budget are held back for it. The newest look counts."""
        self._look_s = evaluation_s
        self.reserve_s = max(reserve_of(self.limit_s), min(LAST_TIMES * evaluation_s, 0.4 * self.limit_s))

    def second_look_pays(self) -> bool:
        """Whether more is held back beyond the usual than another look can take.

        A first evaluation pays for what is never paid again: libraries read from a cold disk, compiled kernels, a download.
        """
        return self.reserve_s - reserve_of(self.limit_s) > self._look_s

    def pause(self) -> None:
        self._used_s, self._since = self.used_s, None

    def resume(self) -> None:
        if self._since is None:
            self._since = time.monotonic()

    @property
    def used_s(self) -> float:
        return self._used_s + (time.monotonic() - self._since if self._since is not None else 0.0)

    @property
    def left_s(self) -> float:
        """Until the run has to be over, report included."""
        return self.limit_s - self.used_s

    @property
    def work_left_s(self) -> float:
        """Until research has to stop so that the last evaluation fits."""
        return max(0.0, self.left_s - self.reserve_s)
