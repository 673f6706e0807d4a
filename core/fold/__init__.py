"""The fold: events in, RunState out. Replay, live panes and recovery all use it.

`fold(state, events)` is pure: it leaves `state` as it was. `Folder` is the same code for those who follow a run event by
event and keep the state to themselves (no copy an event: a million events fold in seconds). The modules beside this one
hold a handler a type; a type without one only moves `seq`, `ts` and the feed. No handler may walk through all there has
been: a long run would pay for it with the square of its length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from core import events as e
from core.describe import QUIET, describe, telling
from core.fold import agent, jobs, judgement, research, resources, run
from core.fold.registry import HANDLERS
from core.state import FEED_CUT, FEED_LENGTH, GAP_US, FeedLine, RunState, copy, kept_of
from core.tables import TABLES
from store.event import Record
from store.source import EventSource, Span

if TYPE_CHECKING:
    from store.columns import Columns

_TURNS = (e.RunStarted, e.RunPaused, e.RunResumed, e.RunFinished, e.RunForked, e.RunCreated)
_READS = (e.ExperimentStarted, e.ExperimentConcluded)
CLOCK = frozenset(x.type for x in (*_TURNS, *_READS))
"""Types after which time counts, or no longer does, and those whose handlers note the time used."""

REGISTERED = (agent, jobs, judgement, research, resources, run)
"""Importing them registers their handlers."""


def fold(state: RunState, events: Iterable[Record]) -> RunState:
    """The state after `events`."""
    folder = Folder(copy(state))
    for event in events:
        folder.apply(event)
    return folder.state


class Folder:
    """Owns one RunState and moves it forward."""

    def __init__(self, state: RunState | None = None) -> None:
        self.state = state if state is not None else RunState()

    def apply(self, event: Record) -> None:
        """Move on by one event."""
        state = self.state
        self._spend((event.ts,), state.ts)
        payload = self._handle(event)
        state.seq = event.seq
        if event.ts > state.ts:  # a clock that went back must not turn time round
            state.ts = event.ts
        if telling(event, payload):
            state.feed.append(_line(event, payload))
            if len(state.feed) > FEED_LENGTH:
                del state.feed[:FEED_CUT]

    def follow(self, source: EventSource, to_seq: int | None = None) -> None:
        """Move on by all that `source` has after the present event, up to `to_seq` (default: its last)."""
        for span in source.spans(self.state.seq + 1, to_seq, TABLES):
            self.apply_span(span)

    def apply_span(self, span: Span) -> None:
        """As `apply` for each of many events: only the end of it can be seen, so what it does not show is left out."""
        told, count = deque[tuple[Record, e.Payload | None]](maxlen=FEED_LENGTH), 0
        columns = [_Pending(part) for part in span.columns]
        spent = 0  # events whose time was counted; which count is what these types decide
        reached = self.state.ts
        by_type = {part.type: part for part in columns}
        for event in span.records:
            kind = event.type
            if kind in by_type:
                by_type[kind].fold_before(self.state, event.seq)
            if kind in CLOCK:
                upto = event.seq - span.first + 1
                reached = self._spend(span.times[spent:upto], reached)
                spent = upto
            if kind in HANDLERS:
                payload = self._handle(event)
                if kind not in QUIET and telling(event, payload):
                    told.append((event, payload))
                    count += 1
            elif kind not in QUIET:
                told.append((event, None))
                count += 1
        for part in columns:
            part.fold_before(self.state, span.last + 1)
        self._spend(span.times[spent:], reached)
        self.state.seq, self.state.ts = span.last, max(self.state.ts, max(span.times, default=0))
        self._tell(told, count)

    def _spend(self, times: Sequence[int], reached: int) -> int:
        """Count the time from `reached` to each of `times` in turn, where it is time of the run; returns the latest."""
        if not self.state.clock_runs:
            return max(reached, max(times, default=0))
        used = 0
        for ts in times:
            if ts > reached:  # a clock that went back must not count twice
                used += ts - reached if ts - reached < GAP_US else GAP_US
                reached = ts
        self.state.budget.used_us += used
        return reached

    def _handle(self, event: Record) -> e.Payload:
        payload = e.payload_of(event)
        handler = HANDLERS.get(event.type)
        if handler is not None and not isinstance(payload, e.Unknown):
            handler(self.state, event, payload)
        return payload

    def _tell(self, told: Iterable[tuple[Record, e.Payload | None]], count: int) -> None:
        """Extend the feed by `count` lines, of which the last ones are at hand; only those that stay are written."""
        feed = self.state.feed
        kept = kept_of(len(feed), count, FEED_LENGTH, FEED_CUT)
        lines = [_line(event, payload or e.payload_of(event)) for event, payload in list(told)[-kept:]] if count else []
        self.state.feed = [*feed[len(feed) - (kept - len(lines)) :], *lines]


class _Pending:
    """The columns of a span, folded up to some event."""

    def __init__(self, rows: Columns) -> None:
        from core.fold.bulk import BULK  # numpy, which a short log does without

        self.type = rows.type
        self._rows = rows
        self._fold = BULK[rows.type]
        self._at = 0

    def fold_before(self, state: RunState, seq: int) -> None:
        """Fold the rows before event `seq` that were not folded yet."""
        end = int(self._rows.seq.searchsorted(seq))
        if end > self._at:
            self._fold(state, self._rows.part(self._at, end))
            self._at = end


def _line(event: Record, payload: e.Payload) -> FeedLine:
    text, level = describe(event, payload)
    return FeedLine(event.seq, event.ts, event.type, event.actor, text, level)
