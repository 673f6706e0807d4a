"""A run held in memory for pilot tests: a feed that brings what it is told, a host that answers what it is told."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from core import events as e
from intern_tui.app import InternApp
from intern_tui.feed import Update
from intern_tui.session import Session
from screens.view import Link
from store.errors import BadQuery
from store.event import Event, now_us
from store.source import Bucket, Rows, Scalar, Span, span_of
from store.tables import TypedTable
from tests.screens import recorded


class MemorySource:
    """An EventSource over a list."""

    def __init__(self, stored: list[Event]) -> None:
        self.stored = stored

    @property
    def last(self) -> tuple[int, str]:
        return len(self.stored), ""

    def events(
        self,
        from_seq: int = 1,
        to_seq: int | None = None,
        types: Collection[str] | None = None,
        limit: int | None = None,
    ) -> Iterator[Event]:
        found = [x for x in self.stored[from_seq - 1 : to_seq] if types is None or x.type in types]
        return iter(found[:limit])

    def spans(
        self, from_seq: int = 1, to_seq: int | None = None, columns: Collection[TypedTable] = ()
    ) -> Iterator[Span]:
        found = self.stored[from_seq - 1 : to_seq]
        return iter([span_of(found)] if found else [])

    def tail(self, n: int) -> list[Event]:
        return self.stored[-n:]

    def get(self, seq: int) -> Event | None:
        return self.stored[seq - 1] if 1 <= seq <= len(self.stored) else None

    def series(
        self, table: str, x: str, y: str, where: Mapping[str, Scalar] | None = None, buckets: int = 500
    ) -> list[Bucket]:
        return []

    def sql(self, query: str, limit: int = 10_000) -> Rows:
        raise BadQuery("no SQL here")

    def close(self) -> None:
        """Nothing is held."""


class MemoryFeed:
    """Brings `stored` at the first drain, then whatever `bring` adds."""

    def __init__(self, stored: list[Event]) -> None:
        self.stored = list(stored)
        self.link = Link("live")
        self.commands: list[tuple[str, str, dict[str, Any]]] = []
        self.answer: dict[str, Any] | None = None
        self._given = 0

    def start(self) -> None:
        """Nothing to start."""

    def drain(self, limit: int) -> Update:
        events = self.stored[self._given : self._given + limit]
        self._given += len(events)
        return Update(None, events, self.link)

    def bring(self, payload: e.Payload, actor: str = "host", cause: int | None = None) -> int:
        new = e.new(payload, actor=actor, cause=cause)
        seq = len(self.stored) + 1
        self.stored.append(Event(seq, now_us(), new.type, new.v, actor, cause, new.payload, new.id, f"{seq:016x}"))
        return seq

    def source(self) -> MemorySource:
        return MemorySource(self.stored)

    def command(self, command: str, text: str, arguments: dict[str, Any]) -> dict[str, Any]:
        self.commands.append((command, text, arguments))
        if self.answer is not None:
            return self.answer
        return {"ok": True, "seq": self.bring(e.CommandRequested(command=command, text=text), "user")}

    def close(self) -> None:
        """Nothing is held."""


def live_app(seq: int = 500) -> tuple[InternApp, MemoryFeed]:
    """The recorded run up to an event, live."""
    feed = MemoryFeed(recorded.events()[:seq])
    return InternApp(Session(Path(f"/runs/{recorded.RUN}"), feed, "live")), feed


def replay_app(to: int | None = None, stored: list[Event] | None = None) -> InternApp:
    """The whole recorded run, as a replay standing at `to`."""
    feed = MemoryFeed(recorded.events() if stored is None else stored)
    return InternApp(Session(Path(f"/runs/{recorded.RUN}"), feed, "replay"), to=to)


def text_of(app: InternApp) -> str:
    """Everything on the screen, as a person would read it."""
    width, height = app.size
    lines = [["".join(s.text for s in strip)] for strip in app.screen._compositor.render_strips()]
    assert len(lines) <= height or width
    return "\n".join(line[0] for line in lines)
