"""A paper's text by section, from the best source that has it, and which it was.

The Hub's Markdown, arXiv's HTML, ar5iv, the LaTeX source, the PDF, the abstract: from what keeps tables and section
numbers to what loses them.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from core.literature.arxiv_client import ArxivClient, is_withdrawn
from core.literature.errors import LiteratureError, PaperMissing, SourceBroken
from core.literature.hf_papers import HubPapers
from core.literature.html_sections import parse_html
from core.literature.ids import arxiv_id, version_in
from core.literature.latex_sections import parse_source
from core.literature.markdown_sections import parse_markdown
from core.literature.papers import Paper, PaperText, Section
from core.literature.pdf_sections import parse_pdf
from core.literature.web import Reply, Web

ARXIV = "https://arxiv.org"
AR5IV = "https://ar5iv.labs.arxiv.org"

_ENOUGH = 2_000
"""Characters of text below which a "full text" is taken for a stub: an abstract has some 1,500."""


class FullText:
    """Reads papers. The two sites can be loopback servers."""

    def __init__(
        self, web: Web, hub: HubPapers, arxiv: ArxivClient, *, arxiv_site: str = ARXIV, ar5iv_site: str = AR5IV
    ) -> None:
        self._web = web
        self._hub = hub
        self._arxiv = arxiv
        self._sites = {"arxiv-html": arxiv_site.rstrip("/"), "ar5iv": ar5iv_site.rstrip("/")}

    def read(self, paper_id: str) -> PaperText:
        """The paper's text from the best source that has it. Raises the last source's error if none does.

        Who names a version (`2402.03300v1`) gets that one, since places move between versions. arXiv alone keeps them;
        where it has no text of it, the newest is read, and a note says so.
        """
        bare, version = arxiv_id(paper_id), version_in(paper_id)
        sources: list[tuple[str, Callable[[str], PaperText]]] = [
            ("hub", self._from_hub),
            ("arxiv-html", lambda one: self._from_page(one, "arxiv-html")),
            ("ar5iv", lambda one: self._from_page(one, "ar5iv")),
            ("latex", self._from_source),
            ("pdf", self._from_pdf),
            ("abstract", self._from_abstract),
        ]
        notes: list[str] = []
        if version:
            for name, source in sources:
                if name in ("arxiv-html", "latex", "pdf"):
                    try:
                        found = source(bare + version)
                        return msgspec.structs.replace(found, id=bare, notes=tuple(notes))
                    except LiteratureError as error:
                        notes.append(f"{version}, {name}: {error.what}")
            notes.append(f"this is the newest version: {version} itself could not be had")
        for name, source in sources:
            try:
                found = source(bare)
            except LiteratureError as error:
                notes.append(f"{name}: {error.what}")
                if name == "abstract":
                    raise type(error)(
                        f"no text of {bare}: {'; '.join(notes)}", where=error.where, next=error.next
                    ) from error
                continue
            return PaperText(
                id=bare, title=found.title, source=name, url=found.url, sections=found.sections,
                notes=(*notes, *found.notes),
            )  # fmt: skip
        raise AssertionError("unreachable: the last source returns or raises")

    def _from_hub(self, bare: str) -> PaperText:
        reply = self._hub.markdown(bare)
        if "html" in reply.content_type:
            raise SourceBroken("a page instead of Markdown", where=reply.url, next="Use another source.")
        title, sections = parse_markdown(reply.text())
        return _text(bare, title, "hub", reply, sections)

    def _from_page(self, bare: str, name: str) -> PaperText:
        reply = self._web.get(f"{self._sites[name]}/html/{bare}")
        if "/html/" not in reply.url:  # ar5iv sends what it could not convert to the abstract page
            raise PaperMissing("no HTML version", where=reply.url, next="Use another source.")
        title, sections = parse_html(reply.text())
        return _text(bare, title, name, reply, sections)

    def _from_source(self, bare: str) -> PaperText:
        reply = self._web.get(f"{self._sites['arxiv-html']}/e-print/{bare}")
        title, sections = parse_source(reply.body, reply.url)
        return _text(bare, title, "latex", reply, sections)

    def _from_pdf(self, bare: str) -> PaperText:
        reply = self._web.get(f"{self._sites['arxiv-html']}/pdf/{bare}")
        title, sections = parse_pdf(reply.body, reply.url)
        return _text(bare, title, "pdf", reply, sections)

    def _from_abstract(self, bare: str) -> PaperText:
        paper = self._abstract(bare)
        if not paper.abstract:
            raise PaperMissing("no abstract", where=paper.url, next="Check the id.")
        section = Section(number="", title="Abstract", level=2, text=paper.abstract)
        gone = paper.withdrawn or is_withdrawn(paper.abstract)
        notes = ("this paper was withdrawn: nothing in it should be built on",) if gone else ()
        return PaperText(id=bare, title=paper.title, source="abstract", url=paper.url, sections=(section,), notes=notes)

    def _abstract(self, bare: str) -> Paper:
        try:
            return self._hub.info(bare)
        except LiteratureError:
            papers = self._arxiv.by_ids([bare])
        if not papers:
            raise PaperMissing(f"arXiv has no paper {bare}", where="arXiv", next="Check the id.")
        return papers[0]


def _text(bare: str, title: str, name: str, reply: Reply, sections: tuple[Section, ...]) -> PaperText:
    size = sum(len(s.text) + sum(len(cell) for t in s.tables for row in t.rows for cell in row) for s in sections)
    if size < _ENOUGH:
        raise PaperMissing(f"only {size} characters of text", where=reply.url, next="Use another source.")
    return PaperText(id=bare, title=title, source=name, url=reply.url, sections=sections)
