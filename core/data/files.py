"""Open data as found (jsonl, json, csv, parquet, or a folder of them) as one DuckDB table of rows.

Everything downstream (inspection, contamination, preparation) reads the table `rows` made here:

    n         row number over all files, from 0        prompt, answer      texts, null where missing
    source    index into `Data.files`                  turns               list of (role, content) for chats
    line      line or record in that file, from 1      chosen, rejected    texts
    split     train, dev, test, ... or null            system, licence     texts
    pkey, akey  64-bit keys of the prompt's and the answer's normal form (see `_MACROS`)

The database lives in a temporary file and spills to disk, so a million rows need little memory.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import msgspec

from core.data.reading import (
    WRAPPED_LIMIT,
    file_format,
    find_files,
    longest_line,
    looks_like_array,
    readable_lines,
    unwrap_json,
)
from core.data.roles import recognise
from core.data.schema import ColumnInfo, Roles, SourceFile
from core.errors import ToolError

MAX_COLUMNS = 64
MEMORY = "500MB"
_SAMPLE = 200

_ROLE_NAMES = "role VARCHAR, content VARCHAR"
_TURN_SHAPE = '[{"role":"VARCHAR","from":"VARCHAR","content":"VARCHAR","value":"VARCHAR"}]'
_MACROS = r"""
CREATE MACRO squeeze(t) AS CASE WHEN regexp_matches(t, '\s\s|[\t\r\n]|^\s|\s$')
    THEN trim(regexp_replace(nfc_normalize(t), '\s+', ' ', 'g')) ELSE nfc_normalize(t) END;
CREATE MACRO wordy(t) AS length(t) >= 16 AND regexp_matches(t,
'\p{L}{2,}\P{L}+\p{L}{2,}\P{L}+\p{L}{2,}\P{L}+\p{L}{2,}');
CREATE MACRO same_text(t) AS CASE WHEN wordy(t) THEN regexp_replace(lower(squeeze(t)), '[\s.,;:!?]+$', '')
    ELSE squeeze(t) END;
CREATE MACRO final_part(t) AS CASE WHEN contains(t, '####') THEN trim(regexp_extract(t, '(?s).*####(.*)$', 1))
    WHEN contains(t, '\boxed{') THEN trim(regexp_extract(t, '(?s).*\\boxed\{([^{}]*)\}', 1)) ELSE t END;
CREATE MACRO same_answer(t) AS CASE WHEN t LIKE '{%' AND json_valid(t) THEN json(t)::VARCHAR
    ELSE lower(squeeze(final_part(t))) END;
CREATE MACRO role_of(r) AS CASE lower(r) WHEN 'human' THEN 'user' WHEN 'gpt' THEN 'assistant' WHEN 'bot' THEN
    'assistant' WHEN 'model' THEN 'assistant' WHEN 'ai' THEN 'assistant' ELSE lower(r) END;
CREATE MACRO turns_of(t) AS list_transform(json_transform(t, '%s'),
    lambda m: {'role': role_of(coalesce(m.role, m."from")), 'content': coalesce(m.content, m.value)});
CREATE MACRO is_chat(t) AS t LIKE '[%%{%%' AND json_valid(t);
CREATE MACRO contents(turns) AS array_to_string(list_filter(list_transform(turns, lambda m: m.content), lambda c: c IS
NOT NULL),
    chr(10));
