"""Histories of metrics read from a log's typed rows: those the state does not keep, other jobs', other runs', close-ups.

Read in the background and kept; a plot that has none yet is drawn without it and comes with the next view.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from core.session import open_source
from screens.braille import Point
from screens.view import Desk
from store.source import EventSource

BINS = 256
MOST_ROWS = 20_000
FRESH = 100
"""Events a live job may have gone on before its history is read again."""

History = dict[str, list[Point]]
"""Points of every metric of a job, by name."""


class Asked(NamedTuple):
    """One job between two train steps."""

    folder: Path | None
    """Another run's folder; None for the run that is open."""
    job: str
    first: int
    last: int
    up_to: int | None = None
    """Only events up to this one: a replay shows nothing of its future."""


def read_history(source: EventSource, asked: Asked) -> History:
    """All metrics of a job in bins. Raises StoreError."""
    width = max(1, -(-(asked.last - asked.first + 1) // BINS))
    job = asked.job.replace("'", "''")
    until = f" AND seq <= {int(asked.up_to)}" if asked.up_to is not None else ""
    query = (
        f"SELECT name, step - step % {width} AS s, min(value), max(value), avg(value) FROM metrics "
        f"WHERE job = '{job}' AND step BETWEEN {int(asked.first)} AND {int(asked.last)}{until} "
        "AND value IS NOT NULL GROUP BY ALL ORDER BY name, s"
    )
    found: History = {}
    for name, step, low, high, mean in source.sql(query, limit=MOST_ROWS).rows:
        found.setdefault(str(name), []).append((int(step), float(low), float(high), float(mean)))
    return found


class Histories:
    """Keeps what was read, and asks for what was not."""

    def __init__(self, desk: Desk, changed: Callable[[], None]) -> None:
        self._desk = desk
        self._changed = changed
        self._kept: dict[Asked, History] = {}
        self._asked: set[Asked] = set()

    def get(self, asked: Asked) -> History:
        """What is known now; more may come."""
        if asked not in self._kept and asked not in self._asked:
            self._asked.add(asked)
            self._desk.in_background(lambda: self._read(asked), lambda found: self._came(asked, found))
        return self._kept.get(asked) or self._nearest(asked)

    def _nearest(self, asked: Asked) -> History:
        """While a longer history is read, the last one of the same job and place stands in for it."""
        for known in reversed(self._kept):
            if known[:3] == asked[:3] and (asked.up_to is None or (known.up_to or 0) <= asked.up_to):
                return self._kept[known]
        return {}

    def _read(self, asked: Asked) -> History:
        if asked.folder is None:
            return read_history(self._desk.source(), asked)
        source = open_source(asked.folder)
        try:
            return read_history(source, asked)
        finally:
            source.close()

    def _came(self, asked: Asked, found: History) -> None:
        self._asked.discard(asked)
        self._kept[asked] = found
        while len(self._kept) > 24:
            self._kept.pop(next(iter(self._kept)))
        self._changed()
