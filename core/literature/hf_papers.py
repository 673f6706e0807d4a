"""Hugging Face Papers: search, trending, the text of a paper, and what is linked to it.

Speaks to the endpoints of `huggingface_hub`'s `list_papers`, `paper_info`, `read_paper`, `list_daily_papers` and
`list_collections`
(tests/core/literature/test_hf_papers.py holds the two side by side), but not through them: the package's shared HTTP
client has no time-out and no limit, and paper calls pass no identification. No token is ever sent: papers are public.
"""

from __future__ import annotations

from typing import Any

import msgspec

from core.literature.errors import LiteratureError, SourceBroken
from core.literature.ids import arxiv_id, find_arxiv_id
from core.literature.papers import Linked, Paper
from core.literature.web import Reply, Web

ENDPOINT = "https://huggingface.co"
COLLECTIONS = 20


class _Author(msgspec.Struct):
    name: str = ""


class _Named(msgspec.Struct):
    id: str


class _Collection(msgspec.Struct):
    slug: str


class _Info(msgspec.Struct, rename="camel"):
    """A paper as the API gives it; in lists it stands under `paper`."""

    id: str = ""
    title: str = ""
    summary: str | None = None
    published_at: str | None = None
    authors: list[_Author] | None = None
    upvotes: int | None = None
    github_repo: str | None = None
    linked_models: list[_Named] | None = None
    linked_datasets: list[_Named] | None = None
    linked_spaces: list[_Named] | None = None
    paper: _Info | None = None


class HubPapers:
    """Reads papers from the Hub. `endpoint` may be a loopback server or a mirror."""

    def __init__(self, web: Web, endpoint: str = ENDPOINT) -> None:
        self._web = web
        self._endpoint = endpoint.rstrip("/")

    def search(self, query: str, limit: int) -> list[Paper]:
        """Papers found by the Hub's search, in its order."""
        reply = self._web.get(f"{self._endpoint}/api/papers/search", {"q": query, "limit": str(limit)})
        return _papers(reply, limit)

    def trending(self, limit: int) -> list[Paper]:
        """What is read most these days."""
        reply = self._web.get(f"{self._endpoint}/api/daily_papers", {"sort": "trending", "limit": str(limit)})
        return _papers(reply, limit)

    def info(self, paper_id: str) -> Paper:
        """One paper's record. Raises PaperMissing if the Hub has no page for it."""
        return _paper(self._info(paper_id))

    def linked(self, paper_id: str) -> Linked:
        """Models, data sets, Spaces, collections and code that name this paper."""
        info = self._info(paper_id)
        collections, notes = (), ()
        try:
            collections = self._collections(paper_id)
        except LiteratureError as error:  # the rest was told: it is not withheld for this
            notes = (f"collections: {error.what}",)
        return Linked(
            models=tuple(item.id for item in info.linked_models or ()),
            datasets=tuple(item.id for item in info.linked_datasets or ()),
            spaces=tuple(item.id for item in info.linked_spaces or ()),
            collections=collections,
            code=info.github_repo or "",
            source="hf-papers",
            notes=notes,
        )

    def _collections(self, paper_id: str) -> tuple[str, ...]:
        asked = {"item": f"papers/{arxiv_id(paper_id)}", "sort": "upvotes", "limit": str(COLLECTIONS)}
        reply = self._web.get(f"{self._endpoint}/api/collections", asked)
        return tuple(one.slug for one in _decode(reply, list[_Collection])[:COLLECTIONS])

    def markdown(self, paper_id: str) -> Reply:
        """The paper's text as Markdown. Raises PaperMissing if the Hub has none."""
        return self._web.get(f"{self._endpoint}/papers/{arxiv_id(paper_id)}.md")

    def _info(self, paper_id: str) -> _Info:
        reply = self._web.get(f"{self._endpoint}/api/papers/{arxiv_id(paper_id)}")
        return _decode(reply, _Info)


def _papers(reply: Reply, limit: int) -> list[Paper]:
    return [_paper(item) for item in _decode(reply, list[_Info])[:limit] if (item.paper or item).id]


def _paper(item: _Info) -> Paper:
    inner = item.paper or item
    published = inner.published_at or ""
    bare = find_arxiv_id(inner.id) or inner.id
    return Paper(
        id=bare,
        title=" ".join((inner.title or item.title).split()),
        abstract=" ".join((inner.summary or item.summary or "").split()),
        authors=tuple(author.name for author in inner.authors or ()),
        year=int(published[:4]) if published[:4].isdecimal() else None,
        published=published[:10],
        url=f"https://huggingface.co/papers/{bare}",
        upvotes=inner.upvotes,
        source="hf-papers",
    )


def _decode(reply: Reply, kind: Any) -> Any:
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except msgspec.DecodeError as error:
        raise SourceBroken(f"not the Hub's format: {error}", where=reply.url, next="Use another source.") from error
