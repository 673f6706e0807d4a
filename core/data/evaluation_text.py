"""The sample texts of a task's evaluation-side files; for the contamination checker alone, never for training.

Which strings are samples is told by column names where the file has columns (questions, and answers long enough to be
recognised); else every string counts. Code is read, not run: its string literals through `ast`.
"""

from __future__ import annotations

import ast
import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

from core.data.files import open_data
from core.data.text import words
from core.errors import InternError
from core.python_source import parse

LONG_ANSWER = 13
"""Words from which an answer is a text of its own (the n of the n-gram test); a shorter one ("42", a tool call) is the right
answer to many questions."""
_CODE_CALLS = {
    "add_argument",
    "print",
    "getLogger",
    "info",
    "warning",
    "error",
    "debug",
    "exit",
    "SystemExit",
    "join",
    "format",
}


def evaluation_strings(files: Iterable[Path | str]) -> list[str]:
    """Every sample text in these files (json, jsonl, csv, tsv, parquet, txt, py; folders are searched), without
    repeats.

    A file that cannot be read contributes nothing rather than stopping the check; `unreadable` names it.
    """
    return _collect(files)[0]


def unreadable(files: Iterable[Path | str]) -> list[str]:
    """The files `evaluation_strings` could get nothing from."""
    return _collect(files)[1]


def _collect(files: Iterable[Path | str]) -> tuple[list[str], list[str]]:
    found: dict[str, None] = {}
    failed: list[str] = []
    for path in _expand(files):
        try:
            found.update(dict.fromkeys(t.strip() for t in _strings(path) if t.strip()))
        except (InternError, OSError, SyntaxError, ValueError) as error:
            failed.append(f"{path}: {error}")
    return list(found), failed


def _expand(files: Iterable[Path | str]) -> Iterator[Path]:
    for item in files:
        path = Path(item)
        yield from sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _strings(path: Path) -> Iterable[str]:
    suffix = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if suffix in ("jsonl", "ndjson", "json", "csv", "tsv", "parquet"):
        return _table(path, suffix)
    if suffix == "py":
        return _literals(parse(path.read_text(encoding="utf-8", errors="replace")))
    if suffix in ("txt", "md"):
        text = path.read_text(encoding="utf-8", errors="replace")
        return [*text.splitlines(), *text.split("\n\n")]
    return []


def _table(path: Path, suffix: str) -> Iterable[str]:
    try:
        with open_data(path) as data:
            if data.roles.kind != "unknown":
                rows = data.all("SELECT prompt, answer, rejected FROM rows ORDER BY n")
                own = [t for row in rows for t in row[:1] if t]
                return own + [t for row in rows for t in row[1:] if t and len(words(t)) >= LONG_ANSWER]
    except InternError:
        if suffix == "parquet":
            raise
    text = path.read_text(encoding="utf-8", errors="replace")
    if suffix in ("csv", "tsv"):
        return [
            c
            for row in csv.reader(text.splitlines(), delimiter="\t" if suffix == "tsv" else ",")
            for c in row
            if not _bare(c)
        ]
    if suffix == "json":
        return _leaves(json.loads(text))
    return [leaf for line in text.splitlines() if line.strip() for leaf in _leaves(_json_or_text(line))]


def _json_or_text(line: str) -> object:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return line


def _leaves(value: object) -> Iterator[str]:
    """The strings inside a JSON value, bare numbers left out."""
    stack: list[object] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str) and not _bare(item):
            yield item
        elif isinstance(item, dict):
            stack.extend(cast("dict[str, object]", item).values())
        elif isinstance(item, list):
            stack.extend(cast("list[object]", item))


def _bare(text: str) -> bool:
    """A number alone identifies no sample."""
    return not text.strip() or text.strip().lstrip("+-").replace(".", "", 1).replace(",", "").isdigit()


def _literals(tree: ast.Module) -> Iterator[str]:
    """String literals that may be samples: docstrings, messages, option texts and parts of f-strings are not."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _skip(node.body[:1] if node.body and isinstance(node.body[0], ast.Expr) else (), skipped)
        elif isinstance(node, ast.Call) and _called(node.func) in _CODE_CALLS:
            _skip([*node.args, *(k.value for k in node.keywords)], skipped)
        elif isinstance(node, ast.JoinedStr | ast.Raise | ast.ImportFrom):
            _skip([node], skipped)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in skipped
            and not _bare(node.value)
        ):
            yield node.value
            yield from (line for line in node.value.splitlines()[:100_000] if "\n" in node.value)


def _skip(nodes: Sequence[ast.AST], skipped: set[int]) -> None:
    skipped.update(id(inner) for node in nodes for inner in ast.walk(node))


def _called(function: ast.expr) -> str:
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )
