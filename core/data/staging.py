"""One input file into the table `stage`: line, kind (row, broken or blank), and every column as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.data.reading import (
    WRAPPED_LIMIT,
    arrow_as_parquet,
    longest_line,
    looks_like_array,
    readable_lines,
    unwrap_json,
)
from core.data.roles import may_be_part
from core.errors import ToolError

if TYPE_CHECKING:
    from core.data.files import Data

MAX_COLUMNS = 64
LARGEST_CELL = 2_000_000
"""Bytes."""


def stage(data: Data, path: Path, form: str, limit: int | None) -> tuple[str, ...]:
    """Fill the table `stage`: line, kind (row, broken, blank) and every column as text."""
    bound = "" if limit is None else f"LIMIT {limit}"
    if form == "parquet":
        _stage_typed(data, f"read_parquet({quote(str(path))})", 1, bound)
        return ()
    if form == "arrow":
        _stage_typed(data, f"read_parquet({quote(str(arrow_as_parquet(path, data.scratch)))})", 1, bound)
        return ()
    clean, notes = readable_lines(path, data.scratch)
    if form == "csv":
        return (*notes, *_stage_csv(data, clean, bound))
    if form == "json" or looks_like_array(clean):
        if clean.stat().st_size > WRAPPED_LIMIT:
            _stage_json(
                data, f"(SELECT json AS raw FROM read_json_objects({quote(str(clean))}, format='array'))", bound
            )
            return notes
        clean = unwrap_json(clean, data.scratch) or clean
    _stage_json(data, _lines(clean), bound)
    return notes


def _lines(path: Path) -> str:
    """A relation of raw lines: the CSV reader with nothing to split or quote, which keeps every line in order."""
    options = "delim='\x01', quote='', escape='', header=false, auto_detect=false, strict_mode=false"
    size = max(1 << 20, longest_line(path) + 16)
    return (
        f"read_csv({quote(str(path))}, columns={{'raw':'VARCHAR'}}, {options}, max_line_size={size}, "
        f"buffer_size={4 * size})"
    )


def _stage_json(data: Data, source: str, bound: str) -> None:
    # The lines are kept and judged once: a row number made by a window would hold everything after it to one core.
    data.con.execute(
        f"CREATE OR REPLACE TABLE lines AS SELECT raw, CASE WHEN json_valid(raw) THEN json_type(raw) = 'OBJECT' ELSE false END "
        f"AS good FROM {source} {bound}"
    )
    first = [k for (keys,) in data.all("SELECT json_keys(raw) FROM lines WHERE good LIMIT 50") for k in keys]
    every = data.all(
        "SELECT k FROM (SELECT unnest(json_keys(raw)) k FROM lines WHERE good) GROUP BY k ORDER BY count(*) DESC, k"
    )
    names = _distinct_names(first + [k for (k,) in every])
    if not names and not int(data.one("SELECT count(*) FROM lines WHERE trim(coalesce(raw, '')) NOT IN ('', '{}')")):
        data.con.execute("CREATE OR REPLACE TABLE stage AS SELECT 0 AS line, 'blank' AS kind LIMIT 0; DROP TABLE lines")
        return
    if not names:
        raise ToolError("No line is a JSON object", where=str(data.path), next="One JSON object a line is expected.")
    shape = json.dumps(dict.fromkeys(names, "VARCHAR"))
    fields = "".join(f", j.{name(c)} AS {name(c)}" for c in names)
    data.con.execute(
        f"CREATE OR REPLACE TABLE stage AS SELECT line, kind{fields} FROM (SELECT rowid + 1 AS line, CASE WHEN good "
        f"THEN 'row' WHEN raw IS NULL OR trim(raw) = '' THEN 'blank' ELSE 'broken' END AS kind, CASE WHEN good THEN "
        f"json_transform(raw, {quote(shape)}) END AS j FROM lines)"
    )
    _count_types(data, names)
    data.con.execute("DROP TABLE lines")


def _count_types(data: Data, names: Sequence[str]) -> None:
    """JSON types of each column over the first rows; more than one (null aside) is kept in `data.mixed`."""
    pairs = data.all(
        "SELECT k, json_type(raw, '$.\"' || k || '\"') t, count(*) FROM (SELECT raw, unnest(json_keys(raw)) k FROM "
        "(SELECT raw, good FROM lines LIMIT 20000) WHERE good) WHERE k <> '' AND NOT contains(k, '\"') GROUP BY ALL ORDER BY ALL"
    )
    for name in names:
        types: dict[str, int] = {}
        for key, kind, count in pairs:
            if key == name and kind not in (None, "NULL"):
                label = "NUMBER" if kind in ("UBIGINT", "BIGINT", "DOUBLE", "HUGEINT", "UHUGEINT") else str(kind)
                types[label] = types.get(label, 0) + int(count)
        if len(types) > 1:
            data.mixed[name] = types


def _stage_csv(data: Data, path: Path, bound: str) -> tuple[str, ...]:
    options = "all_varchar=true, ignore_errors=true, store_rejects=true"
    if path.stat().st_size > LARGEST_CELL:  # DuckDB's own limit for a line, and so for a cell with many lines in it
        options += f", max_line_size={min(path.stat().st_size, 16 * LARGEST_CELL)}"
    relation = f"read_csv({quote(str(path))}, header=true, {options})"
    data.con.execute("DROP TABLE IF EXISTS reject_errors; DROP TABLE IF EXISTS reject_scans")
    names = [str(c[0]) for c in data.all(f"DESCRIBE SELECT * FROM {relation}")]
    if any(_is_value(name_) for name_ in names):
        _stage_typed(data, relation.replace("header=true", "header=false"), 1, bound)
        return ("no header line: columns are named by their place",)
    _stage_typed(data, relation, 2, bound)
    notes = _repeated_headers(data, names)
    rejected = data.all("SELECT DISTINCT line FROM reject_errors ORDER BY line")
    data.con.executemany(
        "INSERT INTO stage (line, kind) VALUES (?, 'broken')", [[r[0]] for r in rejected]
    ) if rejected else None
    return notes


def _is_value(header: str) -> bool:
    """Whether a column's supposed name is rather a row's text: a sentence, a number, longer than any name."""
    text = header.strip()
    return len(text) > 60 or (text.endswith((".", "?", "!", "=")) and " " in text) or text.replace(".", "", 1).isdigit()


def _repeated_headers(data: Data, names: Sequence[str]) -> tuple[str, ...]:
    """Header lines in the middle (files joined with `cat`) are no rows."""
    kept = _distinct_names(list(names))
    if not kept:
        return ()
    same = " AND ".join(f"{name(c)} = {quote(c)}" for c in kept)
    count = int(data.one(f"SELECT count(*) FROM stage WHERE {same}"))
    if not count:
        return ()
    data.con.execute(f"UPDATE stage SET kind = 'blank' WHERE {same}")
    return (f"{count} repeated header lines left out",)


def _stage_typed(data: Data, relation: str, first_line: int, bound: str) -> None:
    described = data.all(f"DESCRIBE SELECT * FROM {relation}")
    kinds = {c[0]: str(c[1]) for c in described}
    fields = "".join(f", {_as_text(c, kinds[c])} AS {name(c)}" for c in _distinct_names(list(kinds)))
    data.con.execute(
        f"CREATE OR REPLACE TABLE stage AS SELECT row_number() OVER () + {first_line - 1} AS line, 'row' AS "
        f"kind{fields} "
        f"FROM {relation} {bound}"
    )


def _as_text(column: str, kind: str) -> str:
    nested = kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION"))
    if kind == "BLOB":
        return f"'(' || octet_length({name(column)}) || ' bytes)'"
    return f"to_json({name(column)})::VARCHAR" if nested else f"{name(column)}::VARCHAR"


def _distinct_names(names: list[str]) -> list[str]:
    """DuckDB compares names without case: of `Text` and `text` the first (the more frequent) stays."""
    kept: dict[str, str] = {}
    for name in names:
        if name.strip() and name.lower() not in ("line", "kind"):
            kept.setdefault(name.lower(), name)
    # Of a wide table the columns that may be a part of a row come first: they must not be among those left out.
    telling = (
        sorted(kept.values(), key=lambda c: not may_be_part(c)) if len(kept) > MAX_COLUMNS else list(kept.values())
    )
    return telling[:MAX_COLUMNS]


def name(column: str | None) -> str:
    return '"' + str(column).replace('"', '""') + '"'


def quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
