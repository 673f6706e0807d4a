"""Rows out of texts that are no JSON lines: JSON printed over several lines, a list or a table in one document, CSV.

What people export from notebooks and trackers. A document that was cut off gives its whole rows.
"""

from __future__ import annotations

import csv
import json
from typing import Any, cast

Fields = dict[str, Any]

MOST_HEAD = 20_000
"""Characters in which a table's header must end."""


def rows_in(text: str) -> list[Fields]:
    """The rows of a text, empty where it has none of these shapes."""
    text = text.lstrip("\ufeff \r\n\t")
    if text[:1] in ("{", "["):
        return [row for value in _values(text) for row in _rows_of(value)]
    return _table(text)


def _values(text: str) -> list[Any]:
    """The JSON values that follow each other, in a list or one by one; up to where the text is cut off."""
    decoder, found, at = json.JSONDecoder(), list[Any](), 0
    try:
        whole, end = decoder.raw_decode(text)
    except (json.JSONDecodeError, RecursionError):
        at = _inside(text)
    else:
        found = cast(list[Any], whole) if isinstance(whole, list) else [whole]
        at = end
    while at < len(text):
        if text[at] in " \t\r\n,":
            at += 1
            continue
        try:
            value, at = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError):
            break
        found.append(value)
    return found


def _inside(text: str) -> int:
    """Where the rows of a document begin whose end is missing: after the first bracket that opens a list of objects."""
    at = text.find("[")
    rest = text[at + 1 :].lstrip() if at >= 0 else ""
    return len(text) - len(rest) if rest.startswith("{") else len(text)


def _rows_of(value: Any) -> list[Fields]:
    """A row; or a document that holds the rows in a list, or as a column a metric."""
    if not isinstance(value, dict):
        return []
    fields = cast(Fields, value)
    for inner in fields.values():
        if isinstance(inner, list) and inner and all(isinstance(row, dict) for row in cast(list[Any], inner)):
            return cast(list[Fields], inner)
    columns = {name: cast(list[Any], inner) for name, inner in fields.items() if isinstance(inner, list)}
    if len(columns) >= 2 and len({len(column) for column in columns.values()}) == 1:
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [fields]


def _table(text: str) -> list[Fields]:
    """CSV or tab-separated values with a header. Cells without a value are left out, not null: a row need not have all."""
    head = text[:MOST_HEAD].partition("\n")[0]
    separator = max(",\t;", key=head.count)
    if head.count(separator) < 1 or "{" in head:
        return []
    lines = csv.DictReader(text.splitlines(), delimiter=separator)
    return [{str(k).strip(): v for k, v in row.items() if isinstance(v, str) and v.strip()} for row in lines]
