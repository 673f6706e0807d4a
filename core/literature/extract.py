"""Hyperparameters, data sets and results out of a paper's text by plain patterns, each with the place where it stands.

This is a reader's highlighter, not an understanding: it finds what is written in the usual ways ("a learning rate of
1e-6", "batch size 128", "16 responses per prompt") and keeps the sentence, so that a person or the brain can judge.
What has no place in the text is not reported, and a number outside any sensible range is not taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from core.literature.extract_rules import HUB_NAME, KNOWN, METHODS, MODEL_SIZE, RULES, parse_number
from core.literature.extract_tables import Reported, compared, number_in, results_of
from core.literature.papers import PaperText, Section
from core.literature.snippets import paragraphs

T = TypeVar("T")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One value as the paper writes it."""

    name: str
    """Named as in recipe cards: `lr`, `batch`, `epochs`, `beta`, `generations`, `temperature`, ..."""
    value: float
    place: str
    quote: str
    """The sentence, at most 240 characters."""


class DatasetMention(msgspec.Struct, frozen=True, kw_only=True):
    """A data set named in the text."""

    name: str
    place: str
    quote: str


class MethodMention(msgspec.Struct, frozen=True, kw_only=True):
    """Where a method is named first."""

    name: str
    place: str
    quote: str


class Extract(msgspec.Struct, frozen=True, kw_only=True):
    """What one paper says about how it was done."""

    paper: str
    source: str
    findings: tuple[Finding, ...]
    datasets: tuple[DatasetMention, ...]
    results: tuple[Reported, ...]
    methods: tuple[str, ...] = ()
    """Training methods the text names, most often named first."""
    sizes: tuple[Finding, ...] = ()
    """Model sizes, in parameters."""
    named: tuple[MethodMention, ...] = ()
    """Where each of `methods` is named, for those that a paragraph names and not only a heading."""


def extract(text: PaperText) -> Extract:
    """Everything the patterns find in a paper that was read."""
    findings = [found for section in text.sections for found in extract_section(section)]
    datasets = [found for section in text.sections for found in _datasets(section)]
    results = [
        found for section in text.sections for table in section.tables for found in results_of(table, section.label)
    ]
    methods = _methods(text)
    return Extract(
        paper=text.id,
        source=text.source,
        findings=tuple(_unique(findings, lambda f: (f.name, f.value, f.place))),
        datasets=tuple(_unique(datasets, lambda d: (d.name,))),
        results=tuple(results),
        methods=methods,
        named=tuple(one for name in methods if (one := _named(text, name))),
        sizes=tuple(_unique(_sizes(text), lambda f: (f.value,))),
    )


def placed(found: Extract, text: PaperText) -> tuple[dict[str, object], dict[str, str]]:
    """Values and the place of each, after looking there again: what does not stand where it is said to stand is left out.

    Settings by their names; `method` (those that a paragraph names), `data`, `model_size`, and of the tables `result` and `baseline` (of the first column that
    has a row naming a base or baseline: that row, and the best of the others).
    """
    values: dict[str, object] = {}
    places: dict[str, str] = {}

    def keep(name: str, value: object, place: str, quote: str) -> None:
        if name not in values and stands_in(text, place, quote):
            values[name], places[name] = value, place

    for one in (*found.findings, *found.sizes):
        keep(one.name, one.value, one.place, one.quote)
    standing = [one for one in found.named if stands_in(text, one.place, one.quote)]
    if standing:
        values["method"] = ", ".join(one.name for one in standing)
        places["method"] = "; ".join(dict.fromkeys(one.place for one in standing))
    for mention in found.datasets:
        keep("data", mention.name, mention.place, mention.quote)
    for name, cell in compared(found.results).items():
        keep(name, {"row": cell.row, "column": cell.column, "value": cell.value}, cell.place, f"{cell.value:g}")
    return values, places


def stands_in(text: PaperText, place: str, quote: str) -> bool:
    """Whether the quotation, or the number of a cell, is found at the place when it is looked up afresh."""
    for section in text.sections:
        for at, paragraph in paragraphs(section):
            if at == place:
                return " ".join(quote.split()) in " ".join(paragraph.split())
        for table in section.tables:
            if place.startswith(f"{table.label}, ") and place.endswith(f"({section.label})"):
                found = (number_in(cell) for row in table.rows for cell in row)
                return any(n is not None and f"{n:g}" == quote for n in found)
    return False


