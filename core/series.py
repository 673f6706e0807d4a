"""A metric's history in bounded memory: bins of min, max, mean and last over ranges of train steps.

The number of bins is fixed; when a step falls beyond the last bin, neighbours are merged and every bin covers twice as
many steps. Bins therefore never move while a curve grows (a sliding window would repaint the whole plot each time).
The full series is in the log's typed `metrics` table; this is what a live pane needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

BINS = 256


class Series(msgspec.Struct):
    """Bins over train steps. Only the fold changes it."""

    width: int = 1
    """Train steps a bin covers; a power of two."""
    low: list[float | None] = []
    high: list[float | None] = []
    total: list[float] = []
    count: list[int] = []
    last: float = 0.0
    last_step: int = 0
    first: float = 0.0

    def add(self, step: int, value: float) -> None:
        """Put one point in; O(1) but for the rare merge."""
        value += 0.0  # no negative zero: which of two zeros is less, minimum and `<` do not agree upon
        if step < 0:
            step = 0
        bin = step // self.width
        counts = self.count
        if bin >= len(counts) or not counts[bin]:
            bin = self._begin(step, value)
            counts = self.count
        elif (low := self.low[bin]) is not None and value < low:
            self.low[bin] = value
        elif (high := self.high[bin]) is not None and value > high:
            self.high[bin] = value
        self.total[bin] += value
        counts[bin] += 1
        self.last = value
        self.last_step = step

    def extend(self, steps: Sequence[int], values: Sequence[float]) -> None:
        """As `add` for each point, in order; points that go on where the last one ended cost a fifth of it."""
        low, high, total, count, width = self.low, self.high, self.total, self.count, self.width
        for step, value in zip(steps, values, strict=True):
            bin = step // width
            if bin == len(count) and 0 < bin < BINS:
                value += 0.0
                low.append(value)
                high.append(value)
                total.append(value)
                count.append(1)
                self.last, self.last_step = value, step
            else:
                self.add(step, value)
                low, high, total, count, width = self.low, self.high, self.total, self.count, self.width

    def _begin(self, step: int, value: float) -> int:
        """Make room for the first value of the bin that `step` falls into; the bin."""
        if not self.count:
            self.first = value
        while step // self.width >= BINS:
            self._merge()
        bin = step // self.width
        while len(self.count) <= bin:
            self.low.append(None)
            self.high.append(None)
            self.total.append(0.0)
            self.count.append(0)
        low, high = self.low[bin], self.high[bin]
        self.low[bin] = value if low is None or value < low else low
        self.high[bin] = value if high is None or value > high else high
        return bin

    def _merge(self) -> None:
        self.low = [_least(self.low[i : i + 2]) for i in range(0, len(self.low), 2)]
        self.high = [_most(self.high[i : i + 2]) for i in range(0, len(self.high), 2)]
        self.total = [sum(self.total[i : i + 2]) for i in range(0, len(self.total), 2)]
        self.count = [sum(self.count[i : i + 2]) for i in range(0, len(self.count), 2)]
        self.width *= 2

    def points(self) -> list[tuple[int, float, float, float]]:
        """(train step at the bin's start, min, max, mean) of every bin that holds a value."""
        out: list[tuple[int, float, float, float]] = []
        for i, n in enumerate(self.count):
            low, high = self.low[i], self.high[i]
            if n and low is not None and high is not None:
                out.append((i * self.width, low, high, self.total[i] / n))
        return out


def _least(values: list[float | None]) -> float | None:
    return min((v for v in values if v is not None), default=None)


def _most(values: list[float | None]) -> float | None:
    return max((v for v in values if v is not None), default=None)
