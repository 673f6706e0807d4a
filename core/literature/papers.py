"""What the literature clients return. Plain data; texts are as the source gave them and are not to be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from core.errors import UsageError

Direction = Literal["references", "citations"]
"""`references`: what the paper cites. `citations`: what cites it."""


def as_direction(text: str) -> Direction:
    """The direction of that name. Raises UsageError for any other word."""
    if text == "references" or text == "citations":
        return text
    raise UsageError(f"{text[:40]!r} is no direction", where="citation graph", next="Say references or citations.")


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """A paper as a search found it."""

    id: str
    """arXiv id without version; for a paper not on arXiv the source's own id with a prefix (`s2:`, `openalex:`)."""
    title: str
    abstract: str = ""
    authors: tuple[str, ...] = ()
    year: int | None = None
    published: str = ""
    """ISO date, as far as the source gives it."""
    url: str = ""
    citations: int | None = None
    upvotes: int | None = None
    source: str = ""
    """Which source it comes from, and whether through the cache: `arxiv`, `hf-papers (cache)`, `library (offline)`."""
    card: str = ""
    """Id of the recipe card on this paper, if the library has one."""
    withdrawn: bool = False
    """Its comment or abstract says that it was withdrawn: nothing in it should be built on."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table of a paper, cells as text. The first `header` rows are headings."""

    label: str
    """`Table 3`, or `Table in Section 4` where the source shows no number."""
    caption: str
    rows: tuple[tuple[str, ...], ...]
    header: int = 1


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A section with its own text, without that of its subsections."""

    number: str
    """`4.1`, `A.2`, or empty."""
    title: str
    level: int
    text: str
    tables: tuple[Table, ...] = ()

    @property
    def label(self) -> str:
        """How a finding cites it: `Section 4.1 (Setup)`, `Appendix B (Details)`, or the title alone."""
        if not self.number:
            return self.title or "Opening"
        kind = "Appendix" if self.number[0].isalpha() else "Section"
        return f"{kind} {self.number} ({self.title})" if self.title else f"{kind} {self.number}"


class PaperText(msgspec.Struct, frozen=True, kw_only=True):
    """A paper's text by section, and where it came from."""

    id: str
    title: str
    source: str
    """`hub`, `arxiv-html`, `ar5iv`, `latex`, `pdf`, `abstract` or `library (offline)`; ` (cache)` is added when it came from disk."""
    url: str
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()
    """Why better sources were not used."""


class Citation(msgspec.Struct, frozen=True, kw_only=True):
    """One edge of the citation graph."""

    paper: Paper
    intents: tuple[str, ...] = ()
    """`methodology`, `background`, `result`, where the source gives them."""
    influential: bool | None = None
    """None: the source does not say."""
    contexts: tuple[str, ...] = ()
    """Sentences in which the citation stands."""


class CitationList(msgspec.Struct, frozen=True, kw_only=True):
    """The edges of one paper in one direction. `complete` is False when a limit cut it or a page failed."""

    paper_id: str
    direction: Direction
    source: str
    items: tuple[Citation, ...]
    complete: bool = True
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Citation]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: slice) -> tuple[Citation, ...]:
        return self.items[at]


class Linked(msgspec.Struct, frozen=True, kw_only=True):
    """What the Hub links to a paper."""

    models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    spaces: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    """Slugs of the collections that hold the paper, the most liked first."""
    code: str = ""
    """Address of the repository the authors named."""
    source: str = ""
    notes: tuple[str, ...] = ()
    """What could not be asked."""


class SearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """Papers found, where they came from, and what did not work."""

    papers: tuple[Paper, ...]
    source: str
    notes: tuple[str, ...] = ()
