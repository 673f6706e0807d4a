"""Search inside the papers that were read: the paragraphs and tables that answer a question, each with its place."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from core.literature.papers import PaperText, Section
from core.literature.rank import Index, words


class Snippet(msgspec.Struct, frozen=True, kw_only=True):
    """A paragraph or table that matches."""

    paper: str
    place: str
    """`Section 4.1 (Setup), paragraph 2`, or `Table 3`."""
    text: str
    score: float


def find(query: str, texts: Iterable[PaperText], *, limit: int = 8, max_chars: int = 1_200) -> list[Snippet]:
    """The best paragraphs, best first; ties in reading order. Longer ones are cut at `max_chars` with an ellipsis."""
    pieces = [piece for text in texts for section in text.sections for piece in _pieces(text.id, section)]
    scores = Index([words(f"{place} {body}") for _, place, body in pieces]).scores(query)
    order = sorted(range(len(pieces)), key=lambda at: (-scores[at], at))
    return [
        Snippet(
            paper=paper,
            place=place,
            text=body if len(body) <= max_chars else body[: max_chars - 1] + "…",
            score=round(scores[at], 4),
        )
        for at in order[:limit]
        if scores[at] > 0
        for paper, place, body in [pieces[at]]
    ]


def paragraphs(section: Section) -> list[tuple[str, str]]:
    """The section's paragraphs, each with its place."""
    parts = [part.strip() for part in section.text.split("\n\n") if part.strip()]
    return [(f"{section.label}, paragraph {at}", part) for at, part in enumerate(parts, start=1)]


def _pieces(paper: str, section: Section) -> list[tuple[str, str, str]]:
    found = [(paper, place, part) for place, part in paragraphs(section)]
    for table in section.tables:
        rows = "\n".join(" | ".join(row) for row in table.rows)
        found.append((paper, f"{table.label} ({section.label})", f"{table.caption}\n{rows}".strip()))
    return found
