# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Sections and tables from a paper's LaTeX source.

Headings are found in the source and numbered as LaTeX would; each body goes through pylatexenc, which knows macros and
accents. Formulas stay as they were written: `$3\\times10^{-6}$` is how the patterns of `extract.py` know them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from core.literature.errors import SourceBroken
from core.literature.html_sections import tidy
from core.literature.latex_archive import read_source
from core.literature.latex_macros import expanded, without_switched_off
from core.literature.papers import Section, Table

_HEADING = re.compile(r"\\(section|subsection|subsubsection)(\*?)\s*(?:\[[^\]]{0,300}\])?\s*\{|\\(appendix)\b|\\begin\{(appendices|abstract)\}")  # fmt: skip
_DEPTH = {"section": 1, "subsection": 2, "subsubsection": 3}
_TABLES = ("table", "table*", "wraptable", "sidewaystable")
_TABULARS = ("tabular", "tabular*", "tabularx", "tabulary", "longtable")
_OTHERS = ("figure", "figure*", "thebibliography", "tikzpicture", "algorithm", "algorithm*", "comment")
_RULES = re.compile(
    r"\\(toprule|midrule|bottomrule|hline|centering|small|footnotesize)\b(\[[^\]]{0,300}\])?|\\(cline|cmidrule|addlinespace)(\([^)]{0,300}\))?(\[[^\]]{0,300}\])?(\{[^{}]*\})?"
)
_MARKS = re.compile(r"\\maketitle\b|\\(?:label|vspace\*?|hspace\*?)\s*\{[^{}]*\}")
_FRAMES = re.compile(
    r"\\(?:begin|end)\{(?!(?:equation|align|gather|multline|eqnarray|math|displaymath|array|cases|[bpvBV]?matrix)\*?\})"
    r"[A-Za-z*]{1,40}\}(?:\[[^\]\n]{0,200}\])?"
)
"""Environments other than formulas: lists, quotes and boxes may span paragraphs, and their frames say nothing."""
_CHUNK = 2_000
_MOST = 600_000
"""Characters that are read: some 20 s of work. Papers have 50,000-200,000."""
_DEEPEST = 60
"""Braces in braces; what is deeper is no paper, and parsers recurse."""


def parse_source(data: bytes, url: str) -> tuple[str, tuple[Section, ...]]:
    """Title and sections of an e-print. Raises PaperMissing without TeX, SourceBroken for an archive that cannot be read."""
    return parse_latex(read_source(data, url), url)


def parse_latex(source: str, url: str) -> tuple[str, tuple[Section, ...]]:
    """Title and sections of a flattened document."""
    if _depth(source) > _DEEPEST:
        raise SourceBroken("braces too deep for a paper", where=url, next="Use another source.")
    source = expanded(without_switched_off(source))
    if _depth(source) > _DEEPEST:
        raise SourceBroken("macros nested too deep for a paper", where=url, next="Use another source.")
    title = next(
        (_argument(source, m.end() - 1)[0] for m in re.finditer(r"\\title\s*(?:\[[^\]]{0,300}\])?\s*\{", source)), ""
    )
    body = source.partition(r"\begin{document}")[2] or source
    body = _MARKS.sub("", _taken(body.partition(r"\end{document}")[0], _OTHERS)[0])
    if len(body) > _MOST:
        body = f"{body[:_MOST]}\n\n[{len(body) - _MOST} more characters of the source were not read]"
    tables = [0]
    try:
        sections = [_section(*part, tables) for part in _parts(body)]
        return " ".join(_plain(title).split()), tuple(s for s in sections if s.text or s.tables or s.title)
    except RecursionError as error:
        raise SourceBroken("the source is nested too deeply", where=url, next="Use another source.") from error


def _parts(body: str) -> Iterator[tuple[str, str, int, str]]:
    """(number, title, level, source) of each section, in order."""
    counts, appendix = [0, 0, 0], False
    number, title, level, begin = "", "", 1, 0
    for match in _HEADING.finditer(body):
        if match.start() < begin:
            continue
        yield number, title, level, body[begin : match.start()]
        number, title, level, begin = "", "", 1, match.end()
        if match.group(3) or match.group(4) == "appendices":
            counts, appendix = [0, 0, 0], True
        elif match.group(4) == "abstract":
            title, level = "Abstract", 2
        else:
            depth = _DEPTH[match.group(1)]
            title, begin = _argument(body, match.end() - 1)
            level = depth + 1
            if not match.group(2):
                counts[depth - 1] += 1
                counts[depth:] = [0] * (3 - depth)
                number = _number(counts[:depth], appendix)
    yield number, title, level, body[begin:]


