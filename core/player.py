"""Where a replay stands in a recorded run, and how it moves. Pure: no clock, no thread, no screen.

A `Player` reads any `EventSource` (a file or a live host). Its position is a sequence number and a time; its state is
always exactly the fold of the events up to that number. Seeking back uses snapshots kept every so many events; playing
folds forward. The caller owns the clock: `advance(seconds)` moves by that much wall time at the current speed.

Time in a run is the envelope's `ts` made monotonic (a clock that was set back does not turn time round).
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, islice

import msgspec

from core.events import PlanStep, PlanUpdated, payload_of
from core.fold import Folder
from core.state import Mark, RunState, from_bytes, to_bytes
from store.event import Event
from store.source import EventSource, Span

SPEEDS = (1, 2, 5, 10, 20, 50, 100)
SNAPSHOTS = 512
"""Most snapshots kept; beyond that every second one is dropped and the distance doubles. At a million events they lie
2,000 apart: a seek reads and folds that many at most. One has about 10 kB."""
KEEP = 50_000
"""Events that stay in memory (about 600 bytes each)."""


class Index(msgspec.Struct):
    """What a player must know of the whole run: times, marks, plan steps, snapshots. Built by reading it once."""

    times: array[int]
    """Monotonic microseconds of event 1, 2, ..."""
    marks: list[Mark]
    plan_steps: list[int]
    """Sequence numbers at which another plan step became the current one."""
    snapshots: dict[int, bytes]
    """Compressed states by sequence number (`pack`)."""
    spacing: int
    final: bytes
    """The state after the last event."""
    kept: list[Event] | None = None
    """All events, where they are few enough to stay in memory; otherwise they are read again."""


class Indexer:
    """Builds an `Index` event by event; `extend` may be called again when a live run has grown."""

    def __init__(self, spacing: int = 2000) -> None:
        self._folder = Folder()
        self._times: array[int] = array("q")
        self._steps: list[int] = []
        self._doing: tuple[str, ...] = ()
        self._snapshots: dict[int, bytes] = {}
        self._spacing = spacing
        self._kept: list[Event] | None = []

    @property
    def seq(self) -> int:
        """The last event seen."""
        return len(self._times)

    def extend(self, events: Iterable[Event]) -> None:
        for event in events:
            self._add(event)

    def extend_by(self, span: Span) -> None:
        """The same for many events, which are not kept."""
        self._kept = None
        while span.times:
            piece, span = span.until(self.seq - self.seq % self._spacing + self._spacing)
            self._folder.apply_span(piece)
            before = self._times[-1:].tolist() or [piece.times[0]]
            self._times.extend(islice(accumulate(piece.times, max, initial=before[0]), 1, None))
            for record in piece.records:
                if record.type == "plan_updated" and isinstance(plan := payload_of(record), PlanUpdated):
                    self._plan(record.seq, plan.steps)
            self._snapshot_if_due()

    def _add(self, event: Event) -> None:
        state = self._folder.state
        self._folder.apply(event)
        self._times.append(max(event.ts, self._times[-1] if self._times else event.ts))
        if self._kept is not None:
            self._kept.append(event)
            if len(self._kept) > KEEP:
                self._kept = None
        if event.type == "plan_updated":
            self._plan(event.seq, state.plan)
        self._snapshot_if_due()

    def _plan(self, seq: int, steps: Sequence[PlanStep]) -> None:
        doing = tuple(s.id for s in steps if s.status == "doing")
        if doing and doing != self._doing:
            self._steps.append(seq)
        self._doing = doing

    def _snapshot_if_due(self) -> None:
        if self.seq % self._spacing == 0:
            self._snapshots[self.seq] = pack(self._folder.state)
            if len(self._snapshots) > SNAPSHOTS:
                self._spacing *= 2
                self._snapshots = {s: b for s, b in self._snapshots.items() if s % self._spacing == 0}

    def index(self) -> Index:
        state = self._folder.state
        return Index(
            times=self._times,
            marks=list(state.marks),
            plan_steps=list(self._steps),
            snapshots=dict(self._snapshots),
            spacing=self._spacing,
            final=to_bytes(state),
            kept=self._kept,
        )


class Player:
    """A position in a run. All moves return the new sequence number; `state()` folds to it."""

    def __init__(self, source: EventSource, index: Index, speed: int = 1) -> None:
        self.source = source
        self.index = index
        self.speed = nearest_speed(speed)
        self.playing = False
        self.seq = 0
        self._folder = Folder()
        self.clock_us = self.start_us
        self.seek(1 if self.last_seq else 0)

    # ---------------------------------------------------------------------------------------------------- the run

    @property
    def last_seq(self) -> int:
        return len(self.index.times)

    @property
    def start_us(self) -> int:
        return self.index.times[0] if self.index.times else 0

    @property
    def end_us(self) -> int:
        return self.index.times[-1] if self.index.times else 0

    @property
    def at_end(self) -> bool:
        return self.seq >= self.last_seq and self.clock_us >= self.end_us

    def time_of(self, seq: int) -> int:
        """Microseconds of an event (1 to last)."""
        return self.index.times[min(max(seq, 1), self.last_seq) - 1] if self.last_seq else 0

    def seq_at(self, time_us: int) -> int:
        """The last event at or before a time; the first event for any time before it."""
        return max(bisect_right(self.index.times, time_us), min(1, self.last_seq))

    # -------------------------------------------------------------------------------------------------- moving

    def seek(self, seq: int) -> int:
        """Go to an event; the clock stands at its time."""
        self.seq = min(max(seq, min(1, self.last_seq)), self.last_seq)
        self.clock_us = self.time_of(self.seq)
        return self.seq

    def seek_time(self, time_us: int) -> int:
        """Go to a moment, also one at which nothing happened."""
        self.clock_us = min(max(time_us, self.start_us), self.end_us)
        self.seq = self.seq_at(self.clock_us)
        return self.seq

    def advance(self, seconds: float) -> int:
        """Let `seconds` of wall time pass; nothing moves unless playing. Stops at the end."""
        if self.playing and seconds > 0:
            self.seek_time(self.clock_us + int(seconds * self.speed * 1e6))
            if self.clock_us >= self.end_us:
                self.playing = False
        return self.seq

    def toggle(self) -> bool:
        """Play or pause; at the end, play starts over."""
        if not self.playing and self.at_end:
            self.seek(1)
        self.playing = not self.playing and self.last_seq > 0
        return self.playing

    def step(self, events: int) -> int:
        """By events; playing stops so that the event can be read."""
        self.playing = False
        return self.seek(self.seq + events)

    def skip(self, seconds: float) -> int:
        return self.seek_time(self.clock_us + int(seconds * 1e6))

    def mark(self, direction: int, more: Iterable[Mark] = ()) -> int:
        """To the next (1) or previous (-1) mark, if there is one; `more` are marks that are not in the log."""
        return self._among(sorted(m.seq for m in (*self.index.marks, *more)), direction)

    def plan_step(self, direction: int) -> int:
        return self._among(self.index.plan_steps, direction)

    def _among(self, seqs: list[int], direction: int) -> int:
        if direction > 0:
            at = bisect_right(seqs, self.seq)
            return self.seek(seqs[at]) if at < len(seqs) else self.seq
        at = bisect_left(seqs, self.seq)
        return self.seek(seqs[at - 1]) if at > 0 else self.seq

    def home(self) -> int:
        return self.seek(1)

    def end(self) -> int:
        return self.seek(self.last_seq)

    def faster(self, direction: int) -> int:
        """The next speed up (1) or down (-1); returns it."""
        at = min(max(SPEEDS.index(self.speed) + direction, 0), len(SPEEDS) - 1)
        self.speed = SPEEDS[at]
        return self.speed

    # --------------------------------------------------------------------------------------------------- the state

    def state(self) -> RunState:
        """The fold of events 1 to `seq`. The object is moved on by later calls: copy it to keep it."""
        if self._folder.state.seq > self.seq or self._worth_a_jump():
            self._folder = Folder(self._snapshot_before(self.seq))
        at = self._folder.state.seq
        if at < self.seq:
            kept = self.index.kept
            if kept is None:
                self._folder.follow(self.source, self.seq)
            for event in kept[at : self.seq] if kept is not None else ():
                self._folder.apply(event)
        return self._folder.state

    def _worth_a_jump(self) -> bool:
        snapshot = self.seq - self.seq % self.index.spacing
        return snapshot in self.index.snapshots and snapshot > self._folder.state.seq

    def _snapshot_before(self, seq: int) -> RunState:
        if seq == self.last_seq and self.last_seq:
            return from_bytes(self.index.final)
        best = max((s for s in self.index.snapshots if s <= seq), default=0)
        return unpack(self.index.snapshots[best]) if best else RunState()


def pack(state: RunState) -> bytes:
    """A snapshot in about a fifth of its size; hundreds of them are held in memory."""
    return zlib.compress(to_bytes(state), 1)


def unpack(snapshot: bytes) -> RunState:
    return from_bytes(zlib.decompress(snapshot))


def nearest_speed(speed: float) -> int:
    return min(SPEEDS, key=lambda s: abs(s - speed))


def parse_place(text: str, player: Player) -> int | None:
    """The sequence number meant by `412`, `#412`, `1:30` (minutes and seconds in), `1:02:03`, `90s`, `5m` or `50%`."""
    text = text.strip().lower()
    if not text:
        return None
    try:
        if text.endswith("%"):
            span = player.end_us - player.start_us
            return player.seq_at(player.start_us + int(span * float(text[:-1]) / 100))
        if ":" in text:
            seconds = 0.0
            for part in text.split(":"):
                seconds = seconds * 60 + float(part)
            return player.seq_at(player.start_us + int(seconds * 1e6))
        for suffix, unit in (("s", 1.0), ("m", 60.0), ("h", 3600.0)):
            if text.endswith(suffix):
                return player.seq_at(player.start_us + int(float(text[:-1]) * unit * 1e6))
        return min(max(int(text.lstrip("#")), 1), player.last_seq)
    except (ValueError, OverflowError):
        return None
