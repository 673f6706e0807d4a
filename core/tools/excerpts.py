"""Long texts as a brain is given them: within the size of a result, saying what is left out and how to ask for it."""

from __future__ import annotations

from collections.abc import Sequence

from core.literature.papers import Section

MOST = 20_000
"""Characters that are told at once: with its frame a result of this size is not cut."""
LONGEST = 4_000
"""Of one section, where no section was asked for."""


def bodies(sections: Sequence[Section], longest: int) -> tuple[list[dict[str, object]], list[str]]:
    """What is told of the sections, none beyond `longest` characters and all within MOST; and the labels of those that are
    not told in full, so that they can be asked for alone."""
    body: list[dict[str, object]] = []
    cut: list[str] = []
    left = MOST
    for section in sections:
        tables = ["\n".join([f"{t.label}: {t.caption}", *(" | ".join(row) for row in t.rows)]) for t in section.tables]
        whole = [section.text, *tables]
        told: list[str] = []
        room = min(longest, left)
        for part in whole:
            told.append(part[: max(0, room)])
            room -= len(part)
        left -= sum(map(len, told))
        if any(len(a) < len(b) for a, b in zip(told, whole, strict=True)):
            cut.append(section.label)
        if any(told) or not any(whole):
            body.append({"section": section.label, "text": told[0], **({"tables": told[1:]} if tables else {})})
    return body, cut


def lines_from(text: str, first: int) -> dict[str, object]:
    """Lines of a file from number `first` (from 1) on, as many as are told at once, and which of how many these are."""
    lines = text.splitlines(keepends=True)
    begin = max(1, min(first, len(lines) or 1))
    told, end = "", begin - 1
    for line in lines[begin - 1 :]:
        if told and len(told) + len(line) > MOST:
            break
        told, end = told + line[:MOST], end + 1
    where = f"{begin}-{end} of {len(lines)}"
    return {"lines": where, "text": told, **({"next_line": end + 1} if end < len(lines) else {})}
