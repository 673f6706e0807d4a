"""From a file as found to lines DuckDB can read: encodings, line ends, wrapped JSON, compressed files.

DuckDB's reader is fast and strict. What would trip it (bytes that are not UTF-8, a byte order mark, mixed line ends, a
JSON file that wraps its rows in an object) is repaired in a temporary copy, never in the original, and noted.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import IO, Any, cast

from core.errors import NotFound, ToolError

FORMATS = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet",
    ".arrow": "arrow",
}  # fmt: skip
ABOUT_DATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
"""Files that `datasets` writes beside the rows: they hold none."""
WRAPPED_LIMIT = 128 * 2**20
"""A JSON file up to this size (bytes) is parsed whole; a larger one must be an array, streamed by DuckDB."""
_CHUNK = 1 << 22
WESTERN = "read as Windows-1252 (Latin-1)"
_MULTIBYTE = re.compile(rb"[\xc2-\xf4][\x80-\xbf]+")
_HIGH = re.compile(rb"[\x80-\xff]")


def find_files(path: Path) -> list[Path]:
    """The data files of a path (a file, or a folder searched through), sorted; hidden ones are skipped."""
    if not path.exists():
        raise NotFound(f"There is no data at {path}", where=str(path), next="Check the path.")
    if path.is_file():
        return [path]
    found = [p for p in sorted(path.rglob("*")) if p.is_file() and file_format(p) and not _hidden(p, path)]
    found = [p for p in found if p.name not in ABOUT_DATA]
    if not found:
        raise NotFound(
            "The folder holds no data file",
            where=str(path),
            next="Supported are .jsonl, .json, .csv, .tsv (also as .gz), .parquet and .arrow.",
        )
    return found


def file_format(path: Path) -> str | None:
    """jsonl, json, csv or parquet by the file's name; None for anything else."""
    name = path.name.lower().removesuffix(".gz")
    return next((form for suffix, form in FORMATS.items() if name.endswith(suffix)), None)


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def arrow_as_parquet(path: Path, scratch: Path) -> Path:
    """A file of Arrow record batches (`Dataset.save_to_disk`), batch by batch as Parquet. Raises ToolError for a broken one."""
    try:
        pa: Any = import_module("pyarrow")
        pq: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise ToolError(
            "Arrow files need the package pyarrow", where=str(path), next="pip install pyarrow, or save it as Parquet."
        ) from error
    target = scratch / f"rows_{len(list(scratch.iterdir()))}.parquet"
    try:
        with pa.memory_map(str(path)) as source:
            try:
                reader = pa.ipc.open_stream(source)
                batches = iter(reader)
            except pa.ArrowInvalid:  # the other of Arrow's two file forms
                source.seek(0)
                reader = pa.ipc.open_file(source)
                batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
            with pq.ParquetWriter(target, reader.schema) as out:
                for batch in batches:
                    out.write_batch(batch)
    except (pa.ArrowException, OSError) as error:
        raise ToolError(
            f"Cannot read as arrow: {str(error)[:200]}", where=str(path), next="Save it as Parquet, or fetch it again."
        ) from error
    return target


def readable_lines(path: Path, scratch: Path) -> tuple[Path, tuple[str, ...]]:
    """The file itself if it is clean UTF-8 with \\n line ends; else a repaired copy in `scratch`, and what was done."""
    notes = _flaws(path)
    if not notes:
        return path, ()
    target = scratch / f"clean_{len(list(scratch.iterdir()))}_{path.name.removesuffix('.gz')}"
    _rewrite(path, target, "cp1252" if WESTERN in notes else "utf-8-sig")
    return target, tuple(notes)


