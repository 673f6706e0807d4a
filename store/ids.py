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

_REMEMBERED = 65_536


class KnownIds:
    """Ids to sequence numbers. For the writer thread only."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recent: OrderedDict[str, int] = OrderedDict()
        self._greatest = str(database.query("SELECT coalesce(max(id)::VARCHAR, '') FROM event_log")[0][0])

    def find(self, ids: Sequence[str]) -> dict[str, int]:
        """The sequence numbers of those of `ids` that are stored."""
        found = {id: self._recent[id] for id in ids if id in self._recent}
        unsure = [id for id in ids if id not in found and id <= self._greatest]
        if unsure:
            sql = "SELECT id::VARCHAR, seq FROM event_log WHERE id IN (SELECT unnest(?::UUID[])) AND id BETWEEN ? AND ?"
            found.update(self._database.query(sql, [unsure, min(unsure), max(unsure)]))
        return found

    def add(self, events: Sequence[Event]) -> None:
        """These events are stored now."""
        self._recent.update((event.id, event.seq) for event in events)
        self._greatest = max(self._greatest, max(event.id for event in events))
        while len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)
