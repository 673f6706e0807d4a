"""What one transaction is going to store: the requests of several callers, numbered and chained.

Planning changes nothing; a plan that is not committed is dropped. A request is all or nothing: one that is refused
(wrong sequence) leaves no trace in the plan, and its neighbours go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property

from store.chain import chain, short
from store.errors import WrongSequence
from store.event import Event, NewEvent
from store.tip import Tip


@dataclass(frozen=True)
class Request:
    """An append under way."""

    events: Sequence[NewEvent]
    expected_seq: int | None = None
    urgent: bool = False
    future: Future[list[Event]] = field(default_factory=lambda: Future[list[Event]]())

    @cached_property
    def bytes(self) -> int:
        """Of all payloads together."""
        return sum([len(event.payload) for event in self.events])


class Plan:
    """One transaction in the making. `stored` finds events by id that the log already holds."""

    def __init__(self, tip: Tip, stored: Callable[[Sequence[str]], dict[str, Event]]) -> None:
        self.tip = tip
        self.events: list[Event] = []
        self.answers: list[tuple[Request, list[Event]]] = []
        self._stored = stored
        self._by_id: dict[str, Event] = {}

    def add(self, request: Request) -> None:
        """Take a request in. Raises WrongSequence; then the plan is as before."""
        ids = [event.id for event in request.events]
        known = {id: self._by_id[id] for id in ids if id in self._by_id} if self._by_id else {}
        known.update(self._stored([id for id in ids if id not in known] if known else ids))
        fresh = dict(zip(ids, request.events, strict=True))
        for id in known:
            del fresh[id]
        if fresh and request.expected_seq is not None and request.expected_seq != self.tip.seq:
            raise WrongSequence(request.expected_seq, self.tip.seq)
        self.tip, added = _chain(self.tip, list(fresh.values()))
        self.events += added
        self._by_id.update(known)
        self._by_id.update(zip(fresh, added, strict=True))
        answer = added if len(added) == len(ids) else [self._by_id[id] for id in ids]
        self.answers.append((request, answer))


def _chain(tip: Tip, fresh: list[NewEvent]) -> tuple[Tip, list[Event]]:
    hashes = chain(tip.full, tip.seq, fresh)
    added = [
        Event(seq, new.ts, new.type, new.v, new.actor, new.cause, new.payload, new.id, short(full))
        for seq, (new, full) in enumerate(zip(fresh, hashes, strict=True), tip.seq + 1)
    ]
    return (Tip(added[-1].seq, hashes[-1]) if added else tip), added