CREATE MACRO flat(t) AS CASE WHEN is_chat(t) AND contents(turns_of(t)) <> '' THEN contents(turns_of(t)) ELSE t END;
CREATE MACRO reply(t) AS CASE WHEN is_chat(t) THEN list_last(turns_of(t)).content ELSE t END;
CREATE MACRO before_reply(t) AS CASE WHEN is_chat(t) THEN nullif(contents(turns_of(t)[:-2]), '') END;
""".replace("%s", _TURN_SHAPE).replace("%%", "%")
_ROWS = f"""CREATE TABLE rows (n BIGINT, source INTEGER, line BIGINT, split VARCHAR, prompt VARCHAR, answer VARCHAR,
    turns STRUCT({_ROLE_NAMES})[], chosen VARCHAR, rejected VARCHAR, system VARCHAR, licence VARCHAR,
    pkey UBIGINT, akey UBIGINT)"""


class Data:
    """Open data. A context manager: its scratch folder and database go when it is closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: list[SourceFile] = []
        self.columns: list[ColumnInfo] = []
        self.roles = Roles()
        self.mixed: dict[str, dict[str, int]] = {}
        """Columns whose JSON values are of more than one type: type -> rows."""
        self._scratch = tempfile.TemporaryDirectory(prefix="intern_data_")
        self.scratch = Path(self._scratch.name)
        self.con = duckdb.connect(self.scratch / "work.duckdb")
        self.con.execute(f"SET memory_limit='{MEMORY}'; SET threads=2; SET temp_directory='{self.scratch}/spill'")
        self.con.execute("SET enable_progress_bar=false; SET preserve_insertion_order=true")
        self.con.execute(_MACROS)
        self.con.execute(_ROWS)
        self.con.execute("CREATE TABLE flags (concern VARCHAR, n BIGINT, note VARCHAR)")

    @property
    def rows(self) -> int:
        """Rows that could be read."""
        return int(self.one("SELECT count(*) FROM rows"))

    def all(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Every row of a query."""
        return self.con.execute(query, list(parameters)).fetchall()

    def one(self, query: str, parameters: Sequence[object] = ()) -> Any:
        """The first value of a query."""
        row = self.con.execute(query, list(parameters)).fetchone()
        return row[0] if row else None

    def place(self, n: int) -> tuple[str, int]:
        """(file name, line) of row n."""
        source, line = self.all("SELECT source, line FROM rows WHERE n = ?", [n])[0]
        return Path(self.files[source].path).name, int(line)

    def add(self, path: Path, roles: Roles | None = None, limit: int | None = None) -> None:
        """Read one more file or folder into the same table."""
        for file in find_files(path):
            _add_file(self, file, path, limit, roles)

    def close(self) -> None:
        """Forget the scratch database."""
        self.con.close()
        self._scratch.cleanup()

    def __enter__(self) -> Data:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_data(path: Path | str, *, limit: int | None = None, roles: Roles | None = None) -> Data:
    """Read a file or folder. `limit`: the first rows only; `roles`: instead of recognising them.

    Raises NotFound (no data there), ToolError (a file that cannot be read as what it says it is, or no readable row).
    """
    data = Data(Path(path))
    try:
        data.add(data.path, roles, limit)
        if not data.rows:
            broken = sum(f.broken_lines for f in data.files)
            raise ToolError(
                f"No row could be read ({broken} broken lines)" if broken else "The data is empty",
                where=str(data.path),
                next="Look at the file's first lines; one JSON object a line is expected in .jsonl.",
            )
    except BaseException:
        data.close()
        raise
    return data


def open_rows(rows: Sequence[tuple[str | None, str | None]], name: str = "rows") -> Data:
    """Data made of (prompt, answer) pairs in memory; for callers that already have them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"prompt": p, "answer": a}) + "\n" for p, a in rows), encoding="utf-8")
        return open_data(path)


def _add_file(data: Data, path: Path, root: Path, limit: int | None, roles: Roles | None) -> None:
    form = file_format(path)
    if form is None:
        raise ToolError(f"Unknown format '{path.suffix}'", where=str(path), next="Use jsonl, json, csv or parquet.")
    if path.stat().st_size == 0:
        data.files.append(SourceFile(path=str(path), format=form, rows=0, notes=("empty file",)))
        return
    have = data.rows
    if limit is not None and have >= limit:
        return
    try:
        notes = _stage(data, path, form, limit - have if limit is not None else None)
        _take(data, SourceFile(path=str(path), format=form, rows=0, notes=notes), roles, split_of(path, root))
    except duckdb.Error as error:
        reason = str(error).splitlines()[0][:300]
        raise ToolError(
            f"Cannot read as {form}: {reason}", where=str(path), next="Repair the file or leave it out."
        ) from error


