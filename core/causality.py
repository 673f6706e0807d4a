"""What an event comes from and what it led to, for somebody who reads the log.

Where a person's command or a diagnosis led to an event, its envelope says so (`cause`). Everything else hangs together by
what the payloads name: a result names its call, a call its step, a metric its job. Such links are found here, so that
they need not be written down a second time, and are there in logs of any age.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from core import events as e
from store.event import Event

Read = Callable[[int, int | None, Collection[str] | None], Iterable[Event]]
"""Stored events between two sequence numbers (both included; None: to the end) of some types (None: of all)."""

LAUNCH = ("job_launched", "job")
CALL = ("tool_requested", "call")
COMES_FROM: dict[str, tuple[str, str]] = {
    "model_requested": ("step_started", "step"),
    "model_completed": ("model_requested", "step"),
    "model_failed": ("model_requested", "step"),
    "step_finished": ("step_started", "step"),
    "workspace_saved": ("step_started", "step"),
    "tool_requested": ("model_completed", "step"),
    **dict.fromkeys(("tool_started", "tool_completed", "tool_failed", "tool_deferred", "call_stalled"), CALL),
    "approval_requested": CALL,
    "job_launched": CALL,
    **dict.fromkeys(("metric_logged", "checkpoint_saved", "alert_raised", "failure_diagnosed", "job_attached"), LAUNCH),
    **dict.fromkeys(("job_paused", "job_resumed", "job_finished", "job_failed", "job_cancelled"), LAUNCH),
    "approval_decided": ("approval_requested", "approval"),
    "question_answered": ("question_asked", "question"),
    "evaluation_finished": ("evaluation_started", "evaluation"),
    "checkpoint_promoted": ("evaluation_finished", "evaluation"),
    "experiment_concluded": ("experiment_started", "experiment"),
}
"""Type of event: the type of what it comes from, and the field in which both name the same."""
ENDS_CALL = frozenset({"tool_completed", "tool_failed", "tool_deferred"})
TURNS = ENDS_CALL | {"tool_started"}
TOLD = frozenset(e.EVENTS) - e.SERIES
"""Types that are named among effects."""
NEAR = 500
"""Events looked through first when a cause is looked for; the next look goes eight times as far."""


def cause_of(event: Event, read: Read) -> int:
    """Sequence number of what led to `event`; 0 where nothing is known to. Raises StoreError."""
    if event.cause:
        return event.cause
    rule = COMES_FROM.get(event.type)
    if rule is not None:
        kind, field = rule
        named = _named(event, field)
        if named is None:
            return 0
        return _latest(event.seq, {kind}, read, lambda before: _named(before, field) == named)
    if event.actor != "agent":
        return 0
    return _call_around(event, read)


def _call_around(event: Event, read: Read) -> int:
    """The call during which the agent recorded something: calls are carried out one at a time."""
    turn = _latest(event.seq, TURNS, read, lambda _: True)
    started = next(iter(read(turn, turn, {"tool_started"})), None) if turn else None
    return cause_of(started, read) if started is not None else 0


def effects_of(event: Event, read: Read, most: int) -> list[int]:
    """Sequence numbers of what `event` led to, at most `most`, oldest first. Raises StoreError."""
    found: list[int] = []
    for later in _led_to(event, read):
        found.append(later.seq)
        if len(found) == most:
            break
    return found


def _led_to(event: Event, read: Read) -> Iterator[Event]:
    inside = False
    """Between the start and the end of the call that `event` asked for."""
    for later in read(event.seq + 1, None, TOLD):
        kind, field = COMES_FROM.get(later.type, ("", ""))
        if later.cause:
            if later.cause == event.seq:
                yield later
        elif kind == event.type:
            named = _named(later, field)
            if named is None or named != _named(event, field):
                continue
            yield later
            inside = inside or later.type == "tool_started"
            if later.type in ENDS_CALL:
                return
        elif inside and not kind and later.actor == "agent":
            yield later


def _latest(before: int, types: Collection[str], read: Read, fits: Callable[[Event], bool]) -> int:
    """The last event in front of `before` that fits; near ones are looked at first, for most causes are near."""
    last, width = before - 1, NEAR
    while last > 0:
        first = max(1, last - width + 1)
        for event in reversed(list(read(first, last, types))):
            if fits(event):
                return event.seq
        last, width = first - 1, width * 8
    return 0


def _named(event: Event, field: str) -> str | int | None:
    """What an event's payload names in a field; a job's effect is named RUN:CALL."""
    payload = e.payload_of(event)
    if field == "call" and isinstance(payload, e.JobLaunched):
        return next(iter(payload.effect_id.split(":")[1:2]), None)
    found = getattr(payload, field, None)
    return found if found not in ("", None) else None
