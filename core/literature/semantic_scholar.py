"""The citation graph from Semantic Scholar: both directions, with intent, influence and the sentences.

One request a second for everybody without a key is shared by the whole world, so 429 is normal there: `web.py` waits
as told, and OpenAlex is the second source. A key is sent only to this host.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from core.literature.errors import LiteratureError, SourceBroken
from core.literature.ids import arxiv_id
from core.literature.papers import Citation, CitationList, Direction, Paper
from core.literature.web import Reply, Web

ENDPOINT = "https://api.semanticscholar.org"
T = TypeVar("T")
_PAGE = 100
_PAPER = "title,year,publicationDate,externalIds,citationCount,abstract,authors"
_EDGE = f"intents,isInfluential,contexts,{_PAPER}"


class _Author(msgspec.Struct):
    name: str | None = None


class _Paper(msgspec.Struct, rename="camel"):
    paper_id: str | None = None
    title: str | None = None
    year: int | None = None
    publication_date: str | None = None
    external_ids: dict[str, str | int] | None = None
    citation_count: int | None = None
    abstract: str | None = None
    authors: list[_Author] | None = None


class _Edge(msgspec.Struct, rename="camel"):
    intents: list[str] | None = None
    is_influential: bool | None = None
    contexts: list[str] | None = None
    citing_paper: _Paper | None = None
    cited_paper: _Paper | None = None


class _Page(msgspec.Struct):
    data: list[_Edge] | None = None
    next: int | None = None


class _Recommended(msgspec.Struct, rename="camel"):
    recommended_papers: list[_Paper] = []


class SemanticScholar:
    """Asks Semantic Scholar's graph. `api_key` is optional."""

    def __init__(self, web: Web, endpoint: str = ENDPOINT, api_key: str = "") -> None:
        self._web = web
        self._endpoint = endpoint.rstrip("/")
        self._headers = {"x-api-key": api_key} if api_key else {}

    def edges(self, paper_id: str, direction: Direction, limit: int) -> CitationList:
        """What the paper cites or what cites it, up to `limit` edges, page by page.

        A page that fails after the first leaves what was read, `complete=False` and a note. Raises on the first page.
        """
        address = f"{self._endpoint}/graph/v1/paper/ARXIV:{arxiv_id(paper_id)}/{direction}"
        items: list[Citation] = []
        offset: int | None = 0
        notes: list[str] = []
        while offset is not None and len(items) < limit:
            asked = {"fields": _EDGE, "offset": str(offset), "limit": str(min(_PAGE, limit - len(items)))}
            try:
                page = _decode(self._web.get(address, asked, headers=self._headers), _Page)
            except LiteratureError as error:
                if not items:
                    raise
                notes.append(f"after {len(items)} edges: {error}")
                break
            items += [edge for raw in page.data or () if (edge := _citation(raw))]
            # A server that repeats an offset would keep us here for ever.
            offset = page.next if page.next is not None and page.next > offset else None
        return CitationList(
            paper_id=arxiv_id(paper_id),
            direction=direction,
            source="semantic-scholar",
            items=tuple(items[:limit]),
            complete=offset is None and not notes,
            notes=tuple(notes),
        )

    def recommended(self, paper_id: str, limit: int) -> list[Paper]:
        """Papers like this one, by Semantic Scholar's own model."""
        address = f"{self._endpoint}/recommendations/v1/papers/forpaper/ARXIV:{arxiv_id(paper_id)}"
        reply = self._web.get(address, {"fields": _PAPER, "limit": str(limit)}, headers=self._headers)
        return [paper for raw in _decode(reply, _Recommended).recommended_papers if (paper := _paper(raw))][:limit]


def _citation(edge: _Edge) -> Citation | None:
    paper = _paper(edge.citing_paper or edge.cited_paper)
    if paper is None:
        return None
    return Citation(
        paper=paper,
        intents=tuple(edge.intents or ()),
        influential=edge.is_influential,
        contexts=tuple(edge.contexts or ()),
    )


def _paper(raw: _Paper | None) -> Paper | None:
    """A paper of the graph; None for the empty records it holds for works it could not resolve."""
    if raw is None or not raw.title:
        return None
    ids = raw.external_ids or {}
    arxiv = str(ids.get("ArXiv", ""))
    return Paper(
        id=arxiv or f"s2:{raw.paper_id}",
        title=raw.title,
        abstract=raw.abstract or "",
        authors=tuple(author.name for author in raw.authors or () if author.name),
        year=raw.year,
        published=raw.publication_date or "",
        url=f"https://arxiv.org/abs/{arxiv}" if arxiv else f"https://www.semanticscholar.org/paper/{raw.paper_id}",
        citations=raw.citation_count,
        source="semantic-scholar",
    )


def _decode(reply: Reply, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except msgspec.DecodeError as error:
        raise SourceBroken(
            f"not Semantic Scholar's format: {error}", where=reply.url, next="Use another source."
        ) from error
