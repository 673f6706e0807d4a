"""How often a schedule starts something: five fields of cron, or one of the Hub's names (@hourly, @daily, ...). Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

from core.errors import UsageError

NAMES = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}  # fmt: skip

FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 7))

_YEARS = 4
"""The calendar repeats its leap days after so many."""


def most_starts(schedule: str, days: int = 30) -> int:
    """The most starts in any `days` days in a row. Raises UsageError where `schedule` is none, or never starts anything."""
    minutes, hours, months_days, months, week_days = _fields(schedule)
    # As cron has it: where both kinds of day are limited, either is enough (crontab(5)).
    whole_month, whole_week = len(months_days) == 31, {d % 7 for d in week_days} == set(range(7))
    either = not whole_month and not whole_week
    fits: Callable[[bool, bool], bool] = (lambda a, b: a or b) if either else (lambda a, b: a and b)
    first = date(2024, 1, 1)
    starts = [
        len(minutes) * len(hours)
        if day.month in months and fits(day.day in months_days, day.isoweekday() % 7 in {d % 7 for d in week_days})
        else 0
        for day in (first + timedelta(n) for n in range(_YEARS * 366 + days))
    ]
    most = max(sum(starts[n : n + days]) for n in range(len(starts) - days + 1))
    if not most:
        raise UsageError(f"{schedule!r} never comes", where="schedule", next="Give a day that there is")
    return most


def _fields(schedule: str) -> list[set[int]]:
    parts = NAMES.get(schedule.strip(), schedule).split()
    if len(parts) != len(FIELDS):
        raise UsageError(
            f"{schedule[:80]!r} is no schedule",
            where="schedule",
            next=f"Give five fields of cron in numbers, or one of {', '.join(NAMES)}",
        )
    return [_values(part, *field) for part, field in zip(parts, FIELDS, strict=True)]


def _values(text: str, name: str, low: int, high: int) -> set[int]:
    """`*`, `5`, `1-5`, `*/15`, `0-30/10` and lists of these."""
    found: set[int] = set()
    for piece in text.split(","):
        span, slash, step = piece.partition("/")
        begin, dash, end = (str(low), "-", str(high)) if span == "*" else span.partition("-")
        end = end if dash else str(high) if slash else begin
        if not (begin.isdigit() and end.isdigit() and (not slash or (step.isdigit() and int(step)))):
            raise UsageError(
                f"the {name} is {text[:40]!r}", where="schedule", next="Use numbers, *, a-b, */n and lists"
            )
        if not low <= int(begin) <= int(end) <= high:
            raise UsageError(f"the {name} is {text[:40]!r}", where="schedule", next=f"It goes from {low} to {high}")
        found |= set(range(int(begin), int(end) + 1, int(step or 1)))
    return found
