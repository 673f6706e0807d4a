"""Semantic Scholar's graph: references and citations with intents and influence, paged by offset; recommendations."""

from __future__ import annotations

import re
from typing import Any

from tests.servers.loopback import Answer, Loopback, Request, as_json
from tests.servers.papers import PAPERS, Invented, citing

_EDGES = re.compile(r"^/graph/v1/paper/ARXIV:([\d.]+)/(references|citations)$")
_LIKE = re.compile(r"^/recommendations/v1/papers/forpaper/ARXIV:([\d.]+)$")


class SemanticScholarServer(Loopback):
    """Serves the graph of the invented papers. Some records are empty, as in the real graph."""

    def respond(self, request: Request) -> Answer:
        limit, offset = int(request.query.get("limit", "100")), int(request.query.get("offset", "0"))
        if match := _LIKE.match(request.path):
            others = [paper for paper in PAPERS.values() if paper.id != match.group(1)]
            return as_json({"recommendedPapers": [_paper(paper) for paper in others[:limit]]})
        match = _EDGES.match(request.path)
        if match is None or match.group(1) not in PAPERS:
            return as_json({"error": "Paper not found"}, 404)
        edges = _edges(match.group(1), match.group(2))
        page: dict[str, Any] = {"offset": offset, "data": edges[offset : offset + limit]}
        if offset + limit < len(edges):
            page["next"] = offset + limit
        return as_json(page)


def _edges(paper_id: str, direction: str) -> list[dict[str, Any]]:
    if direction == "references":
        paper = PAPERS[paper_id]
        known = [_edge("citedPaper", PAPERS[one], influential=one in paper.influential) for one in paper.cites]
        return [
            *known,
            {"intents": None, "isInfluential": False, "contexts": [], "citedPaper": {"paperId": None, "title": None}},
        ]
    return [_edge("citingPaper", paper, influential=paper_id in paper.influential) for paper in citing(paper_id)]


def _edge(side: str, paper: Invented, *, influential: bool) -> dict[str, Any]:
    return {
        "intents": ["methodology"] if influential else ["background"],
        "isInfluential": influential,
        "contexts": [f"We follow {paper.title}."],
        side: _paper(paper),
    }


def _paper(paper: Invented) -> dict[str, Any]:
    return {
        "paperId": f"hash-{paper.id}",
        "title": paper.title,
        "year": paper.year,
        "publicationDate": f"{paper.year}-05-01",
        "externalIds": {"ArXiv": paper.id, "CorpusId": 7},
        "citationCount": len(citing(paper.id)),
        "abstract": paper.abstract,
        "authors": [{"authorId": "1", "name": name} for name in paper.authors],
    }
