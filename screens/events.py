"""Events: the whole log, one line an event, however long. Only the window that is seen is read."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Input

from core.describe import QUIET, describe
from core.events import payload_of
from screens.base import RunScreen
from screens.keys import bindings
from screens.pane import Pane
from screens.text import Row, clock, cut, fit, row
from screens.view import View
from screens.widgets.plan import empty
from store.event import Event
from store.source import EventSource

PAGE = 200
"""Events read at once."""
PAGES = 40
"""Pages kept: 8,000 events."""
MATCHES = 10_000
ROLE = {"good": "good", "bad": "bad", "waiting": "waiting"}


FIELDS = {"type": "type", "actor": "actor"}
HOW = "words, type:job_*, actor:user, cause:412, seq:100-200; -type:gpu_* leaves out"
TELLING = "is:telling"
"""The filter word that leaves out samples, metrics and the marks of steps."""


def condition(text: str) -> str:
    """A filter as SQL over the event columns: every word must fit, none with a minus before it may. Pure; the words
    cannot leave their quotes."""
    parts: list[str] = []
    for word in text.split():
        negative = word.startswith("-") and len(word) > 1
        part = _one(word[1:] if negative else word)
        parts.append(f"NOT ({part})" if negative else part)
    return " AND ".join(parts) or "true"


def _one(word: str) -> str:
    name, _, value = word.partition(":")
    first, _, last = value.partition("-")
    if word == TELLING:
        return f"type NOT IN ({', '.join(repr(t) for t in sorted(QUIET))})"
    if name in FIELDS and value:
        return f"{FIELDS[name]} ILIKE {_like(value)} ESCAPE '!'"
    if name == "cause" and value.isdecimal():
        return f"coalesce(cause, 0) = {int(value)}"
    if name == "seq" and first.isdecimal() and (not last or last.isdecimal()):
        return f"seq BETWEEN {int(first)} AND {int(last or first)}"
    anywhere = _like(f"*{word}*")
    columns = ("type", "actor", "payload::VARCHAR")
    return "(" + " OR ".join(f"{c} ILIKE {anywhere} ESCAPE '!'" for c in columns) + ")"


def _like(text: str) -> str:
    """`text` as an SQL pattern in which only `*` stands for anything."""
    quoted = text.replace("'", "''").replace("!", "!!").replace("%", "!%").replace("_", "!_").replace("*", "%")
    return f"'{quoted}'"


def matching(source: EventSource, text: str, last: int, after: int = 0) -> list[int]:
    """Sequence numbers of the newest events behind `after` that fit the filter, oldest first."""
    span = f"seq > {int(after)} AND seq <= {int(last)}"
    query = f"SELECT seq FROM events WHERE {span} AND {condition(text)} ORDER BY seq DESC LIMIT {MATCHES}"
    return [int(r[0]) for r in reversed(source.sql(query, limit=MATCHES).rows)]


class EventList(Pane):
    """Rows are events in order; it stays at the end until the cursor leaves it."""

    NAME = "Events"
    LETTER = "f"
    KEEPS_CHOICE = True

    def __init__(self) -> None:
        super().__init__(id="eventlist")
        self.filter = ""
        self.matches: list[int] | None = None
        """Sequence numbers to show; None for all."""
        self.found: list[int] = []
        """What the last filter of a person showed: `n` and `N` go there among all events too."""
        self.searched = 0
        """Up to which event the filter has looked."""
        self._pages: dict[int, dict[int, Event]] = {}
        self._asked: set[int] = set()
        self._last = 0
        self._follow = True

    def title(self, view: View) -> str:
        if self.filter:
            found = len(self.matches) if self.matches is not None else 0
            what = "without samples" if self.filter == TELLING else f"with {self.filter!r}"
            return f"Events {what}: {found}{'+' if found >= MATCHES else ''} of {self._last}"
        return f"Events: {self._last}"

    def subtitle(self, view: View) -> str:
        quiet = "e shows all" if self.filter == TELLING else "e leaves out samples"
        return f"Enter shows it   / filters   {'Esc shows all' if self.filter and self.filter != TELLING else quiet}"

    def prepare(self, view: View, width: int, height: int) -> None:
        self._last = view.state.seq
        if self._follow and self.cursor < 0:
            self._top = max(0, self.count() - height)

    def count(self) -> int:
        return len(self.matches) if self.matches is not None else self._last

    def window(self, top: int, height: int, width: int) -> list[Row]:
        if not self.count():
            what = f"Nothing holds {self.filter!r}." if self.filter else "The log is empty."
            return empty(width, what, "Events appear here as they are committed.")
        seqs = range(top + 1, min(top + height, self._last) + 1)
        wanted = self.matches[top : top + height] if self.matches is not None else list(seqs)
        return [self._event_row(seq, width) for seq in wanted]

    def _event_row(self, seq: int, width: int) -> Row:
        event = self._event(seq)
        if event is None or self._view is None:
            return row((f"{seq:>7} …", "dim"), seq=seq)
        text, level = describe(event, payload_of(event))
        when = clock(self._view.since_start(event.ts))
        head = f"{seq:>7} {when} "
        kind = fit(event.type, 22) + " " if width >= 90 else ""
        body = cut(text, width - len(head) - len(kind))
        return row((head, "dim"), (kind, "mark"), (body, ROLE.get(level, "")), seq=seq)

    def _event(self, seq: int) -> Event | None:
        page = seq // PAGE
        found = self._pages.get(page, {}).get(seq)
        if found is None and page not in self._asked:
            self._ask(page)
        return found

    def _ask(self, page: int) -> None:
        """Read a page in the background and draw again."""
        self._asked.add(page)
        desk = self.screen.desk  # pyright: ignore[reportAttributeAccessIssue]
        first = page * PAGE

        def came(events_: list[Event]) -> None:
            self._asked.discard(page)
            self._pages[page] = {event.seq: event for event in events_}
            while len(self._pages) > PAGES:
                self._pages.pop(next(iter(self._pages)))
            self._draw()

        desk.in_background(lambda: list(desk.source().events(max(first, 1), first + PAGE - 1)), came)

    def move(self, by: int) -> None:
        if self.cursor < 0 and by < 0:
            self.set_reactive(Pane.cursor, self.count())
        super().move(by)
        if self.cursor >= self.count() - 1 and by > 0:
            self.clear_cursor()
        self._follow = self.cursor < 0

    def source_seq(self) -> int:
        selected = self.selected_row
        return selected.seq if selected is not None else self._last

    def go_to(self, seq: int) -> None:
        """Among all events: the cursor on one, in the middle of what is around it."""
        self._follow = False
        self.cursor = seq - 1
        self._top = max(0, self.cursor - self.content_size.height // 2)
        self._draw()

    def go_to_match(self, by: int) -> bool:
        """Among all events: the next one the last filter showed, seen from the cursor; False where there is none."""
        here = self.cursor + 1 or self._last + 1
        known = [seq for seq in self.found if seq <= self._last and (seq > here if by > 0 else seq < here)]
        if known:
            self.go_to(known[0] if by > 0 else known[-1])
        return bool(known)

    def go_on(self, found: list[int], searched: int) -> None:
        """The log has grown: what fits the filter of it."""
        if self.matches is not None:
            self.matches = (self.matches + found)[-MATCHES:]
            self.searched = searched
            self._draw()

    def show_only(self, text: str, matches: list[int] | None, searched: int = 0) -> None:
        """Only what fits; with nothing asked for all, at the event that was chosen."""
        chosen = self.source_seq() if self.cursor >= 0 else 0
        if matches is not None and text != TELLING:
            self.found = matches
        self.filter, self.matches, self.searched = text, matches, searched
        self._follow = True
        self.clear_cursor()
        if matches is None and chosen:
            self.go_to(chosen)
        if self._view is not None:
            self.show(self._view)


class Events(RunScreen):
    """The log, with `/` to filter by type, actor, cause, number or anything in the payload."""

    NAME = "events"
    BINDINGS: ClassVar[list[BindingType]] = list(bindings("events"))
    DEFAULT_CSS: ClassVar[str] = """
    Events #eventlist { height: 1fr; }
    Events #find { display: none; height: 3; border: round $primary; padding: 0 1; }
    """

    def body(self) -> ComposeResult:
        yield EventList()
        box = Input(id="find", placeholder=HOW, select_on_focus=False)
        box.border_title = "Show events that fit every word (empty: all)"
        yield box

    _searching = False

    def show(self, view: View) -> None:
        """A filter follows the run: what came since is searched, and in a replay nothing of the future is shown."""
        super().show(view)
        pane = self.query_one(EventList)
        if pane.matches is None or self._searching or view.state.seq == pane.searched:
            return
        text, last, after = pane.filter, view.state.seq, pane.searched
        if last < after:
            self._filter(text)
            return

        def came(found: list[int]) -> None:
            if pane.filter == text and pane.searched == after:
                pane.go_on(found, last)

        self.desk.in_background(lambda: self._search(text, last, after), came)

    def _search(self, text: str, last: int, after: int = 0) -> list[int]:
        """In a thread; one at a time while a run goes on."""
        self._searching = True
        try:
            return matching(self.desk.source(), text, last, after)
        finally:
            self._searching = False

    def _filter(self, text: str) -> None:
        """Show only what fits; all of it where nothing is asked for."""
        pane = self.query_one(EventList)
        if not text:
            pane.show_only("", None)
            return
        last = self.desk.view.state.seq if self.desk.view is not None else 0
        self.desk.in_background(lambda: self._search(text, last), lambda found: pane.show_only(text, found, last))

    def action_telling(self) -> None:
        self._filter("" if self.query_one(EventList).filter == TELLING else TELLING)

    async def action_find(self) -> None:
        box = self.query_one("#find", Input)
        box.display = True
        box.focus()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        self._close_find()
        self._filter(message.value.strip())

    def on_key(self, event: events.Key) -> None:
        if event.key != "escape":
            return
        event.stop()
        if self.query_one("#find", Input).display:
            self._close_find()
        else:
            self.query_one(EventList).show_only("", None)

    def _close_find(self) -> None:
        self.query_one("#find", Input).display = False
        self.query_one(EventList).focus()

    def action_match(self, by: int) -> None:
        pane = self.query_one(EventList)
        if pane.matches is not None:
            pane.move(by)
        elif not pane.found:
            self.desk.notice("filter first: /", "dim")
        elif not pane.go_to_match(by):
            self.desk.notice("no further match", "dim")