def _stage(data: Data, path: Path, form: str, limit: int | None) -> tuple[str, ...]:
    """Fill the table `stage`: line, kind (row, broken, blank) and every column as text."""
    bound = "" if limit is None else f"LIMIT {limit}"
    if form == "parquet":
        _stage_typed(data, f"read_parquet({_quote(str(path))})", 1, bound)
        return ()
    clean, notes = readable_lines(path, data.scratch)
    if form == "csv":
        return (*notes, *_stage_csv(data, clean, bound))
    if form == "json" or looks_like_array(clean):
        if clean.stat().st_size > WRAPPED_LIMIT:
            _stage_json(
                data, f"(SELECT json AS raw FROM read_json_objects({_quote(str(clean))}, format='array'))", bound
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
        f"read_csv({_quote(str(path))}, columns={{'raw':'VARCHAR'}}, {options}, max_line_size={size}, "
        f"buffer_size={4 * size})"
    )


def _stage_json(data: Data, source: str, bound: str) -> None:
    good = "CASE WHEN json_valid(raw) THEN json_type(raw) = 'OBJECT' ELSE false END"
    objects = f"(SELECT raw FROM {source} {bound}) WHERE {good}"
    first = [k for (keys,) in data.all(f"SELECT json_keys(raw) FROM {objects} LIMIT 50") for k in keys]
    every = data.all(
        f"SELECT k FROM (SELECT unnest(json_keys(raw)) k FROM {objects}) GROUP BY k ORDER BY count(*) DESC, k"
    )
    names = _distinct_names(first + [k for (k,) in every])
    if not names:
        raise ToolError("No line is a JSON object", where=str(data.path), next="One JSON object a line is expected.")
    shape = json.dumps(dict.fromkeys(names, "VARCHAR"))
    fields = "".join(f", j.{_name(c)} AS {_name(c)}" for c in names)
    data.con.execute(
        f"CREATE OR REPLACE TABLE stage AS SELECT line, kind{fields} FROM (SELECT row_number() OVER () AS line, CASE "
        f"WHEN {good} "
        f"THEN 'row' WHEN raw IS NULL OR trim(raw) = '' THEN 'blank' ELSE 'broken' END AS kind, CASE WHEN {good} THEN "
        f"json_transform(raw, {_quote(shape)}) END AS j FROM {source} {bound})"
    )
    _count_types(data, source, names, bound)


