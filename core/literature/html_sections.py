"""Sections and tables from a paper's HTML as LaTeXML writes it (arxiv.org/html and ar5iv).

A small reader over the standard library's HTML parser: headings open sections, `ltx_tag` gives the number, formulas
give their LaTeX (`alttext`), tables keep their cells. Scripts, styles, navigation and the bibliography are left out.
It never fails on bad markup; what it cannot place becomes text.
"""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

from core.literature.papers import Section, Table

_SKIPPED = {
    "script",
    "title",
    "style",
    "nav",
    "header",
    "footer",
    "button",
    "noscript",
    "template",
    "svg",
    "annotation",
    "annotation-xml",
}
_VOID = {"br", "img", "hr", "meta", "link", "input", "col", "source", "wbr", "area", "base", "embed", "track"}
_BREAKS = {"p", "div", "li", "tr", "section", "figure", "figcaption", "blockquote", "dd", "dt", "br", "table"}
_UNCLOSED = 2_000
"""Characters that are read of a comment or tag that never ends."""
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
_NUMBER = re.compile(r"^(?:Appendix\s+)?([A-Z]|\d+|[A-Z]?\d*(?:\.\d+)+|[A-Z](?:\.\d+)*)[.:)]?\s+(?=\S)")
_TABLE_LABEL = re.compile(r"^\s*(Table\s+[A-Z]?\d+(?:\.\d+)?)\s*[:.]?\s*", re.IGNORECASE)


class _Draft:
    """A section being read."""

    def __init__(self, number: str, title: str, level: int) -> None:
        self.number, self.title, self.level = number, title, level
        self.text: list[str] = []
        self.tables: list[Table] = []

    def done(self) -> Section:
        return Section(
            number=self.number,
            title=self.title,
            level=self.level,
            text=tidy("".join(self.text)),
            tables=tuple(self.tables),
        )


