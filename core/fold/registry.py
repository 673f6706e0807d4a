"""Which handler folds which type of event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from core import events as e
from core.state import Mark, RunState
from store.event import Record

Handler = Callable[[RunState, Record, Any], None]
P = TypeVar("P", bound=e.Payload)
HANDLERS: dict[str, Handler] = {}


def on(cls: type[P]) -> Callable[[Callable[[RunState, Record, P], None]], Callable[[RunState, Record, P], None]]:
    """Register the handler of one event type."""

    def register(function: Callable[[RunState, Record, P], None]) -> Callable[[RunState, Record, P], None]:
        HANDLERS[cls.type] = function
        return function

    return register


def mark(state: RunState, event: Record, kind: str, text: str) -> None:
    """Put a mark on the timeline."""
    state.marks.append(Mark(event.seq, event.ts, kind, text))
