"""A web page, Markdown file or PDF as sections of text; and a search of the web where one is configured."""

from __future__ import annotations

import os
from typing import Any, cast
from urllib.parse import quote_plus, urlsplit

import msgspec

from core.errors import ToolError
from core.literature.errors import SourceBroken
from core.literature.html_sections import parse_html
from core.literature.markdown_sections import parse_markdown
from core.literature.papers import Section
from core.literature.pdf_sections import parse_pdf
from core.literature.web import Web
from core.research.reach import check_address

BRAVE = "https://api.search.brave.com"


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page that was read."""

    url: str
    """Where it came from after redirects."""
    title: str
    form: str
    """html, markdown, pdf or text."""
    sections: tuple[Section, ...]


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """One result of a web search."""

    url: str
    title: str
    excerpt: str = ""


def read_page(web: Web, url: str) -> Page:
    """The page as sections. Raises ToolError for an address that is not read, LiteratureError for one that does not answer."""
    reply = web.get(url, check=check_address)
    kind = reply.content_type.partition(";")[0].strip().lower()
    if kind == "application/pdf" or reply.body[:5] == b"%PDF-":
        form, (title, sections) = "pdf", parse_pdf(reply.body, reply.url)
    elif "html" in kind or reply.body[:200].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        form, (title, sections) = "html", parse_html(reply.text())
    elif b"\0" in reply.body[:4000]:
        raise SourceBroken(f"no text ({kind or 'no type'})", where=reply.url, next="Only pages, PDF and text are read.")
    elif kind == "text/markdown" or urlsplit(reply.url).path.endswith((".md", ".mdx")):
        form, (title, sections) = "markdown", parse_markdown(reply.text())
    else:
        form, title = "text", ""
        sections = (Section(number="", title="", level=1, text=reply.text()),)
    return Page(url=reply.url, title=title, form=form, sections=sections)


def search_web(web: Web, query: str, limit: int = 8) -> tuple[str, list[Hit]]:
    """(engine, results) of the engine a person configured: INTERN_SEARXNG (its address) or BRAVE_API_KEY."""
    if address := os.environ.get("INTERN_SEARXNG", "").rstrip("/"):
        found = _json(web, f"{address}/search?q={quote_plus(query, errors='replace')}&format=json", {})
        return "SearXNG", _hits(found.get("results"), "content", limit, address)
    if key := os.environ.get("BRAVE_API_KEY", ""):
        told = _json(
            web, f"{BRAVE}/res/v1/web/search?q={quote_plus(query, errors='replace')}", {"X-Subscription-Token": key}
        )
        inner: object = told.get("web") or {}
        results = cast("dict[str, object]", inner).get("results") if isinstance(inner, dict) else inner
        return "Brave", _hits(results, "description", limit, BRAVE)
    raise ToolError(
        "No web search is configured",
        next="A person can set INTERN_SEARXNG (an address) or BRAVE_API_KEY; meanwhile read_page",
    )


def _hits(results: object, excerpt: str, limit: int, where: str) -> list[Hit]:
    try:
        rows = msgspec.convert(results or [], list[dict[str, object]])
    except msgspec.ValidationError as error:
        raise SourceBroken(f"no list of results: {error}", where=where, next="Check the search engine.") from error
    return [
        Hit(url=str(r["url"]), title=str(r.get("title", "")), excerpt=str(r.get(excerpt) or "")[:400])
        for r in rows[:limit]
        if r.get("url")
    ]


def _json(web: Web, address: str, headers: dict[str, str]) -> dict[str, Any]:
    reply = web.get(address, headers=headers, check=check_address)
    try:
        return msgspec.json.decode(reply.body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise SourceBroken(f"no JSON object: {error}", where=reply.url, next="Check the search engine.") from error
