# pyright: reportMissingTypeStubs=false
"""Search on arXiv through the `arxiv` package, made to share our limiter and to notice answers that were cut off.

The package paces and retries by itself, but only within one process and not for 429's Retry-After; so its own pacing
is switched off and every request goes through `web.py`. Two traps: it parses with a forgiving XML reader, to which half
a feed looks like a short one, and it takes an empty first page for "nothing found", also where the page says that there
are results. Here a feed that is not well-formed to its end, or empty against its own count, is an error.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from core.literature.errors import SourceBroken, SourceRefused
from core.literature.ids import arxiv_id, find_arxiv_id
from core.literature.papers import Paper
from core.literature.web import Web

if TYPE_CHECKING:
    import arxiv

ENDPOINT = "https://export.arxiv.org/api/query"
_FIELD = re.compile(r"(?:^|[\s(])(?:ti|au|abs|co|jr|cat|rn|id|all|submittedDate|lastUpdatedDate):\S")
"""A query in arXiv's own language. A colon alone is none: titles have them ("LoRA: Low-Rank Adaptation")."""
_WITHDRAWN = re.compile(
    r"^\W*withdrawn\b|\b(this|the) (paper|article|manuscript|submission|preprint|work|version)\W+(has|is|was)?\W*(been )?"
    r"(being )?withdrawn\b|\bwithdrawn by (arxiv|the author)",
    re.IGNORECASE,
)


class ArxivClient:
    """Searches arXiv. The package is imported on first use (0.3 s with lxml and requests)."""

    def __init__(self, web: Web, endpoint: str = ENDPOINT) -> None:
        self._web = web
        self._endpoint = endpoint

    def search(self, query: str, limit: int) -> list[Paper]:
        """Papers whose fields match all words of the query, in order of relevance. Fields (`ti:`, `au:`) are kept."""
        import arxiv

        words = query if _FIELD.search(query) else " AND ".join(f"all:{word}" for word in _safe_words(query))
        return self._papers(arxiv.Search(query=words, max_results=limit), limit)

    def by_ids(self, ids: list[str]) -> list[Paper]:
        """The named papers, in arXiv's order; unknown ones are simply absent."""
        import arxiv

        bare = [arxiv_id(text) for text in ids]
        return self._papers(arxiv.Search(id_list=bare, max_results=len(bare)), len(bare))

    def _papers(self, search: arxiv.Search, limit: int) -> list[Paper]:
        import arxiv

        client = _client(self._web, self._endpoint, page_size=min(max(limit, 1), 100))
        try:
            papers = [paper for result in client.results(search) if (paper := _paper(result))]
        except ValueError as error:  # a date that is none
            raise SourceBroken(f"arXiv's feed: {error}", where=self._endpoint, next="Try again later.") from error
        except arxiv.UnexpectedEmptyPageError as error:
            raise SourceBroken("arXiv sent an empty page", where=self._endpoint, next="Try again later.") from error
        # An entry that the package skips makes it ask for the same page again.
        return list({paper.id: paper for paper in reversed(papers)}.values())[::-1]


def _safe_words(query: str) -> list[str]:
    """Words without the characters that have a meaning in arXiv's query language."""
    words = "".join(ch if ch.isalnum() or ch in "-." else " " for ch in query).split()
    if not words:
        raise SourceRefused("an empty query", where="arXiv search", next="Give some words.")
    return [word for word in words if word.upper() not in ("AND", "OR", "ANDNOT")] or words


def _paper(result: arxiv.Result) -> Paper | None:
    """A result as a Paper. arXiv reports a bad query as an entry of its feed: that is an error, not a paper."""
    if "/api/errors" in result.entry_id:
        raise SourceRefused(
            f"arXiv refused the query: {result.summary.strip()[:200]}", where="arXiv", next="Change the query."
        )
    if (bare := find_arxiv_id(result.entry_id)) is None:
        return None
    return Paper(
        id=bare,
        title=result.title,
        abstract=" ".join(result.summary.split()),
        authors=tuple(author.name for author in result.authors),
        year=result.published.year,
        published=result.published.date().isoformat(),
        url=f"https://arxiv.org/abs/{bare}",
        source="arxiv",
        withdrawn=bool(is_withdrawn(result.comment or "") or is_withdrawn(result.summary)),
    )


def is_withdrawn(note: str) -> bool:
    """Whether a comment or abstract says that the paper was withdrawn; arXiv keeps such papers and has no field for it."""
    return bool(_WITHDRAWN.search(" ".join(note.split())[:400]))


def _client(web: Web, endpoint: str, page_size: int) -> arxiv.Client:
    """The package's client with our way of asking under its session."""
    import arxiv
    import requests
    from requests.adapters import HTTPAdapter

    class PoliteAdapter(HTTPAdapter):
        """Answers the package's requests through `web.py`."""

        def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
            address = request.url or endpoint
            reply = web.get(address)
            _check_feed(reply.body, address)
            response = requests.Response()
            response.status_code = 200
            response.url = address
            response.raw = io.BytesIO(reply.body)
            return response

    class PoliteClient(arxiv.Client):
        query_url_format = endpoint + "?{}"

        def __init__(self) -> None:
            super().__init__(page_size=page_size, delay_seconds=0, num_retries=0)
            for scheme in ("http://", "https://"):
                self._session.mount(scheme, PoliteAdapter())

    return PoliteClient()


def _check_feed(body: bytes, address: str) -> None:
    """Raises SourceBroken for what is no whole feed, or has no entry where its own count says that there are some."""
    seen: list[str] = []
    counts = {"totalResults": "", "startIndex": ""}
    inside: list[str] = []

    def start(name: str, _: dict[str, str]) -> None:
        inside.append(name.rpartition(":")[2])
        seen.append(inside[-1])

    def text(data: str) -> None:
        if inside[-1] in counts:
            counts[inside[-1]] += data

    def end(_: str) -> None:
        inside.pop()

    def entity(*_: object) -> None:
        raise SourceBroken("arXiv's feed declares entities", where=address, next="Try again later.")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.CharacterDataHandler, parser.EndElementHandler = start, text, end
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise SourceBroken(
            f"arXiv's feed broke off or is malformed: {error}", where=address, next="Try again."
        ) from error
    if "feed" not in seen[:1]:
        raise SourceBroken("no feed", where=address, next="Try again later.")
    total, begin = (int(n[:9]) if n.strip().isdecimal() else 0 for n in counts.values())
    if total > begin and "entry" not in seen:
        raise SourceBroken("arXiv sent an empty page", where=address, next="Try again later.")
