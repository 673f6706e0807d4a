"""Which event ids a log already holds, so that an append that is repeated is stored once.

There is no index on ids: it would cost memory and file size for a question that is nearly always "no". An id above
every id seen is new (UUIDv7 rise with time, so that is nearly all of them); a recent one is remembered; the rest is
asked of the database, whose zone maps make that cheap for ids that are ordered by time.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from store.database import Database
from store.event import Event
from store.schema import ID

_REMEMBERED = 65_536
"""Ids kept at least; at most twice as many."""


class KnownIds:
    """Ids to sequence numbers. For the writer thread only."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recent: dict[str, int] = {}
        high = int(database.query("SELECT coalesce(max(hi), 0) FROM event_log")[0][0])
        self._greatest = _last_of(high)

    def find(self, ids: Sequence[str]) -> dict[str, int]:
        """The sequence numbers of those of `ids` that are stored."""
        if not ids or min(ids) > self._greatest:  # lower-case UUIDs sort as the numbers they are
            return {}
        found = {id: self._recent[id] for id in ids if id in self._recent}
        unsure = {id: _high(id) for id in ids if id not in found and id <= self._greatest}
        if unsure:
            sql = f"""SELECT {ID}::VARCHAR, seq FROM event_log
                WHERE hi BETWEEN ? AND ? AND hi IN (SELECT unnest(?::UBIGINT[]))"""
            highs = sorted(set(unsure.values()))
            rows = self._database.query(sql, [highs[0], highs[-1], highs])
            found.update((id, seq) for id, seq in rows if id in unsure)
        return found

    def add(self, events: Sequence[Event]) -> None:
        """These events are stored now."""
        ids = [event.id for event in events]
        self._recent.update(zip(ids, [event.seq for event in events], strict=True))
        self._greatest = max(self._greatest, _last_of(_high(max(ids))))
        if len(self._recent) > 2 * _REMEMBERED:
            self._recent = dict(islice(self._recent.items(), len(self._recent) - _REMEMBERED, None))


def _high(id: str) -> int:
    """The half of an id that holds its time, as a log stores it."""
    return int(id[:8] + id[9:13] + id[14:18], 16)


def _last_of(high: int) -> str:
    """The greatest id with this high half."""
    digits = f"{high:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:]}-ffff-ffffffffffff"
