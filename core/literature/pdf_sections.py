"""Sections from a paper's PDF, the last source before the abstract: headings by their look, no tables, text page by page.

Each section says on which page it begins, because a PDF is read by pages.
"""

from __future__ import annotations

import io
import logging
import re
import struct
import time
import zlib

from core.literature.errors import SourceBroken
from core.literature.html_sections import tidy
from core.literature.papers import Section

MOST_PAGES = 200
PATIENCE_S = 60.0
"""Pages that are not read by then are left out: a PDF may be made to be slow."""
_HEADING = re.compile(r"^(?:Appendix\s+)?((?:\d{1,2}|[A-H])(?:\.\d{1,2}){0,3})\.?\s+([A-Z][^.!?]{2,70})$")
_NAMED = re.compile(r"^(abstract|references|acknowledge?ments|limitations|conclusions?)$", re.IGNORECASE)


def parse_pdf(data: bytes, url: str) -> tuple[str, tuple[Section, ...]]:
    """Title (as the document's own data says; may be empty) and sections. Raises SourceBroken for what is no readable PDF."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, PyPdfError

    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of every odd object
    if not data.lstrip().startswith(b"%PDF"):
        raise SourceBroken("no PDF", where=url, next="Use another source.")
    began = time.monotonic()
    pages: list[str] = []
    try:
        reader = PdfReader(io.BytesIO(data))
        title = str((reader.metadata.title if reader.metadata else "") or "")
        for page in reader.pages[:MOST_PAGES]:
            pages.append(page.extract_text())
            if time.monotonic() - began > PATIENCE_S:
                break
    # A broken file fails anywhere in the parser, with whatever its bytes made of the objects.
    except (PyPdfError, DependencyError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, OSError, ArithmeticError, AssertionError, EOFError, MemoryError, zlib.error, struct.error) as error:  # fmt: skip
        raise SourceBroken(f"the PDF cannot be read: {error}", where=url, next="Use another source.") from error
    return " ".join(title.split()), sections_of(pages)


def sections_of(pages: list[str]) -> tuple[Section, ...]:
    """Sections of the pages' text. A heading is a short numbered line, with numbers that go on from the last ones."""
    sections: list[Section] = []
    number, name, lines = "", "", list[str]()
    page_of = 1
    for page, text in enumerate(pages, start=1):
        for raw in text.split("\n"):
            line = " ".join(raw.split())
            found = _HEADING.match(line)
            if found and _follows(number or _last(sections), found.group(1)):
                _close(sections, number, name, page_of, lines)
                number, name, lines, page_of = found.group(1), found.group(2), [], page
            elif _NAMED.match(line):
                _close(sections, number, name, page_of, lines)
                number, name, lines, page_of = "", line.title(), [], page
            else:
                lines.append(line)
    _close(sections, number, name, page_of, lines)
    return tuple(sections)


def _last(sections: list[Section]) -> str:
    return next((s.number for s in reversed(sections) if s.number), "")


def _follows(last: str, new: str) -> bool:
    """Whether `new` may come after `last`: rows of tables look like headings, but their numbers jump."""
    a, b = last.split("."), new.split(".")
    if not last:
        return new == "1"
    if b[0].isalpha() != a[0].isalpha():
        return b[0] == "A" and a[0].isdigit()
    ordinal = [_ordinal(x) for x in a], [_ordinal(x) for x in b]
    if len(b) == len(a) + 1:
        return ordinal[1][:-1] == ordinal[0] and ordinal[1][-1] == 1
    kept = len(b) - 1
    return len(b) <= len(a) and ordinal[1][:kept] == ordinal[0][:kept] and ordinal[1][kept] == ordinal[0][kept] + 1


def _ordinal(part: str) -> int:
    return int(part) if part.isdigit() else ord(part) - ord("A") + 1


def _close(sections: list[Section], number: str, name: str, page: int, lines: list[str]) -> None:
    text = tidy(_paragraphs(lines))
    if text or name:
        level = number.count(".") + 2 if number else 2
        title = f"{name}, page {page}" if name else ""
        sections.append(Section(number=number, title=title, level=level, text=text))


def _paragraphs(lines: list[str]) -> str:
    """Lines joined to paragraphs: one ends with a sentence on a line clearly shorter than the column."""
    widths = sorted(len(line) for line in lines if line)
    column = widths[int(0.8 * len(widths))] if widths else 0
    parts: list[str] = [""]
    for line in lines:
        if parts[-1].endswith("-") and line[:1].islower():
            parts[-1] = parts[-1][:-1] + line
        else:
            parts[-1] = f"{parts[-1]} {line}".strip()
        if not line or (len(line) < 0.8 * column and line.endswith((".", "!", "?", ":"))):
            parts.append("")
    return "\n\n".join(part for part in parts if part)
