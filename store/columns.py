"""The events of a typed table, column by column: what a fold over a long log reads instead of one event at a time.

A metric event costs Python tens of microseconds as an object (a row, a dictionary, JSON, a struct) and less than one as
part of an array. Only `LogReader.spans` imports this module, and only for long stretches: numpy takes as long to load
as a short log to fold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.tables import TypedTable

Array = NDArray[Any]
Names = tuple[str, ...]


@dataclass(frozen=True)
class Columns:
    """n events of one type, in order. Arrays have shape (n,)."""

    table: TypedTable
    seq: NDArray[np.int64]
    keys: Mapping[str, Array]
    """By the payload's keys; masked where a payload lacks the key."""
    shape: NDArray[np.int32] | None
    """Which combination of `names` each event has; None for a table without named numbers."""
    names: Mapping[int, Names]
    """By shape."""
    load: Callable[[Sequence[str], int, int], Mapping[str, Array]]
    """Reads numbers by name, and `seq`, of the events from one sequence number to another."""

    @property
    def type(self) -> str:
        return self.table.type

    def __len__(self) -> int:
        return len(self.seq)

    def part(self, start: int, end: int) -> Columns:
        """Events from position `start` to before `end`."""
        at = slice(start, end)
        return Columns(
            self.table,
            self.seq[at],
            {key: column[at] for key, column in self.keys.items()},
            None if self.shape is None else self.shape[at],
            self.names,
            self.load,
        )

    def numbers(self, names: Sequence[str], start: int, end: int) -> Mapping[str, NDArray[np.float64]]:
        """Named numbers of the events from position `start` to before `end`, arrays of shape (end - start,), read when
        asked for: a trainer logs many names, and few of them are needed event by event. 0 where a shape lacks the name."""
        if not names or start >= end:
            return {name: np.zeros(0) for name in names}
        wanted = self.seq[start:end]
        found = self.load(names, int(wanted[0]), int(wanted[-1]))
        if len(found["seq"]) == len(wanted):
            return found
        at = found["seq"].searchsorted(wanted)  # a live log has packed more of its events meanwhile
        return {name: found[name][at] for name in names}

    def fields(self, at: int) -> dict[str, Any]:
        """The payload's fields of the event at position `at`, but for its named numbers."""
        values = ((key, column[at]) for key, column in self.keys.items())
        return {key: plain(value) for key, value in values if value is not np.ma.masked}


def plain(value: Any) -> Any:
    """A value of an array as Python's own type."""
    return value.item() if hasattr(value, "item") else value