class _Grid:
    """A table being read. `stray` is text outside cells, which no reader should see twice."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []
        self.heads: list[bool] = []
        self.cell: list[str] | None = None
        self.span = 1


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self.drafts = [_Draft("", "", 1)]
        self._open: list[tuple[str, bool]] = []  # every open tag, and whether it started a skipped stretch
        self._names: Counter[str] = Counter()  # how many of each are open: hostile nesting must not cost a search
        self._skipping = 0
        self._heading: list[str] | None = None
        self._tag_text: list[str] | None = None
        self._number = ""
        self._grids: list[_Grid] = []
        self._tables: list[bool] = []  # of every open table whether it is a grid: an equation is laid out as one, too
        self._notes: list[int] = []  # how many tags were open where a footnote began
        self._caption: list[str] | None = None
        self._waiting: list[_Grid] = []  # grids of the current figure, until its caption is known
        self._figures = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        kind = set((names.get("class") or "").split())
        if tag in _VOID:
            self._put("\n" if tag == "br" else "")
            return
        skip = tag in _SKIPPED or bool(
            kind & {"ltx_bibliography", "ltx_page_navbar", "ltx_TOC", "ltx_note_mark", "ltx_tag_note", "ltx_ERROR"}
        )
        # A footnote stands where it is called, in brackets; one of a heading or caption (thanks, affiliations) is left out.
        note = "ltx_note_outer" in kind
        skip = skip or (note and (self._heading is not None or self._caption is not None))
        if tag == "math":
            self._put(f" {names.get('alttext') or ''} ")
            skip = True
        self._open.append((tag, skip))
        self._names[tag] += 1
        self._skipping += skip
        if not self._skipping:
            if note:
                self._notes.append(len(self._open))
                self._put(" [")
            self._start(tag, kind, names)

    def _start(self, tag: str, kind: set[str], names: dict[str, str | None]) -> None:
        if tag in _HEADINGS:
            self._heading, self._number = [], ""
        elif "ltx_tag" in kind and self._heading is not None:
            self._tag_text = []
        elif tag == "figure":
            self._figures += 1
        elif tag in ("figcaption", "caption"):
            self._caption = []
        elif tag == "table":
            self._tables.append(not kind & {"ltx_equation", "ltx_equationgroup", "ltx_eqn_table"})
            if self._tables[-1]:
                self._grids.append(_Grid())
        elif tag in ("tr", "td", "th") and not self._in_grid:
            self._put("\n" if tag == "tr" else " ")
        elif tag == "tr" and self._grids:
            self._grids[-1].rows.append([])
            self._grids[-1].heads.append(True)
        elif tag in ("td", "th") and self._grids:
            self._grids[-1].cell = []
            span = names.get("colspan") or "1"
            self._grids[-1].span = min(int(span[:4]), 50) if span[:4].isdecimal() else 1
        elif tag in _BREAKS:
            self._put("\n")

    def handle_endtag(self, tag: str) -> None:
        while self._names[tag]:
            if self._notes and self._notes[-1] == len(self._open):
                self._notes.pop()
                self._put("]")
            name, skip = self._open.pop()
            self._names[name] -= 1
            if not self._skipping:
                self._end(name)
            self._skipping -= skip
            if name == tag:
                break

    def _end(self, tag: str) -> None:
        if tag in _HEADINGS and self._heading is not None:
            self._close_heading(int(tag[1]))
        elif tag == "span" and self._tag_text is not None:
            self._number = tidy("".join(self._tag_text))
            self._tag_text = None
        elif tag in ("td", "th") and self._in_grid and self._grids[-1].cell is not None:
            self._close_cell(self._grids[-1], head=tag == "th")
        elif tag == "table" and self._tables and self._tables.pop() and self._grids:
            grid = self._grids.pop()
            if self._grids:  # a table laid inside a cell: its text stays in that cell
                self._put(" ".join(cell for row in grid.rows for cell in row))
            elif self._figures:
                self._waiting.append(grid)
            else:
                self._keep([grid], "")
        elif tag == "figure":
            self._figures = max(0, self._figures - 1)
            if not self._figures:
                self._keep(self._waiting, tidy("".join(self._caption or [])))
                self._waiting, self._caption = [], None
        elif tag == "caption" and not self._figures:
            self._caption = None
        elif tag in _BREAKS:
            self._put("\n")

    @property
    def _in_grid(self) -> bool:
        """Whether the innermost open table is one of cells."""
        return bool(self._grids and self._tables and self._tables[-1])

    def _close_heading(self, depth: int) -> None:
        text = tidy("".join(self._heading or []))
        self._heading = None
        number = re.sub(r"^(?:Appendix|Section)\s+", "", self._number).strip(" .:")
        if not number and (match := _NUMBER.match(text)):
            number, text = match.group(1), text[match.end() :]
        if depth == 1 and not self.title:
            self.title = text
        elif text or number:
            self.drafts.append(_Draft(number, text, depth))

    def _close_cell(self, grid: _Grid, *, head: bool) -> None:
        if not grid.rows:
            grid.rows.append([])
            grid.heads.append(True)
        grid.rows[-1] += [tidy("".join(grid.cell or []), line=True)] + [""] * (grid.span - 1)
        grid.heads[-1] = grid.heads[-1] and head
        grid.cell = None

    def _keep(self, grids: list[_Grid], caption: str) -> None:
        section = self.drafts[-1]
        match = _TABLE_LABEL.match(caption)
        place = f"Section {section.number}" if section.number else section.title or "opening"
        label = match.group(1) if match else f"Table in {place}"
        for grid in grids:
            rows = tuple(tuple(row) for row in grid.rows if any(row))
            if rows:
                heads = next((i for i, head in enumerate(grid.heads) if not head), len(grid.heads))
                section.tables.append(
                    Table(
                        label=label,
                        caption=caption[match.end() :] if match else caption,
                        rows=rows,
                        header=max(1, heads),
                    )
                )

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self._put(data)

    def _put(self, text: str) -> None:
        if self._skipping or not text:
            return
        if self._tag_text is not None:
            self._tag_text.append(text)
        elif self._heading is not None:
            self._heading.append(text)
        elif self._grids:
            if (cell := self._grids[-1].cell) is not None:
                cell.append(text)
        elif self._caption is not None:
            self._caption.append(text)
        else:
            self.drafts[-1].text.append(text)


def tidy(text: str, *, line: bool = False) -> str:
    """Runs of blanks to one, blank lines to one; with `line`, everything on one line."""
    if line:
        return " ".join(text.split())
    lines = (" ".join(part.split()) for part in text.split("\n"))
    return re.sub(r"\n{2,}", "\n\n", "\n".join(lines)).strip()


def parse_html(html: str) -> tuple[str, tuple[Section, ...]]:
    """Title and sections of a paper's page. Sections without text, tables or title are dropped."""
    reader = _Reader()
    reader.feed(html)
    # What was opened and never closed is left: the library tries it again from every character, in time by its square.
    reader.rawdata = reader.rawdata[:_UNCLOSED]
    reader.close()
    sections = (draft.done() for draft in reader.drafts)
    return reader.title, tuple(s for s in sections if s.text or s.tables or s.title)