def _flaws(path: Path) -> list[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    notes = ["compressed"] if path.name.lower().endswith(".gz") else []
    with _open(path) as stream:
        head = stream.read(_CHUNK)
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return [*notes, "UTF-16"]
        if head.startswith(codecs.BOM_UTF8):
            notes.append("byte order mark")
        found: set[str] = set()
        while head:
            found |= {note for mark, note in ((b"\r", "CR line ends"), (b"\x01", "control bytes")) if mark in head}
            if b"\x00" in head:
                found.add("NUL bytes")
            try:
                decoder.decode(head)
            except UnicodeDecodeError:
                found.add(WESTERN if _western(head) else "not UTF-8: bad bytes replaced")
                decoder.reset()
            head = stream.read(_CHUNK)
    return notes + sorted(found)


def _western(piece: bytes) -> bool:
    """Whether bytes that are not UTF-8 are rather Windows-1252: hardly any of the high ones form UTF-8's sequences.

    A UTF-8 file with a few damaged places is none: its other letters do form them.
    """
    in_sequences = sum(len(m.group()) for m in _MULTIBYTE.finditer(piece))
    return 10 * in_sequences < len(_HIGH.findall(piece))


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.name.lower().endswith(".gz") else path.open("rb")


def _rewrite(path: Path, target: Path, encoding: str) -> None:
    with _open(path) as probe:
        utf16 = probe.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    with _open(path) as raw, target.open("w", encoding="utf-8", newline="\n") as out:
        reader = io.TextIOWrapper(raw, encoding="utf-16" if utf16 else encoding, errors="replace", newline="")
        while text := reader.read(_CHUNK):
            if text.endswith("\r"):
                text += reader.read(1)
            text = text.replace("\r\n", "\n").replace("\r", "\n")
            out.write(text.replace("\x01", "\\u0001").replace("\x00", "\ufffd"))


def longest_line(path: Path) -> int:
    """Bytes of the longest line; DuckDB's line buffers are sized by it."""
    longest = current = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            head, *rest = chunk.split(b"\n")
            current += len(head)
            if rest:
                longest = max(longest, current, *map(len, rest))
                current = len(rest[-1])
    return max(longest, current)


def looks_like_array(path: Path) -> bool:
    """Whether a file named .jsonl is one JSON array."""
    with path.open("rb") as stream:
        head = stream.read(4096).lstrip()
    return head.startswith(b"[") and not head.split(b"\n", 1)[0].rstrip().endswith(b"]")


def unwrap_json(path: Path, scratch: Path) -> Path | None:
    """The rows of a .json file as a .jsonl copy; None when the file already is one record a line."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return None
        raise ToolError(
            f"Not valid JSON: {error.msg} at line {error.lineno}", where=str(path), next="Repair or leave out the file."
        ) from error
    except RecursionError as error:
        raise ToolError("JSON nested too deeply to read", where=str(path), next="Leave out the file.") from error
    target = scratch / f"rows_{len(list(scratch.iterdir()))}.jsonl"
    with target.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(_line(record) for record in _records(data, path))
    return target


def _line(record: object) -> str:
    text = json.dumps(record, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode("utf-8") + "\n"


def _records(data: object, path: Path) -> Iterable[object]:
    """The rows in any of the usual wrappings: a list, {"data": [...]}, columns of lists, or records by their key."""
    if isinstance(data, list):
        return cast("list[object]", data)
    if not isinstance(data, dict):
        raise ToolError("The JSON file holds one bare value, no rows", where=str(path), next="Give a list of objects.")
    mapping = cast("dict[str, object]", data)
    lists: dict[str, list[object]] = {k: cast("list[object]", v) for k, v in mapping.items() if isinstance(v, list)}
    of_objects = {k: v for k, v in lists.items() if v and all(isinstance(x, dict) for x in v)}
    if "messages" in of_objects or "conversations" in of_objects:
        return [mapping]
    if lists and len(lists) == len(mapping) and not any(lists.values()):
        return []
    if of_objects:
        return max(of_objects.values(), key=len)
    if len(lists) > 1 and len({len(v) for v in lists.values()}) == 1:
        return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
    if mapping and all(isinstance(v, dict) for v in mapping.values()):
        return [{"key": k, **cast("Mapping[str, object]", v)} for k, v in mapping.items()]
    return [mapping]
