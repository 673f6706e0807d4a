"""The Hub's paper endpoints: search, one paper, its Markdown, daily papers. Shapes as huggingface_hub reads them."""

from __future__ import annotations

from typing import Any

from tests.servers.loopback import Answer, Loopback, Request, as_json
from tests.servers.papers import PAPERS, Invented, matching


class HubPaperServer(Loopback):
    """Serves `/api/papers`, `/api/daily_papers` and `/papers/<id>.md`. `texts=False`: no Markdown at all."""

    def __init__(self, texts: bool = True) -> None:
        super().__init__()
        self.texts = texts

    def respond(self, request: Request) -> Answer:
        path, limit = request.path, int(request.query.get("limit", "50"))
        if path == "/api/papers/search":
            return as_json([_listed(paper) for paper in matching(request.query.get("q", ""))[:limit]])
        if path == "/api/daily_papers":
            ranked = sorted(PAPERS.values(), key=lambda paper: -paper.upvotes)
            return as_json([_listed(paper) for paper in ranked[:limit]])
        if path == "/api/collections":
            kind, _, asked = request.query.get("item", "").partition("/")
            held = PAPERS.get(asked) if kind == "papers" else None
            return as_json([_collection(slug, asked) for slug in held.collections] if held else [])
        if path.startswith("/api/papers/"):
            paper = PAPERS.get(path.removeprefix("/api/papers/"))
            return as_json(_full(paper)) if paper else as_json({"error": "Paper not found"}, 404)
        paper = PAPERS.get(path.removeprefix("/papers/").removesuffix(".md"))
        if self.texts and path.endswith(".md") and paper and paper.body:
            return Answer(paper.body.encode(), content_type="text/markdown; charset=utf-8")
        return Answer(b"not found", 404, "text/plain")


def _record(paper: Invented) -> dict[str, Any]:
    return {
        "id": paper.id,
        "authors": [
            {"_id": f"{paper.id}-{at}", "name": name, "hidden": False} for at, name in enumerate(paper.authors)
        ],
        "publishedAt": f"{paper.year}-05-01T00:00:00.000Z",
        "title": paper.title,
        "summary": paper.abstract,
        "upvotes": paper.upvotes,
        "discussionId": "d0",
    }


def _listed(paper: Invented) -> dict[str, Any]:
    return {
        "paper": _record(paper),
        "publishedAt": f"{paper.year}-05-03T00:00:00.000Z",
        "title": paper.title,
        "numComments": 1,
    }


def _collection(slug: str, paper: str) -> dict[str, Any]:
    item = {"_id": "i0", "position": 0, "type": "paper", "id": paper, "title": "Counting"}
    return {"slug": slug, "title": slug, "owner": {"name": "aviary"}, "items": [item], "lastUpdated": "2030-01-01T00:00:00.000Z", "private": False, "theme": "blue", "upvotes": 3, "description": None}  # fmt: skip


def _full(paper: Invented) -> dict[str, Any]:
    return {
        **_record(paper),
        "githubRepo": "https://example.org/aviary/parrots" if paper.models else None,
        "linkedModels": [{"id": name} for name in paper.models],
        "linkedDatasets": [{"id": name} for name in paper.datasets],
        "linkedSpaces": [],
        "numTotalModels": len(paper.models),
    }
