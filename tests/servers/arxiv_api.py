"""arXiv's Atom API: search and id lists, with paging and errors reported as entries, as arXiv does."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

from tests.servers.loopback import Answer, Loopback, Request
from tests.servers.papers import PAPERS, Invented, matching

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


class ArxivApi(Loopback):
    """Serves `/api/query`."""

    def respond(self, request: Request) -> Answer:
        start, size = int(request.query.get("start", "0")), int(request.query.get("max_results", "10"))
        if request.query.get("search_query", "").count("(") != request.query.get("search_query", "").count(")"):
            return _feed([_error("incorrect query")], total=1, start=0)
        found = _found(request)
        return _feed([feed_entry(paper) for paper in found[start : start + size]], total=len(found), start=start)


def _found(request: Request) -> list[Invented]:
    if ids := request.query.get("id_list"):
        return [PAPERS[one] for one in ids.split(",") if one in PAPERS]
    words = [term.removeprefix("all:") for term in request.query.get("search_query", "").split(" AND ")]
    return matching(" ".join(words))


def _feed(entries: list[str], *, total: int, start: int) -> Answer:
    body = f"""<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom">
  <title>arXiv Query</title>
  <opensearch:totalResults xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">{total}</opensearch:totalResults>
  <opensearch:startIndex xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">{start}</opensearch:startIndex>
  <opensearch:itemsPerPage xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">{len(entries)}</opensearch:itemsPerPage>
  {"".join(entries)}
</feed>
"""
    return Answer(body.encode(), content_type="application/atom+xml")


def feed_entry(paper: Invented) -> str:
    """A paper as an entry of the feed."""
    authors = "".join(f"<author><name>{escape(name)}</name></author>" for name in paper.authors)
    return f"""<entry>
    <id>http://arxiv.org/abs/{paper.id}v2</id>
    <updated>{paper.year}-05-02T00:00:00Z</updated>
    <published>{paper.year}-05-01T00:00:00Z</published>
    <title>{_text(paper.title)}</title>
    <summary>  {_text(paper.abstract)}
    </summary>
    {authors}
    <category term="cs.CL" scheme="http://arxiv.org/schemas/atom"/>
  </entry>"""


def _error(why: str) -> str:
    return f"""<entry><id>http://arxiv.org/api/errors#{escape(why).replace(" ", "_")}</id><title>Error</title>
    <summary>{escape(why)}</summary><updated>2031-01-01T00:00:00Z</updated><published>2031-01-01T00:00:00Z</published></entry>"""


def _text(text: str) -> str:
    """XML cannot carry control characters: arXiv's cannot either."""
    return escape(_CONTROL.sub("", text))
