"""The citation graph from OpenAlex: the second source, without intents or influence.

A work is found by its arXiv DOI; both directions are filters over works, paged by cursor. OpenAlex often holds a
paper twice (preprint and proceedings), so counts differ from Semantic Scholar's.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from core.literature.errors import LiteratureError, SourceBroken
from core.literature.ids import arxiv_id, find_arxiv_id
from core.literature.papers import Citation, CitationList, Direction, Paper
from core.literature.web import Reply, Web

ENDPOINT = "https://api.openalex.org"
T = TypeVar("T")
_PAGE = 100
_FIELDS = "id,doi,display_name,publication_year,publication_date,cited_by_count,authorships,primary_location"


class _Author(msgspec.Struct):
    display_name: str | None = None


class _Authorship(msgspec.Struct):
    author: _Author | None = None


class _Location(msgspec.Struct):
    landing_page_url: str | None = None


class _Work(msgspec.Struct):
    id: str
    doi: str | None = None
    display_name: str | None = None
    publication_year: int | None = None
    publication_date: str | None = None
    cited_by_count: int | None = None
    authorships: list[_Authorship] = []
    primary_location: _Location | None = None


class _Meta(msgspec.Struct):
    next_cursor: str | None = None


class _Page(msgspec.Struct):
    results: list[_Work]
    meta: _Meta


class OpenAlex:
    """Asks OpenAlex. `contact` is an address for its polite pool; none is sent unless a user gave one."""

    def __init__(self, web: Web, endpoint: str = ENDPOINT, contact: str = "") -> None:
        self._web = web
        self._endpoint = endpoint.rstrip("/")
        self._extra = {"mailto": contact} if contact else {}

    def edges(self, paper_id: str, direction: Direction, limit: int) -> CitationList:
        """As SemanticScholar.edges; intents are empty and influence is unknown."""
        work = self._work(paper_id)
        # In OpenAlex's words, W's citations are works that `cites:W`; its references are works `cited_by:W`.
        relation = "cites" if direction == "citations" else "cited_by"
        asked = {
            "filter": f"{relation}:{work.rpartition('/')[2]}",
            "per-page": str(_PAGE),
            "select": _FIELDS,
            **self._extra,
        }
        items: list[Citation] = []
        notes: list[str] = []
        cursor: str | None = "*"
        seen: set[str] = set()
        while cursor and cursor not in seen and len(items) < limit:
            seen.add(cursor)
            try:
                page = _decode(self._web.get(f"{self._endpoint}/works", {**asked, "cursor": cursor}), _Page)
            except LiteratureError as error:
                if not items:
                    raise
                notes.append(f"after {len(items)} edges: {error}")
                break
            items += [Citation(paper=_paper(found)) for found in page.results if found.display_name]
            cursor = page.meta.next_cursor if page.results else None
        return CitationList(
            paper_id=arxiv_id(paper_id),
            direction=direction,
            source="openalex",
            items=tuple(items[:limit]),
            complete=not cursor and not notes,
            notes=tuple(notes),
        )

    def _work(self, paper_id: str) -> str:
        """OpenAlex's id of the paper. Raises PaperMissing."""
        address = f"{self._endpoint}/works/doi:10.48550/arXiv.{arxiv_id(paper_id)}"
        return _decode(self._web.get(address, {"select": "id", **self._extra}), _Work).id


def _paper(work: _Work) -> Paper:
    landing = work.primary_location.landing_page_url if work.primary_location else None
    arxiv = find_arxiv_id(work.doi) or find_arxiv_id(landing)
    short = work.id.rpartition("/")[2]
    return Paper(
        id=arxiv or f"openalex:{short}",
        title=work.display_name or "",
        authors=tuple(a.author.display_name for a in work.authorships if a.author and a.author.display_name),
        year=work.publication_year,
        published=work.publication_date or "",
        url=f"https://arxiv.org/abs/{arxiv}" if arxiv else work.id,
        citations=work.cited_by_count,
        source="openalex",
    )


def _decode(reply: Reply, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except msgspec.DecodeError as error:
        raise SourceBroken(f"not OpenAlex's format: {error}", where=reply.url, next="Use another source.") from error
