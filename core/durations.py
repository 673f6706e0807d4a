"""Lengths of time as people and scripts write them: "10 hours", "1h30m", "half an hour", "9:58", "35880 seconds left".

Pure; used for the time limit in a task's text and for what a timer prints.
"""

from __future__ import annotations

import re

_WORDS = {
    "half": 0.5, "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "fifteen": 15, "sixteen": 16, "eighteen": 18, "twenty": 20,
    "twenty-four": 24, "thirty": 30, "forty": 40, "forty-five": 45, "forty-eight": 48, "sixty": 60, "ninety": 90,
}  # fmt: skip
_UNITS = {"d": 24.0, "h": 1.0, "m": 1 / 60, "s": 1 / 3600}
_ANY_WORD = "|".join(sorted(_WORDS, key=len, reverse=True))
_SPAN = re.compile(
    rf"(?<![\w.,:/-])(?P<amount>\d{{1,3}}(?:,\d{{3}})+|\d+(?:[.,]\d+)?|(?:{_ANY_WORD})(?![\w-]))"
    r"[\s\u00a0\u202f-]*(?:\(\s*[\w.]+\s*\)\s*)?(?:(?:full|whole|wall[- ]?clock|gpu|an?)[\s-]+)?"  # 10 (ten) GPU hours
    r"(?P<unit>days?|hours?|hrs?|(?-i:h)|minutes?|mins?|(?-i:(?<=\d)m)|seconds?|secs?|(?-i:s))(?![A-Za-z])(?P<half>\s+and\s+a\s+half\b)?",
    re.IGNORECASE,
)
_GLUE = re.compile(r"\s*(?:,?\s*and|,|&|\+)?\s*", re.IGNORECASE)
_CLOCK = re.compile(r"(?<![\w:.])(\d{1,4}):([0-5]\d)(?::([0-5]\d)(?:\.\d+)?)?(?![\d:])")
_LEFT = re.compile(r"remain|left|until|budget", re.IGNORECASE)
_OTHER_TIME = re.compile(r"\b(now|current|date|start\w*|began|end\w*|elapsed|used|spent|deadline|utc)\b", re.IGNORECASE)
_OVER = re.compile(
    r"expired|time'?s? (?:is )?(?:up|over)|out of time|no (?:more )?time|timeout|timed out|overtime", re.IGNORECASE
)


def spans(text: str) -> list[tuple[int, float]]:
    """(position, hours) of every length of time in a text. Parts that belong together ("2 hours and 30 minutes") are one."""
    text = re.sub(r"[*_`]", " ", text)
    text = re.sub(r"(?i)\b(?:one|an?) and a half (?=hour|minute|day)", "1.5 ", text)
    text = re.sub(r"(?i)(?<=\d)h(\d{1,2})(?![\w.:])", r"h \1m", text)  # 1h30
    text = re.sub(r"(?i)(?<=\d)([dhm])(?=\d)", r"\1 ", text)  # 1h30m
    joined: list[tuple[int, float]] = []
    end, last = -1, 0.0
    for found in _SPAN.finditer(text):
        unit = _UNITS[found["unit"][0].lower()]
        said = found["amount"].lower()
        amount = _WORDS[said] if said in _WORDS else _number(said)
        hours = (amount + (0.5 if found["half"] else 0.0)) * unit
        if joined and unit < last and _GLUE.fullmatch(text[end : found.start()]):
            joined[-1] = (joined[-1][0], joined[-1][1] + hours)
        else:
            joined.append((found.start(), hours))
        end, last = found.end(), unit
    return joined


def _number(said: str) -> float:
    """1,5 is a decimal number, 36,000 is not."""
    thousands = re.fullmatch(r"\d{1,3}(,\d{3})+", said)
    return float(said.replace(",", "" if thousands else "."))


def time_left(said: str, told: float | None = None) -> float | None:
    """Hours that are left by what a timer printed; 0 where it says that the time is over, None where it says nothing.

    `told`: the limit in hours, if known: it tells the unit of a bare number.
    """
    if _OVER.search(said):
        return 0.0
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    best: tuple[int, float] | None = None
    for at, line in enumerate(lines):
        hours = _of_line(line, lines[at - 1] if at else "", told)
        if hours is None:
            continue
        about = line if len(line) > 8 or not at else f"{lines[at - 1]} {line}"
        rank = 2 * bool(_LEFT.search(about)) - bool(_OTHER_TIME.search(about) and not _LEFT.search(line))
        if best is None or rank >= best[0]:
            best = rank, hours
    return best[1] if best else None


def _of_line(line: str, before: str, told: float | None) -> float | None:
    line = re.sub(r"\d{4}-\d\d-\d\d[T ]\S+", " ", line)
    over = re.search(r"(?<![\w:])-\s*\d", line)
    clock = _CLOCK.search(line)
    if clock:
        first, second, third = int(clock[1]), int(clock[2]), int(clock[3] or 0)
        minutes = clock[3] is None and re.search(
            r"minutes?\s*:\s*seconds?|m+\s*:\s*ss", f"{before} {line}", re.IGNORECASE
        )
        hours = first / 60 + second / 3600 if minutes else first + second / 60 + third / 3600
        return 0.0 if over else hours
    found = spans(line)
    if found:
        return 0.0 if over else found[-1][1]
    bare = re.fullmatch(r"(?:[A-Za-z_ ().]+[:=])?\s*(-?\d+(?:\.\d+)?)", line)
    return _bare(float(bare[1]), f"{before} {line}", told) if bare else None


def _bare(number: float, about: str, told: float | None) -> float | None:
    """A number without a unit: the unit of the heading, else the reading that is nearest to the limit and not above it."""
    named = re.findall(r"(?i)(?<![a-z])(hours?|minutes?|mins?|seconds?|secs?|_s|\(s\)|\(h\))(?![a-z])", about)
    if number <= 0:
        return 0.0
    if named:
        return number * _UNITS[named[-1].strip("_()")[0].lower()]
    if told is None:
        return None
    readings = [number * unit for unit in (1.0, 1 / 60, 1 / 3600) if number * unit <= 1.05 * told]
    return max(readings, default=None)