def _taken(source: str, names: tuple[str, ...]) -> tuple[str, list[str]]:
    """The source without its environments of these names, and what stands in them. Linear, whatever is left unclosed."""
    begin = re.compile(r"\\begin\{(" + "|".join(map(re.escape, names)) + r")\}")
    kept: list[str] = []
    inner: list[str] = []
    at = 0
    while found := begin.search(source, at):
        end = source.find(f"\\end{{{found.group(1)}}}", found.end())
        if end < 0:
            break
        kept.append(source[at : found.start()])
        inner.append(source[found.end() : end])
        at = end + len(found.group(1)) + 6
    return "".join([*kept, source[at:]]), inner


def _number(counts: list[int], appendix: bool) -> str:
    first = chr(ord("A") + (counts[0] - 1) % 26) if appendix and counts[0] else str(counts[0])
    return ".".join([first, *map(str, counts[1:])])


def _section(number: str, title: str, level: int, source: str, seen: list[int]) -> Section:
    place = f"Section {number}" if number else title or "opening"
    rest, inner = _taken(source, _TABLES)
    tables = [_table(one, place, seen) for one in inner]
    rest, inner = _taken(rest, _TABULARS)
    tables += [_tabular(one, f"Table in {place}", "") for one in inner]
    text = tidy(_paragraphs(_plain(rest)))
    name = " ".join(_plain(title).split())
    return Section(number=number, title=name, level=level, text=text, tables=tuple(t for t in tables if t))


def _table(source: str, place: str, seen: list[int]) -> Table | None:
    caption = ""
    if found := re.search(r"\\caption\s*(?:\[[^\]]{0,300}\])?\s*\{", source):
        caption = " ".join(_plain(_argument(source, found.end() - 1)[0]).split())
        seen[0] += 1  # LaTeX numbers captions, not tables
    label = f"Table {seen[0]}" if caption else f"Table in {place}"
    tabulars = _taken(source, _TABULARS)[1]
    return _tabular(tabulars[0], label, caption) if tabulars else None


def _tabular(source: str, label: str, caption: str) -> Table | None:
    """Rows and cells; the lines above the first rule that has something above it are headings."""
    source = re.sub(r"^\s*(\[[^\]]{0,300}\])?", "", source)
    while source.lstrip().startswith("{"):  # column specification, and the width of tabularx
        at = source.index("{")
        source = source[_argument(source, at)[1] :]
    header, rows = 0, list[tuple[str, ...]]()
    for piece in re.split(r"\\\\(?:\[[^\]]{0,300}\])?|\\tabularnewline", source):
        if rows and not header and re.match(r"\s*\\(midrule|hline)", piece):
            header = len(rows)
        cells = tuple(" ".join(_plain(_spanned(c)).split()) for c in re.split(r"(?<!\\)&", _RULES.sub("", piece)))
        if any(cells):
            rows.append(cells)
    return Table(label=label, caption=caption, rows=tuple(rows), header=header or 1) if rows else None


def _spanned(cell: str) -> str:
    r"""The content of `\multicolumn{2}{c}{x}` and `\multirow{2}{*}{x}`."""
    found = re.search(
        r"\\multi(?:column|row)\s*(?:\[[^\]]{0,300}\])?\s*\{[^{}]*\}\s*\{(?:[^{}]|\{[^{}]*\})*\}\s*\{", cell
    )
    return _argument(cell, found.end() - 1)[0] if found else cell


def _plain(source: str) -> str:
    """Text with formulas as they were written. What cannot be parsed keeps its macros: a reader still understands it."""
    return "\n\n".join(_chunk_plain(chunk) for chunk in _chunks(_FRAMES.sub("\n\n", source)))


def _chunk_plain(source: str) -> str:
    from pylatexenc.latex2text import LatexNodes2Text
    from pylatexenc.latexwalker import LatexWalkerError

    try:
        return str(LatexNodes2Text(math_mode="verbatim", keep_comments=False).latex_to_text(source))
    except (LatexWalkerError, ValueError, IndexError, AttributeError):
        return source


def _chunks(source: str) -> Iterator[str]:
    """Paragraphs, and what is too long for one in pieces: pylatexenc's time grows with the square of its input."""
    for part in re.split(r"\n[ \t]*\n", source):
        yield from (part[at : at + _CHUNK] for at in range(0, len(part), _CHUNK))


def _paragraphs(text: str) -> str:
    """One line a paragraph: authors break lines anywhere."""
    parts = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]
    return "\n\n".join(part for part in parts if part)


def _argument(source: str, at: int) -> tuple[str, int]:
    """The group whose brace opens at `at`, and where what follows it begins. An unclosed one ends after 2,000 characters."""
    depth = 0
    for i in range(at, min(len(source), at + 2000)):
        if source[i] in "{}" and source[i - 1 : i] != "\\":
            depth += 1 if source[i] == "{" else -1
            if depth == 0:
                return source[at + 1 : i], i + 1
    end = min(len(source), at + 2000)
    return source[at + 1 : end], end


def _depth(source: str) -> int:
    deepest = depth = 0
    for char in source:
        if char == "{":
            depth += 1
            deepest = max(deepest, depth)
        elif char == "}":
            depth = max(0, depth - 1)
    return deepest
