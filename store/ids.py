"""Which event ids a log already holds, so that an append that is repeated is stored once.

There is no index on ids: it would cost memory and file size for a question that is nearly always "no". An id above
every id seen is new (UUIDv7 rise with time, so that is nearly all of them); a recent one is remembered; the rest is
asked of the database, whose zone maps make that cheap for ids that are ordered by time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from store.database import Database
from store.event import Event
from store.schema import ID

_REMEMBERED = 65_536


class KnownIds:
    """Ids to sequence numbers. For the writer thread only."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recent: OrderedDict[str, int] = OrderedDict()
        self._greatest = int(database.query("SELECT coalesce(max(hi), 0) FROM event_log")[0][0])

    def find(self, ids: Sequence[str]) -> dict[str, int]:
        """The sequence numbers of those of `ids` that are stored."""
        found = {id: self._recent[id] for id in ids if id in self._recent}
        unsure = {id: high for id in ids if id not in found and (high := _high(id)) <= self._greatest}
        if unsure:
            sql = f"""SELECT {ID}::VARCHAR, seq FROM event_log
                WHERE hi BETWEEN ? AND ? AND hi IN (SELECT unnest(?::UBIGINT[]))"""
            highs = sorted(set(unsure.values()))
            rows = self._database.query(sql, [highs[0], highs[-1], highs])
            found.update((id, seq) for id, seq in rows if id in unsure)
        return found

    def add(self, events: Sequence[Event]) -> None:
        """These events are stored now."""
        self._recent.update((event.id, event.seq) for event in events)
        self._greatest = max(self._greatest, max(_high(event.id) for event in events))
        while len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)


def _high(id: str) -> int:
    """The half of an id that holds its time, as a log stores it."""
    return int(id[:8] + id[9:13] + id[14:18], 16)
