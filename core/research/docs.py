"""Hugging Face documentation: which pages a library has (`llms.txt`), which of them answer a question, and one page's text.

The installed library is the truth about arguments (`core/libraries`); these pages tell how and why.
"""

from __future__ import annotations

import re

import msgspec

from core.errors import ToolError
from core.hub.hosts import endpoint
from core.literature.errors import PaperMissing
from core.literature.rank import Index, words
from core.literature.web import Web
from core.research.pages import Page, read_page
from core.research.reach import check_address

LIBRARIES = (
    "trl", "peft", "transformers", "datasets", "accelerate", "hub", "huggingface_hub", "evaluate", "tokenizers",
    "lighteval", "smolagents", "optimum", "bitsandbytes", "safetensors", "text-generation-inference", "dataset-viewer",
)  # fmt: skip
_LINK = re.compile(r"^[-*]\s*\[([^\]]{1,200})\]\(([^)\s]{1,400})\)(?::\s*(.*))?", re.MULTILINE)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a library's documentation."""

    title: str
    url: str
    about: str = ""
    score: float = 0.0


def search_docs(web: Web, library: str, query: str, limit: int = 8) -> list[Entry]:
    """Pages whose title, address or description fit, best first. Raises ToolError for a library without an index."""
    if library not in LIBRARIES:
        raise ToolError(f"{library[:40]!r} is not known", next="Known: " + ", ".join(LIBRARIES))
    try:
        reply = web.get(f"{endpoint()}/docs/{library}/llms.txt", check=check_address)
    except PaperMissing as error:
        raise ToolError(f"{library} has no index of its pages", where=error.where, next="read_page on its documentation") from error  # fmt: skip
    entries = [Entry(title=t, url=_absolute(u, library), about=a or "") for t, u, a in _LINK.findall(reply.text())]
    if not entries:
        raise ToolError(f"the index of {library} lists no page", where=reply.url, next="read_page on its documentation")
    scores = Index([words(f"{e.title} {e.title} {e.url.rsplit('/', 1)[-1]} {e.about}") for e in entries]).scores(query)
    ranked = sorted(zip(scores, entries, strict=True), key=lambda pair: -pair[0])
    return [msgspec.structs.replace(e, score=round(s, 3)) for s, e in ranked[:limit] if s > 0]


def read_docs(web: Web, url: str) -> Page:
    """A documentation page by its address, or `library/page`; its Markdown where it has one."""
    address = url if "://" in url else f"{endpoint()}/docs/{url.strip('/')}"
    if not address.startswith(f"{endpoint()}/docs/"):
        raise ToolError(f"{url[:120]!r} is no documentation page", next="Use an address search_docs gave, or read_page")
    bare = address.partition("#")[0].rstrip("/")
    try:
        return read_page(web, bare if bare.endswith(".md") else f"{bare}.md")
    except PaperMissing:
        return read_page(web, bare)


def _absolute(link: str, library: str) -> str:
    if "://" in link:
        return link
    return f"{endpoint()}{link}" if link.startswith("/") else f"{endpoint()}/docs/{library}/{link}"
