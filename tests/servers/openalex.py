"""OpenAlex: a work by its arXiv DOI, and works filtered by what they cite, paged by cursor."""

from __future__ import annotations

from typing import Any

from tests.servers.loopback import Answer, Loopback, Request, as_json
from tests.servers.papers import PAPERS, Invented, citing

_DOI = "/works/doi:10.48550/arXiv."


class OpenAlexServer(Loopback):
    """Serves `/works`."""

    def respond(self, request: Request) -> Answer:
        if request.path.startswith(_DOI):
            paper = PAPERS.get(request.path.removeprefix(_DOI))
            return as_json(_work(paper)) if paper else Answer(b"<html>not found</html>", 404, "text/html")
        relation, _, work = request.query.get("filter", "").partition(":")
        paper = next((one for one in PAPERS.values() if _short(one) == work), None)
        if request.path != "/works" or paper is None:
            return as_json({"error": "Invalid query parameters error."}, 400)
        found = citing(paper.id) if relation == "cites" else [PAPERS[one] for one in paper.cites]
        size, cursor = int(request.query.get("per-page", "25")), request.query.get("cursor", "*")
        start = 0 if cursor == "*" else int(cursor)
        after = str(start + size) if start + size < len(found) else None
        return as_json(
            {
                "meta": {"count": len(found), "next_cursor": after},
                "results": [_work(p) for p in found[start : start + size]],
            }
        )


def _short(paper: Invented) -> str:
    return "W" + paper.id.replace(".", "")


def _work(paper: Invented) -> dict[str, Any]:
    return {
        "id": f"https://openalex.org/{_short(paper)}",
        "doi": f"https://doi.org/10.48550/arxiv.{paper.id}",
        "display_name": paper.title,
        "publication_year": paper.year,
        "publication_date": f"{paper.year}-05-01",
        "cited_by_count": len(citing(paper.id)),
        "authorships": [{"author": {"display_name": name}} for name in paper.authors],
        "primary_location": {"landing_page_url": f"http://arxiv.org/abs/{paper.id}"},
    }
