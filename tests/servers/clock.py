"""A clock for tests: time passes only by sleeping."""

from __future__ import annotations


class FakeClock:
    """Wall time without waiting; remembers the sleeps."""

    def __init__(self) -> None:
        self.time = 1_900_000_000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