def _methods(text: PaperText) -> tuple[str, ...]:
    """Methods by how often the text names them; those named once are mentions, unless there is no other."""
    whole = "\n".join([text.title, *(f"{s.title}\n{s.text}" for s in text.sections)])
    counts = {name: len(pattern.findall(whole)) for name, pattern in METHODS.items()}
    named = sorted((n for n in counts if counts[n]), key=lambda n: (-counts[n], n))
    return tuple([n for n in named if counts[n] > 1] or named)[:4]


def _named(text: PaperText, method: str) -> MethodMention | None:
    for section in text.sections:
        for place, raw in paragraphs(section):
            paragraph = " ".join(raw.split())
            if match := METHODS[method].search(paragraph):
                return MethodMention(name=method, place=place, quote=_sentence(paragraph, match.start(), match.end()))
    return None


def _sizes(text: PaperText) -> list[Finding]:
    found: list[Finding] = []
    for section in text.sections:
        for place, raw in paragraphs(section):
            paragraph = " ".join(raw.split())
            for match in MODEL_SIZE.finditer(paragraph):
                value = float(match.group(1)) * (1e9 if match.group(2).lower().startswith("b") else 1e6)
                quote = _sentence(paragraph, match.start(), match.end())
                found.append(Finding(name="model_size", value=value, place=place, quote=quote))
    return found


def extract_section(section: Section) -> list[Finding]:
    """The values a section states, in reading order."""
    found: list[tuple[int, int, Finding]] = []
    for at, (place, raw_paragraph) in enumerate(paragraphs(section)):
        paragraph = " ".join(raw_paragraph.split())  # long runs of blanks are costly to the patterns
        for rule in RULES:
            for match in rule.pattern.finditer(paragraph):
                raw = next(value for value in match.groupdict().values() if value is not None)
                value = parse_number(raw)
                if value is not None and rule.low <= value <= rule.high:
                    quote = _sentence(paragraph, match.start(), match.end())
                    found.append((at, match.start(), Finding(name=rule.name, value=value, place=place, quote=quote)))
    found.sort(key=lambda item: item[:2])
    return _unique((finding for _, _, finding in found), lambda f: (f.name, f.value, f.place))


def _datasets(section: Section) -> list[DatasetMention]:
    found: list[DatasetMention] = []
    for place, paragraph in paragraphs(section):
        for pattern in (KNOWN, HUB_NAME):
            for match in pattern.finditer(paragraph):
                name = match.group(1).rstrip(".-")
                if pattern is HUB_NAME and not _looks_like_hub(name, paragraph, match.start()):
                    continue
                found.append(
                    DatasetMention(name=name, place=place, quote=_sentence(paragraph, match.start(), match.end()))
                )
    return found


def _looks_like_hub(name: str, paragraph: str, start: int) -> bool:
    """`org/name` is a Hub id when it has a digit, dash or underscore and the words around it speak of data."""
    near = paragraph[max(0, start - 80) : start + len(name) + 60].lower()
    return bool(re.search(r"[-_\d]", name.split("/")[1])) and (
        "dataset" in near or "data set" in near or "huggingface.co" in near
    )


def _sentence(paragraph: str, start: int, end: int, limit: int = 240) -> str:
    """The sentence around a match, shortened around it if it is long."""
    before = max(
        (paragraph.rfind(mark, 0, start) + len(mark) for mark in (". ", "; ", "\n") if mark in paragraph[:start]),
        default=0,
    )
    stops = [at for mark in (". ", "\n") if (at := paragraph.find(mark, end)) != -1]
    after = min(stops) + 1 if stops else len(paragraph)
    if after - before > limit:
        before, after = max(before, start - limit // 2), min(after, start + limit // 2)
    return paragraph[before:after].strip()


def _unique(items: Iterable[T], key: Callable[[T], tuple[object, ...]]) -> list[T]:
    return list({key(item): item for item in reversed(list(items))}.values())[::-1]
