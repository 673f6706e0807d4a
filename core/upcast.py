"""Older versions of events, made what this version of the program understands.

A log is never rewritten. When an event changes its meaning, its class in `core/events.py` gets the next version, and
here stands the step from the one before: a function from the old payload (a plain object) to the new one. Reading
applies all steps in a row, so each is written once, for the version it leaves.

    @upcaster("evaluation_finished", 1)
    def _(payload: dict[str, Any]) -> dict[str, Any]:
        "Version 2 gives the score as a fraction; version 1 gave percent."
        return {**payload, "score": payload["score"] / 100}

A field that is only added needs no step: its default stands for older events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Step = Callable[[dict[str, Any]], dict[str, Any]]

STEPS: dict[tuple[str, int], Step] = {}
"""By event type and the version a step leaves."""


def upcaster(type: str, leaves: int) -> Callable[[Step], Step]:
    """Register the step from version `leaves` of an event type to the next."""

    def register(step: Step) -> Step:
        if (type, leaves) in STEPS:
            raise ValueError(f"there is a step from version {leaves} of {type!r} already")
        STEPS[type, leaves] = step
        return step

    return register


def upcast(type: str, version: int, current: int, payload: dict[str, Any]) -> dict[str, Any] | None:
    """The payload as version `current` has it; None where a step is missing or cannot read what it was given."""
    for leaves in range(version, current):
        step = STEPS.get((type, leaves))
        if step is None:
            return None
        try:
            payload = step(payload)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            return None
    return payload
