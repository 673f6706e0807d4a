"""The citation graph: Semantic Scholar first, OpenAlex when it fails, and walks of several hops within a budget."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from core.literature.errors import LiteratureError
from core.literature.ids import find_arxiv_id
from core.literature.openalex import OpenAlex
from core.literature.papers import Citation, CitationList, Direction
from core.literature.semantic_scholar import SemanticScholar

Lookup = Callable[[str, Direction], CitationList]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """An edge met on a walk: from which paper, at which distance from the start."""

    hop: int
    origin: str
    citation: Citation


class CitationGraph:
    """Edges of a paper, from the first source that answers."""

    def __init__(self, first: SemanticScholar, second: OpenAlex) -> None:
        self._first = first
        self._second = second

    def edges(self, paper_id: str, direction: Direction, limit: int) -> CitationList:
        """Up to `limit` edges. `source` and `notes` say who answered and who did not. Raises the first source's error
        if neither did."""
        try:
            return self._first.edges(paper_id, direction, limit)
        except LiteratureError as first:
            try:
                found = self._second.edges(paper_id, direction, limit)
            except LiteratureError as second:
                raise type(first)(
                    f"{first.what}; OpenAlex: {second.what}", where=first.where, next=first.next
                ) from first
            return msgspec.structs.replace(found, notes=(f"Semantic Scholar: {first.what}", *found.notes))


def walk(lookup: Lookup, start: str, direction: Direction, *, hops: int, budget: int, width: int = 3) -> list[Step]:
    """Follow edges outwards, breadth first, asking at most `budget` papers.

    From each paper the `width` most telling edges are followed: influential first, then used as method, then recent,
    then most cited. Papers that are not on arXiv are listed but not followed. A paper whose lookup fails ends that
    branch only, unless it is the start.
    """
    steps: list[Step] = []
    seen = {start}
    frontier = [start]
    for hop in range(1, hops + 1):
        following: list[str] = []
        for origin in frontier:
            if budget <= 0:
                return steps
            budget -= 1
            try:
                edges = lookup(origin, direction).items
            except LiteratureError:
                if origin == start:
                    raise
                continue
            fresh = [edge for edge in sorted(edges, key=_telling) if edge.paper.id not in seen]
            seen.update(edge.paper.id for edge in fresh)
            steps += [Step(hop=hop, origin=origin, citation=edge) for edge in fresh]
            following += [edge.paper.id for edge in fresh if find_arxiv_id(edge.paper.id)][:width]
        frontier = following
    return steps


def _telling(edge: Citation) -> tuple[int, int, int, int, str]:
    """Sort key, most telling first."""
    return (
        0 if edge.influential else 1,
        0 if "methodology" in edge.intents else 1,
        -(edge.paper.year or 0),
        -(edge.paper.citations or 0),
        edge.paper.id,
    )
