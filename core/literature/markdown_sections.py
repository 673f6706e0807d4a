"""Sections and tables from a paper's Markdown, as the Hub serves it."""

from __future__ import annotations

import re

from core.literature.html_sections import tidy
from core.literature.papers import Section, Table

_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*\s*$")
_NUMBERED = re.compile(r"^(?:(?:Appendix|Section)\s+)?((?:\d+|[A-Z])(?:\.\d+)*)[.:)]?\s+(?=\S)")
_RULE = re.compile(r"^(?=.*(?:\||--))\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")
_CAPTION = re.compile(r"^\W*(Table\s+[A-Z]?\d+(?:\.\d+)?)\W{0,4}\s*(.*)$", re.IGNORECASE)
_FENCE = re.compile(r"^\s*(```|~~~)")


def parse_markdown(text: str) -> tuple[str, tuple[Section, ...]]:
    """Title (the first level-1 heading) and sections. Headings inside code fences are text."""
    title = ""
    sections: list[Section] = []
    number, name, level = "", "", 1
    lines: list[str] = []
    fenced = False
    for line in text.replace("\r\n", "\n").split("\n"):
        fenced ^= bool(_FENCE.match(line))
        match = None if fenced else _HEADING.match(line)
        if match is None:
            lines.append(line)
            continue
        _close(sections, number, name, level, lines)
        heading = match.group(2).strip("* ")
        if len(match.group(1)) == 1 and not title:
            title, number, name, level, lines = heading, "", "", 1, []
            continue
        number, name = _split(heading)
        level, lines = len(match.group(1)), []
    _close(sections, number, name, level, lines)
    return title, tuple(sections)


def _split(heading: str) -> tuple[str, str]:
    """Number and name of a heading. A lone capital is a number only in front of more words ("A Details")."""
    match = _NUMBERED.match(heading)
    return (match.group(1), heading[match.end() :]) if match else ("", heading)


def _close(sections: list[Section], number: str, name: str, level: int, lines: list[str]) -> None:
    text, tables = _tables(lines, f"Section {number}" if number else name or "opening")
    if text or tables or name:
        sections.append(Section(number=number, title=name, level=level, text=text, tables=tables))


def _tables(lines: list[str], place: str) -> tuple[str, tuple[Table, ...]]:
    """Take pipe tables out of the text, with the caption that stands within two lines above or below."""
    kept: list[str] = []
    tables: list[Table] = []
    at = 0
    while at < len(lines):
        if "|" in lines[at] and at + 1 < len(lines) and _RULE.match(lines[at + 1]) and "-" in lines[at + 1]:
            end = at + 2
            while end < len(lines) and "|" in lines[end]:
                end += 1
            rows = tuple(_cells(line) for line in [lines[at], *lines[at + 2 : end]])
            label, caption = _caption([*reversed(lines[max(0, at - 3) : at]), *lines[end : end + 3]], place)
            tables.append(Table(label=label, caption=caption, rows=rows))
            at = end
        else:
            kept.append(lines[at])
            at += 1
    return tidy("\n".join(kept)), tuple(tables)


def _caption(near: list[str], place: str) -> tuple[str, str]:
    for line in near:
        if match := _CAPTION.match(line):
            return match.group(1), match.group(2).strip(" *")
    return f"Table in {place}", ""


def _cells(line: str) -> tuple[str, ...]:
    bare = line.strip().removeprefix("|").removesuffix("|")
    return tuple(cell.strip().strip("*").strip() for cell in re.split(r"(?<!\\)\|", bare))
