"""Open data as found (jsonl, json, csv, parquet, or a folder of them) as one DuckDB table of rows.

Everything downstream (inspection, contamination, preparation) reads the table `rows` made here:

    n         row number over all files, from 0        prompt, answer      texts, null where missing
    source    index into `Data.files`                  turns               list of (role, content) for chats
    line      line or record in that file, from 1      chosen, rejected    texts
    split     train, dev, test, ... or null            system, licence     texts
    pkey, akey  64-bit keys of the prompt's and the answer's normal form (see `rows_sql`)

The database lives in a temporary file and spills to disk, so a million rows need little memory.
"""

from __future__ import annotations

import gzip
import json
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import msgspec

from core.data.reading import file_format, find_files
from core.data.rows_sql import MACROS, ROWS
from core.data.schema import ColumnInfo, Roles, SourceFile
from core.data.staging import stage
from core.data.taking import take
from core.errors import ToolError

MEMORY = "500MB"


class Data:
    """Open data. A context manager: its scratch folder and database go when it is closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: list[SourceFile] = []
        self.columns: list[ColumnInfo] = []
        self.kinds: list[str] = []
        """`Roles.kind` of each file; that of `roles` is the first recognised one's."""
        self.roles = Roles()
        self.held: dict[str, int] = {}
        """Rows with something in a column."""
        self.values: dict[str, tuple[str, ...]] = {}
        """The values of columns that have at most two different ones."""
        self.mixed: dict[str, dict[str, int]] = {}
        """Columns whose JSON values are of more than one type: type -> rows."""
        self._scratch = tempfile.TemporaryDirectory(prefix="intern_data_")
        self.scratch = Path(self._scratch.name)
        self.con = duckdb.connect(self.scratch / "work.duckdb")
        self.con.execute(f"SET memory_limit='{MEMORY}'; SET threads=2; SET temp_directory='{self.scratch}/spill'")
        self.con.execute("SET enable_progress_bar=false; SET preserve_insertion_order=true")
        # The tables are read a few times and thrown away: packing them took four fifths of the time to write them.
        self.con.execute("SET force_compression='uncompressed'")
        self.con.execute(MACROS)
        self.con.execute(ROWS)
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
        return Path(self.files[int(source)].path).name, int(line)

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
                f"No row could be read ({broken} broken lines)" if broken else "The data is empty: it has no row",
                where=str(data.path),
                next="Look at the file's first lines; one JSON object a line is expected in .jsonl."
                if broken
                else "Make or fetch it again, or name another file.",
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
        raise ToolError(
            f"Unknown format '{path.suffix}'", where=str(path), next="Use jsonl, json, csv, tsv, parquet or arrow."
        )
    if path.stat().st_size == 0:
        data.files.append(SourceFile(path=str(path), format=form, rows=0, notes=("empty file",)))
        data.kinds.append("unknown")
        return
    have = data.rows
    if limit is not None and have >= limit:
        return
    try:
        notes = stage(data, path, form, limit - have if limit is not None else None)
        take(data, SourceFile(path=str(path), format=form, rows=0, notes=notes), roles, split_of(path, root))
    except (duckdb.Error, EOFError, zlib.error, gzip.BadGzipFile) as error:
        reason = str(error).splitlines()[0][:300]
        raise ToolError(
            f"Cannot read as {form}: {reason}", where=str(path), next="Repair the file or leave it out."
        ) from error


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


def stride(rows: int, most: int) -> int:
    """The k for which every k-th of so many rows are at most `most`."""
    return max(1, -(-rows // most))


def looked_at(rows: int, step: int) -> int:
    """How many of so many rows every `step`-th are."""
    return -(-rows // step)


def split_of(path: Path, root: Path) -> str | None:
    """The split a file's name or folder tells (`train-00000-of-00002.parquet`, `test/part.jsonl`)."""
    parts = [path.name, *(p.name for p in path.parents if p != root and root in p.parents)]
    for part in parts:
        head = part.lower().replace("_", "-").replace(".", "-").split("-")
        for word in head:
            if word in _SPLITS:
                return _SPLITS[word]
    return None


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