def _count_types(data: Data, source: str, names: Sequence[str], bound: str) -> None:
    """JSON types of each column over the first rows; more than one (null aside) is kept in `data.mixed`."""
    pairs = data.all(
        f"SELECT k, json_type(raw, '$.\"' || k || '\"') t, count(*) FROM (SELECT raw, unnest(json_keys(raw)) k FROM "
        f"(SELECT raw "
        f"FROM {source} LIMIT 20000) WHERE CASE WHEN json_valid(raw) THEN json_type(raw) = 'OBJECT' ELSE false END) "
        "WHERE NOT contains(k, '\"') GROUP BY ALL ORDER BY ALL"
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
    relation = f"read_csv({_quote(str(path))}, all_varchar=true, header=true, ignore_errors=true, store_rejects=true)"
    data.con.execute("DROP TABLE IF EXISTS reject_errors; DROP TABLE IF EXISTS reject_scans")
    _stage_typed(data, relation, 2, bound)
    rejected = data.all("SELECT DISTINCT line FROM reject_errors ORDER BY line")
    data.con.executemany(
        "INSERT INTO stage (line, kind) VALUES (?, 'broken')", [[r[0]] for r in rejected]
    ) if rejected else None
    return ()


def _stage_typed(data: Data, relation: str, first_line: int, bound: str) -> None:
    described = data.all(f"DESCRIBE SELECT * FROM {relation}")
    kinds = {c[0]: str(c[1]) for c in described}
    fields = "".join(f", {_as_text(c, kinds[c])} AS {_name(c)}" for c in _distinct_names(list(kinds)))
    data.con.execute(
        f"CREATE OR REPLACE TABLE stage AS SELECT row_number() OVER () + {first_line - 1} AS line, 'row' AS "
        f"kind{fields} "
        f"FROM {relation} {bound}"
    )


def _as_text(column: str, kind: str) -> str:
    nested = kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION"))
    if kind == "BLOB":
        return f"'(' || octet_length({_name(column)}) || ' bytes)'"
    return f"to_json({_name(column)})::VARCHAR" if nested else f"{_name(column)}::VARCHAR"


def _take(data: Data, file: SourceFile, roles: Roles | None, split: str | None) -> None:
    """Move `stage` into `rows` by the roles of its columns."""
    have = data.rows
    columns = [c[0] for c in data.all("DESCRIBE stage")][2:]
    own = roles or _recognise(data, columns)
    counts = dict(data.all("SELECT kind, count(*) FROM stage GROUP BY kind"))
    broken = data.all("SELECT line FROM stage WHERE kind = 'broken' ORDER BY line LIMIT 5")
    unknown = () if own.kind != "unknown" else ("no column recognised",)
    data.files.append(
        msgspec.structs.replace(
            file, rows=int(counts.get("row", 0)), broken_lines=int(counts.get("broken", 0)), notes=file.notes + unknown,
            blank_lines=int(counts.get("blank", 0)), broken_at=tuple(int(b) for (b,) in broken),
        )
    )  # fmt: skip
    data.columns += [c for c in _describe(data, columns) if c.name not in {d.name for d in data.columns}]
    if data.roles.kind == "unknown":
        data.roles = own
    values = _values(own, columns)
    told = f"coalesce({values['split']}, {_quote(split or '')})"
    data.con.execute(
        f"""INSERT INTO rows SELECT n, s, line, nullif(split, ''), prompt, answer, turns, chosen, rejected, system,
        licence,
        hash(same_text(prompt)), hash(same_answer(answer)) FROM (SELECT row_number() OVER (ORDER BY line) - 1 + {have}
        AS n,
        {len(data.files) - 1} AS s, line, {told} AS split, {values["prompt"]} AS prompt, {values["answer"]} AS answer,
        {values["turns"]} AS turns, {values["chosen"]} AS chosen, {values["rejected"]} AS rejected, {values["system"]}
        AS
        system, {values["licence"]} AS licence FROM {values["from"]})"""
    )
    data.con.execute("DROP TABLE stage")


def _recognise(data: Data, columns: Sequence[str]) -> Roles:
    rows = data.all(f"SELECT * EXCLUDE (line, kind) FROM stage WHERE kind = 'row' LIMIT {_SAMPLE}") if columns else []
    return recognise({c: [row[i] for row in rows] for i, c in enumerate(columns)})


def _values(roles: Roles, columns: Sequence[str]) -> dict[str, str]:
    """SQL expressions for each part of a row."""

    def column(name: str | None) -> str:
        return _name(name) if name in columns else "NULL"

    values = {part: column(getattr(roles, part)) for part in ("chosen", "rejected", "system", "split", "licence")}
    values |= {"turns": "NULL", "from": "stage WHERE kind = 'row'"}
    if roles.messages in columns:
        values["turns"] = "all_turns"
        last = "len(all_turns) > 0 AND all_turns[len(all_turns)].role = 'assistant'"
        values["prompt"] = f"CASE WHEN {last} THEN contents(all_turns[:-2]) ELSE contents(all_turns) END"
        values["answer"] = f"CASE WHEN {last} THEN all_turns[len(all_turns)].content END"
        m = column(roles.messages)
        values["from"] = (
            f"(SELECT *, CASE WHEN json_valid({m}) THEN turns_of({m}) END AS all_turns FROM stage WHERE kind = 'row')"
        )
    elif roles.text in columns:
        values |= {"prompt": "NULL", "answer": column(roles.text)}
    else:
        parts = [f"nullif(flat({column(c)}), '')" for c in roles.prompt if c in columns]
        joined = f"nullif(concat_ws(chr(10) || chr(10), {', '.join(parts)}), '')"
        alone = f"flat({column(roles.prompt[0])})" if parts else f"before_reply({values['chosen']}::VARCHAR)"
        values["prompt"] = joined if len(parts) > 1 else alone
        values |= {part: f"reply({values[part]}::VARCHAR)" for part in ("chosen", "rejected")}
        values["answer"] = f"reply({column(roles.answer)})" if roles.answer in columns else values["chosen"]
    return values


def _describe(data: Data, columns: Sequence[str]) -> list[ColumnInfo]:
    found: list[ColumnInfo] = []
    for c in columns:
        name = _name(c)
        nulls, empty, distinct = data.all(
            f"SELECT count(*) FILTER (WHERE {name} IS NULL), count(*) FILTER (WHERE trim({name}) IN ('', '[]', "
            f"'{{}}')), "
            f"approx_count_distinct({name}) FROM stage WHERE kind = 'row'"
        )[0]
        kind = " or ".join(sorted(data.mixed[c])).lower() if c in data.mixed else _kind(data, name)
        found.append(ColumnInfo(name=c, type=kind, nulls=int(nulls), empty=int(empty), distinct=int(distinct)))
    return found


def _kind(data: Data, name: str) -> str:
    value = data.one(f"SELECT {name} FROM stage WHERE {name} IS NOT NULL LIMIT 1")
    if value is None:
        return "null"
    if value[:1] in "[{" and data.one("SELECT json_valid(?)", [value]):
        return "list" if value[0] == "[" else "object"
    return "number" if data.one("SELECT try_cast(? AS DOUBLE) IS NOT NULL", [value]) else "text"


_SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "dev",
    "valid": "dev",
    "val": "dev",
    "dev": "dev",
    "test": "test",
    "eval": "test",
    "heldout": "test",
}


def split_of(path: Path, root: Path) -> str | None:
    """The split a file's name or folder tells (`train-00000-of-00002.parquet`, `test/part.jsonl`)."""
    parts = [path.name, *(p.name for p in path.parents if p != root and root in p.parents)]
    for part in parts:
        head = part.lower().replace("_", "-").replace(".", "-").split("-")
        for word in head:
            if word in _SPLITS:
                return _SPLITS[word]
    return None


def _distinct_names(names: list[str]) -> list[str]:
    """DuckDB compares names without case: of `Text` and `text` the first (the more frequent) stays."""
    kept: dict[str, str] = {}
    for name in names:
        if name.strip() and name.lower() not in ("line", "kind"):
            kept.setdefault(name.lower(), name)
    return list(kept.values())[:MAX_COLUMNS]


def _name(column: str | None) -> str:
    return '"' + str(column).replace('"', '""') + '"'


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def place_examples(data: Data, rows: Sequence[tuple[int, str]]) -> list[tuple[str, int, str, str]]:
    """(file, line, prompt or answer text, note) of flagged rows."""
    found: list[tuple[str, int, str, str]] = []
    for n, note in rows:
        prompt, answer = data.all("SELECT prompt, answer FROM rows WHERE n = ?", [n])[0]
        text = f"{prompt} -> {answer}" if prompt is not None else str(answer or "")
        found.append((*data.place(n), text, note))
    return found


def as_builtin(value: msgspec.Struct) -> dict[str, Any]:
    """A struct as plain JSON types; for event payloads."""
    return msgspec.to_builtins(value)
